package keyfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	// MaxFile bounds a file, in bytes: what can be read of one, and what is written.
	MaxFile = 256 << 20

	maxTries = 100 // to write a file that somebody else changes meanwhile
	maxLinks = 40  // that lead to a file

	lockPatience = 30 * time.Second // for another process that writes it
	lockPause    = 5 * time.Millisecond
)

// turn is whose turn it is to write, within the process: locks have no order.
var turn sync.Mutex

var (
	errTooLarge = fmt.Errorf("the file would be larger than %d MiB", MaxFile>>20)
	errLocked   = errors.New("somebody else is writing the file: try again")
	errRestless = errors.New("the file changes all the time: try again")
	errLinks    = errors.New("too many symbolic links lead to the file")
)

// Update gives the file the text that edit makes of the one that it has. There is none where
// the file does not exist: then it is made. Whoever reads the file finds the old text or the
// new one, whole, whatever happens meanwhile, and after an error the old one: but for a disk
// that fails when it is told to keep the new one. Symbolic links stay, and what they lead to is
// written.
//
// Nobody's change is lost: others that call Update wait for their turn, and where an editor
// has changed the file in the meantime, edit is called again. Only the moment between the
// last look and the change of name is open to editors, since these take no locks.
//
// The file is its owner's alone afterwards, and not even that where it was less. Errors do
// not name it. It is safe for concurrent use, also in several processes.
func Update(path string, edit func(text []byte, exists bool) ([]byte, error)) error {
	target, err := resolve(path)
	if err != nil {
		return pathless(err)
	}
	turn.Lock()
	defer turn.Unlock()
	unlock, err := lock(beside(target, ".lock"))
	if err != nil {
		return fmt.Errorf("its lock, the hidden file beside it: %w", pathless(err))
	}
	defer unlock()
	for range maxTries {
		written, err := update(target, edit)
		if written || err != nil {
			return pathless(err)
		}
	}
	return errRestless
}

// pathless is the error without the path, which may be a secret that stands in its place.
func pathless(err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", failed.Op, failed.Err)
	}
	if failed, ok := errors.AsType[*os.LinkError](err); ok {
		return fmt.Errorf("%s: %w", failed.Op, failed.Err)
	}
	return err
}

// resolve returns where the links lead: maybe to nothing.
func resolve(path string) (string, error) {
	for range maxLinks {
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode()&fs.ModeSymlink == 0 {
			return path, nil
		}
		if err != nil {
			return "", err
		}
		link, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(link) {
			link = filepath.Join(filepath.Dir(path), link)
		}
		path = link
	}
	return "", errLinks
}

// beside is the name of a hidden file in the same folder.
func beside(target, suffix string) string {
	return filepath.Join(filepath.Dir(target), "."+filepath.Base(target)+suffix)
}

// state is a file as it was when it was looked at.
type state struct {
	text []byte
	info os.FileInfo // nil: there was none
}

func look(target string) (s state, err error) {
	f, err := os.Open(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, nil
	case err != nil:
		return s, err
	}
	defer f.Close()
	if s.info, err = f.Stat(); err != nil {
		return s, err
	}
	if s.text, err = io.ReadAll(io.LimitReader(f, MaxFile+1)); err == nil && len(s.text) > MaxFile {
		err = errTooLarge
	}
	return s, err
}

// same tells whether nothing has happened between two looks.
func (s state) same(other state) bool {
	if s.info == nil || other.info == nil {
		return s.info == nil && other.info == nil
	}
	return os.SameFile(s.info, other.info) && s.info.ModTime().Equal(other.info.ModTime()) && bytes.Equal(s.text, other.text)
}

// update reports false where somebody else has changed the file meanwhile.
func update(target string, edit func([]byte, bool) ([]byte, error)) (written bool, err error) {
	before, err := look(target)
	if err != nil {
		return false, err
	}
	text, err := edit(before.text, before.info != nil)
	switch {
	case err != nil:
		return false, err
	case len(text) > MaxFile:
		return false, errTooLarge
	case before.info != nil && bytes.Equal(text, before.text):
		return true, nil
	}
	fresh := beside(target, ".tmp")
	if err := write(fresh, text, before.info); err != nil {
		return false, err
	}
	now, err := look(target)
	if err == nil && before.same(now) {
		if err = os.Rename(fresh, target); err == nil {
			return true, syncFolder(filepath.Dir(target))
		}
	}
	return false, errors.Join(err, os.Remove(fresh))
}

// write makes a file of the text that its owner alone can read, and puts it on the disk.
// One of that name is what somebody left who was killed: nobody else writes here.
func write(name string, text []byte, like os.FileInfo) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, private)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil && like != nil {
		err = f.Chmod(modeLike(f, like))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// private is the mode of files with keys, and readable what is left of it at least where the
// file gets another owner: this process, which has to read it.
const (
	private  = 0o600
	readable = 0o400
)

// modeLike gives the file the owner that another has, and returns its mode.
func modeLike(f *os.File, like os.FileInfo) fs.FileMode {
	mode := like.Mode().Perm() & private
	if !own(f, like) {
		mode |= readable
	}
	return mode
}

// syncFolder puts on the disk that a file has another name.
func syncFolder(name string) error {
	folder, err := os.Open(name)
	if err == nil {
		err = errors.Join(folder.Sync(), folder.Close())
	}
	for _, unable := range []error{errors.ErrUnsupported, fs.ErrInvalid, syscall.EINVAL, fs.ErrPermission} {
		if errors.Is(err, unable) {
			return nil // some file systems, Windows, and folders that one may write and not list
		}
	}
	return err
}

// Read returns the file's text; there is none where the file does not exist. Errors do not
// name it.
func Read(path string) ([]byte, error) {
	s, err := look(path)
	return s.text, pathless(err)
}

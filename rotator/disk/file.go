package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// errInUse says that another process has the lock.
var errInUse = errors.New("another process uses it: give each one a file of its own, or let them share what they know through Redis")

// errGone says that somebody has removed the file, or put another one into its place.
var errGone = errors.New("the file is not there any more")

// file is the one that is written. Lines are appended to it; now and then all of it is
// written anew, into another file that takes its place. So whatever happens, what was
// written before is there: in the old file, or in the new one. The lock is another file,
// since this one is replaced. It is not safe for concurrent use.
type file struct {
	path string
	lock *os.File // nil: it is not held
	open *os.File // nil: it is to be written anew
	size int64    // up to here it is sound
	base int64    // what all that is worth keeping takes, about
}

// small is the size up to which a file is not written anew only to make it smaller.
const small = 1 << 20

// hold takes the lock, unless it is held. It makes the directory where there is none.
func (f *file) hold() error {
	name := f.path + ".lock"
	if f.lock != nil && is(f.lock, name) {
		return nil
	}
	f.release()
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	held, err := lock(name)
	if err != nil {
		return err
	}
	f.lock = held
	if !is(held, name) {
		return errGone // somebody has removed it in between
	}
	return nil
}

// is tells whether the open file is the one of that name.
func is(f *os.File, name string) bool {
	one, err1 := f.Stat()
	other, err2 := os.Stat(name)
	return err1 == nil && err2 == nil && os.SameFile(one, other)
}

// release closes everything.
func (f *file) release() {
	f.drop()
	if f.lock != nil {
		f.lock.Close()
		f.lock = nil
	}
}

// drop closes the file: it will be written anew.
func (f *file) drop() {
	if f.open != nil {
		f.open.Close()
		f.open = nil
	}
}

// resume goes on with the file that was read, which is sound up to size.
func (f *file) resume(size, base int64) error {
	open, err := os.OpenFile(f.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	f.open, f.size, f.base = open, size, base
	if err := open.Truncate(size); err != nil {
		f.drop()
		return err
	}
	return nil
}

// outgrown tells whether most of the file is of no use any more.
func (f *file) outgrown() bool { return f.size > max(2*f.base, small) }

// append writes lines behind the others, down to the disk if sync says so. What cannot be
// written whole is not there.
func (f *file) append(lines []byte, sync bool) error {
	if !is(f.open, f.path) {
		f.drop()
		return errGone
	}
	_, err := f.open.WriteAt(lines, f.size)
	if err != nil {
		if f.open.Truncate(f.size) != nil {
			f.drop()
		}
		return err
	}
	if sync {
		if err := f.open.Sync(); err != nil {
			f.drop() // nobody knows what of it is on the disk
			return err
		}
	}
	f.size += int64(len(lines))
	return nil
}

// replace writes the file anew. Until that is done the old one stays.
func (f *file) replace(text []byte) error {
	name := f.path + ".new"
	if err := writeNew(name, text); err != nil {
		os.Remove(name)
		return err
	}
	f.drop() // Windows replaces no file that is open
	if err := os.Rename(name, f.path); err != nil {
		os.Remove(name)
		return err
	}
	if err := syncDir(filepath.Dir(f.path)); err != nil {
		return err
	}
	return f.resume(int64(len(text)), int64(len(text)))
}

// writeNew writes a file of its own, down to the disk.
func writeNew(name string, text []byte) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir writes down to the disk which files there are, where the system can.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	err = dir.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		return nil // some file systems, and Windows
	}
	return err
}

// mostAside is how many files of one second there may be.
const mostAside = 100

// setAside gives the file a second name, under which it stays, and returns that.
func setAside(path string, now time.Time) (name string, err error) {
	first := path + ".damaged-" + now.UTC().Format("20060102-150405")
	for i := range mostAside {
		if name = first; i > 0 {
			name += "-" + strconv.Itoa(i)
		}
		err = os.Link(path, name)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			err = copyNew(path, name) // not every file system has links
		}
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return name, err
}

func copyNew(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(to); err == nil {
		return fs.ErrExist
	}
	return writeNew(to, text)
}

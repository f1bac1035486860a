//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package keyfile

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// lock waits until nobody else holds the lock of that name, on this machine or, where the
// file system says so, on others. The file stays: who removed it would let two others in.
func lock(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, private)
	if err != nil {
		return nil, err
	}
	for begun := time.Now(); ; time.Sleep(lockPause) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		busy := errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR)
		switch {
		case err == nil:
			return func() { f.Close() }, nil
		case busy && time.Since(begun) < lockPatience:
			continue
		case busy:
			err = errLocked
		}
		return nil, errors.Join(&os.PathError{Op: "lock", Path: name, Err: err}, f.Close())
	}
}

// own gives the file the owner that another has, and reports false where this process may not.
func own(f *os.File, like os.FileInfo) bool {
	of, ok := like.Sys().(*syscall.Stat_t)
	return ok && f.Chown(int(of.Uid), int(of.Gid)) == nil
}

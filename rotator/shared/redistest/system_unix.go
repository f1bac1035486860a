//go:build unix

package redistest

import (
	"fmt"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// What stops a process in its tracks, and lets it go on.
const (
	stop = syscall.SIGSTOP
	goOn = syscall.SIGCONT
)

// holdPort binds a socket to the port, 0 for any, that never listens. Elsewhere than on
// Linux Redis could not listen beside it: there the port is free, and no more.
func holdPort(port int) (_ int, release func(), err error) {
	if port > 65535 {
		return 0, nil, fmt.Errorf("there is no port %d", port)
	}
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return 0, nil, fmt.Errorf("socket: %w", err)
	}
	release = func() { _ = unix.Close(fd) }
	if port, err = bound(fd, port); err != nil {
		release()
		return 0, nil, err
	}
	if runtime.GOOS != "linux" {
		release()
		release = func() {}
	}
	return port, release, nil
}

// bound binds the socket while it shares with nobody, and lets it share then.
func bound(fd, port int) (int, error) {
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, fmt.Errorf("bind: %w", err)
	}
	for _, option := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1); err != nil {
			return 0, fmt.Errorf("setsockopt: %w", err)
		}
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, fmt.Errorf("getsockname: %w", err)
	}
	return name.(*unix.SockaddrInet4).Port, nil
}

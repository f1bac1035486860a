package gateway

import (
	"net"

	"golang.org/x/sys/unix"
)

// hungUp tells whether the other end of the connection has closed it, or its half of it,
// whatever there is still to be read. It reads nothing.
func hungUp(conn net.Conn) bool {
	raw := rawConn(conn)
	if raw == nil {
		return false
	}
	const over = unix.POLLRDHUP | unix.POLLHUP | unix.POLLERR
	var ended bool
	err := raw.Control(func(fd uintptr) {
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(polled, 0)
		ended = err == nil && n > 0 && polled[0].Revents&over != 0
	})
	return err != nil || ended
}

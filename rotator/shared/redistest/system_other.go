//go:build !unix

package redistest

import (
	"fmt"
	"net"
	"os"
)

// What would stop a process and let it go on. There is nothing like it here: sending one is an
// error.
var stop, goOn = os.Interrupt, os.Interrupt

// holdPort finds a port at which nobody listens, or tells whether that one is such. It is not
// held: there is no Redis here that could listen beside who holds it.
func holdPort(port int) (_ int, release func(), err error) {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return 0, nil, err
	}
	return l.Addr().(*net.TCPAddr).Port, func() {}, l.Close()
}

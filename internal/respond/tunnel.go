package respond

import (
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/keycycler/keycycler/internal/peek"
)

// tap looks at what a server says over a websocket that the client has already: a limit
// there cools the key, and nothing is sent again.
type tap struct {
	mu     sync.Mutex
	owner  attemptOwner // nil: the attempt is over
	frames peek.Frames
}

func (t *tap) look(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.owner == nil {
		return
	}
	if said := t.frames.Write(p); said != nil {
		t.owner.Blame(http.StatusSwitchingProtocols, said)
		t.owner = nil
	}
}

// stop waits for a look that is under way: nobody is blamed any more.
func (t *tap) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.owner = nil
}

// tapped is the client's connection.
type tapped struct {
	net.Conn
	tap *tap
}

func (c tapped) Write(p []byte) (int, error) {
	c.tap.look(p)
	return c.Conn.Write(p)
}

// tappedHalf is one whose writing half can be closed alone.
type tappedHalf struct {
	tapped
	half interface{ CloseWrite() error }
}

func (c tappedHalf) CloseWrite() error { return c.half.CloseWrite() }

// tapWebsocket returns the connection with a tap, if a websocket has been agreed on, and not
// its compression.
func (w *Writer) tapWebsocket(conn net.Conn, header http.Header) net.Conn {
	extensions := strings.Join(header["Sec-Websocket-Extensions"], ",")
	if !strings.EqualFold(peek.First(header, "Upgrade"), "websocket") || strings.Contains(extensions, "deflate") {
		return conn
	}
	w.tap = &tap{owner: w.Owner}
	c := tapped{conn, w.tap}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return tappedHalf{c, half}
	}
	return c
}

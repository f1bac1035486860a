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
	if said := t.frames.Write(p); said != nil && t.owner.Blame(http.StatusSwitchingProtocols, said) {
		t.end()
	}
}

// end ends the looking. t.mu is held.
func (t *tap) end() {
	t.owner = nil
	t.frames.Stop()
}

// stop waits for a look that is under way: nobody is blamed any more.
func (t *tap) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end()
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

// messageCoding tells whether a websocket's messages may be compressed by what was agreed on,
// and whether somebody here can read them then.
func messageCoding(header http.Header) (coded, known bool) {
	var extensions string
	for name, values := range header {
		if strings.EqualFold(name, "Sec-WebSocket-Extensions") { // as Caddy writes it, or net/http
			extensions = strings.ToLower(strings.Join(values, ","))
		}
	}
	if !strings.Contains(extensions, "deflate") {
		return false, true
	}
	name, _, _ := strings.Cut(extensions, ";")
	return true, strings.TrimSpace(name) == "permessage-deflate" && !strings.Contains(extensions, ",")
}

// tapWebsocket returns the connection with a tap, if a websocket has been agreed on.
func (w *Writer) tapWebsocket(conn net.Conn, header http.Header) net.Conn {
	coded, known := messageCoding(header)
	if !strings.EqualFold(peek.First(header, "Upgrade"), "websocket") || !known {
		return conn
	}
	w.tap = &tap{owner: w.Owner}
	if coded {
		w.tap.frames.Inflate()
	}
	c := tapped{conn, w.tap}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return tappedHalf{c, half}
	}
	return c
}

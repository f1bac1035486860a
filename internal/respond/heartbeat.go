package respond

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/keycycler/keycycler/internal/peek"
)

// comment is what a silent stream gets: clients skip it, and whatever stands between them
// and us sees that the connection lives.
const comment = ": keepalive\n\n"

// heartbeat sends comments into a stream that is silent. It writes from a goroutine of its
// own, so all writes to the client go through its lock while it is on.
type heartbeat struct {
	mu    sync.Mutex
	every time.Duration // 0: off
	timer *time.Timer
	to    http.ResponseWriter
	tail  []byte // the last bytes that went out, none at the beginning

	cancel   context.CancelCauseFunc // ends the attempt
	panicked any                     // what a beat has ended with
}

// on tells whether it beats. Only who writes the response asks.
func (h *heartbeat) on() bool { return h.timer != nil }

// begin lets it beat, of a stream whose head has been sent.
func (h *heartbeat) begin(every time.Duration, to http.ResponseWriter, cancel context.CancelCauseFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.every, h.to, h.tail, h.cancel = every, to, h.tail[:0], cancel
	h.timer = time.AfterFunc(every, h.beat)
}

// stop ends it, and waits for a beat under way. It returns what one has panicked with, or nil.
func (h *heartbeat) stop() (panicked any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer.Stop()
	panicked = h.panicked
	h.every, h.timer, h.to, h.cancel, h.panicked = 0, nil, nil, nil, nil
	return panicked
}

// beat sends a comment, but never inside an event.
func (h *heartbeat) beat() {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer func() {
		if p := recover(); p != nil {
			h.panicked = p
			h.cancel(nil)
		}
	}()
	if h.every == 0 {
		return
	}
	if h.betweenEvents() {
		if _, err := io.WriteString(h.to, comment); err != nil {
			return // the handler's own writes will tell
		}
		//nolint:errcheck // likewise
		http.NewResponseController(h.to).Flush()
	}
	h.timer.Reset(h.every)
}

func (h *heartbeat) betweenEvents() bool {
	return len(h.tail) == 0 || bytes.HasSuffix(h.tail, []byte("\n\n")) || bytes.HasSuffix(h.tail, []byte("\r\n\r\n"))
}

func (h *heartbeat) write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	const enough = len("\r\n\r\n")
	n, err := h.to.Write(p)
	h.tail = append(h.tail, p[max(0, len(p)-enough):]...)
	h.tail = h.tail[max(0, len(h.tail)-enough):]
	h.timer.Reset(h.every)
	return n, err
}

func (h *heartbeat) flush() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return http.NewResponseController(h.to).Flush()
}

// mayBeat tells of a response that is the client's whether comments may go into it: it is a
// stream of no stated length and without a coding.
func mayBeat(status int, header http.Header) bool {
	return status == http.StatusOK && peek.IsEventStream(peek.First(header, "Content-Type")) &&
		peek.First(header, "Content-Encoding") == "" && len(header["Content-Length"]) == 0
}

package respond

import (
	"net/http"
	"strings"
	"time"

	"github.com/keycycler/keycycler/internal/peek"
)

// Some providers answer 200 and then say in the body that the key has met its
// limit: in the first event of a stream, or as the whole of a JSON document. So the
// head of a 200 whose body could be such a one goes to the client together with the
// first bytes of the body. Bytes of the body never wait: what does not look like an
// error at first sight is the client's at once.

// MaxOpening is how long a flush of the head alone waits for the body's first
// bytes. An error mostly comes in one piece with its head.
const MaxOpening = 20 * time.Millisecond

// mayOpenWithError tells whether a response's body could be an error, in spite of
// its status, and whether it is a stream then.
func mayOpenWithError(status int, header http.Header) (may, stream bool) {
	if status != http.StatusOK {
		return false, false
	}
	media := peek.First(header, "Content-Type")
	stream = peek.IsEventStream(media)
	return (stream || strings.HasPrefix(media, "application/json")) && len(header["Content-Encoding"]) == 0, stream
}

// open makes a response the client's whose head has waited for its body. It reports
// whether there was one. w.mu is held.
func (w *Writer) open() bool {
	if w.Phase.Load() != Opening {
		return false
	}
	w.stopOpening()
	w.pass(w.Status)
	w.Phase.Store(committed)
	return true
}

func (w *Writer) stopOpening() {
	if w.opening != nil {
		w.opening.Stop()
		w.opening = nil
	}
}

// openNow is open for who does not hold w.mu. No first bytes come that a flush of the
// head could wait for.
func (w *Writer) openNow() {
	w.mu.Lock()
	defer w.mu.Unlock()
	flushed := w.opening != nil
	if w.open() && flushed {
		//nolint:errcheck // the handler's own writes will tell
		http.NewResponseController(w.Client).Flush()
	}
}

// flushOpening flushes the head of a response when it has waited long enough.
func (w *Writer) flushOpening() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.Phase.Load() != Opening || w.opening != nil {
		return
	}
	attempt := w.attempt
	w.timed = true
	w.opening = time.AfterFunc(MaxOpening, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.attempt != attempt || !w.open() {
			return
		}
		w.Phase.Store(greeting)
		//nolint:errcheck // the handler's own writes will tell
		http.NewResponseController(w.Client).Flush()
	})
}

// writeFirst takes the body's first bytes: of a response whose head has waited for
// them, or has gone ahead. w.mu is held.
func (w *Writer) writeFirst(p []byte) (int, error) {
	suspect := peek.LooksLikeError(w.stream, p)
	if w.Phase.Load() == greeting {
		w.Phase.Store(committed)
		if suspect {
			w.Owner.Blame(w.Status, p)
		}
		return w.deliver(p)
	}
	if !suspect {
		w.open()
		return w.deliver(p)
	}
	w.stopOpening()
	w.hold(w.Status)
	n, err := w.collect(p)
	if _, whole := peek.FirstEvent(w.Held); w.stream && whole && w.Phase.Load() == holding {
		w.settle(true)
	}
	return n, err
}

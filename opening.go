package keycycler

import (
	"net/http"
	"strings"
	"time"
)

// Some providers answer 200 and then say in the body that the key has met its
// limit: in the first event of a stream, or as the whole of a JSON document. So the
// head of a 200 whose body could be such a one goes to the client together with the
// first bytes of the body. Bytes of the body never wait: what does not look like an
// error at first sight is the client's at once.

// maxOpening is how long a flush of the head alone waits for the body's first
// bytes. An error mostly comes in one piece with its head.
const maxOpening = 20 * time.Millisecond

// mayOpenWithError tells whether a response's body could be an error, in spite of
// its status, and whether it is a stream then.
func mayOpenWithError(status int, header http.Header) (may, stream bool) {
	if status != http.StatusOK {
		return false, false
	}
	media := first(header, "Content-Type")
	stream = isEventStream(media)
	return (stream || strings.HasPrefix(media, "application/json")) && len(header["Content-Encoding"]) == 0, stream
}

// open makes a response the client's whose head has waited for its body. It reports
// whether there was one. w.mu is held.
func (w *attemptWriter) open() bool {
	if w.phase.Load() != opening {
		return false
	}
	w.stopOpening()
	w.pass(w.status)
	w.phase.Store(committed)
	return true
}

func (w *attemptWriter) stopOpening() {
	if w.opening != nil {
		w.opening.Stop()
		w.opening = nil
	}
}

// openNow is open for who does not hold w.mu. No first bytes come that a flush of the
// head could wait for.
func (w *attemptWriter) openNow() {
	w.mu.Lock()
	defer w.mu.Unlock()
	flushed := w.opening != nil
	if w.open() && flushed {
		//nolint:errcheck // the handler's own writes will tell
		http.NewResponseController(w.client).Flush()
	}
}

// flushOpening flushes the head of a response when it has waited long enough.
func (w *attemptWriter) flushOpening() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase.Load() != opening || w.opening != nil {
		return
	}
	attempt := w.attempt
	w.timed = true
	w.opening = time.AfterFunc(maxOpening, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.attempt != attempt || !w.open() {
			return
		}
		w.phase.Store(greeting)
		//nolint:errcheck // the handler's own writes will tell
		http.NewResponseController(w.client).Flush()
	})
}

// writeFirst takes the body's first bytes: of a response whose head has waited for
// them, or has gone ahead. w.mu is held.
func (w *attemptWriter) writeFirst(p []byte) (int, error) {
	suspect := looksLikeError(w.stream, p)
	if w.phase.Load() == greeting {
		w.phase.Store(committed)
		if suspect {
			w.owner.blame(w.status, p)
		}
		return w.deliver(p)
	}
	if !suspect {
		w.open()
		return w.deliver(p)
	}
	w.stopOpening()
	w.hold(w.status)
	n, err := w.collect(p)
	if _, whole := firstEvent(w.held); w.stream && whole && w.phase.Load() == holding {
		w.settle(true)
	}
	return n, err
}

package respond

import (
	"net/http"
	"time"

	"github.com/keycycler/keycycler/internal/peek"
)

// Some providers answer 200 and then say in the body that the key has met its
// limit: in the first event of a stream, or as the whole of a JSON document. So the
// head of a 200 whose body could be such a one goes to the client together with the
// first event. What comes before the end of that is held; a first event that is no
// error is the client's at once, and so is everything after it.

// MaxOpening is how long the head, and what comes before the end of the first event, is
// held after the first byte or flush.
const MaxOpening = time.Second

// mayOpenWithError tells whether a response's body could be an error, in spite of
// its status, and whether it is a stream then.
func mayOpenWithError(status int, header http.Header) (may, stream bool) {
	if status != http.StatusOK {
		return false, false
	}
	media := peek.First(header, "Content-Type")
	stream = peek.IsEventStream(media)
	document := peek.IsMedia(media, "application/json") || peek.IsMedia(media, "application/x-ndjson") // Ollama's lines
	return (stream || document) && peek.Decodes(peek.First(header, "Content-Encoding")), stream
}

// open makes a response the client's whose head has waited for its body, if there is one.
// w.mu is held.
func (w *Writer) open() {
	if w.Phase.Load() != Opening {
		return
	}
	w.stopOpening()
	w.pass(w.Status)
	if w.stream {
		w.watch.Begin(w.coding)
	}
	held := w.Held
	w.Held = w.Held[:0]
	if len(held) > 0 {
		//nolint:errcheck // the handler's own writes will tell
		w.deliver(held)
	}
	if w.flush {
		//nolint:errcheck // likewise
		w.flushClient()
	}
	w.Phase.Store(committed)
}

func (w *Writer) stopOpening() {
	if w.opening != nil {
		w.opening.Stop()
		w.opening = nil
	}
}

// conclude is for a response of whose body no more comes: it is judged by what has come.
func (w *Writer) conclude() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.Phase.Load() != Opening:
	case len(w.Held) == 0:
		w.open()
	default:
		w.Whole = true
		w.suspect()
	}
}

// waitForBody makes sure that the head does not wait too long. w.mu is held.
func (w *Writer) waitForBody() {
	if w.opening != nil {
		return
	}
	attempt := w.attempt
	w.timed = true
	w.opening = time.AfterFunc(MaxOpening, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		defer w.catch()
		if w.attempt == attempt && w.Phase.Load() == Opening {
			w.flush = true
			w.open()
		}
	})
}

// flushOpening puts a flush off, of a head that waits for its body.
func (w *Writer) flushOpening() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.Phase.Load() == Opening {
		w.flush = true
		w.waitForBody()
	}
}

// writeFirst takes the body's first bytes, until it is clear what they are. w.mu is held.
func (w *Writer) writeFirst(p []byte) (int, error) {
	begun := len(w.Held) > 0
	first := p
	if begun {
		w.Held = append(w.Held, p...)
		first = w.Held
	}
	switch begins := peek.Begins(w.stream, peek.DecodeSoFar(w.coding, first)); {
	case begins == peek.Healthy && !begun:
		w.open()
		return w.deliver(p)
	case begins == peek.Healthy, begins == peek.Undecided && len(first) > peek.MaxRejection:
		w.keep(first)
		w.open()
	case begins == peek.Undecided:
		w.keep(first)
		w.waitForBody()
	default:
		w.keep(first)
		w.suspect()
	}
	return len(p), nil
}

// keep holds the body's first bytes.
func (w *Writer) keep(first []byte) {
	if len(w.Held) == 0 {
		w.Held = append(w.Held, first...)
	}
}

// suspect judges the body's first bytes. w.mu is held.
func (w *Writer) suspect() {
	w.stopOpening()
	w.hold(w.Status)
	w.settleNow()
}

// settleNow settles before the body's end: of a rejection that is a stream, nobody waits
// for the rest. w.mu is held.
func (w *Writer) settleNow() {
	w.settle(true)
	if w.Phase.Load() == rejected && w.stream && !w.Whole {
		w.cancel(nil)
	}
}

// saidAll tells whether what is held of a rejection is all that matters of it: the first
// event of a stream. w.mu is held.
func (w *Writer) saidAll() bool {
	if !w.stream {
		return false
	}
	_, whole := peek.FirstEvent(peek.DecodeSoFar(w.coding, w.Held))
	return whole
}

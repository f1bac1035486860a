package respond

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/keycycler/keycycler/internal/peek"
)

// A response that may be a rejection is held, its head and as much of its body as a
// rejection has, until its owner can judge it.

// hold begins to hold a response back.
func (w *Writer) hold(status int) {
	w.Phase.Store(holding)
	w.Status = status
	w.Head = w.Client.Header().Clone() // what the handler adds later are trailers
	w.stream, w.coding = peek.IsEventStream(peek.First(w.Head, "Content-Type")), peek.First(w.Head, "Content-Encoding")
	attempt := w.attempt
	w.timer = time.AfterFunc(MaxHold, func() { w.timeout(attempt) })
}

// timeout judges a response whose body does not end by what has come of it.
func (w *Writer) timeout(attempt uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.catch()
	if w.attempt != attempt || w.Phase.Load() != holding {
		return
	}
	w.settle(true)
	if w.Phase.Load() == rejected {
		w.cancel(nil)
	}
}

// settle judges the held response and passes it on or throws it away. The phase
// changes last: until then the handler's writes wait for w.mu.
func (w *Writer) settle(flush bool) {
	w.timer.Stop()
	if w.own != nil && !w.Whole {
		w.was = w.Head.Clone() // the owner changes it
	}
	if !w.Owner.Settle(w) {
		w.Phase.Store(rejected)
		return
	}
	h := w.Client.Header()
	Replace(h, w.Head)
	w.pass(w.Status)
	if w.flushHead {
		//nolint:errcheck // the handler's own writes will tell
		w.flushClient()
	}
	//nolint:errcheck // likewise
	w.deliver(w.Held)
	if flush || w.flush {
		//nolint:errcheck // likewise
		w.flushClient()
	}
	w.Phase.Store(committed)
}

// ownHeader returns the map that is the handler's own while its response is held, or nil
// where it is not held any more. The client's is passed on by another goroutine when
// MaxHold is over, whatever the handler does at that moment.
func (w *Writer) ownHeader() http.Header {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.Phase.Load() != holding {
		return nil
	}
	if w.own == nil {
		w.own = w.Head.Clone()
	}
	return w.own
}

// trailers returns the map that is the handler's own while keepalive comments may be written:
// HTTP/2 reads the client's with each write, where there are trailers. The response is the
// client's already.
func (w *Writer) trailers() http.Header {
	if w.own == nil {
		w.own = w.Client.Header().Clone()
	}
	if w.was == nil {
		w.was = w.own.Clone()
	}
	return w.own
}

// addTrailers gives a response that is the client's what its handler has set in a map of its
// own. The handler is back, and nobody else writes any more.
func (w *Writer) addTrailers() {
	if w.Phase.Load() != committed || w.was == nil && w.Late == nil {
		return
	}
	h := w.Client.Header()
	maps.Copy(h, w.Late)
	if w.was != nil {
		changes(h, w.own, w.was)
	}
}

// conclusion judges a response that is held to its end. The handler is back, w.mu is held.
func (w *Writer) conclusion() {
	if w.Phase.Load() != holding {
		return
	}
	w.Whole = true
	w.Late = changes(changes(nil, w.Client.Header(), w.Head), w.own, w.Head)
	w.settle(false)
}

// changes adds to h what was set since the header was like that, and returns it.
func changes(h, now, was http.Header) http.Header {
	for name, values := range now {
		if slices.Equal(values, was[name]) {
			continue
		}
		if h == nil {
			h = make(http.Header)
		}
		h[name] = slices.Clone(values)
	}
	return h
}

// collect keeps p. A body that is full is judged without the rest.
func (w *Writer) collect(p []byte) (int, error) {
	n := min(len(p), peek.MaxRejection-len(w.Held))
	w.Held = append(w.Held, p[:n]...)
	switch {
	case w.saidAll():
		w.settleNow()
	case n < len(p):
		w.settle(false)
	}
	if n == len(p) {
		return n, nil
	}
	if w.Phase.Load() == rejected {
		m, err := w.discard(p[n:])
		return n + m, err
	}
	m, err := w.deliver(p[n:])
	return n + m, err
}

func (w *Writer) discard(p []byte) (int, error) {
	w.discarded += len(p)
	if w.discarded > MaxDiscard {
		return 0, ErrRejected
	}
	return len(p), nil
}

// flushHeld puts a flush off until what is held has been judged: a handler whose answer
// breaks off flushes what came of it, and gives up. It reports false where nothing is
// held any more.
func (w *Writer) flushHeld() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.Phase.Load() != holding {
		return false
	}
	if len(w.Held) == 0 {
		w.flushHead = true
	} else {
		w.flush = true
	}
	return true
}

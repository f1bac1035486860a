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
	w.Head = w.Header().Clone() // what the handler adds later are trailers
	w.stream, w.coding = peek.IsEventStream(peek.First(w.Head, "Content-Type")), peek.First(w.Head, "Content-Encoding")
	attempt := w.attempt
	w.timer = time.AfterFunc(MaxHold, func() { w.timeout(attempt) })
}

// timeout judges a response whose body does not end by what has come of it.
func (w *Writer) timeout(attempt uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
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
	w.Late = w.late()
	if !w.Owner.Settle(w) {
		w.Phase.Store(rejected)
		return
	}
	h := w.Header()
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
	maps.Copy(h, w.Late)
	w.Phase.Store(committed)
}

// late returns what the handler has set since the held response's head: its trailers.
func (w *Writer) late() http.Header {
	var late http.Header
	for name, values := range w.Client.Header() {
		if slices.Equal(values, w.Head[name]) {
			continue
		}
		if late == nil {
			late = make(http.Header)
		}
		late[name] = slices.Clone(values)
	}
	return late
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

package upstream

import (
	"context"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// Reach is how far an attempt has come.
type Reach int32

const (
	Unseen    Reach = iota // nobody has looked
	Untried                // no connection was wanted
	Dialing                // one was, and there is none yet: nothing can have gone upstream
	Connected              // there is one
	Untaken                // there was one, and the upstream did not take the request, nor soon after
)

// insistence is for how long net/http may send a request again that the upstream has not
// begun to process, if there is another address. It does so at once, and then over HTTP/2
// after a second, two, four and so on.
const insistence = time.Second / 2

// Watch sees how far an attempt comes. It is safe for concurrent use.
type Watch struct {
	trace   httptrace.ClientTrace
	at      atomic.Int32
	began   time.Time
	had     atomic.Int64 // when there was a connection, since it began; 0: there was none
	attempt Expirer      // nil: no other address would take it
	over    atomic.Bool  // the attempt is
}

// Expirer can end an attempt that has no answer.
type Expirer interface{ Expire(cause error) bool }

// In returns a context in which w sees what an attempt of net/http does. Call it once. The
// last connection counts: what was tried before, something took for safe to be repeated. If
// there is another address, attempt is not nil, and ends when net/http insists on this one.
func (w *Watch) In(ctx context.Context, attempt Expirer) context.Context {
	w.began, w.attempt = time.Now(), attempt
	w.at.Store(int32(Untried))
	w.trace.GetConn, w.trace.GotConn = w.wants, w.gets
	return httptrace.WithClientTrace(ctx, &w.trace)
}

// wants is told that a connection is wanted.
func (w *Watch) wants(string) {
	had := time.Duration(w.had.Load())
	if w.attempt == nil || had == 0 || time.Since(w.began)-had < insistence || w.over.Load() {
		w.at.Store(int32(Dialing))
		return
	}
	w.at.Store(int32(Untaken))
	w.attempt.Expire(ErrUntaken)
}

// gets is told that there is one.
func (w *Watch) gets(httptrace.GotConnInfo) {
	if w.Reach() != Untaken {
		w.had.CompareAndSwap(0, max(int64(time.Since(w.began)), 1))
		w.at.Store(int32(Connected))
	}
}

// End says that the attempt is over. w may be nil.
func (w *Watch) End() {
	if w != nil {
		w.over.Store(true)
	}
}

// Reach returns how far the attempt has come by now. w may be nil.
func (w *Watch) Reach() Reach {
	if w == nil {
		return Unseen
	}
	return Reach(w.at.Load())
}

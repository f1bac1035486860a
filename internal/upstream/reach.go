package upstream

import (
	"context"
	"net/http/httptrace"
	"sync/atomic"
)

// Reach is how far an attempt has come.
type Reach int32

const (
	Unseen    Reach = iota // nobody has looked
	Untried                // no connection was wanted
	Dialing                // one was, and there is none yet: nothing can have gone upstream
	Connected              // there is one
)

// Watch sees how far an attempt comes. It is safe for concurrent use.
type Watch struct {
	trace httptrace.ClientTrace
	at    atomic.Int32
}

// In returns a context in which w sees what an attempt of net/http does. Call it once. The
// last connection counts: what was tried before, something took for safe to be repeated.
func (w *Watch) In(ctx context.Context) context.Context {
	w.at.Store(int32(Untried))
	w.trace.GetConn = func(string) { w.at.Store(int32(Dialing)) }
	w.trace.GotConn = func(httptrace.GotConnInfo) { w.at.Store(int32(Connected)) }
	return httptrace.WithClientTrace(ctx, &w.trace)
}

// Reach returns how far the attempt has come by now. w may be nil.
func (w *Watch) Reach() Reach {
	if w == nil {
		return Unseen
	}
	return Reach(w.at.Load())
}

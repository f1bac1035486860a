package replay

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// well stands where all of the client's body comes from: below the reader that Caddy's
// server puts around it for its idle timeouts, before any handler has seen the request.
// So it is below the body of every copy of the request that handlers before us have
// made (tracing, forward_auth): what is handed back is found in all of them.
//
// The server's reader remembers the end of the body and reads no more after it. So the
// end is kept from it for as long as the body may be handed back.
//
// Its body's mu guards it.
type well struct {
	body   *Body
	reader *caddyhttp.IdleTimeoutReader // above; nil: there is no well
	source io.ReadCloser                // below: net/http's own

	into   *byte // where the pull under way reads to
	direct int32 // how much of that pull has gone straight through, in bytes; -1: it did not come here
	ended  bool  // the body has, and the reader above does not know
	opaque bool  // a handler before us changes what comes
	handed bool  // who reads here, but for our own pulls, gets the body from its start
	last   bool  // the pull under way began after that
}

const (
	// dialVar is the variable that reverse_proxy sets when it turns to an upstream.
	dialVar = "reverse_proxy.dial_info"

	// copyKey is of the context that its handle_response, which forward_auth is made
	// of, gives to a copy of the request.
	copyKey caddy.CtxKey = "reverse_proxy_handle_response_context"
)

// dig puts a well below the request's body. It reports whether what is read from the
// body can be handed back to everybody: not where idle timeouts are turned off, nor
// where a reverse_proxy has had the request before, which may read it still.
func (w *well) dig(b *Body, r *http.Request) bool {
	ctx := r.Context()
	reader, _ := caddyhttp.IdleTimeoutsFromContext(ctx)
	if reader == nil {
		return ctx.Value(caddyhttp.ServerCtxKey) == nil // without a server nobody has copied it
	}
	if _, ok := reader.ReadCloser.(*well); ok {
		return true // another pool's, which the request has come to before
	}
	vars, _ := ctx.Value(caddyhttp.VarsCtxKey).(map[string]any)
	if _, ok := vars[dialVar]; ok {
		b.copied = ctx.Value(copyKey) != nil
		return false
	}
	w.body, w.reader, w.source = b, reader, reader.ReadCloser
	reader.ReadCloser = w
	return true
}

// CameBack tells whether a reverse_proxy has had the request, and has given it to handlers
// of its own, or back to one before it.
func CameBack(r *http.Request) bool {
	ctx := r.Context()
	vars, _ := ctx.Value(caddyhttp.VarsCtxKey).(map[string]any)
	return ctx.Value(copyKey) != nil || vars[dialVar] != nil
}

// expect is told where a pull is going to read to.
func (w *well) expect(p []byte) {
	w.into, w.direct, w.last = &p[0], -1, w.handed
}

// came is told what the pull has read, and returns how the body ended by that. What
// has not gone straight through was changed by a handler before us.
func (w *well) came(n int, err error) error {
	w.into = nil
	if w.reader == nil || err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if int(w.direct) != n {
		w.opaque = true
	} else if w.ended {
		return io.EOF
	}
	return err
}

// Read implements io.Reader: for our own pulls, and for who comes after us.
func (w *well) Read(p []byte) (int, error) {
	b := w.body
	b.mu.Lock()
	own := len(p) > 0 && &p[0] == w.into
	handed, ended, last := w.handed, w.ended, w.last
	b.mu.Unlock()
	switch {
	case handed && !own:
		return b.after.Read(p)
	case ended:
		return 0, io.EOF
	}
	n, err := w.source.Read(p)
	if !own {
		return n, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	w.direct = int32(n)
	if w.ended = errors.Is(err, io.EOF) && !last; w.ended {
		return n, nil
	}
	return n, err
}

// Close implements io.Closer.
func (w *well) Close() error {
	w.body.mu.Lock()
	after := w.body.after
	w.body.mu.Unlock()
	if after != nil {
		after.Close() //nolint:errcheck // never fails
	}
	return w.source.Close()
}

// HandOver gives the body, whole, to who comes after us with the request or a copy of
// it, until the request ends; then everything is given back. A body that is not whole any
// more nobody gets: a part must not be taken for all of it. It reports false where the
// rest must be closed for that.
func (b *Body) HandOver(r *http.Request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.came() == 0 && b.end == nil && !b.pulling {
		b.phase, b.active = over, nil // nothing was taken from it
		return true
	}
	ctx := r.Context()
	b.after = &AttemptBody{body: b}
	b.active, r.Body = b.after, b.after
	b.turn.Broadcast()
	if b.phase != keeping || b.copied || ctx.Done() == nil {
		b.well.handed = b.well.reader != nil
		b.over()
		return b.well.handed
	}
	b.phase = flowing
	b.well.handed = b.well.reader != nil && !b.well.opaque
	context.AfterFunc(ctx, b.Finish)
	return true
}

// IsBuffered tells whether a handler before us keeps the answer, and may give another
// in its place (intercept).
func IsBuffered(w http.ResponseWriter) bool {
	for {
		if keeps, ok := w.(interface{ Buffered() bool }); ok && keeps.Buffered() {
			return true
		}
		outer, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = outer.Unwrap()
	}
}

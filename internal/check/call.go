package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/credential"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/peek"
	"github.com/keycycler/keycycler/internal/roster"
	"github.com/keycycler/keycycler/internal/upstream"
	"github.com/keycycler/keycycler/rotator"
)

// patience is how long an answer may take.
const patience = 10 * time.Second

// Why nothing could be asked.
var (
	errNotRunning = errors.New("this pool is not in the config that runs yet, or stands within a handler of another module: nobody knows the way from there to the upstream")
	errNested     = errors.New("another keycycler stands behind this one: the requests go out with its keys")
	errDisowned   = errors.New("a handler behind keycycler answers by itself, and no reverse_proxy was asked: choose another path with 'check { uri <path> }'")
	errNoPath     = errors.New("no path is known at which this provider answers good keys alone, at no cost: write one as 'check { uri <path> }'")
	errBusy       = errors.New("other keys of the pool are just being asked about: try again in a moment")
	errPatience   = fmt.Errorf("there was no answer within %s", patience)
)

// asked is who a call is about.
type asked struct {
	*roster.Roster
	slot rotator.Slot
}

func (k asked) key() rotator.Key { return k.Pool.Key(k.slot) }

func (k asked) place() observe.Place { return observe.Place{Index: k.Index, Slot: k.slot} }

// answer is what the upstream says, as far as it is judged.
type answer struct {
	status    int
	header    http.Header
	body      []byte // at most peek.MaxRejection, as it was sent
	address   string // that reverse_proxy has turned to
	began, at time.Time
}

// said returns what the body says, without its coding.
func (a *answer) said() []byte { return peek.Said(a.header, a.body) }

// answer returns what has come.
func (w *recorder) answer(address string, began time.Time) *answer {
	return &answer{w.status, w.header, w.body, address, began, time.Now()}
}

// failedError is a call that came to the upstream, or nearly, and got no answer.
type failedError struct{ error }

// call asks the upstream about the key, or without any.
func (c *Checker) call(ctx context.Context, k asked, bare bool) (*answer, error) {
	if c.uri == "" {
		return nil, errNoPath
	}
	to := c.way()
	if to == nil {
		return nil, errNotRunning
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	w, began := &recorder{header: make(http.Header)}, time.Now()
	in, err := c.request(ctx, to.server, w)
	if err != nil {
		return nil, err
	}
	rep := &observe.Report{Pool: c.Pool}
	rep.Begin(in)
	rep.Attempt(k.place(), 1)
	attempt := new(observe.AttemptContext)
	err = serve(to.next, w, c.outgoing(attempt, in, rep, k, bare))
	address := rep.Address()
	attempt.End()
	if problem := problemOf(rep, w, address, err); problem != nil {
		return nil, problem
	}
	if failed := failureOf(ctx, w, err); failed != nil {
		return nil, failedError{maskedError(failed, k.key())}
	}
	return w.answer(address, began), nil
}

// request is the check as if a client had sent it.
func (c *Checker) request(ctx context.Context, s *caddyhttp.Server, w http.ResponseWriter) (*http.Request, error) {
	ctx = context.WithValue(ctx, http.LocalAddrContextKey, localOf(s))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+c.uri, http.NoBody)
	if err != nil {
		return nil, errNoPath // Config.Check has read it
	}
	r.RequestURI, r.URL.Scheme, r.URL.Host = c.uri, "", "" // as a server has it
	r.Header.Set("User-Agent", "keycycler")
	r.Header.Set("Accept", "application/json")
	for name, value := range c.Provider.Check.Header {
		r.Header.Set(name, value)
	}
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, s), nil
}

// localOf is where the server listens first: Caddy's placeholders take for granted that a
// request has come somewhere.
func localOf(s *caddyhttp.Server) net.Addr {
	local := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
	if len(s.Listen) == 0 {
		return local
	}
	a, err := caddy.ParseNetworkAddress(s.Listen[0])
	if err == nil && a.IsUnixNetwork() {
		return &net.UnixAddr{Net: a.Network, Name: a.Host}
	}
	local.Port = int(a.StartPort)
	return local
}

// outgoing makes the request of the attempt, as for a client's.
func (c *Checker) outgoing(ctx *observe.AttemptContext, in *http.Request, rep *observe.Report, k asked, bare bool) *http.Request {
	o := new(credential.Outgoing)
	ctx.Begin(in.Context(), &o.Request, rep, k.place())
	k.Injector.Fill(ctx, o, in, k.slot)
	if bare {
		o.Request = *in.Clone(ctx)
	}
	k.Way(k.slot).Direct(&o.Request)
	return &o.Request
}

// serve calls the handlers. What breaks off has been answered as far as it has come. No server
// is there to recover from their panics.
func serve(next caddyhttp.Handler, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // a panic's value, compared as net/http does
			err = fmt.Errorf("a handler behind keycycler panicked: %v", p)
		}
	}()
	return next.ServeHTTP(w, r)
}

// problemOf returns why no answer could come: the config's fault, not the upstream's.
func problemOf(rep *observe.Report, w *recorder, address string, err error) error {
	switch {
	case rep.Outcome == observe.OutcomeNested:
		return errNested
	case err == nil && rep.Unhandled() && address == "":
		return errDisowned
	case err == nil && w.status != 0 && address == "":
		return errDisowned
	}
	return nil
}

// failureOf returns how the upstream has failed, nil if it has answered.
func failureOf(ctx context.Context, w *recorder, err error) error {
	switch {
	case ctx.Err() != nil && (err != nil || w.status == 0 || w.status == statusGone):
		return errPatience
	case err == nil && w.status == 0:
		return errors.New("there was no answer")
	case err == nil:
		return nil
	}
	cause := causeOf(err)
	if f, _ := upstream.FaultOf(err, upstream.Unseen); f != upstream.None {
		return fmt.Errorf("%s: %w", f, cause)
	}
	return cause
}

// causeOf is the error without what Caddy's own logs say around it: an id and a line of its source.
func causeOf(err error) error {
	if e, ok := errors.AsType[caddyhttp.HandlerError](err); ok && e.Err != nil {
		return e.Err
	}
	return err
}

// statusGone is what reverse_proxy answers a client that has left.
const statusGone = 499

// maskedError is the error without the key, which may stand in a URL.
func maskedError(err error, key rotator.Key) error {
	text := credential.Mask(make(http.Header), []byte(err.Error()), true, key.Secret())
	return errors.New(string(text))
}

// recorder keeps an answer, as far as it is judged.
type recorder struct {
	header http.Header
	status int
	body   []byte
}

// Header implements http.ResponseWriter.
func (w *recorder) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
}

// Write implements http.ResponseWriter. What is too much is read, and forgotten.
func (w *recorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.body = append(w.body, p[:min(len(p), peek.MaxRejection-len(w.body))]...)
	return len(p), nil
}

// Flush implements http.Flusher.
func (w *recorder) Flush() {}

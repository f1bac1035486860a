// Package respond is the ResponseWriter of an attempt: it holds back what may be a
// rejection until its owner has judged it, and lets everything else through from the first
// byte on.
//
// It knows HTTP, and asks its owner what an answer means. What an answer goes through
// before the client has it belongs here.
package respond

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/peek"
)

const (
	// MaxDiscard is how much of a rejection's body is read and thrown away beyond
	// MaxRejection, in bytes, so that the upstream's connection can be used again.
	MaxDiscard = 256 << 10

	// MaxHold is how long a response is held back for the rest of its body: it is
	// judged by what has come by then.
	MaxHold = 10 * time.Second

	// MaxEarly is how many 103 responses of one attempt are kept, which is what
	// net/http's own client takes.
	MaxEarly = 5

	// MaxEarlySize is how much of their names and values is kept over all, in bytes:
	// five of them could hold 50 MB otherwise. A browser's whole page is hinted at in
	// a few KiB.
	MaxEarlySize = 64 << 10
)

// ErrRejected ends the copying of a rejection's body that has no end.
var ErrRejected = errors.New("keycycler: the response was rejected")

// The phases of an attempt's response.
const (
	waiting   int32 = iota // nothing but informational responses so far
	Opening                // the head of a response whose body's first bytes may change what it means
	holding                // a response that may be a rejection; its body is collected
	committed              // it is the client's: everything passes
	rejected               // nobody will see it: everything is thrown away
)

// attemptOwner decides about an attempt's response. The writer calls it with its
// lock held.
type attemptOwner interface {
	// Holds tells whether a response of that status is held back to be judged.
	Holds(status int) bool
	// Settle judges the held response: whether the client gets it. It may change
	// the writer's header and held.
	Settle(w *Writer) bool
	// Commit is told that the response becomes the client's, before anything of it
	// is written.
	Commit(status int, header http.Header)
	// Passed is told that its head has been written.
	Passed()
	// Blame is told of events that look like errors in a stream that is the client's
	// already, and tells whether one of them is: nothing more is looked for then. It may
	// be called without the lock, by who writes the response.
	Blame(status int, events []byte) bool
}

// bodyReader reads along what the client is given.
type bodyReader interface {
	// Write takes the body's next piece, before the client gets it.
	Write(p []byte)
	// Release is called when there is no more.
	Release()
}

// Writer is the ResponseWriter of an attempt. It passes a response on, or
// holds it back until the body says what it means. The header map is the client's
// own, so that trailers work; a rejection leaves no trace in it, since the
// exchange restores it before the next attempt.
type Writer struct {
	Client http.ResponseWriter
	Owner  attemptOwner

	// Keepalive is after how long of silence a stream gets a comment; 0: never.
	Keepalive time.Duration

	cancel  context.CancelCauseFunc // ends the attempt
	expired bool                    // it was ended, since it had no response

	panicked any // what passing it on in another goroutine has ended with

	Phase atomic.Int32
	mu    sync.Mutex // guards the rest, and every change of phase

	Base      headerCopy // the header before the attempt
	Status    int        // of the response, once there is one
	Head      http.Header
	Held      []byte
	Late      http.Header // what was set since Head of a response that is held to its end: trailers
	own, was  http.Header // the handler's, while the response is held, and what Head was when that was over
	Whole     bool        // Held is all there will be of the body, …
	Returned  bool        // … and the handler has come back: it has not panicked, as for a body that breaks off
	discarded int
	Early     []http.Header
	earlySize int // of early, in bytes
	timer     *time.Timer
	stream    bool        // the response is one, if it may open with an error
	coding    string      // its content coding, "" for none
	watch     peek.Watch  // looks for an error in what follows the stream's beginning
	opening   *time.Timer // while the head waits for the body
	timed     bool        // there was one
	flushHead bool        // the handler has flushed the held head alone
	flush     bool        // it has flushed what is held of the body
	attempt   uint64      // counts up: a late timer's is an old one

	tap   *tap      // of a websocket that the client has; or nil
	heart heartbeat // of a stream that is the client's

	readers []bodyReader // of what the client is given
}

// Begin makes w ready for the next attempt. Nobody else has it yet: a timer of the
// attempt before does nothing any more.
func (w *Writer) Begin(cancel context.CancelCauseFunc) {
	w.cancel, w.expired, w.panicked = cancel, false, nil
	w.Status, w.Head, w.Held, w.Whole, w.discarded, w.Early, w.earlySize, w.timer = 0, nil, w.Held[:0], false, 0, nil, 0, nil
	w.Late, w.own, w.was, w.Returned = nil, nil, nil, false
	w.opening, w.timed, w.flushHead, w.flush, w.stream, w.coding = nil, false, false, false, false, ""
	w.Phase.Store(waiting)
}

// End judges what is still held. Call it when the attempt's handler is back.
func (w *Writer) End() {
	w.judgeRest()
	w.watch.Stop()
	if w.heart.on() {
		if p := w.heart.stop(); p != nil {
			w.panicked = p
		}
	}
	if w.tap != nil {
		w.tap.stop()
		w.tap = nil
	}
	w.addTrailers()
}

func (w *Writer) judgeRest() {
	if w.Phase.Load() == Opening {
		w.conclude()
	}
	if w.timer == nil && !w.timed {
		return // nothing was held, and no timer will ask
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conclusion()
	w.attempt++
}

// Forget drops what w knows of its exchange: a writer in the pool keeps no header of
// a response alive, which may be megabytes. It is ready for another exchange then.
func (w *Writer) Forget() {
	w.Client, w.cancel, w.Head, w.Late, w.own, w.was, w.Early = nil, nil, nil, nil, nil, nil, nil
	w.timer, w.opening, w.panicked = nil, nil, nil
	w.Base.forget()
}

// catch is deferred by what passes a response on in a goroutine of ours, with w.mu held. Where
// another handler's writer panics there, net/http would not recover, and the process would end:
// the attempt is ended instead, and Panicked tells of it.
func (w *Writer) catch() {
	if p := recover(); p != nil {
		w.panicked = p
		w.Phase.Store(committed)
		w.cancel(nil)
	}
}

// Panicked returns what has to go on as a panic of the handler, which is back; or nil.
func (w *Writer) Panicked() any { return w.panicked }

// Rejected tells whether nobody will see the attempt's response.
func (w *Writer) Rejected() bool { return w.Phase.Load() == rejected }

// Begun tells whether there is a response, other than informational ones.
func (w *Writer) Begun() bool { return w.Phase.Load() != waiting }

// Expire ends an attempt that has no response, and tells whether it had none: whatever
// comes of it now, nobody will see. It is safe for concurrent use.
func (w *Writer) Expire(cause error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.Phase.Load() != waiting {
		return false
	}
	w.expired = true
	w.Phase.Store(rejected)
	w.cancel(cause)
	return true
}

// Expired tells whether Expire has ended the attempt, whose handler is back.
func (w *Writer) Expired() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.expired
}

// Header implements http.ResponseWriter.
func (w *Writer) Header() http.Header {
	switch w.Phase.Load() {
	case Opening:
		w.conclude() // what is changed from now on is not the head's any more
	case holding:
		if h := w.ownHeader(); h != nil {
			return h
		}
	}
	if w.Phase.Load() == committed && w.heart.on() {
		return w.trailers()
	}
	return w.Client.Header()
}

// WriteHeader implements http.ResponseWriter.
func (w *Writer) WriteHeader(status int) {
	if w.Phase.Load() == committed {
		w.Client.WriteHeader(status)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.Phase.Load() != waiting {
		return
	}
	switch {
	case status >= 100 && status < 200 && status != http.StatusSwitchingProtocols:
		w.inform(status)
	case w.Owner.Holds(status):
		w.hold(status)
	default:
		w.Status = status
		if may, stream := mayOpenWithError(status, w.Client.Header()); may {
			w.stream, w.coding = stream, peek.First(w.Client.Header(), "Content-Encoding")
			w.Phase.Store(Opening)
			return
		}
		w.pass(status)
		w.Phase.Store(committed)
	}
}

// inform handles an informational response. One that only says that work goes on
// passes at once, without the header of an answer that may be a rejection. Early
// hints are about that answer: they are kept until it is the client's.
func (w *Writer) inform(status int) {
	h := w.Header()
	if status == http.StatusEarlyHints {
		w.keepEarly(h)
		return
	}
	own := maps.Clone(h)
	w.Base.Restore(h)
	w.Client.WriteHeader(status)
	Replace(h, own)
}

// keepEarly keeps early hints, unless they are too many or too large.
func (w *Writer) keepEarly(h http.Header) {
	size := headerSize(h)
	if len(w.Early) == MaxEarly || w.earlySize+size > MaxEarlySize {
		return
	}
	w.Early = append(w.Early, h.Clone())
	w.earlySize += size
}

// headerSize is how long the names and values are, in bytes.
func headerSize(h http.Header) (size int) {
	for name, values := range h {
		for _, value := range values {
			size += len(name) + len(value)
		}
	}
	return size
}

// pass makes the response the client's; the caller changes the phase.
func (w *Writer) pass(status int) {
	h := w.Client.Header()
	w.Owner.Commit(status, h)
	if len(w.Early) > 0 {
		final := maps.Clone(h)
		for _, hints := range w.Early {
			Replace(h, hints)
			w.Client.WriteHeader(http.StatusEarlyHints)
		}
		Replace(h, final)
	}
	w.Client.WriteHeader(status)
	w.Owner.Passed()
	if w.Keepalive > 0 && mayBeat(status, h) {
		w.heart.begin(w.Keepalive, w.Client, w.cancel)
	}
}

// Write implements http.ResponseWriter.
func (w *Writer) Write(p []byte) (int, error) {
	if w.Phase.Load() == waiting {
		w.WriteHeader(http.StatusOK)
	}
	if w.Phase.Load() == committed {
		return w.deliver(p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.Phase.Load() {
	case Opening:
		return w.writeFirst(p)
	case holding:
		return w.collect(p)
	case rejected:
		return w.discard(p)
	default: // the timeout has come between
		return w.deliver(p)
	}
}

// deliver gives a piece of the body to the client. Only the phase says whether that is
// right.
func (w *Writer) deliver(p []byte) (int, error) {
	for _, r := range w.readers {
		r.Write(p)
	}
	if w.watch.On {
		w.look(p)
	}
	if w.heart.on() {
		return w.heart.write(p)
	}
	return w.Client.Write(p)
}

// flushClient flushes what is the client's.
func (w *Writer) flushClient() error {
	if w.heart.on() {
		return w.heart.flush()
	}
	return http.NewResponseController(w.Client).Flush()
}

// look looks for an error behind the stream's beginning: the client has it, and the key
// cools all the same.
func (w *Writer) look(p []byte) {
	if said := w.watch.Write(p); said != nil && w.Owner.Blame(w.Status, said) {
		w.watch.Stop()
	}
}

// ReadAlong lets r read what the client is given, from now on.
func (w *Writer) ReadAlong(r bodyReader) { w.readers = append(w.readers, r) }

// EndReading gives the readers back. Nothing writes any more.
func (w *Writer) EndReading() {
	for _, r := range w.readers {
		r.Release()
	}
	clear(w.readers)
	w.readers = w.readers[:0]
}

// ReadFrom implements io.ReaderFrom: once the response is the client's, the
// connection reads for itself.
func (w *Writer) ReadFrom(r io.Reader) (int64, error) {
	if w.Phase.Load() == waiting {
		w.WriteHeader(http.StatusOK)
	}
	if w.Phase.Load() == committed && len(w.readers) == 0 && !w.watch.On && !w.heart.on() {
		if rf, ok := w.Client.(io.ReaderFrom); ok {
			return rf.ReadFrom(r)
		}
	}
	return io.Copy(struct{ io.Writer }{w}, r)
}

// FlushError is called by http.ResponseController.
func (w *Writer) FlushError() error {
	if w.Phase.Load() == waiting {
		w.WriteHeader(http.StatusOK)
	}
	switch w.Phase.Load() {
	case Opening:
		w.flushOpening()
		return nil
	case holding:
		if w.flushHeld() {
			return nil
		}
	}
	if w.Phase.Load() == committed {
		return w.flushClient()
	}
	return nil
}

// Flush implements http.Flusher.
func (w *Writer) Flush() {
	//nolint:errcheck // this method has no way to tell
	w.FlushError()
}

// Hijack is called by http.ResponseController. Who takes the connection over has
// accepted the request.
func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open()
	switch w.Phase.Load() {
	case waiting:
		w.Owner.Commit(http.StatusSwitchingProtocols, w.Client.Header())
		w.Owner.Passed()
		w.Phase.Store(committed)
	case holding, rejected:
		return nil, nil, http.ErrNotSupported
	}
	conn, buffered, err := http.NewResponseController(w.Client).Hijack()
	if err == nil {
		conn = w.tapWebsocket(conn, w.Client.Header())
	}
	return conn, buffered, err
}

// Push implements http.Pusher.
func (w *Writer) Push(target string, opts *http.PushOptions) error {
	if pusher, ok := w.Client.(http.Pusher); ok {
		return pusher.Push(target, opts)
	}
	return caddyhttp.ErrNotImplemented
}

// Unwrap lets http.ResponseController reach the connection's deadlines.
func (w *Writer) Unwrap() http.ResponseWriter { return w.Client }

// Interface guards
var (
	_ http.ResponseWriter = (*Writer)(nil)
	_ http.Flusher        = (*Writer)(nil)
	_ http.Hijacker       = (*Writer)(nil)
	_ http.Pusher         = (*Writer)(nil)
	_ io.ReaderFrom       = (*Writer)(nil)
)

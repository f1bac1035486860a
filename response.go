package keycycler

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
)

const (
	// maxDiscard is how much of a rejection's body is read and thrown away beyond
	// maxRejection, in bytes, so that the upstream's connection can be used again.
	maxDiscard = 256 << 10

	// maxHold is how long a response is held back for the rest of its body: it is
	// judged by what has come by then.
	maxHold = 10 * time.Second

	// maxEarly is how many 103 responses of one attempt are kept, which is what
	// net/http's own client takes.
	maxEarly = 5

	// maxEarlySize is how much of their names and values is kept over all, in bytes:
	// five of them could hold 50 MB otherwise. A browser's whole page is hinted at in
	// a few KiB.
	maxEarlySize = 64 << 10
)

// errRejected ends the copying of a rejection's body that has no end.
var errRejected = errors.New("keycycler: the response was rejected")

// The phases of an attempt's response.
const (
	waiting   int32 = iota // nothing but informational responses so far
	opening                // the head of a response whose body's first bytes may change what it means
	greeting               // that head has gone to the client ahead of its body; all passes
	holding                // a response that may be a rejection; its body is collected
	committed              // it is the client's: everything passes
	rejected               // nobody will see it: everything is thrown away
)

// attemptOwner decides about an attempt's response. The writer calls it with its
// lock held.
type attemptOwner interface {
	// holds tells whether a response of that status is held back to be judged.
	holds(status int) bool
	// settle judges the held response: whether the client gets it. It may change
	// the writer's header and held.
	settle(w *attemptWriter) bool
	// commit is told that the response becomes the client's, before anything of it
	// is written.
	commit(status int, header http.Header)
	// passed is told that its head has been written.
	passed()
	// blame is told that a response which is the client's already has begun with
	// what looks like an error.
	blame(status int, body []byte)
}

// bodyReader reads along what the client is given.
type bodyReader interface {
	// write takes the body's next piece, before the client gets it.
	write(p []byte)
	// release is called when there is no more.
	release()
}

// attemptWriter is the ResponseWriter of an attempt. It passes a response on, or
// holds it back until the body says what it means. The header map is the client's
// own, so that trailers work; a rejection leaves no trace in it, since the
// exchange restores it before the next attempt.
type attemptWriter struct {
	client http.ResponseWriter
	owner  attemptOwner
	cancel context.CancelFunc // ends the attempt

	phase atomic.Int32
	mu    sync.Mutex // guards the rest, and every change of phase

	base      headerCopy // the header before the attempt
	status    int        // of the response, once there is one
	header    http.Header
	held      []byte
	whole     bool // held is all there will be of the body
	discarded int
	early     []http.Header
	earlySize int // of early, in bytes
	timer     *time.Timer
	stream    bool        // the response is one, if it may open with an error
	opening   *time.Timer // while a flush of the head waits for the body
	timed     bool        // there was one
	flush     bool        // the handler has flushed what is held
	attempt   uint64      // counts up: a late timer's is an old one

	learner bodyReader // reads what the client is given; nil: nobody does
}

// begin makes w ready for the next attempt. Nobody else has it yet: a timer of the
// attempt before does nothing any more.
func (w *attemptWriter) begin(cancel context.CancelFunc) {
	w.cancel = cancel
	w.status, w.header, w.held, w.whole, w.discarded, w.early, w.earlySize, w.timer = 0, nil, w.held[:0], false, 0, nil, 0, nil
	w.opening, w.timed, w.flush = nil, false, false
	w.phase.Store(waiting)
}

// end judges what is still held. Call it when the attempt's handler is back.
func (w *attemptWriter) end() {
	if w.phase.Load() == opening {
		w.openNow()
	}
	if w.timer == nil && !w.timed {
		return // nothing was held, and no timer will ask
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase.Load() == holding {
		w.whole = true
		w.settle(false)
	}
	w.attempt++
}

// forget drops what w knows of its exchange: a writer in the pool keeps no header of
// a response alive, which may be megabytes. It is ready for another exchange then.
func (w *attemptWriter) forget() {
	w.client, w.cancel, w.header, w.early, w.timer, w.opening = nil, nil, nil, nil, nil, nil
	w.base.forget()
}

func (w *attemptWriter) rejected() bool { return w.phase.Load() == rejected }

// Header implements http.ResponseWriter.
func (w *attemptWriter) Header() http.Header {
	if w.phase.Load() == opening {
		w.openNow() // what is changed from now on is not the head's any more
	}
	return w.client.Header()
}

// WriteHeader implements http.ResponseWriter.
func (w *attemptWriter) WriteHeader(status int) {
	if w.phase.Load() == committed {
		w.client.WriteHeader(status)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase.Load() != waiting {
		return
	}
	switch {
	case status >= 100 && status < 200 && status != http.StatusSwitchingProtocols:
		w.inform(status)
	case w.owner.holds(status):
		w.hold(status)
	default:
		w.status = status
		if may, stream := mayOpenWithError(status, w.client.Header()); may {
			w.stream = stream
			w.phase.Store(opening)
			return
		}
		w.pass(status)
		w.phase.Store(committed)
	}
}

// inform handles an informational response. One that only says that work goes on
// passes at once, without the header of an answer that may be a rejection. Early
// hints are about that answer: they are kept until it is the client's.
func (w *attemptWriter) inform(status int) {
	h := w.Header()
	if status == http.StatusEarlyHints {
		w.keepEarly(h)
		return
	}
	own := maps.Clone(h)
	w.base.restore(h)
	w.client.WriteHeader(status)
	replace(h, own)
}

// keepEarly keeps early hints, unless they are too many or too large.
func (w *attemptWriter) keepEarly(h http.Header) {
	size := headerSize(h)
	if len(w.early) == maxEarly || w.earlySize+size > maxEarlySize {
		return
	}
	w.early = append(w.early, h.Clone())
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

// hold begins to hold a response back.
func (w *attemptWriter) hold(status int) {
	w.phase.Store(holding)
	w.status = status
	w.header = w.Header().Clone() // what the handler adds later are trailers
	attempt := w.attempt
	w.timer = time.AfterFunc(maxHold, func() { w.timeout(attempt) })
}

// timeout judges a response whose body does not end by what has come of it.
func (w *attemptWriter) timeout(attempt uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.attempt != attempt || w.phase.Load() != holding {
		return
	}
	w.settle(true)
	if w.phase.Load() == rejected {
		w.cancel()
	}
}

// settle judges the held response and passes it on or throws it away. The phase
// changes last: until then the handler's writes wait for w.mu.
func (w *attemptWriter) settle(flush bool) {
	w.timer.Stop()
	if !w.owner.settle(w) {
		w.phase.Store(rejected)
		return
	}
	h := w.Header()
	trailers := maps.Clone(h)
	maps.DeleteFunc(trailers, func(name string, _ []string) bool { return w.header[name] != nil })
	replace(h, w.header)
	w.pass(w.status)
	//nolint:errcheck // the handler's own writes will tell
	w.deliver(w.held)
	maps.Copy(h, trailers)
	if flush || w.flush {
		//nolint:errcheck // likewise
		http.NewResponseController(w.client).Flush()
	}
	w.phase.Store(committed)
}

// pass makes the response the client's; the caller changes the phase.
func (w *attemptWriter) pass(status int) {
	h := w.client.Header()
	w.owner.commit(status, h)
	if len(w.early) > 0 {
		final := maps.Clone(h)
		for _, hints := range w.early {
			replace(h, hints)
			w.client.WriteHeader(http.StatusEarlyHints)
		}
		replace(h, final)
	}
	w.client.WriteHeader(status)
	w.owner.passed()
}

// Write implements http.ResponseWriter.
func (w *attemptWriter) Write(p []byte) (int, error) {
	if w.phase.Load() == waiting {
		w.WriteHeader(http.StatusOK)
	}
	if w.phase.Load() == committed {
		return w.deliver(p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.phase.Load() {
	case opening, greeting:
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
func (w *attemptWriter) deliver(p []byte) (int, error) {
	if w.learner != nil {
		w.learner.write(p)
	}
	return w.client.Write(p)
}

// endLearning gives the learner back. Nothing writes any more.
func (w *attemptWriter) endLearning() {
	if w.learner != nil {
		w.learner.release()
		w.learner = nil
	}
}

// collect keeps p. A body that is full is judged without the rest.
func (w *attemptWriter) collect(p []byte) (int, error) {
	n := min(len(p), maxRejection-len(w.held))
	w.held = append(w.held, p[:n]...)
	if n == len(p) {
		return n, nil
	}
	w.settle(false)
	if w.phase.Load() == rejected {
		m, err := w.discard(p[n:])
		return n + m, err
	}
	m, err := w.deliver(p[n:])
	return n + m, err
}

func (w *attemptWriter) discard(p []byte) (int, error) {
	w.discarded += len(p)
	if w.discarded > maxDiscard {
		return 0, errRejected
	}
	return len(p), nil
}

// ReadFrom implements io.ReaderFrom: once the response is the client's, the
// connection reads for itself.
func (w *attemptWriter) ReadFrom(r io.Reader) (int64, error) {
	if w.phase.Load() == waiting {
		w.WriteHeader(http.StatusOK)
	}
	if w.phase.Load() == committed && w.learner == nil {
		if rf, ok := w.client.(io.ReaderFrom); ok {
			return rf.ReadFrom(r)
		}
	}
	return io.Copy(struct{ io.Writer }{w}, r)
}

// FlushError is called by http.ResponseController.
func (w *attemptWriter) FlushError() error {
	if w.phase.Load() == waiting {
		w.WriteHeader(http.StatusOK)
	}
	switch w.phase.Load() {
	case opening:
		w.flushOpening()
		return nil
	case holding:
		if w.flushHeld() {
			return nil
		}
	}
	if p := w.phase.Load(); p == committed || p == greeting {
		return http.NewResponseController(w.client).Flush()
	}
	return nil
}

// flushHeld puts a flush off until what is held has been judged: a handler whose answer
// breaks off flushes what came of it, and gives up. It reports false where nothing is
// held any more.
func (w *attemptWriter) flushHeld() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flush = w.phase.Load() == holding
	return w.flush
}

// Flush implements http.Flusher.
func (w *attemptWriter) Flush() {
	//nolint:errcheck // this method has no way to tell
	w.FlushError()
}

// Hijack is called by http.ResponseController. Who takes the connection over has
// accepted the request.
func (w *attemptWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open()
	switch w.phase.Load() {
	case waiting:
		w.owner.commit(http.StatusSwitchingProtocols, w.client.Header())
		w.owner.passed()
		w.phase.Store(committed)
	case holding, rejected:
		return nil, nil, http.ErrNotSupported
	}
	return http.NewResponseController(w.client).Hijack()
}

// Push implements http.Pusher.
func (w *attemptWriter) Push(target string, opts *http.PushOptions) error {
	if pusher, ok := w.client.(http.Pusher); ok {
		return pusher.Push(target, opts)
	}
	return caddyhttp.ErrNotImplemented
}

// Unwrap lets http.ResponseController reach the connection's deadlines.
func (w *attemptWriter) Unwrap() http.ResponseWriter { return w.client }

// Interface guards
var (
	_ http.ResponseWriter = (*attemptWriter)(nil)
	_ http.Flusher        = (*attemptWriter)(nil)
	_ http.Hijacker       = (*attemptWriter)(nil)
	_ http.Pusher         = (*attemptWriter)(nil)
	_ io.ReaderFrom       = (*attemptWriter)(nil)
)

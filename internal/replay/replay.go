// Package replay is a request's body that can be sent again: it streams to the first
// attempt while a copy is kept, in memory first and then in a file without a name, and
// gives it to the next attempt, or to who comes after keycycler.
//
// It knows HTTP and how Caddy's server reads bodies, and nothing of keys. Bounds of memory
// and disk, and what a body goes through, belong here.
package replay

import (
	"errors"
	"io"
	"maps"
	"math"
	"net/http"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/nested"
	"github.com/keycycler/keycycler/internal/peek"
)

// MaxEager is the largest body that is read whole before the first attempt, in
// bytes. It has mostly arrived with the header, and a transport that gets it
// whole need not wait for it.
const MaxEager = 64 << 10

// Limits bound the copy of one request's body, in bytes.
type Limits struct {
	Memory int64
	Disk   int64
	Total  int64 // in memory, of all requests of the process

	// Whether the request's model must be known before a key is picked, and for sure
	// when a key is blamed for it.
	ByModel bool

	// Whether the model is wanted before the first attempt all the same.
	SelectsByModel bool

	// Whether attempts may get another name of the model: see AttemptBody.Rename.
	Renames bool

	// Whether it matters what the body says, whatever it is said to be: upstreams do not all
	// heed that, and what is no form may be JSON.
	AnyMedia bool

	// Which models the body may name, "" for none; nil: any. Of a body that names another one
	// no more is read, and none of the piece in which it does.
	Serves func(model string) bool
	nested *nested.Finder // of one body: holds names that stand deeper in it against that

	// What of a client's trailer goes on, in a copy. nil: all of it.
	Trailer func(http.Header) http.Header
}

func (l *Limits) endToEnd(trailer http.Header) http.Header {
	if l.Trailer == nil {
		return trailer.Clone()
	}
	return l.Trailer(trailer)
}

// phase is how far a body has come. It only ever goes up.
type phase uint8

const (
	// The copy has every byte that came from the client: attempts may begin, and who
	// comes after us may have it. At most one attempt is active; between two, none is.
	keeping phase = iota
	// Who reads now is the last one: the copy holds what came and it has not read yet.
	flowing
	// The request is over: nobody gets anything any more, and nothing is kept.
	over
)

// Body reads a client's body once and gives it to every attempt from its
// start. A byte comes from the client under one lock into the copy; an attempt
// reads the copy, and at its end pulls more from the client. So a finished
// attempt's late read, which net/http allows, takes nothing away from the next: what
// it gets goes to the copy, whatever the limits.
//
// The copy stands in memory first and then in an unlinked temporary file. What the
// active attempt reads past the limits ends the keeping: it streams on, and the
// request cannot be replayed any more. At commit the copy is given back as soon as
// the winning attempt has read it, even if the upload still runs.
type Body struct {
	source  io.Reader
	request *http.Request // the client's: net/http puts trailers into it at EOF
	trailer http.Header   // the announced trailers' names, without values

	mu      sync.Mutex
	turn    sync.Cond // a pull has ended, or a reader was closed
	phase   phase
	pulling bool         // somebody reads from source, without holding mu …
	lent    bool         // … into the copy's own memory
	copied  bool         // there is no well, and the request is a copy of the server's
	round   uint16       // which attempt is under way, in a count that goes on when it ends
	active  *AttemptBody // who may pull; nil between attempts
	end     error        // how the source ended: io.EOF or what the client's body said

	copy  spool
	start int64 // where in the body the copy begins: 0 while it is whole

	folded *peek.Unfolder   // of a body in a content coding: what comes goes through it; or nil
	model  peek.ModelFinder // has seen what has come by now; until a model is found, or by model until it is known for sure

	Followers *Followers // until the first attempt: look for something in what has come; or nil

	first AttemptBody  // the first attempt's: mostly there is no other
	after *AttemptBody // that of who comes after us; or nil
	well  well
}

// Followers look for something in a body.
type Followers []Follower

// Follower looks for something in a body.
type Follower interface {
	// Write takes the body's next piece.
	Write(p []byte)
	// Ended tells whether there is nothing more to look for.
	Ended() bool
}

// ended tells whether none has something to look for. f may be nil.
func (f *Followers) ended() bool {
	if f == nil {
		return true
	}
	for _, follower := range *f {
		if !follower.Ended() {
			return false
		}
	}
	return true
}

// AttemptBody is the body of one attempt's request. Close it when the attempt is
// over; the client's body stays open.
type AttemptBody struct {
	body    *Body
	trailer http.Header // the attempt's: filled at EOF
	edit    *edit       // what it gets otherwise than the client has sent it; mostly nil
	offset  int64       // in the client's body
	closed  bool
	taken   bool   // whole, by Whole
	round   uint16 // of which it is
}

// Has tells whether there is a body to replay.
func Has(r *http.Request) bool {
	return r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0
}

// Begin takes the body of a request that has one. Nobody changes the limits any more.
func (b *Body) Begin(r *http.Request, limits *Limits) {
	b.source, b.request, b.trailer = r.Body, r, limits.endToEnd(r.Trailer)
	b.look(r, limits)
	b.folded = peek.NewUnfolder(peek.First(r.Header, "Content-Encoding"))
	if limits.Renames {
		b.model.Mark()
	}
	b.turn.L = &b.mu
	b.copy.limits = limits
	b.heed(r, limits)
	if b.model.Form != nil && !limits.AnyMedia || b.model.Done() {
		b.Followers = nil // it is no JSON
	}
	returns := b.well.dig(b, r)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case returns && eager(r, limits):
		b.readAll(r.ContentLength)
	case b.wantsModel(), b.follows(), b.wantsAll():
		b.readAhead()
	}
}

// follows tells whether more of the body is wanted, for what is looked for in it.
func (b *Body) follows() bool {
	return !b.Followers.ended() && !b.model.Done()
}

// wantsModel tells whether more of the body is wanted, for the model that it names.
func (b *Body) wantsModel() bool {
	l := b.copy.limits
	return (l.ByModel || l.SelectsByModel || l.Renames) && !b.model.Found() && !b.model.Done()
}

// readAhead reads a larger body until it has named a model or a resource, before any
// attempt starts, but no more than would be read of a small one. b.mu is held.
func (b *Body) readAhead() {
	most := min(MaxEager, b.copy.limits.Memory)
	for b.end == nil && b.copy.size < most && (b.follows() || b.wantsModel() || b.wantsAll()) {
		room := b.copy.room(MaxEager)
		if room == nil {
			return
		}
		n, _ := b.pullFrom(room[:min(int64(len(room)), most-b.copy.size)])
		b.copy.grown(n)
	}
}

// eager tells whether the body is read whole before the first attempt: it is small,
// and its client does not say that it goes on slowly, or only when the upstream asks.
func eager(r *http.Request, limits *Limits) bool {
	return r.ContentLength > 0 && r.ContentLength <= min(MaxEager, limits.Memory) &&
		peek.First(r.Header, "Expect") == "" && !isIncremental(r.Header)
}

// isIncremental is Caddy's IsIncremental, which takes longer where nothing says so.
func isIncremental(h http.Header) bool {
	_, says := h["Incremental"]
	return says && caddyhttp.IsIncremental(h)
}

// readAll reads the whole body into the copy, before any attempt starts, if there is
// memory for it. How the body ended, if it did, the attempts are told when they come
// there. A client that pauses is waited for as long as the server waits between two
// reads (read_body_idle, a minute): no key is drawn, and none counts, meanwhile.
// b.mu is held.
func (b *Body) readAll(length int64) {
	for b.end == nil && b.copy.size < length {
		missing := length - b.copy.size
		room := b.copy.room(int(missing))
		if room == nil {
			return
		}
		n, _ := b.pullFrom(room[:min(int64(len(room)), missing)])
		b.copy.grown(n)
	}
}

// seekModel looks for the model in what has come from the client, in order. b.mu
// is held.
func (b *Body) seekModel(p []byte) {
	if b.folded != nil {
		p = b.folded.Write(p, b.ends(len(p)))
	}
	l := b.copy.limits
	if !b.model.Found() || l.Serves != nil && b.model.Form != nil || (l.ByModel || l.Renames || l.Serves != nil || b.Followers != nil) && !b.model.Done() {
		b.model.Write(p)
	}
	l.nested.Write(p)
	if b.Followers != nil && b.beginsForm(p) {
		b.Followers = nil
	}
	if b.Followers != nil {
		for _, follower := range *b.Followers {
			follower.Write(p)
		}
	}
}

// ends tells whether the body ends with so many bytes that have just come. b.mu is held.
func (b *Body) ends(n int) bool {
	length := b.request.ContentLength
	return b.end != nil || length >= 0 && b.came()+int64(n) >= length
}

// ModelName returns the model that the body names, if what has come by now does.
func (b *Body) ModelName() (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.model.Model()
}

// Attempt returns the body for the next attempt, whose request it belongs to. The one
// before is not active any more.
func (b *Body) Attempt(request *http.Request) *AttemptBody {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := &b.first
	if a.body != nil {
		a = new(AttemptBody)
	}
	b.round++
	a.body, a.round = b, b.round
	if b.trailer != nil {
		// A map of its own: a late read may fill in the client's at any time.
		a.trailer = b.trailer.Clone()
		request.Trailer = a.trailer
	}
	b.active = a
	return a
}

// Replayable tells whether another attempt would get the whole body. Between two
// attempts that can change, if a disk cannot be written any more.
func (b *Body) Replayable() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.phase == keeping
}

// Fits tells for sure, before the first attempt, that the body can be replayed: its length
// is stated, and there is room for it.
func (b *Body) Fits() bool {
	n := b.request.ContentLength
	return n >= 0 && n <= b.copy.limits.Memory && b.Replayable()
}

// Reject ends the active attempt for the next one's sake: it reads no more from the
// client. Where the body cannot be replayed any more, it reports false and the attempt
// goes on: it was the last.
func (b *Body) Reject() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.phase != keeping {
		return false
	}
	b.active = nil
	b.round++
	b.turn.Broadcast()
	return true
}

// Commit ends the keeping: the attempt under way is the last.
func (b *Body) Commit() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.phase = max(b.phase, flowing)
	b.trim()
}

// Finish gives everything back. Late reads get an error from now on.
func (b *Body) Finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over()
}

// over ends everything. b.mu is held.
func (b *Body) over() {
	b.phase, b.active = over, nil
	if !b.lent { // who reads into it gives it back
		b.copy.release()
	}
	b.turn.Broadcast()
}

// came returns how much has come from the client, in bytes. b.mu is held.
func (b *Body) came() int64 { return b.start + b.copy.size }

// trim gives the copy back when nobody needs it. b.mu is held.
func (b *Body) trim() {
	if b.phase == flowing && !b.lent && b.active != nil && b.active.offset == b.came() {
		b.drop()
	}
}

// drop empties the copy: it begins where the client's body stands. b.mu is held.
func (b *Body) drop() {
	b.start = b.came()
	b.copy.release()
}

// Read implements io.Reader.
func (a *AttemptBody) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b := a.body
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case a.closed || b.phase == over:
			return 0, http.ErrBodyReadAfterClose
		case a.offset < b.start:
			return 0, errSpool // it is not the last one, and comes too late
		case a.offset < b.came():
			return a.readCopy(p)
		case b.end != nil:
			a.setTrailer()
			return 0, b.end
		case a != b.active:
			return 0, http.ErrBodyReadAfterClose
		case !b.pulling:
			return a.pull(p)
		}
		// An earlier attempt's late read is under way: what it gets is for all.
		b.turn.Wait()
	}
}

// readCopy reads what was pulled before. b.mu is held.
func (a *AttemptBody) readCopy(p []byte) (int, error) {
	b := a.body
	if next, ok := a.edit.pending(); ok {
		if a.offset == next.From {
			return a.readEdit(p), nil
		}
		p = p[:min(int64(len(p)), next.From-a.offset)]
	}
	n, err := b.copy.readAt(p, a.offset-b.start)
	a.offset += int64(n)
	b.trim()
	return n, err
}

// pull reads from the client: into the copy, if it goes on in memory, and from there
// into p. So a large body takes fewer reads than p is long.
func (a *AttemptBody) pull(p []byte) (int, error) {
	b := a.body
	room := b.room()
	if room == nil {
		return a.pullInto(p)
	}
	b.lent = true
	n, err := b.pullFrom(room)
	b.lent = false
	if b.phase == over {
		b.copy.release()
		return 0, http.ErrBodyReadAfterClose
	}
	b.copy.grown(n)
	switch {
	case a != b.active:
		return 0, http.ErrBodyReadAfterClose
	case n > 0:
		return a.readCopy(p)
	case err != nil:
		a.setTrailer()
	}
	return 0, err
}

// room returns memory of the copy to read into, or nil where the copy has come to an
// end, or goes on elsewhere. b.mu is held.
func (b *Body) room() []byte {
	want, left := int64(math.MaxInt32), b.copy.limits.Memory-b.copy.inRAM
	if length := b.request.ContentLength; length >= 0 {
		want = length - b.came()
	}
	if b.phase != keeping || left <= 0 || want <= 0 {
		return nil
	}
	room := b.copy.room(int(min(want, math.MaxInt32)))
	return room[:min(int64(len(room)), left)]
}

// pullFrom reads from the client, releasing b.mu meanwhile: an attempt that is over may
// sit in here for as long as the client's upload pauses. One at a time.
func (b *Body) pullFrom(p []byte) (int, error) {
	b.pulling = true
	b.well.expect(p)
	b.mu.Unlock()
	n, err := b.source.Read(p)
	b.mu.Lock()
	b.pulling = false
	err = b.well.came(n, err)
	b.turn.Broadcast()
	if b.phase != over {
		b.end = err
		b.seekModel(p[:n])
		if b.strays(n) {
			n, err, b.end = 0, errModel, errModel
		}
	}
	return n, err
}

// pullInto reads from the client into p, and copies that.
func (a *AttemptBody) pullInto(p []byte) (int, error) {
	b := a.body
	n, err := b.pullFrom(p)
	if a != b.active {
		b.storeForOther(p[:n])
		return 0, http.ErrBodyReadAfterClose
	}
	a.offset += int64(n)
	b.store(p[:n])
	b.trim()
	if err != nil {
		a.setTrailer()
	}
	return n, err
}

// store adds to the copy what the active attempt has read, at its end. b.mu is held.
func (b *Body) store(p []byte) {
	if b.phase == keeping {
		if b.copy.write(p) {
			return
		}
		replayDropped.Inc() // too large, or the disk is full
		b.phase = flowing
	}
	b.start = b.active.offset
	b.copy.release()
}

// storeForOther adds to the copy what was read without being the active attempt,
// whatever the limits: others have not seen it. b.mu is held.
func (b *Body) storeForOther(p []byte) {
	if b.phase != over && !b.copy.force(p) {
		b.phase, b.end = flowing, errSpool
	}
}

// setTrailer hands the client's trailers to the attempt's request at EOF.
func (a *AttemptBody) setTrailer() {
	if errors.Is(a.body.end, io.EOF) && a.trailer != nil {
		maps.Copy(a.trailer, a.body.copy.limits.endToEnd(a.body.request.Trailer))
		a.edit.adaptTrailer(a.trailer)
	}
}

// Close ends the attempt's reading. It does not close the client's body.
func (a *AttemptBody) Close() error {
	b := a.body
	b.mu.Lock()
	defer b.mu.Unlock()
	a.closed = true
	a.edit.free()
	if a == b.active {
		b.active = nil
	}
	b.turn.Broadcast()
	return nil
}

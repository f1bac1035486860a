package replay

import (
	"errors"
	"io"

	"github.com/keycycler/keycycler/internal/upstream"
)

// What a transport may do with an attempt's body that knows it, without the handlers
// between: take it whole, or from its start again.

// Whole implements upstream.Body. Nothing of the copy's own memory is given away: net/http
// may read after the answer, and the memory is another request's then.
func (a *AttemptBody) Whole(length int64) ([]byte, bool) {
	b := a.body
	b.mu.Lock()
	defer b.mu.Unlock()
	if !a.isWhole(length) {
		return nil, false
	}
	text := make([]byte, 0, length)
	for _, c := range b.copy.chunks {
		text = append(text, c...)
	}
	a.offset, a.taken = length, true
	b.trim()
	return text, true
}

// isWhole tells whether memory has all of the body, of this length, and nobody has read
// from it but Whole. Over HTTP/1 the client's body must have been read to its end: only
// then the server notices a client that leaves. b.mu is held.
func (a *AttemptBody) isWhole(length int64) bool {
	b := a.body
	ended := errors.Is(b.end, io.EOF) || b.end == nil && b.request.ProtoMajor > 1
	return a == b.active && !a.closed && (a.offset == 0 || a.taken) && b.trailer == nil &&
		ended && !b.pulling && b.start == 0 && b.copy.inRAM == length && b.copy.size == length && b.request.ContentLength == length
}

// Again implements upstream.Body.
func (a *AttemptBody) Again() (upstream.Body, error) {
	b := a.body
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.round != b.round || b.phase != keeping || b.trailer != nil {
		return nil, errSpool
	}
	a.closed = true
	b.active = &AttemptBody{body: b, round: a.round}
	b.turn.Broadcast()
	return b.active, nil
}

// End ends the attempt: nobody reads its body any more.
func (a *AttemptBody) End() {
	b := a.body
	b.mu.Lock()
	defer b.mu.Unlock()
	a.closed = true
	if a.round == b.round {
		b.round++
		b.active = nil
	}
	b.turn.Broadcast()
}

var _ upstream.Body = (*AttemptBody)(nil)

package replay

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/peek"
)

// maxPlain is the largest body that is sent without its content coding for the sake of a
// name in it, in bytes.
const maxPlain = 1 << 20

// edit is what an attempt gets in the place of pieces of the client's body. All of these
// have come from the client when it begins. nil changes nothing.
type edit struct {
	spans []peek.Span // in order
	text  string      // in the place of each
	next  int         // of spans: what is to come next
	given int         // bytes of text, in the place of that
	plain bool        // text is the whole body, without its content coding
}

// Rename puts another name in the place of the model's, in this attempt: the request's
// length follows, and what vouches for the body's bytes is taken off. The copy stays the
// client's. rename tells the other name, if there is one. Call it before the body is read,
// with Limits.Renames.
//
// It reports false where the name should be another one and the body goes out as it is: it
// names the model more often than anybody would, or is in a content coding and larger than
// 64 KiB, or 1 MiB without it.
func (a *AttemptBody) Rename(request *http.Request, rename func(string) (string, bool)) bool {
	b := a.body
	b.mu.Lock()
	defer b.mu.Unlock()
	name, _ := b.model.Model()
	name, other := rename(name)
	switch {
	case !other:
		return true
	case b.folded != nil:
		a.edit = b.plainEdit(rename)
	default:
		a.edit = newEdit(b.model.Marks(), b.model.Spelled(name))
	}
	if a.edit == nil {
		return false
	}
	a.edit.adapt(request)
	return true
}

func newEdit(spans []peek.Span, text string) *edit {
	if len(spans) == 0 {
		return nil
	}
	return &edit{spans: spans, text: text}
}

// plainEdit returns the body without its content coding and with the other name, or nil
// where it is not whole or takes too much memory. b.mu is held.
func (b *Body) plainEdit(rename func(string) (string, bool)) *edit {
	coded, ok := b.whole()
	if !ok {
		return nil
	}
	plain, err := peek.DecodeAll(peek.First(b.request.Header, "Content-Encoding"), coded, maxPlain)
	if err != nil {
		return nil
	}
	var f peek.ModelFinder
	f.Begin(peek.First(b.request.Header, "Content-Type"))
	f.Mark()
	f.Write(plain)
	name, _ := f.Model()
	name, other := rename(name)
	inner := newEdit(f.Marks(), f.Spelled(name))
	if !other || inner == nil {
		return nil
	}
	return plainOf(inner.apply(plain), int64(len(coded)), b.copy.limits.Total)
}

// plainOf returns the edit that puts text in the place of all of a body, or nil where the
// process would keep more than total with it.
func plainOf(text string, length, total int64) *edit {
	if KeptMemory.Add(int64(len(text))) > total {
		KeptMemory.Add(-int64(len(text)))
		return nil
	}
	return &edit{spans: []peek.Span{{From: 0, To: length}}, text: text, plain: true}
}

// free gives back what the edit keeps. Nobody reads it any more.
func (e *edit) free() {
	if e != nil && e.plain {
		KeptMemory.Add(-int64(len(e.text)))
		e.text = ""
	}
}

// again returns the same for who reads from the start. A text of its own is not kept for
// that.
func (e *edit) again() (fresh *edit, ok bool) {
	switch {
	case e == nil:
		return nil, true
	case e.plain:
		return nil, false
	}
	return &edit{spans: e.spans, text: e.text}, true
}

// apply returns the body with what is put in.
func (e *edit) apply(body []byte) string {
	var text strings.Builder
	text.Grow(len(body) + int(e.growth()))
	at := int64(0)
	for _, s := range e.spans {
		text.Write(body[at:s.From])
		text.WriteString(e.text)
		at = s.To
	}
	text.Write(body[at:])
	return text.String()
}

// wantsAll tells whether the rest of the body is wanted before the first attempt, so that
// it can be sent without its content coding.
func (b *Body) wantsAll() bool {
	if b.folded == nil || !b.copy.limits.Renames || !b.isSmall() {
		return false
	}
	return b.request.ContentLength < 0 || b.came() < b.request.ContentLength
}

// isSmall tells whether the body may be read whole before the first attempt, as far as is
// known, whenever its client sends it.
func (b *Body) isSmall() bool {
	return b.request.ContentLength <= MaxEager && !caddyhttp.IsIncremental(b.request.Header)
}

// whole returns all of a body that is small and has come. b.mu is held.
func (b *Body) whole() ([]byte, bool) {
	n := b.came()
	if b.start > 0 || n > MaxEager || !errors.Is(b.end, io.EOF) && n != b.request.ContentLength {
		return nil, false
	}
	all := make([]byte, n)
	for at := 0; at < len(all); {
		read, err := b.copy.readAt(all[at:], int64(at))
		if err != nil {
			return nil, false
		}
		at += read
	}
	return all, true
}

// pending returns the piece that is to come next.
func (e *edit) pending() (peek.Span, bool) {
	if e == nil || e.next == len(e.spans) {
		return peek.Span{}, false
	}
	return e.spans[e.next], true
}

// readEdit reads what stands in the place of the piece that a has come to. b.mu is held.
func (a *AttemptBody) readEdit(p []byte) int {
	e := a.edit
	n := copy(p, e.text[e.given:])
	if e.given += n; e.given == len(e.text) {
		a.offset = e.spans[e.next].To
		e.next, e.given = e.next+1, 0
		a.body.trim()
	}
	return n
}

// growth returns by how much the body becomes longer, in bytes.
func (e *edit) growth() (n int64) {
	if e == nil {
		return 0
	}
	for _, s := range e.spans {
		n += int64(len(e.text)) - (s.To - s.From)
	}
	return n
}

// digests are the headers and trailers that vouch for the bytes of a body, in RFC 1864, RFC
// 3230, RFC 9530 and AWS' signatures. A body that streams has its digest at its end: they
// are taken off, not calculated again.
var digests = []string{"Content-Md5", "Digest", "Content-Digest", "Repr-Digest", "Unencoded-Digest", "X-Amz-Content-Sha256"}

// adapt makes the attempt's request fit the body. What reads the header alone (FastCGI)
// finds the length there.
func (e *edit) adapt(request *http.Request) {
	h := request.Header
	for _, name := range digests {
		delete(h, name)
	}
	e.adaptTrailer(request.Trailer)
	if e.plain {
		delete(h, "Content-Encoding")
	}
	if request.ContentLength < 0 {
		return
	}
	request.ContentLength += e.growth()
	if h["Content-Length"] != nil {
		h.Set("Content-Length", strconv.FormatInt(request.ContentLength, 10))
	}
}

// adaptTrailer takes off the trailer what does not hold for the body any more.
func (e *edit) adaptTrailer(trailer http.Header) {
	if e == nil {
		return
	}
	for _, name := range digests {
		delete(trailer, name)
	}
}

package usage

import (
	"net/http"
	"strings"
	"sync"

	"github.com/keycycler/keycycler/internal/peek"
	"github.com/keycycler/keycycler/rotator"
)

// Reader reads along what an answer says that it has used. It keeps no byte back and none of
// them in memory. It is not safe for concurrent use. Release it.
type Reader struct {
	scanner  peek.NumberScanner
	inflater *peek.Inflater // nil: the answer has no content coding
	said     stated
	saying   stated // in an object that has not come to its end
}

var readers = sync.Pool{New: func() any { return new(Reader) }}

// NewReader returns what is to read an answer with this header: nil where that is neither
// JSON nor a stream of events, or in a content coding that nobody here knows.
func NewReader(header http.Header) *Reader {
	media, codings := peek.First(header, "Content-Type"), header["Content-Encoding"]
	events := peek.IsEventStream(media)
	if !events && !peek.IsJSON(media) || len(codings) > 1 {
		return nil
	}
	r := readers.Get().(*Reader)
	if len(codings) > 0 && codings[0] != "" && !strings.EqualFold(codings[0], "identity") {
		if r.inflater = peek.NewInflater(codings[0], r.scanner.Write); r.inflater == nil {
			r.Release()
			return nil
		}
	}
	r.scanner.Begin(r, places, events, mark)
	r.said.has = 0
	return r
}

// Write takes the answer's next piece.
func (r *Reader) Write(p []byte) {
	if r.inflater != nil {
		r.inflater.Write(p)
		return
	}
	r.scanner.Write(p)
}

// Tokens returns what was used, as far as the answer has come, and whether it says so.
// Nothing may be written afterwards.
func (r *Reader) Tokens() (t Tokens, ok bool) {
	if r.inflater != nil {
		r.inflater.Stop()
	}
	t = r.said.tokens()
	return t, t.stated()
}

// Spent returns what counts for the limits of keys, as far as the answer has come and says so:
// all that was read and written, but for what was read from a cache where that is free. r may
// be nil: nobody reads what the answer says.
func (r *Reader) Spent(cachedFree bool) (u rotator.Used) {
	if r == nil {
		return rotator.Used{Unknown: true}
	}
	t, ok := r.Tokens()
	u = rotator.Used{Unknown: !ok, Input: t.Known(Input) + t.Known(CacheWrite), Output: t.Known(Output)}
	if !cachedFree {
		u.Input += t.Known(Cached)
	}
	return u
}

// Release gives r back.
func (r *Reader) Release() {
	if r.inflater != nil {
		r.inflater.Stop()
		r.inflater = nil
	}
	readers.Put(r)
}

// BeginGroup implements numberTaker: what one object states counts together.
func (r *Reader) BeginGroup() { r.saying.has = 0 }

// TakeNumber implements numberTaker.
func (r *Reader) TakeNumber(which int, n int64) { r.saying.take(which, n) }

// EndGroup implements numberTaker: what was stated before is stated anew, or goes on to hold.
func (r *Reader) EndGroup() { r.said.add(&r.saying) }

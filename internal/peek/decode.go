package peek

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// MaxRejection is how much of a rejection's body is judged, in bytes, as it
// arrives and decoded.
const MaxRejection = 64 << 10

// Decode returns the content of a body in this content coding (RFC 9110 §8.4), at
// most MaxRejection bytes of it, as far as it can be read: a body that was cut
// off gives what it has. An unknown coding gives the body as it is.
func Decode(coding string, body []byte) []byte {
	reader := Decoder(coding, body)
	if reader == nil {
		return body
	}
	return ReadSome(reader)
}

// DecodeSoFar is Decode for a body that is still coming: nothing, while its first bytes
// do not even tell how to go on.
func DecodeSoFar(coding string, body []byte) []byte {
	if coding == "" {
		return body
	}
	if reader := Decoder(coding, body); reader != nil {
		return ReadSome(reader)
	}
	return nil
}

// errTooLarge is of a body that has more than was asked for.
var errTooLarge = errors.New("the decoded body is too large")

// DecodeAll returns the content of a body in a content coding that Decodes knows: all of it,
// of which there may be so many bytes at most, or an error.
func DecodeAll(coding string, body []byte, most int) ([]byte, error) {
	reader := Decoder(coding, body)
	if reader == nil {
		return nil, errors.ErrUnsupported
	}
	all, err := io.ReadAll(io.LimitReader(reader, int64(most)+1))
	if err == nil && len(all) > most {
		err = errTooLarge
	}
	return all, err
}

// Decodes tells whether Decode knows this coding, or there is none.
func Decodes(coding string) bool {
	switch strings.ToLower(strings.TrimSpace(coding)) {
	case "", "gzip", "x-gzip", "deflate", "br", "zstd":
		return true
	}
	return false
}

// ReadSome reads at most MaxRejection bytes, as far as it goes.
func ReadSome(r io.Reader) []byte {
	some, _ := io.ReadAll(io.LimitReader(r, MaxRejection))
	return some
}

// Decoder returns nil where there is nothing to decode.
func Decoder(coding string, body []byte) io.Reader {
	src := bytes.NewReader(body)
	switch strings.ToLower(strings.TrimSpace(coding)) {
	case "gzip", "x-gzip":
		if r, err := gzip.NewReader(src); err == nil {
			return r
		}
	case "deflate":
		if r, err := zlib.NewReader(src); err == nil {
			return r
		}
		// Some send it without the zlib header that RFC 9110 §8.4.1.2 asks for.
		return flate.NewReader(bytes.NewReader(body))
	case "br":
		return brotli.NewReader(src)
	case "zstd":
		r, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(8<<20))
		if err == nil {
			return r
		}
	}
	return nil
}

// maxCoded and maxDecoded bound what is looked at of a body that streams by in a content
// coding, in bytes: what it asks for stands near its beginning, and a bomb is none.
const (
	maxCoded   = 64 << 10
	maxDecoded = 512 << 10
)

// Unfolder gives what a body says that streams by in a content coding. The decoders cannot
// go on where they stopped for want of input, so it decodes anew each time that twice as
// much has come: twice the work, and not the square of it. It keeps at most maxCoded bytes,
// and is not safe for concurrent use.
type Unfolder struct {
	coding string
	coded  []byte
	given  int // of what is decoded
	next   int // how much must have come for the next try
	done   bool
	cut    bool // what follows is not looked at, or cannot be read
}

// NewUnfolder returns nil for a coding that is none or that nobody here knows.
func NewUnfolder(coding string) *Unfolder {
	if coding == "" || strings.EqualFold(coding, "identity") || !Decodes(coding) {
		return nil
	}
	return &Unfolder{coding: coding}
}

// Write takes the body's next piece, and returns what can be read now and could not
// before. ended tells that there is no more. The result is the caller's.
func (u *Unfolder) Write(p []byte, ended bool) []byte {
	if u.done {
		return nil
	}
	room := maxCoded - len(u.coded)
	u.cut = len(p) > room || len(p) == room && !ended
	u.coded = append(u.coded, p[:min(len(p), room)]...)
	u.done = ended || len(p) >= room
	if len(u.coded) < u.next && !u.done {
		return nil
	}
	u.next = max(2*len(u.coded), 512)
	return u.fresh()
}

// Cut tells whether there is more of the body than what is, or can be, looked at. u may be nil.
func (u *Unfolder) Cut() bool { return u != nil && u.cut }

// IsPlain tells whether a message with this header has no content coding.
func IsPlain(h http.Header) bool {
	coding := strings.TrimSpace(strings.Join(h["Content-Encoding"], ","))
	return coding == "" || strings.EqualFold(coding, "identity")
}

func (u *Unfolder) fresh() []byte {
	text, err := u.text()
	u.cut = u.cut || len(text) == maxDecoded || u.done && err != nil
	u.done = u.done || len(text) == maxDecoded
	if u.done {
		u.coded = nil
	}
	if len(text) <= u.given {
		return nil
	}
	text, u.given = text[u.given:], len(text)
	return text
}

// text returns what can be read by now. What begins as JSON does is plain, as who does not heed
// its coding takes it.
func (u *Unfolder) text() ([]byte, error) {
	if bytes.HasPrefix(bytes.TrimLeft(u.coded, " \t\r\n"), []byte("{")) {
		return bytes.Clone(u.coded), errors.ErrUnsupported
	}
	reader := Decoder(u.coding, u.coded)
	if reader == nil {
		return nil, errors.ErrUnsupported
	}
	return io.ReadAll(io.LimitReader(reader, maxDecoded))
}

package peek

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
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

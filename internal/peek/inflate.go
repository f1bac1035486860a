package peek

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"iter"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// maxInflated is how much is decoded of one body that streams by, in bytes: a bomb costs no
// more.
const maxInflated = 256 << 20

// Inflater decodes a body in a content coding, however long it is, while it streams by: what
// can be read of a piece is read when it comes. The decoder waits between two pieces as a
// coroutine, and keeps nothing of them but its window. It is not safe for concurrent use.
// Stop it.
type Inflater struct {
	coding string
	to     func(p []byte)
	most   int    // that is decoded, in bytes
	piece  []byte // what has come and is not decoded
	wait   func(struct{}) bool
	resume func() (struct{}, bool)
	stop   func()
	buffer [4 << 10]byte
}

// NewInflater returns what gives the content of a body in this coding to a function, nil for
// a coding that is none or that nobody here knows. The function must not keep it.
func NewInflater(coding string, to func(p []byte)) *Inflater {
	coding = strings.ToLower(strings.TrimSpace(coding))
	if coding == "" || !Decodes(coding) {
		return nil
	}
	f := &Inflater{coding: coding, to: to, most: maxInflated}
	f.resume, f.stop = iter.Pull(f.run)
	return f
}

// Write takes the body's next piece. What is no such coding says nothing.
func (f *Inflater) Write(p []byte) {
	f.piece = p
	f.resume()
	f.piece = nil
}

// Stop ends it: the function gets what could not be read yet, of a body that was cut off.
// It may be called twice.
func (f *Inflater) Stop() { f.stop() }

// run decodes until there is no more.
func (f *Inflater) run(wait func(struct{}) bool) {
	f.wait = wait
	reader, done, err := inflating(f.coding, f)
	if err != nil {
		return
	}
	defer done()
	for left := f.most; left > 0; {
		n, err := reader.Read(f.buffer[:])
		f.to(f.buffer[:n])
		if left -= n; err != nil {
			return
		}
	}
}

// Read implements io.Reader, for the decoder.
func (f *Inflater) Read(p []byte) (int, error) {
	for len(f.piece) == 0 {
		if !f.wait(struct{}{}) {
			return 0, io.ErrUnexpectedEOF
		}
	}
	n := copy(p, f.piece)
	f.piece = f.piece[n:]
	return n, nil
}

// Decoders are large: they are used again.
var (
	gzips   = sync.Pool{New: func() any { return new(gzip.Reader) }}
	brotlis = sync.Pool{New: func() any { return new(brotli.Reader) }}
	zstds   = sync.Pool{New: func() any { return newZstd() }}
)

func newZstd() *zstd.Decoder {
	d, _ := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(8<<20)) // as documented, only bad options are errors
	return d
}

// inflating returns a decoder of src. Call done when it is not read any more.
func inflating(coding string, src io.Reader) (r io.Reader, done func(), err error) {
	switch coding {
	case "gzip", "x-gzip":
		z := gzips.Get().(*gzip.Reader)
		return z, func() { gzips.Put(z) }, z.Reset(src)
	case "br":
		b := brotlis.Get().(*brotli.Reader)
		return b, func() { brotlis.Put(b) }, b.Reset(src)
	case "zstd":
		d := zstds.Get().(*zstd.Decoder)
		return d, func() { releaseZstd(d) }, d.Reset(src)
	}
	r, err = inflatingDeflate(src)
	return r, func() {}, err
}

func releaseZstd(d *zstd.Decoder) {
	if d.Reset(nil) == nil {
		zstds.Put(d)
	}
}

// inflatingDeflate reads deflate with or without the header that RFC 9110 §8.4.1.2 asks for.
func inflatingDeflate(src io.Reader) (io.Reader, error) {
	b := bufio.NewReader(src)
	head, err := b.Peek(2)
	if err != nil {
		return nil, err
	}
	const deflate, window = 8, 7 // RFC 1950 §2.2
	if head[0]&0xf == deflate && head[0]>>4 <= window && (int(head[0])<<8|int(head[1]))%31 == 0 {
		return zlib.NewReader(b)
	}
	return flate.NewReader(b), nil
}

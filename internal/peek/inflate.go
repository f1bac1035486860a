package peek

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
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
	return newInflater(coding, to)
}

func newInflater(coding string, to func(p []byte)) *Inflater {
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
		r, err = newMembers(z, src)
		return r, func() { gzips.Put(z) }, err
	case "br":
		b := brotlis.Get().(*brotli.Reader)
		return b, func() { brotlis.Put(b) }, b.Reset(src)
	case "zstd":
		d := zstds.Get().(*zstd.Decoder)
		return d, func() { releaseZstd(d) }, d.Reset(src)
	case messages:
		return newMessages(src), func() {}, nil
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

// messages is the coding of a websocket's compressed messages, one behind the other
// (RFC 7692): deflate without a header.
const messages = "permessage-deflate"

// oneByOne reads compressed texts that stand one behind the other: each to its end, before
// the next one is waited for.
type oneByOne struct {
	io.Reader
	next  func() error
	ended bool
}

func (o *oneByOne) Read(p []byte) (int, error) {
	if o.ended {
		if err := o.next(); err != nil {
			return 0, err
		}
	}
	n, err := o.Reader.Read(p)
	if o.ended = errors.Is(err, io.EOF); o.ended {
		err = nil
	}
	return n, err
}

// newMembers reads the members of a gzip file (RFC 1952 §2.2).
func newMembers(z *gzip.Reader, src io.Reader) (io.Reader, error) {
	b := bufio.NewReader(src)
	next := func() error {
		if err := z.Reset(b); err != nil {
			return err
		}
		z.Multistream(false)
		return nil
	}
	return &oneByOne{Reader: z, next: next}, next()
}

// newMessages reads a websocket's messages, each of which may be a whole text.
func newMessages(src io.Reader) io.Reader {
	b := bufio.NewReader(src)
	f := flate.NewReader(b)
	return &oneByOne{Reader: f, next: func() error { return f.(flate.Resetter).Reset(b, nil) }}
}

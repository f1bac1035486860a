package peek

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// flusher is a compressor.
type flusher interface {
	io.WriteCloser
	Flush() error
}

var compressors = map[string]func(w io.Writer) flusher{
	"gzip":    func(w io.Writer) flusher { return gzip.NewWriter(w) },
	" X-Gzip": func(w io.Writer) flusher { return gzip.NewWriter(w) },
	"deflate": func(w io.Writer) flusher { return zlib.NewWriter(w) },
	"Deflate": func(w io.Writer) flusher { f, _ := flate.NewWriter(w, 6); return f }, // without the header
	"br":      func(w io.Writer) flusher { return brotli.NewWriter(w) },
	"zstd":    func(w io.Writer) flusher { z, _ := zstd.NewWriter(w); return z },
}

// TestInflater decodes bodies of each coding, whole and in pieces, far longer than any window.
func TestInflater(t *testing.T) {
	text := strings.Repeat("data: some words and 12345\n\n", 20_000)
	for coding, compressor := range compressors {
		var coded bytes.Buffer
		w := compressor(&coded)
		io.WriteString(w, text)
		w.Close()
		for _, size := range []int{1, 1000, coded.Len()} {
			var got strings.Builder
			f := NewInflater(coding, func(p []byte) { got.Write(p) })
			for all := coded.Bytes(); len(all) > 0; {
				n := min(size, len(all))
				f.Write(all[:n])
				all = all[n:]
			}
			f.Write([]byte("what follows"))
			f.Stop()
			f.Stop()
			if got.String() != text {
				t.Errorf("%s in pieces of %d: %d bytes, want %d", coding, size, got.Len(), len(text))
			}
		}
	}
}

// What was flushed can be read at once, and what was cut off as far as it goes.
func TestInflaterAsItComes(t *testing.T) {
	for coding, compressor := range compressors {
		var coded bytes.Buffer
		var got strings.Builder
		w := compressor(&coded)
		f := NewInflater(coding, func(p []byte) { got.Write(p) })
		want := ""
		for _, piece := range []string{"data: one\n\n", "data: two\n\n", "data: three\n\n"} {
			io.WriteString(w, piece)
			w.Flush()
			f.Write(coded.Next(coded.Len()))
			if want += piece; got.String() != want {
				t.Errorf("%s: %q, want %q", coding, got.String(), want)
			}
		}
		f.Stop()
	}
}

// All of a body can be read when its last byte comes, flushed or not, and what is appended to
// it, as gzip and zstd allow.
func TestInflaterAtTheEnd(t *testing.T) {
	for coding, compressor := range compressors {
		var got strings.Builder
		f := NewInflater(coding, func(p []byte) { got.Write(p) })
		want := ""
		for _, piece := range []string{"data: one\n\n", "data: two\n\n"} {
			var coded bytes.Buffer
			w := compressor(&coded)
			io.WriteString(w, piece)
			w.Close()
			f.Write(coded.Bytes())
			if want += piece; got.String() != want {
				t.Errorf("%s: %q, want %q", coding, got.String(), want)
			}
			if coding != "gzip" && coding != "zstd" {
				break
			}
		}
		f.Stop()
	}
}

// What is in no such coding says nothing, and hurts nobody.
func TestInflaterOfJunk(t *testing.T) {
	for coding := range compressors {
		f := NewInflater(coding, func([]byte) {})
		for range 100 {
			f.Write([]byte("{\"usage\":{}}"))
		}
		f.Stop()
		NewInflater(coding, nil).Stop() // nothing has come
	}
	for _, coding := range []string{"", "identity", "compress"} {
		if f := NewInflater(coding, nil); f != nil {
			t.Errorf("%q is decoded", coding)
		}
	}
}

// A bomb is decoded up to a bound.
func TestInflaterBound(t *testing.T) {
	var coded bytes.Buffer
	w := gzip.NewWriter(&coded)
	zeros := make([]byte, 1<<20)
	for range 8 {
		w.Write(zeros)
	}
	w.Close()
	n := 0
	f := NewInflater("gzip", func(p []byte) { n += len(p) })
	f.most = 2 << 20
	f.Write(coded.Bytes())
	f.Stop()
	if n < f.most || n > f.most+len(f.buffer) {
		t.Errorf("%d bytes", n)
	}
}

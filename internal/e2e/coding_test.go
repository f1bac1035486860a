package e2e

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// compressor returns what writes a content coding, nil for none.
func compressor(t *testing.T, coding string, to io.Writer) io.WriteCloser {
	t.Helper()
	switch coding {
	case "gzip":
		return gzip.NewWriter(to)
	case "br":
		return brotli.NewWriter(to)
	case "zstd":
		w, err := zstd.NewWriter(to)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	return nil
}

// inCoding returns the text in a content coding.
func inCoding(t *testing.T, coding, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := compressor(t, coding, &out)
	if w == nil {
		return []byte(text)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

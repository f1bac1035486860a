package peek

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"
)

// However a body is cut, what it says comes once and in order; its work is bounded.
func TestUnfolder(t *testing.T) {
	var folded bytes.Buffer
	w := gzip.NewWriter(&folded)
	text := bytes.Repeat([]byte(`{"model":"gpt-a","n":12345678901234567890},`), 1000)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	w.Close()
	for _, piece := range []int{1, 7, 1000, folded.Len()} {
		u, got, rest := NewUnfolder("gzip"), []byte(nil), folded.Bytes()
		for len(rest) > 0 {
			n := min(piece, len(rest))
			got = append(got, u.Write(rest[:n], n == len(rest))...)
			rest = rest[n:]
		}
		if !bytes.Equal(got, text) {
			t.Errorf("by %d: %d bytes, want %d", piece, len(got), len(text))
		}
	}
	for _, coding := range []string{"", "identity", "compress"} {
		if NewUnfolder(coding) != nil {
			t.Errorf("%q is unfolded", coding)
		}
	}
}

// A bomb gives a part, and takes no more than that.
func TestABombIsNotUnfolded(t *testing.T) {
	var folded bytes.Buffer
	w := gzip.NewWriter(&folded)
	if _, err := io.CopyN(w, zeros{}, 100<<20); err != nil {
		t.Fatal(err)
	}
	w.Close()
	u, got := NewUnfolder("gzip"), 0
	for i, rest := 0, folded.Bytes(); i < len(rest); i++ {
		got += len(u.Write(rest[i:i+1], false))
	}
	if got > maxDecoded {
		t.Errorf("%d bytes", got)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func FuzzUnfolder(f *testing.F) {
	f.Add("gzip", []byte("\x1f\x8b"), 3)
	f.Add("zstd", []byte("\x28\xb5\x2f\xfd"), 1)
	f.Fuzz(func(t *testing.T, coding string, body []byte, piece int) {
		u := NewUnfolder(coding)
		if u == nil {
			return
		}
		got := 0
		for rest := body; len(rest) > 0; {
			n := min(max(piece, 1), len(rest))
			got += len(u.Write(rest[:n], n == len(rest)))
			rest = rest[n:]
		}
		if got > maxDecoded {
			t.Fatalf("%d bytes", got)
		}
	})
}

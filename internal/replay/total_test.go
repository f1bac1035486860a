package replay

import (
	"bytes"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit"
)

func TestTheProcessKeepsNoMoreThanTotal(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	before := KeptMemory.Load()
	limits := Limits{Memory: 1 << 20, Disk: 1 << 20, Total: before + 2*LargeChunk}
	first, second := &spool{limits: &limits}, &spool{limits: &limits}
	for _, test := range []struct {
		what  string
		spool *spool
		file  bool
	}{
		{"one request has both chunks", first, false},
		{"the other goes to disk", second, true},
	} {
		want := testkit.Pattern(0, 50_000)
		if !test.spool.write(want) || !bytes.Equal(test.spool.content(t, 999), want) || (test.spool.file != nil) != test.file {
			t.Errorf("%s: file %t", test.what, test.spool.file != nil)
		}
	}
	if kept := KeptMemory.Load() - before; kept != 2*LargeChunk {
		t.Errorf("%d bytes are kept", kept)
	}
	first.release()
	second.release()
	if !second.write(testkit.Pattern(0, 50_000)) || second.file != nil {
		t.Error("what was given back is not there for others")
	}
	second.release()
	if kept := KeptMemory.Load() - before; kept != 0 {
		t.Errorf("%d bytes are kept for nobody", kept)
	}
}

func TestWithoutMemoryAndDiskNothingIsKept(t *testing.T) {
	s := &spool{limits: &Limits{Memory: 1 << 20, Total: KeptMemory.Load() + LargeChunk}}
	defer s.release()
	if !s.write(testkit.Pattern(0, LargeChunk)) || s.write([]byte{1}) {
		t.Error("a copy that fits nowhere is taken for whole")
	}
}

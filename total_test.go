package keycycler

import (
	"bytes"
	"testing"
)

func TestTheProcessKeepsNoMoreThanTotal(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	before := keptMemory.Load()
	limits := replayLimits{memory: 1 << 20, disk: 1 << 20, total: before + 2*largeChunk}
	first, second := &spool{limits: limits}, &spool{limits: limits}
	for _, test := range []struct {
		what  string
		spool *spool
		file  bool
	}{
		{"one request has both chunks", first, false},
		{"the other goes to disk", second, true},
	} {
		want := pattern(0, 50_000)
		if !test.spool.write(want) || !bytes.Equal(test.spool.content(t, 999), want) || (test.spool.file != nil) != test.file {
			t.Errorf("%s: file %t", test.what, test.spool.file != nil)
		}
	}
	if kept := keptMemory.Load() - before; kept != 2*largeChunk {
		t.Errorf("%d bytes are kept", kept)
	}
	first.release()
	second.release()
	if !second.write(pattern(0, 50_000)) || second.file != nil {
		t.Error("what was given back is not there for others")
	}
	second.release()
	if kept := keptMemory.Load() - before; kept != 0 {
		t.Errorf("%d bytes are kept for nobody", kept)
	}
}

func TestWithoutMemoryAndDiskNothingIsKept(t *testing.T) {
	s := &spool{limits: replayLimits{memory: 1 << 20, total: keptMemory.Load() + largeChunk}}
	defer s.release()
	if !s.write(pattern(0, largeChunk)) || s.write([]byte{1}) {
		t.Error("a copy that fits nowhere is taken for whole")
	}
}

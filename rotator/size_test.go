package rotator

import (
	"testing"
	"unsafe"

	"github.com/keycycler/keycycler/rotator/draw"
)

// A pool of 100,000 keys is nothing to think about: what is kept for each key beyond the
// key itself fits the allocator's class of 144 bytes, and what is out of the ordinary is
// paid for by the keys that are.
func TestSizes(t *testing.T) {
	for _, row := range []struct {
		sentence  string
		size, max uintptr
	}{
		{"what is known of a key", unsafe.Sizeof(entry{}), 144},
		{"the mark of one that is not plainly ready", unsafe.Sizeof(draw.Mark{}), 56},
		{"what is known of one that was in doubt", unsafe.Sizeof(doubt{}), 96},
	} {
		if row.size > row.max {
			t.Errorf("%s takes %d bytes, want at most %d", row.sentence, row.size, row.max)
		}
	}
}

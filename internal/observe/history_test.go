package observe

import (
	"slices"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

func TestHistory(t *testing.T) {
	var h History
	start := time.Unix(1_800_000_000, 0) // a whole minute
	for i, r := range []rotator.Reason{1, 1, 2} {
		h.Note(start.Add(time.Duration(i)*20*time.Second), r)
	}
	h.Note(start.Add(59*time.Minute), 1)
	last := h.Last(start.Add(59*time.Minute + 30*time.Second))
	if len(last) != 60 || last[0].rejections[1] != 2 || last[0].rejections[2] != 1 || last[59].rejections[1] != 1 || !last[0].Start().Equal(start) {
		t.Errorf("the last hour is %+v", last)
	}
	if last := h.Last(start.Add(60 * time.Minute)); last[0].rejections[1] != 0 || last[58].rejections[1] != 1 {
		t.Errorf("a minute later it is %+v", last)
	}
	h.Note(start.Add(60*time.Minute), 1) // takes the place of the first
	if last := h.Last(start.Add(60 * time.Minute)); last[59].rejections[1] != 1 || last[59].rejections[2] != 0 {
		t.Errorf("the newest minute is %+v", last[59])
	}
	if last := h.Last(start.Add(1000 * time.Hour)); slices.ContainsFunc(last, func(m Minute) bool { return m.rejections[1] > 0 }) {
		t.Error("old rejections are back")
	}
}

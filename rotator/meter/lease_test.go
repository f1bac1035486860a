package meter

import (
	"math/rand/v2"
	"testing"
	"time"
)

// What is used and from when there is room are two sides of the same.
func TestUsedOfAWindow(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for range 200 {
		w, at := NewWindow(time.Duration(32+r.IntN(1000))), int64(0)
		for range 50 {
			at += r.Int64N(w.per / 4)
			w.Add(at, uint32(r.IntN(3)))
			for n := 1; n < 12; n++ {
				later := at + r.Int64N(w.per)
				if (w.used(later) >= int64(n)) != (w.RoomFrom(int64(n), 1) > later) {
					t.Fatalf("%d are used at %d, and there is room for a %dth from %d on", w.used(later), later, n, w.RoomFrom(int64(n), 1))
				}
			}
		}
	}
}

// A request that begins when all pools are closed that had the limit finds no window.
func TestPartOfALimitThatIsGone(t *testing.T) {
	gone := &Limit{Requests: 1, Per: time.Minute, Tokens: 1, TokensPer: per, Shared: true}
	m := newMeter(&Limit{Tokens: 1, TokensPer: per})
	c, _ := m.Reserve(0, gone, "", 1)
	if c == nil {
		t.Fatal("nobody counts any more, and the request is refused")
	}
	m.end(c, 0, 0, 1, Used{Output: 1})
	if c, r := m.Reserve(0, gone, "", 1); c != nil || r.Any <= 0 {
		t.Errorf("there are tokens from %d on", r.Any)
	}
}

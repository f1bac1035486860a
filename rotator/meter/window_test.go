package meter

import (
	"math/rand/v2"
	"testing"
	"time"
)

// In no window of the length, wherever it begins, are there more requests than are
// allowed, and one that would fit is refused for the time of one part, at the most.
func TestWindow(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		per, n := time.Duration(1+r.IntN(1000)), 1+r.IntN(40)
		w := NewWindow(per)
		var begun []int64
		for at := int64(0); len(begun) < 500; at += int64(r.IntN(2 + 3*int(per)/n)) {
			lately := func(within int64) (count int) {
				for _, b := range begun {
					if at-b < within {
						count++
					}
				}
				return count
			}
			if room := w.RoomFrom(int64(n), 1) <= at; room {
				if lately(int64(per)) >= n {
					t.Fatalf("seed %d: %d of %d in %s", seed, lately(int64(per))+1, n, per)
				}
				w.Add(at, 1)
				begun = append(begun, at)
			} else if lately(int64(per)+w.width) < n {
				t.Fatalf("seed %d: refused at %d, though there were %d of %d in %s", seed, at, lately(int64(per)+w.width), n, per)
			}
		}
	}
}

// What is older than all parts, since another window has told of later ones, is counted all the
// same: as of the first part.
func TestOlderThanAllParts(t *testing.T) {
	const per = 4 * Parts
	w := NewWindow(per)
	w.Add(10*per, 1)
	w.Add(0, 1)
	if first := int64(10*Parts - Parts); w.RoomFrom(2, 1) != w.end(first*4) || w.RoomFrom(3, 1) != never {
		t.Errorf("there is room from %d, want %d", w.RoomFrom(2, 1), w.end(first*4))
	}
}

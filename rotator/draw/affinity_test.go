package draw_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/draw"
)

var start = time.Date(2025, time.March, 1, 12, 0, 0, 0, time.UTC)

// affine is a pool that heeds affinity, and what is to be known of it.
type affine struct {
	*rotator.Pool
	config draw.Config
	out    map[string]map[draw.Slot]bool // by scope: those that cool or are disabled
}

func newAffine(t *testing.T, r *rand.Rand, n int, ranks []draw.Rank, lots []uint16) *affine {
	t.Helper()
	keys := make([]rotator.Key, n)
	for i := range keys {
		k, err := rotator.NewKey(fmt.Sprintf("sk-test-%08d", i))
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = k
	}
	p, err := rotator.NewPool(keys, rotator.NewState(start), start, rotator.WithRanks(ranks), rotator.WithLots(lots), rotator.WithAffinity())
	if err != nil {
		t.Fatal(err)
	}
	a := &affine{Pool: p, config: draw.Config{Uses: make([]*draw.Use, n), Ranks: ranks, Lots: lots, Secret: func(s draw.Slot) uint64 {
		sum := sha256.Sum256([]byte("keycycler key affinity v1\x00" + keys[s].Secret()))
		return binary.BigEndian.Uint64(sum[:])
	}}, out: map[string]map[draw.Slot]bool{"": {}, "x": {}}}
	for _, s := range r.Perm(n)[:r.IntN(n)] {
		scope := []string{"", "x"}[r.IntN(2)]
		p.Cool(start, draw.Slot(s), rotator.Cooldown{For: time.Hour, Scope: scope})
		a.keepOut(draw.Slot(s), scope)
	}
	for _, s := range r.Perm(n)[:n/10] {
		p.Disable(start, draw.Slot(s))
		a.keepOut(draw.Slot(s), "")
	}
	return a
}

// keepOut notes that the slot is out in the scope, or in all.
func (a *affine) keepOut(s draw.Slot, scope string) {
	a.out["x"][s] = true
	if scope == "" {
		a.out[""][s] = true
	}
}

// left returns the slots that are ready and untried.
func (a *affine) left(w draw.Want) (slots []draw.Slot) {
	for s := range draw.Slot(a.Len()) {
		lot := uint16(0)
		if a.config.Lots != nil {
			lot = a.config.Lots[s]
		}
		if !w.Shut.Has(lot) && !a.out[w.Scope][s] && !slices.Contains(w.Tried, s) {
			slots = append(slots, s)
		}
	}
	return slots
}

func randomRanks(r *rand.Rand, n int) []draw.Rank {
	ranks := make([]draw.Rank, n)
	for i := range ranks {
		ranks[i] = draw.Rank{Tier: uint8(1 + r.IntN(3)), Weight: uint8(1 + r.IntN(3)*33)}
	}
	return ranks
}

// The order of a value is what is written above orders: worked out here key by key,
// it gives what the pool gives, whatever cools, is disabled, is of a shut lot or has been
// tried, and lots change no order. The pools
// are of one cluster, of several, and of many.
func TestAffinityFollowsTheOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, n := range []int{7, 200, 600, 5000} {
		for _, ranks := range [][]draw.Rank{nil, randomRanks(r, n), randomRanks(r, n)} {
			var lots []uint16
			for range n * r.IntN(2) {
				lots = append(lots, uint16(r.IntN(3)))
			}
			p := newAffine(t, r, n, ranks, lots)
			for i := range 100 {
				w := draw.Want{Affinity: draw.AffinityOf(fmt.Sprint(i)), Scope: []string{"", "x"}[i%2]}
				for range r.IntN(6) {
					w.Tried = append(w.Tried, draw.Slot(r.IntN(n)))
				}
				for lot := range uint16(3) {
					if r.IntN(3) == 0 {
						w.Shut.Add(lot)
					}
				}
				got, ok := p.PickFor(start, w)
				left := p.left(w)
				if ok != (len(left) > 0) {
					t.Fatalf("%d keys: picked: %t, %d are left", n, ok, len(left))
				}
				if !ok {
					continue
				}
				if want := draw.FirstByHand(p.config, w.Affinity, left); got != want {
					t.Fatalf("%d keys: slot %d, want %d", n, got, want)
				}
			}
		}
	}
}

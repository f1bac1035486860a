package draw

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestLots(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		var sets [2]Lots
		var want [2][]uint16
		for i := range sets {
			for range r.IntN(6) {
				lot := uint16(r.IntN(300))
				sets[i].Add(lot)
				want[i] = append(want[i], lot)
			}
		}
		merged := slices.Clone(sets[0])
		merged.Merge(sets[1])
		for lot := range uint16(400) {
			a, b := slices.Contains(want[0], lot), slices.Contains(want[1], lot)
			if sets[0].Has(lot) != a || sets[1].Has(lot) != b || merged.Has(lot) != (a || b) {
				t.Fatalf("lot %d of %v and %v: %t, %t, merged %t", lot, want[0], want[1], sets[0].Has(lot), sets[1].Has(lot), merged.Has(lot))
			}
		}
	}
	var none Lots
	if none.Has(0) || none.Has(65535) {
		t.Error("the zero Lots has a lot")
	}
	none.Add(65535)
	if !none.Has(65535) {
		t.Error("the last lot was not added")
	}
	full := slices.Clone(none)
	if n := testing.AllocsPerRun(100, func() { full = full[:0]; full.Merge(none) }); n != 0 {
		t.Errorf("merging into room that is there allocates %v times", n)
	}
}

// randomLots returns a few lots, or none.
func randomLots(r *rand.Rand, slots int) (lots []uint16) {
	n := []int{0, 1, 3, 70}[r.IntN(4)]
	for range slots * min(n, 1) {
		lots = append(lots, uint16(r.IntN(n)))
	}
	return lots
}

// randomShut shuts some of a few lots, or none.
func randomShut(r *rand.Rand) (shut Lots) {
	share := r.Float64() * float64(r.IntN(2))
	for lot := range uint16(70) {
		if r.Float64() < share {
			shut.Add(lot)
		}
	}
	return shut
}

// open returns the slots that a request may get.
func (c *Config) open(w *Want) (slots []Slot) {
	for s := range Slot(len(c.Uses)) {
		if !w.Shut.Has(c.class(s).lot) && !slices.Contains(w.Tried, s) && (w.Among == nil || slices.Contains(w.Among, s)) {
			slots = append(slots, s)
		}
	}
	return slots
}

// checkChoice chooses for some request, and compares with what each slot is for it.
func checkChoice(t *testing.T, r *rand.Rand, d *Draw, c *Config, at int64) {
	t.Helper()
	w := Want{Shut: randomShut(r), Affinity: Affinity(r.IntN(2) * r.IntN(1000))}
	for range r.IntN(2) * r.IntN(20) {
		w.Tried = append(w.Tried, Slot(r.IntN(len(c.Uses))))
	}
	switch r.IntN(4) {
	case 0:
		w.Explore, w.Tried = 10, nil // only a request that has tried none explores
	case 1:
		for _, s := range r.Perm(len(c.Uses))[:r.IntN(len(c.Uses))] {
			w.Among = append(w.Among, Slot(s))
		}
	}
	got, ok := d.Choose(at, &w, r)
	left := c.open(&w)
	best, tier := Out, uint8(MaxRank)
	for _, s := range left {
		best = min(best, d.KindOf(s))
	}
	for _, s := range left {
		if d.KindOf(s) == Ready {
			tier = min(tier, c.class(s).Tier)
		}
	}
	switch {
	case ok != (best < Out):
		t.Fatalf("%+v: chosen %t, the best slot is of the kind %d", w, ok, best)
	case !ok:
	case !slices.Contains(left, got.Slot):
		t.Fatalf("%+v: slot %d of lot %d is not for the request", w, got.Slot, c.class(got.Slot).lot)
	case got.Explores && (best != Ready || d.KindOf(got.Slot) == Ready || c.class(got.Slot).Tier > tier):
		t.Fatalf("%+v: explores slot %d of tier %d, the best is of the kind %d, the lowest tier %d", w, got.Slot, c.class(got.Slot).Tier, best, tier)
	case !got.Explores && d.KindOf(got.Slot) != best, !got.Explores && best == Ready && w.Among == nil && c.class(got.Slot).Tier != tier:
		t.Fatalf("%+v: slot %d of tier %d and kind %d, want %d and %d", w, got.Slot, c.class(got.Slot).Tier, d.KindOf(got.Slot), tier, best)
	}
	if err := d.Check(); err != nil {
		t.Fatal(err)
	}
}

// checkCensus compares what is counted by lot with what is counted slot by slot.
func checkCensus(t *testing.T, r *rand.Rand, d *Draw, c *Config, at int64) {
	t.Helper()
	w := Want{Shut: randomShut(r)}
	some := Want{Among: append([]Slot{}, c.open(&w)...)}
	if got, want := d.CensusFor(at, &w), d.CensusFor(at, &some); got != want {
		t.Fatalf("without the lots %v: %+v, slot by slot %+v", w.Shut, got, want)
	}
	some.Among = nil
	for s := range Slot(len(c.Uses)) {
		some.Among = append(some.Among, s)
	}
	some.Shut = w.Shut
	if got, want := d.CensusFor(at, &some), d.CensusFor(at, &w); got != want {
		t.Fatalf("of all slots without the lots %v: %+v, want %+v", w.Shut, got, want)
	}
}

// The one that was not used for longest comes first of all that are not ready, whatever its
// lot.
func TestLastResortOfAllLots(t *testing.T) {
	uses := make([]*Use, 9)
	for i := range uses {
		uses[i] = new(Use)
		uses[i].LastUsed.Store(int64(100 - i))
	}
	d, err := New(Config{Uses: uses, Lots: []uint16{0, 0, 0, 1, 1, 1, 2, 2, 2}})
	if err != nil {
		t.Fatal(err)
	}
	for s := range Slot(9) {
		d.Put(s, Mark{Suspect: Forever}, 1)
	}
	shut := Lots{}
	for _, want := range []Slot{8, 5, 2} {
		got, ok := d.Choose(2, &Want{Shut: shut}, nil)
		if !ok || got.Slot != want {
			t.Errorf("without %v slot %d, %t, want %d: that was not used for longest", shut, got.Slot, ok, want)
		}
		shut.Add(uint16(want / 3))
	}
}

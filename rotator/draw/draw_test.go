package draw

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// makeDraw returns a draw of so many slots, some with ranks, lots and affinities.
func makeDraw(t *testing.T, r *rand.Rand, slots int) (*Draw, *Config) {
	t.Helper()
	c := Config{
		Uses: make([]*Use, slots), Turns: r.IntN(2) == 0, Rand: r, Lots: randomLots(r, slots),
		Claim: func(Slot) bool { return r.IntN(3) > 0 },
	}
	for i := range c.Uses {
		c.Uses[i] = new(Use)
	}
	if r.IntN(2) == 0 {
		for range slots {
			c.Ranks = append(c.Ranks, Rank{Tier: uint8(r.IntN(3)), Weight: uint8(r.IntN(3))})
		}
	}
	if r.IntN(2) == 0 {
		c.Secret = func(s Slot) uint64 { return mix(uint64(s) + 1) }
	}
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return &d, &c
}

// told is what a draw was told of a slot.
type told struct {
	Mark
	off bool
}

func (m *told) kind(at int64) Kind {
	if m.off {
		return Out
	}
	return m.at(at)
}

// A slot is at each time of the kind that its mark says, in the draw as in its clone, which
// knows nothing of what comes later.
func TestDrawAgainstModel(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 5))
		d, c := makeDraw(t, r, 1+r.IntN(90))
		model, at := make([]told, len(d.order)), int64(0)
		var clone Draw
		var then []told
		for step := range 300 {
			if step == 150 {
				clone, then = d.Clone(), slices.Clone(model)
			}
			at += r.Int64N(4)
			d.Expire(at)
			change(r, d, model, at)
			checkModel(t, d, model, at)
			checkCensus(t, r, d, c, at)
			checkChoice(t, r, d, c, at)
		}
		clone.Expire(at)
		checkModel(t, &clone, then, at)
		checkCensus(t, r, &clone, c, at)
		checkChoice(t, r, &clone, c, at)
	}
}

// change says something of one slot.
func change(r *rand.Rand, d *Draw, model []told, at int64) {
	s := Slot(r.IntN(len(model)))
	m := &model[s]
	switch r.IntN(6) {
	case 0:
		*m = told{off: true}
		d.Disable(s)
	case 1:
		*m = told{}
		d.Put(s, Mark{}, at)
	case 2, 3:
		out := at + r.Int64N(30)
		mark := Mark{Out: out, Spare: out + r.Int64N(30), Suspect: at + r.Int64N(60), Reason: Reason(r.IntN(MaxReasons)), Shown: out + r.Int64N(60)}
		*m = told{Mark: mark}
		d.Put(s, mark, at)
	default:
		until := at + 1 + r.Int64N(60)
		d.Extend(s, until, 1, at)
		if !m.off {
			m.Mark = m.Join(Cooling(until, 1))
		}
	}
}

func checkModel(t *testing.T, d *Draw, model []told, at int64) {
	t.Helper()
	if err := d.Check(); err != nil {
		t.Fatal(err)
	}
	all, c := make([]Slot, len(model)), Census{Keys: len(model)}
	for s := range model {
		all[s] = Slot(s)
		m := &model[s]
		k := m.kind(at)
		if got := d.KindOf(Slot(s)); got != k || d.IsReady(Slot(s)) != (k == Ready) {
			t.Fatalf("at %d slot %d is of the kind %d, want %d: %+v", at, s, got, k, *m)
		}
		switch {
		case m.off:
			c.Disabled++
		case m.Shown > at:
			c.Cooling[m.Reason]++
		default:
			c.Ready++
		}
	}
	got := d.Census(at)
	if got.Keys != c.Keys || got.Ready != c.Ready || got.Disabled != c.Disabled || got.Cooling != c.Cooling {
		t.Fatalf("at %d the census is %+v, want %+v", at, got, c)
	}
	if among := d.CensusFor(at, &Want{Among: all}); among != got {
		t.Fatalf("at %d the census among all is %+v, want %+v", at, among, got)
	}
}

// What is out of order is seen.
func TestCheckSeesFaults(t *testing.T) {
	for name, spoil := range map[string]func(*Draw){
		"a place":          func(d *Draw) { d.place[0], d.place[1] = d.place[1], d.place[0] },
		"a part":           func(d *Draw) { d.buckets[0].size[Ready]-- },
		"a hand":           func(d *Draw) { d.buckets[0].hands[Ready] = 99 },
		"a bucket":         func(d *Draw) { d.buckets[1].first++ },
		"the heap":         func(d *Draw) { d.marks.items[1].until = 0 },
		"a mark":           func(d *Draw) { d.marks.items[0].Out, d.marks.items[0].Suspect = 0, 5 },
		"a count":          func(d *Draw) { d.tallies[0].counts[2]++ },
		"the disabled":     func(d *Draw) { d.tallies[0].off-- },
		"those under way":  func(d *Draw) { d.tallies[0].busy++ },
		"a cluster's keys": func(d *Draw) { d.readyIn[0]++ },
		"a cluster's part": func(d *Draw) { d.readyOf[1]++ },
		"a lot's marks":    func(d *Draw) { d.tallies[1].marks++ },
	} {
		d, err := New(Config{Uses: make([]*Use, 5), Ranks: []Rank{{}, {}, {}, {}, {Tier: 2}}, Lots: []uint16{0, 1, 0, 0, 0}, Secret: func(s Slot) uint64 { return mix(uint64(s)) }})
		if err != nil {
			t.Fatal(err)
		}
		d.Extend(0, 5, 1, 0)
		d.Extend(1, 6, 1, 0)
		d.Disable(2)
		if err := d.Check(); err != nil {
			t.Errorf("%s: before, %v", name, err)
		}
		if spoil(&d); d.Check() == nil {
			t.Errorf("%s: not seen", name)
		}
	}
}

func TestClusterBits(t *testing.T) {
	for keys, want := range map[int]int{1: 0, 256: 0, 257: 2, 1027: 2, 1028: 4, 5000: 6, 100_000: 8, 1 << 30: 16} {
		if got := clusterBits(keys); got != want {
			t.Errorf("%d keys: %d bits, want %d", keys, got, want)
		}
	}
}

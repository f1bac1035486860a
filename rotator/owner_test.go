package rotator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func resource(i int) Resource { return ResourceOf(fmt.Appendf(nil, "file-%d", i)) }

// ownerLog is a journal that keeps what it is told of owners.
type ownerLog struct{ told []Owner }

func (l *ownerLog) Record(Change)       {}
func (l *ownerLog) RecordOwner(o Owner) { l.told = append(l.told, o) }

// tellingPool returns a pool that tells the journal.
func tellingPool(t *testing.T, keys []Key, s *State, now time.Time, j Journal) *Pool {
	t.Helper()
	p, err := NewPool(keys, s, now, WithJournal(j))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOwners(t *testing.T) {
	s, keys, j := NewState(start), makeKeys(t, 4), new(ownerLog)
	p := tellingPool(t, keys[:3], s, start, j)
	other := makePool(t, keys[3:], s, start)
	owner := func(at time.Time, i int) string {
		if id, ok := p.Owner(at, resource(i)); ok {
			return id.String()
		}
		return ""
	}
	if p.Resources() != 0 || owner(start, 1) != "" {
		t.Error("a new state knows resources")
	}
	if !p.Own(start, 1, resource(1)) || owner(start, 1) != keys[1].String() || p.Resources() != 1 {
		t.Error("what was made is not known")
	}
	if p.Own(start, 1, resource(1)) || p.Own(start, 2, resource(1)) || owner(start, 1) != keys[1].String() {
		t.Error("another key of the pool that may use it has taken it over")
	}
	if id, ok := other.Owner(start, resource(1)); ok {
		t.Errorf("a pool without the key was given %s", id)
	}
	if !other.Own(start, 0, resource(1)) || owner(start, 1) != "" {
		t.Error("a key took nothing over from one that is not in its pool")
	}
	if len(j.told) != 1 || j.told[0] != (Owner{resource(1), keys[1].ID(), start}) {
		t.Errorf("the journal was told %v", j.told)
	}
}

func TestOwnersAreTold(t *testing.T) {
	s, keys, j := NewState(start), makeKeys(t, 2), new(ownerLog)
	p := tellingPool(t, keys, s, start, j)
	p.Own(start, 0, resource(1))
	at := start
	for range 60 { // a use every 12 hours keeps it alive, and is told every 24
		at = at.Add(12 * time.Hour)
		if _, ok := p.Owner(at, resource(1)); !ok {
			t.Fatalf("forgotten after %s", at.Sub(start))
		}
	}
	if len(j.told) != 1+30 {
		t.Errorf("the journal was told %d times in 30 days", len(j.told))
	}
	if _, ok := p.Owner(at.Add(ownerTerm), resource(1)); ok || s.Resources() != 0 {
		t.Error("what nobody has used for 30 days is known")
	}
}

func TestLearnOwner(t *testing.T) {
	keys := makeKeys(t, 3)
	now := start.Add(40 * 24 * time.Hour)
	for _, row := range []struct {
		sentence string
		known    time.Duration // how long ago key 0 used it here; below zero: it is not known
		heard    time.Duration // how long ago key 1 did elsewhere
		want     int           // the key; -1: none
	}{
		{"what is new is learned", -1, time.Hour, 1},
		{"the later use counts: theirs", time.Hour, time.Minute, 1},
		{"the later use counts: ours", time.Minute, time.Hour, 0},
		{"what is over is not learned", -1, 31 * 24 * time.Hour, -1},
		{"a use that lies ahead, by a clock that is wrong, is now", -1, -time.Hour, 1},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			s := NewState(start)
			p := makePool(t, keys, s, start)
			if row.known >= 0 {
				p.Own(now.Add(-row.known), 0, resource(1))
			}
			s.LearnOwner(now, Owner{resource(1), keys[1].ID(), now.Add(-row.heard)}, nil)
			want, wanted := ID{}, row.want >= 0
			if wanted {
				want = keys[row.want].ID()
			}
			if got, ok := p.Owner(now, resource(1)); ok != wanted || got != want {
				t.Errorf("the owner is %s, %t", got, ok)
			}
		})
	}
}

func TestKnownOwners(t *testing.T) {
	s, keys, j := NewState(start), makeKeys(t, 3), new(ownerLog)
	p := tellingPool(t, keys[:1], s, start, j)
	silent := makePool(t, keys[1:2], s, start)
	p.Own(start, 0, resource(0))
	silent.Own(start, 0, resource(1))
	s.LearnOwner(start, Owner{resource(2), keys[2].ID(), start}, nil) // in no pool
	var known []Owner
	s.KnownOwners(start, j, func(o Owner) bool {
		known = append(known, o)
		return true
	})
	if !slices.Equal(known, []Owner{{resource(0), keys[0].ID(), start}}) {
		t.Errorf("known are %v", known)
	}
}

// The model is a list in the order of use.
func TestOwnersAgainstModel(t *testing.T) {
	const most = 50
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		o, model := newOwners(most), []Resource(nil)
		for step := range 3000 {
			at, i := int64(step), resource(r.IntN(3*most))
			place := slices.Index(model, i)
			if r.IntN(2) == 0 {
				if _, _, ok := o.find(at, i); ok != (place >= 0) {
					t.Fatalf("seed %d, step %d: found %t", seed, step, ok)
				}
			} else if news := o.set(at, i, ID{1}, nil); news != (place < 0) {
				t.Fatalf("seed %d, step %d: news %t", seed, step, news)
			} else if news {
				model = append(model, i)
			} else {
				continue // what is known already is no use
			}
			if place >= 0 {
				model = append(slices.Delete(model, place, place+1), i)
			}
			model = model[max(0, len(model)-most):]
			checkOwners(t, o, model)
		}
	}
}

func checkOwners(t *testing.T, o *owners, model []Resource) {
	t.Helper()
	var got []Resource
	o.each(1<<40, func(r Resource, _ ID, _ int64) bool {
		got = append(got, r)
		return true
	})
	slices.Reverse(got)
	if !slices.Equal(got, model) || int(o.count.Load()) != len(model) || len(o.ring) > o.most+2 {
		t.Fatalf("in the order of use: %x, want %x; %d entries", got, model, len(o.ring))
	}
}

// Everything that another node knows is read in the order of its use, mixed with what
// is known here: that must not take long.
func TestOwnersHearMuch(t *testing.T) {
	const most = 30_000
	for _, order := range []string{"latest first", "oldest first", "any order"} {
		o, r := newOwners(most), rand.New(rand.NewPCG(1, 2))
		for i := range most {
			o.set(int64(2*i), resource(i), ID{1}, nil)
		}
		begin := time.Now()
		for i := range most {
			used := 2*i + 1
			switch order {
			case "latest first":
				used = 2*(most-i) + 1
			case "any order":
				used = r.IntN(2 * most)
			}
			o.hear(int64(used), resource(most+i), ID{2})
		}
		t.Logf("%s: %s", order, time.Since(begin).Round(time.Millisecond))
		if len(o.index) != most || len(o.ring) != most+2 || time.Since(begin) > 10*time.Second {
			t.Errorf("%s: %d known, %d entries, %s", order, len(o.index), len(o.ring), time.Since(begin))
		}
	}
}

func TestPickAmongSomeSlots(t *testing.T) {
	p := makePool(t, makeKeys(t, 6), NewState(start), start)
	p.Cool(start, 1, Cooldown{For: minute, Reason: limited})
	p.Cool(start, 2, Cooldown{For: minute / 2, Reason: quota, Scope: "m"})
	p.Disable(start, 3)
	for _, row := range []struct {
		sentence     string
		scope        string
		among, tried []Slot
		want         []Slot
		census       Census
	}{
		{"the first, where it is ready", "", []Slot{0, 1, 2, 3}, nil, []Slot{0}, Census{Keys: 4, Ready: 2, Disabled: 1, Soonest: minute, Cooling: [MaxReasons]int{limited: 1}}},
		{"otherwise one of those that are", "", []Slot{1, 0, 2, 3}, nil, []Slot{0, 2}, Census{Keys: 4, Ready: 2, Disabled: 1, Soonest: minute, Cooling: [MaxReasons]int{limited: 1}}},
		{"in a scope, one less", "m", []Slot{2, 0, 1}, nil, []Slot{0}, Census{Keys: 3, Ready: 1, Soonest: minute / 2, Cooling: [MaxReasons]int{limited: 1, quota: 1}}},
		{"not those that were tried", "", []Slot{4, 0, 5}, []Slot{4}, []Slot{0, 5}, Census{Keys: 3, Ready: 3}},
		{"none", "", []Slot{1, 3}, nil, nil, Census{Keys: 2, Disabled: 1, Soonest: minute, Cooling: [MaxReasons]int{limited: 1}}},
		{"of nothing", "", []Slot{}, nil, nil, Census{}},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			counts := make(map[Slot]int)
			const draws = 3000
			for range draws {
				if s, ok := p.PickFor(start, Want{Scope: row.scope, Tried: row.tried, Among: row.among}); ok {
					counts[s]++
				}
			}
			for _, s := range row.want {
				if n := counts[s] * len(row.want); n < draws*9/10 || n > draws*11/10 {
					t.Errorf("slot %d was picked %d times of %d", s, counts[s], draws)
				}
			}
			if len(counts) != len(row.want) {
				t.Errorf("picked %v, want %v", counts, row.want)
			}
			if c := p.CensusFor(start, Want{Scope: row.scope, Among: row.among}); c != flat(row.census) {
				t.Errorf("census %+v, want %+v", c, flat(row.census))
			}
		})
	}
}

// Of two kinds either keeps half of the table, whatever comes of the other.
func TestWhatPassesPushesNothingLastingOut(t *testing.T) {
	passing := func(i int) Resource { return resource(i).Passing() }
	for _, row := range []struct {
		sentence    string
		first, then func(int) Resource
	}{
		{"thousands of messages, after some files", resource, passing},
		{"thousands of files, after some messages", passing, resource},
	} {
		p := makePool(t, makeKeys(t, 1), NewState(start), start)
		now := start
		own := func(r Resource) {
			now = now.Add(1)
			p.Own(now, 0, r)
		}
		known := func(of func(int) Resource, from, to int) (n int) {
			for i := from; i < to; i++ {
				if _, ok := p.Owner(now, of(i)); ok {
					n++
				}
			}
			return n
		}
		const some, many = 1000, 3 * maxOwners
		for i := range some {
			own(row.first(i))
		}
		for i := range many {
			own(row.then(i))
		}
		if n := known(row.first, 0, some); n != some {
			t.Errorf("%s: of the first %d are known", row.sentence, n)
		}
		if n := known(row.then, 0, many); n != maxOwners-some || known(row.then, many-n, many) != n {
			t.Errorf("%s: of the others %d are known, or not the latest", row.sentence, n)
		}
		for i := range many {
			own(row.first(i))
		}
		if n := known(row.first, 0, many); n != maxOwners/2 || p.Resources() != maxOwners {
			t.Errorf("%s: then %d of the first, of %d", row.sentence, n, p.Resources())
		}
	}
}

func BenchmarkOwner(b *testing.B) {
	p := makePool(b, makeKeys(b, 1000), NewState(start), start)
	for i := range maxOwners {
		p.Own(start, Slot(i%1000), resource(i))
	}
	name := []byte("file-500")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := p.Owner(start, ResourceOf(name)); !ok {
			b.Fatal("not known")
		}
	}
}

// A key that is at its limit is not picked for what it has made, and comes back when a
// request ends.
func TestTakeAmongHeedsLimits(t *testing.T) {
	p, err := NewPool(makeKeys(t, 3), NewState(start), start, WithLimit(Limit{Concurrency: 1, Reason: quota}))
	if err != nil {
		t.Fatal(err)
	}
	want := Want{Among: []Slot{1, 2}}
	for _, next := range []Slot{1, 2} {
		if s, ok := p.Take(start, want); !ok || s != next {
			t.Errorf("took %d, %t, want %d", s, ok, next)
		}
	}
	if s, ok := p.Take(start, want); ok {
		t.Errorf("took %d beyond its limit", s)
	}
	if c := p.CensusFor(start, want); c.Busy != 2 || c.Soonest != 0 || c.Ready != 0 {
		t.Errorf("census %+v", c)
	}
	p.End(2)
	if s, ok := p.Take(start, want); !ok || s != 2 {
		t.Errorf("took %d, %t", s, ok)
	}
}

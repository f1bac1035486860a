package rotator

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	limited Reason = iota + 1
	quota
)

func TestCooldown(t *testing.T) {
	type step struct {
		at    time.Duration // since the start
		c     Cooldown
		moved bool
	}
	for _, row := range []struct {
		sentence string
		steps    []step
		deadline time.Duration // since the start; 0: the key is ready all the time
		reason   Reason
	}{
		{"a key that nothing is known about is ready", nil, 0, 0},
		{"a key cools until its deadline", []step{{0, Cooldown{For: time.Minute, Reason: limited}, true}}, time.Minute, limited},
		{"the shortest cooldown is one nanosecond", []step{{5, Cooldown{For: 1, Reason: limited}, true}}, 6, limited},
		{"a cooldown begins when it is learned", []step{{time.Hour, Cooldown{For: time.Minute, Reason: limited}, true}}, time.Hour + time.Minute, limited},
		{"a later deadline replaces the earlier one and its reason", []step{
			{0, Cooldown{For: time.Minute, Reason: limited}, true},
			{time.Second, Cooldown{For: time.Hour, Reason: quota}, true}}, time.Hour + time.Second, quota},
		{"an earlier deadline changes nothing, its reason neither", []step{
			{0, Cooldown{For: time.Hour, Reason: quota}, true},
			{time.Second, Cooldown{For: time.Minute, Reason: limited}, false}}, time.Hour, quota},
		{"the same deadline changes nothing, its reason neither", []step{
			{0, Cooldown{For: time.Minute, Reason: quota}, true},
			{30 * time.Second, Cooldown{For: 30 * time.Second, Reason: limited}, false}}, time.Minute, quota},
		{"an answer that comes in late, with an earlier time, does not shorten", []step{
			{time.Minute, Cooldown{For: time.Minute, Reason: limited}, true},
			{time.Second, Cooldown{For: time.Minute, Reason: quota}, false}}, 2 * time.Minute, limited},
		{"zero is no cooldown", []step{{0, Cooldown{Reason: limited}, false}}, 0, 0},
		{"a negative duration is none", []step{{time.Hour, Cooldown{For: -time.Minute, Reason: limited}, false}}, 0, 0},
		{"the most negative duration is none", []step{{time.Hour, Cooldown{For: math.MinInt64, Reason: limited}, false}}, 0, 0},
		{"zero does not end a cooldown", []step{
			{0, Cooldown{For: time.Minute, Reason: limited}, true},
			{time.Second, Cooldown{Reason: quota}, false}}, time.Minute, limited},
		{"a key can cool again after its cooldown has ended", []step{
			{0, Cooldown{For: time.Minute, Reason: limited}, true},
			{time.Minute, Cooldown{For: time.Second, Reason: quota}, true}}, time.Minute + time.Second, quota},
		{"a deadline past the end of time stands just before it", []step{
			{time.Hour, Cooldown{For: math.MaxInt64, Reason: limited}, true},
			{2 * time.Hour, Cooldown{For: math.MaxInt64 - 1, Reason: quota}, false}}, math.MaxInt64 - 1, limited},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			p := makePool(t, makeKeys(t, 1), nil, start)
			var now time.Duration
			for i, s := range row.steps {
				now = max(now, s.at)
				if moved := p.Cool(start.Add(s.at), 0, s.c); moved != s.moved {
					t.Fatalf("step %d moves the deadline: %t, want %t", i, moved, s.moved)
				}
			}
			if row.deadline == 0 {
				checkReady(t, p, start.Add(now))
				return
			}
			checkCools(t, p, start.Add(now), row.deadline-now, row.reason)
			checkCools(t, p, start.Add(row.deadline-1), 1, row.reason)
			checkReady(t, p, start.Add(row.deadline))
		})
	}
}

// checkCools checks that the pool's only key cools for the time and the reason.
func checkCools(t *testing.T, p *Pool, now time.Time, left time.Duration, r Reason) {
	t.Helper()
	want := Census{Keys: 1, Soonest: left}
	want.Cooling[r] = 1
	if _, ok := p.Pick(now, nil); ok {
		t.Errorf("picked %v before the deadline", left)
	}
	if got := p.Census(now); got != want {
		t.Errorf("%v before the deadline the census is %+v, want %+v", left, got, want)
	}
	checkPool(t, p)
}

// checkReady checks that the pool's only key is ready.
func checkReady(t *testing.T, p *Pool, now time.Time) {
	t.Helper()
	if _, ok := p.Pick(now, nil); !ok {
		t.Error("not picked, though it is ready")
	}
	if got, want := p.Census(now), flat(Census{Keys: 1, Ready: 1}); got != want {
		t.Errorf("the census is %+v, want %+v", got, want)
	}
	checkPool(t, p)
}

func TestPickAmong(t *testing.T) {
	for _, row := range []struct {
		sentence string
		keys     int
		cooling  []Slot
		tried    []Slot
		want     []Slot
	}{
		{"of an empty pool, none", 0, nil, nil, nil},
		{"of one key, that one", 1, nil, nil, span(0, 1)},
		{"all that are ready", 4, nil, nil, span(0, 4)},
		{"not those that cool", 4, []Slot{1}, nil, []Slot{0, 2, 3}},
		{"not those that have been tried, ready or not", 4, nil, []Slot{0, 3}, []Slot{1, 2}},
		{"tried and cooling keys both stay out", 4, []Slot{1}, []Slot{2}, []Slot{0, 3}},
		{"a key that cools because it has been tried is left out once", 4, []Slot{1, 2}, []Slot{1, 2}, []Slot{0, 3}},
		{"a slot may be tried twice", 4, nil, []Slot{2, 2, 2, 2}, []Slot{0, 1, 3}},
		{"the last one left", 4, []Slot{3}, []Slot{0, 1, 0}, []Slot{2}},
		{"none when all have been tried", 4, nil, []Slot{3, 1, 0, 2}, nil},
		{"none when all cool", 4, span(0, 4), nil, nil},
		{"none when the ready ones have been tried", 4, []Slot{0, 3}, []Slot{1, 2}, nil},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			p := makePool(t, makeKeys(t, row.keys), nil, start)
			for _, s := range row.cooling {
				p.Cool(start, s, Cooldown{For: time.Hour})
			}
			tried := slices.Clone(row.tried)
			if got := picked(p, start, tried); !slices.Equal(got, row.want) {
				t.Errorf("picked %v, want %v", got, row.want)
			}
			if !slices.Equal(tried, row.tried) {
				t.Errorf("the caller's tried slots became %v", tried)
			}
			checkPool(t, p)
		})
	}
}

// picked returns, in order, the slots that many picks give.
func picked(p *Pool, now time.Time, tried []Slot) []Slot {
	var got []Slot
	for range 200 {
		if s, ok := p.Pick(now, tried); ok {
			got = append(got, s)
		}
	}
	slices.Sort(got)
	return slices.Compact(got)
}

func TestCensus(t *testing.T) {
	p := makePool(t, makeKeys(t, 4), nil, start)
	for _, row := range []struct {
		sentence string
		at       time.Duration
		slot     Slot
		c        Cooldown
		want     Census
	}{
		{"all ready at first", 0, 0, Cooldown{}, Census{Keys: 4, Ready: 4}},
		{"one cools", 0, 1, Cooldown{For: 10, Reason: limited}, Census{Keys: 4, Ready: 3, Soonest: 10, Cooling: [MaxReasons]int{limited: 1}}},
		{"a second one for the same reason", 0, 2, Cooldown{For: 20, Reason: limited}, Census{Keys: 4, Ready: 2, Soonest: 10, Cooling: [MaxReasons]int{limited: 2}}},
		{"the first one moves to another reason", 5, 1, Cooldown{For: 30, Reason: quota}, Census{Keys: 4, Ready: 2, Soonest: 15, Cooling: [MaxReasons]int{limited: 1, quota: 1}}},
		{"the smallest and the largest reason count too", 5, 0, Cooldown{For: 95, Reason: 0}, Census{Keys: 4, Ready: 1, Soonest: 15, Cooling: [MaxReasons]int{0: 1, limited: 1, quota: 1}}},
		{"with the last one, the soonest is the one that cools until 20", 6, 3, Cooldown{For: 50, Reason: MaxReasons - 1}, Census{Keys: 4, Soonest: 14, Cooling: [MaxReasons]int{0: 1, limited: 1, quota: 1, MaxReasons - 1: 1}}},
		{"a longer cooldown of that one makes another the soonest", 7, 2, Cooldown{For: 100, Reason: limited}, Census{Keys: 4, Soonest: 28, Cooling: [MaxReasons]int{0: 1, limited: 1, quota: 1, MaxReasons - 1: 1}}},
		{"once one is ready the soonest is the next", 35, 0, Cooldown{}, Census{Keys: 4, Ready: 1, Soonest: 21, Cooling: [MaxReasons]int{0: 1, limited: 1, MaxReasons - 1: 1}}},
		{"two more come back", 100, 0, Cooldown{}, Census{Keys: 4, Ready: 3, Soonest: 7, Cooling: [MaxReasons]int{limited: 1}}},
		{"all are back", 107, 0, Cooldown{}, Census{Keys: 4, Ready: 4}},
	} {
		now := start.Add(row.at)
		p.Cool(now, row.slot, row.c)
		if got := p.Census(now); got != flat(row.want) {
			t.Errorf("%s: %+v, want %+v", row.sentence, got, flat(row.want))
		}
		checkPool(t, p)
	}
	if got := makePool(t, nil, nil, start).Census(start); got != (Census{}) {
		t.Errorf("an empty pool has the census %+v", got)
	}
}

func TestNewPoolRefusesDoubledKeys(t *testing.T) {
	s := NewState(start)
	keys := makeKeys(t, 3)
	again, err := NewKey(keys[1].Secret())
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewPool(append(keys, again), s, start)
	if err == nil || !strings.Contains(err.Error(), keys[1].ID().String()) || leak(err.Error(), keys[1].Secret()) != "" {
		t.Errorf("error %v, want one that names key %s", err, keys[1])
	}
	if len(s.entries) != 0 {
		t.Errorf("a refused pool left %d entries behind", len(s.entries))
	}
}

func TestKeysKeepTheirSlots(t *testing.T) {
	keys := makeKeys(t, 10)
	p := makePool(t, keys, nil, start)
	for i := range 1000 {
		now := start.Add(time.Duration(i))
		s, _ := p.Pick(now, nil)
		p.Cool(now, s, Cooldown{For: 5})
	}
	if p.Len() != len(keys) {
		t.Errorf("%d keys, want %d", p.Len(), len(keys))
	}
	for i, k := range keys {
		if p.Key(Slot(i)) != k {
			t.Errorf("slot %d holds %v, want %v", i, p.Key(Slot(i)), k)
		}
	}
}

// A reason out of range is the caller's mistake; it must not break the pool.
func TestCoolRefusesReasonOutOfRange(t *testing.T) {
	p := makePool(t, makeKeys(t, 2), nil, start)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		p.Cool(start, 0, Cooldown{For: time.Hour, Reason: MaxReasons})
	}()
	if got, want := p.Census(start), flat(Census{Keys: 2, Ready: 2}); got != want {
		t.Errorf("the census is %+v, want %+v", got, want)
	}
	checkPool(t, p)
}

func TestAllocations(t *testing.T) {
	p := makePool(t, makeKeys(t, 1000), nil, start)
	tried, now := span(3, 18), start
	rejection := func() {
		now = now.Add(time.Millisecond)
		s, ok := p.Pick(now, tried)
		if !ok || !p.Cool(now, s, Cooldown{For: 500 * time.Millisecond, Reason: limited, Source: "retry-after"}) {
			t.Fatal("no key")
		}
	}
	for range 1000 {
		rejection() // until as many keys cool as ever will
	}
	for s := range Slot(500) { // until each has cooled in the scope once
		p.Cool(now, s, Cooldown{For: 500 * time.Millisecond, Scope: "gpt-x"})
	}
	slot := Slot(0)
	for _, row := range []struct {
		sentence string
		call     func()
	}{
		{"Pick with tried keys", func() { p.Pick(now, tried) }},
		{"Cool of keys that come back as fast", rejection},
		{"Cool that moves a deadline", func() { now = now.Add(1); p.Cool(now, slot, Cooldown{For: time.Hour}) }},
		{"Cool that changes nothing", func() { p.Cool(now, slot, Cooldown{For: time.Minute}) }},
		{"Census", func() { p.Census(now) }},
		{"Status of a key that cools in no scope", func() { p.Status(now, slot) }},
		{"PickIn while nothing cools in any scope", func() { p.PickIn(now, "gpt-x", tried) }},
		{"Cool in a scope", func() {
			now = now.Add(time.Millisecond)
			s, _ := p.PickIn(now, "gpt-x", nil)
			p.Cool(now, s%500, Cooldown{For: 500 * time.Millisecond, Scope: "gpt-x"})
		}},
		{"PickIn of a scope that some cool in", func() { p.PickIn(now, "gpt-x", tried) }},
		{"PickIn of another scope", func() { p.PickIn(now, "gpt-y", tried) }},
		{"CensusIn", func() { p.CensusIn(now, "gpt-x") }},
	} {
		if n := testing.AllocsPerRun(1000, row.call); n != 0 {
			t.Errorf("%s allocates %v times", row.sentence, n)
		}
	}
}

package rotator

import (
	"slices"
	"testing"
	"time"
)

// ledger is a journal that keeps everything that it is told, in order.
type ledger struct {
	told   []Change
	owners []Owner
}

func (l *ledger) Record(c Change)     { l.told = append(l.told, c) }
func (l *ledger) RecordOwner(o Owner) { l.owners = append(l.owners, o) }

// take returns what was told since the last call.
func (l *ledger) take() []Change {
	told := l.told
	l.told = nil
	return told
}

// words are all that a pool can learn of a key, each after those before it, and how many
// changes it is.
var words = []struct {
	sentence string
	say      func(p *Pool)
	changes  int
}{
	{"a cooldown", func(p *Pool) { p.Cool(start, 0, Cooldown{For: minute}) }, 1},
	{"one in a scope", func(p *Pool) { p.Cool(start, 0, Cooldown{For: minute, Scope: "x"}) }, 1},
	{"a success that ends one, while another one in a scope stays", func(p *Pool) {
		p.Cool(in(1), 0, Cooldown{For: 2 * minute})
		p.Serve(in(2), in(2), 0, "")
	}, 3},
	{"one that ends one in a scope", func(p *Pool) {
		p.Cool(in(1), 0, Cooldown{For: 2 * minute, Scope: "x"})
		p.Serve(in(minute/2), in(minute/2), 0, "x")
	}, 2},
	{"a clearing", func(p *Pool) { p.Clear(in(3), 0) }, 1},
	{"a disabling", func(p *Pool) { p.Disable(in(4), 0) }, 1},
	{"the same again", func(p *Pool) { p.Disable(in(5), 0) }, 1},
	{"an enabling", func(p *Pool) { p.Enable(in(6), 0) }, 1},
	{"the same again", func(p *Pool) { p.Enable(in(7), 0) }, 1},
}

// Every journal of every pool that holds the key hears each word once, whichever pool
// says it.
func TestEveryJournalHears(t *testing.T) {
	keys := makeKeys(t, 2)
	for _, row := range []struct {
		sentence string
		speaker  func(s *State, a, b *ledger) *Pool
	}{
		{"a pool without a journal", func(s *State, _, _ *ledger) *Pool { return makePool(t, keys, s, start) }},
		{"one with a journal that another pool has, too", func(s *State, a, _ *ledger) *Pool { return tellingPool(t, keys, s, start, a) }},
		{"one that was closed, and its journal with it", func(s *State, _, _ *ledger) *Pool {
			p := tellingPool(t, keys, s, start, new(ledger))
			p.Close(start)
			return p
		}},
		{"one that was closed, whose journal goes on", func(s *State, a, _ *ledger) *Pool {
			p := tellingPool(t, keys, s, start, a)
			p.Close(start)
			return p
		}},
	} {
		s, a, b, other := NewState(start), new(ledger), new(ledger), new(ledger)
		tellingPool(t, keys[:1], s, start, a)
		tellingPool(t, keys, s, start, b)
		tellingPool(t, keys[1:], s, start, other)
		p := row.speaker(s, a, b)
		for _, word := range words {
			word.say(p)
			toldA, toldB := a.take(), b.take()
			if len(toldA) != word.changes || !slices.Equal(toldA, toldB) {
				t.Errorf("%s says %s: told %+v and %+v, want %d changes each", row.sentence, word.sentence, toldA, toldB, word.changes)
			}
		}
		if len(other.told) != 0 {
			t.Errorf("%s: a journal of other keys was told %v", row.sentence, other.told)
		}
		checkState(t, s)
	}
}

// A journal that no pool has any more is closed. One that goes on hears of a key that no
// pool holds any more: other nodes may.
func TestClosedPoolsTellTheirJournal(t *testing.T) {
	s, keys, gone, stays := NewState(start), makeKeys(t, 2), new(ledger), new(ledger)
	replaced, shrunk := tellingPool(t, keys, s, start, gone), tellingPool(t, keys, s, start, stays)
	tellingPool(t, keys[:1], s, start, stays)
	replaced.Close(start)
	shrunk.Close(start)
	replaced.Cool(start, 1, Cooldown{For: minute})
	if len(gone.told)+len(stays.told) != 0 {
		t.Errorf("told %v and %v of a key that no pool of a journal holds", gone.told, stays.told)
	}
	shrunk.Cool(start, 1, Cooldown{For: 2 * minute})
	shrunk.Own(start, 1, resource(1))
	if len(gone.told) != 0 || len(stays.told) != 1 || len(stays.owners) != 1 {
		t.Errorf("told %v and %v, %v", gone.told, stays.told, stays.owners)
	}
}

// To say again what is so is a later word: it counts over what nodes have heard that
// never heard the first.
func TestSayAgain(t *testing.T) {
	keys, told := makeKeys(t, 1), new(ledger)
	p := tellingPool(t, keys, NewState(start), start, told)
	for _, row := range []struct {
		sentence      string
		say           func(time.Time, Slot) bool
		disabled, new bool
	}{
		{"a key that nobody has disabled is enabled", p.Enable, false, false},
		{"it is disabled", p.Disable, true, true},
		{"and again", p.Disable, true, false},
		{"it is enabled", p.Enable, false, true},
		{"and again", p.Enable, false, false},
	} {
		before := known(p, start, 0).Off
		if got := row.say(start, 0); got != row.new {
			t.Errorf("%s: changed is %t", row.sentence, got)
		}
		last := told.take()
		if len(last) != 1 || !last[0].Off.After(before) || last[0].Off.Disabled() != row.disabled {
			t.Errorf("%s: told %+v after %d", row.sentence, last, before)
		}
	}
}

// What one journal brings the others hear, and it does not.
func TestLearnPassesOn(t *testing.T) {
	keys := makeKeys(t, 1)
	id := keys[0].ID()
	cooled := func(scope string, until, learned time.Duration) Change {
		return Change{ID: id, Scope: scope, Until: in(until), Learned: in(learned)}
	}
	for _, row := range []struct {
		sentence string
		known    []Change
		news     Change
		passed   bool
	}{
		{"a cooldown", nil, cooled("", minute, 0), true},
		{"a later one", []Change{cooled("", minute, 0)}, cooled("", minute+2*echo, 0), true},
		{"an earlier one", []Change{cooled("", minute, 0)}, cooled("", minute/2, 0), false},
		{"the same, with what clocks differ by", []Change{cooled("", minute, 0)}, cooled("", minute+echo, 3), false},
		{"small steps, once they are many", []Change{cooled("", minute, 0), cooled("", minute+echo*2/3, 3)}, cooled("", minute+echo*4/3, 6), true},
		{"a cooldown in a scope", nil, cooled("x", minute, 0), true},
		{"a later one in a scope", []Change{cooled("x", minute, 0)}, cooled("x", minute+2*echo, 0), true},
		{"the same in a scope, with what clocks differ by", []Change{cooled("x", minute, 0)}, cooled("x", minute+echo, 3), false},
		{"a clearing", nil, Change{ID: id, Cleared: in(1)}, true},
		{"the same, with what clocks differ by", []Change{{ID: id, Cleared: in(1)}}, Change{ID: id, Cleared: in(2)}, false},
		{"a clearing that ends something, in any case", []Change{{ID: id, Cleared: in(1)}, cooled("", minute, 2)}, Change{ID: id, Cleared: in(2)}, true},
		{"a clearing in a scope", []Change{cooled("x", minute, 0)}, Change{ID: id, Scope: "x", Cleared: in(1)}, true},
		{"also one of what is not known here", nil, Change{ID: id, Scope: "x", Cleared: in(1), Kept: in(minute)}, true},
		{"the same in a scope", []Change{{ID: id, Scope: "x", Cleared: in(1), Kept: in(minute)}}, Change{ID: id, Scope: "x", Cleared: in(2), Kept: in(minute)}, false},
		{"a switch", nil, Change{ID: id, Off: 5}, true},
		{"the same switch", []Change{{ID: id, Off: 5}}, Change{ID: id, Off: 5}, false},
		{"a later word of the same", []Change{{ID: id, Off: 5}}, Change{ID: id, Off: 6}, true},
		{"an enabling", []Change{{ID: id, Off: 5}}, Change{ID: id, Off: -6}, true},
	} {
		s, from, to := NewState(start), new(ledger), new(ledger)
		makePool(t, keys, s, start)
		p := tellingPool(t, keys, s, start, from)
		tellingPool(t, keys, s, start, to)
		tellingPool(t, keys, s, start, to)
		s.entry(id, 0) // a clearing counts even where nothing else is known
		for _, c := range row.known {
			s.Learn(in(10), c, from)
		}
		to.take()
		s.Learn(in(10), row.news, from)
		want := []Change(nil)
		if row.passed {
			want = []Change{knownIn(p, in(10), 0, row.news.Scope)}
		}
		if got := to.take(); !slices.Equal(got, want) {
			t.Errorf("%s: the other journal was told %+v, want %+v", row.sentence, got, want)
		}
		if len(from.told) != 0 {
			t.Errorf("%s: a journal was told %+v, which it has brought", row.sentence, from.told)
		}
	}
}

// Two processes stand between the same two journals, whose times they translate, each a
// bit wrong. What one learns reaches everything and then comes to rest: nothing grows.
func TestJournalsDoNotEcho(t *testing.T) {
	keys := makeKeys(t, 1)
	const wrong = clockError / 2
	for _, say := range []func(p *Pool){
		func(p *Pool) { p.Cool(start, 0, Cooldown{For: minute}) },
		func(p *Pool) { p.Cool(start, 0, Cooldown{For: minute, Scope: "x"}) },
		func(p *Pool) { p.Cool(start, 0, Cooldown{For: minute}); p.Clear(in(1), 0) },
		func(p *Pool) {
			p.Cool(start, 0, Cooldown{For: minute, Scope: "x"})
			p.Serve(in(1), in(1), 0, "x")
		},
		func(p *Pool) { p.Disable(start, 0) },
		func(p *Pool) { p.Own(start, 0, resource(1)) },
	} {
		var states [2]*State
		var pools [2]*Pool
		var journals [2][2]*ledger // process, journal
		for i := range states {
			states[i] = NewState(start)
			for k := range journals[i] {
				journals[i][k] = new(ledger)
				pools[i] = tellingPool(t, keys, states[i], start, journals[i][k])
			}
		}
		say(pools[0])
		for round := 0; ; round++ {
			passed := 0
			for i := range states {
				for k, j := range journals[i] {
					other := 1 - i
					for _, c := range j.take() {
						passed++
						states[other].Learn(in(2), late(c, wrong), journals[other][k])
					}
					for _, o := range j.owners {
						passed++
						o.Used = o.Used.Add(wrong)
						states[other].LearnOwner(in(2), o, journals[other][k])
					}
					j.owners = nil
				}
			}
			if passed == 0 {
				break
			}
			if round == 10 {
				t.Fatalf("after %d rounds they still talk", round)
			}
		}
		a, b := pools[0].Census(in(2)), pools[1].Census(in(2))
		if a.Ready != b.Ready || (a.Soonest-b.Soonest).Abs() > echo || a.Soonest > minute+echo {
			t.Errorf("they know %+v and %+v", a, b)
		}
	}
}

// late is what a journal makes of a change whose times it translates wrongly.
func late(c Change, by time.Duration) Change {
	for _, at := range []*time.Time{&c.Until, &c.Learned, &c.Cleared, &c.Kept} {
		if !at.IsZero() {
			*at = at.Add(by)
		}
	}
	return c
}

// A journal that gets to do with a key hears what the process knows of it, once, also of
// a switch that is no hindrance, and whose key is.
func TestJournalsThatComeLater(t *testing.T) {
	keys, there := makeKeys(t, 3), new(ledger)
	s := NewState(start)
	p := makePool(t, keys, s, start)
	tellingPool(t, keys[2:], s, start, there)
	p.Cool(start, 0, Cooldown{For: minute, Scope: "x"})
	p.Cool(start, 0, Cooldown{For: minute, Scope: "y"})
	p.Serve(in(1), in(1), 0, "y")
	p.Disable(in(1), 0)
	p.Enable(in(2), 0)
	p.Cool(in(2), 1, Cooldown{For: minute})
	p.Clear(in(3), 1)
	p.Own(in(3), 0, resource(1))
	p.Own(in(3), 2, resource(2))
	there.take()
	there.owners = nil
	for _, j := range []*ledger{there, new(ledger)} {
		for range 2 {
			tellingPool(t, keys, s, in(4), j)
		}
		want := 0
		s.Known(in(4), j, func(c Change) bool {
			if c.ID == keys[2].ID() {
				return true
			}
			want++
			if !slices.Contains(j.told, c) {
				t.Errorf("not told of %+v", c)
			}
			return true
		})
		if want != 4 || len(j.told) != want {
			t.Errorf("told %+v, want %d changes", j.told, want)
		}
	}
	if want := []Owner{{resource(1), keys[0].ID(), in(3)}}; !slices.Equal(there.owners, want) {
		t.Errorf("told of the owners %v, want %v", there.owners, want)
	}
}

// Every journal of a pool that holds the key hears what was made with it.
func TestEveryJournalHearsOfOwners(t *testing.T) {
	s, keys, a, b, other := NewState(start), makeKeys(t, 2), new(ledger), new(ledger), new(ledger)
	tellingPool(t, keys, s, start, a)
	tellingPool(t, keys, s, start, a)
	tellingPool(t, keys, s, start, b)
	tellingPool(t, keys[1:], s, start, other)
	memory := makePool(t, keys, s, start)
	heard := func(sentence string, inA, inB int) {
		t.Helper()
		if len(a.owners) != inA || len(b.owners) != inB || len(other.owners) != 0 {
			t.Errorf("%s: told %v, %v and %v", sentence, a.owners, b.owners, other.owners)
		}
	}
	memory.Own(start, 0, resource(1))
	heard("a pool without a journal made it", 1, 1)
	memory.Owner(in(ownerNews), resource(1))
	heard("it is used a day later", 2, 2)
	o := Owner{resource(2), keys[0].ID(), start}
	s.LearnOwner(in(ownerNews), o, a)
	heard("a journal brings it", 2, 3)
	s.LearnOwner(in(ownerNews), o, b)
	o.Used = in(minute)
	s.LearnOwner(in(ownerNews), o, b)
	heard("the other brings it, too, used a bit later", 2, 3)
	o.Key, o.Used = keys[1].ID(), in(2*minute)
	s.LearnOwner(in(ownerNews), o, b)
	if len(a.owners) != 3 || len(other.owners) != 1 {
		t.Errorf("another key may use it: told %v and %v", a.owners, other.owners)
	}
}

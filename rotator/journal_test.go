package rotator

import (
	"math/rand/v2"
	"testing"
	"time"
)

// subject is what a change is about.
type subject struct {
	ID
	scope string
}

func of(c Change) subject { return subject{c.ID, c.Scope} }

// notes is a journal that keeps what it is told, the last change of each key in
// each scope.
type notes map[subject]Change

func (n *notes) Record(c Change) { (*n)[of(c)] = c }

func makeNode(t testing.TB, keys []Key) (*Pool, *notes) {
	t.Helper()
	n := &notes{}
	p, err := NewPool(keys, NewState(start), start, WithJournal(n))
	if err != nil {
		t.Fatal(err)
	}
	return p, n
}

// known returns what the pool's state knows of the slot for all requests.
func known(p *Pool, now time.Time, s Slot) Change { return knownIn(p, now, s, "") }

// knownIn returns what the pool's state knows of the slot in the scope.
func knownIn(p *Pool, now time.Time, s Slot, scope string) (found Change) {
	p.state.Known(now, p.journal, func(c Change) bool {
		if of(c) == (subject{p.keys[s].ID(), scope}) {
			found = c
		}
		return true
	})
	return found
}

// in is an instant after the start.
func in(d time.Duration) time.Time { return start.Add(d) }

func TestLearn(t *testing.T) {
	key := makeKeys(t, 1)
	id := key[0].ID()
	cooled := func(until, learned time.Duration) Change {
		return Change{ID: id, Until: in(until), Learned: in(learned), Reason: limited, Source: "elsewhere"}
	}
	cleared := func(c Change, at time.Duration) Change { c.Cleared = in(at); return c }
	nothing := Change{ID: id}
	const now = 10 * minute
	for _, row := range []struct {
		sentence string
		known    []Change
		news     Change
		changed  bool
		left     time.Duration
	}{
		{"the first cooldown counts", nil, cooled(now+minute, now), true, minute},
		{"a later deadline counts", []Change{cooled(now+minute, now)}, cooled(now+2*minute, now), true, 2 * minute},
		{"also if it was learned earlier", []Change{cooled(now+minute, now)}, cooled(now+2*minute, minute), true, 2 * minute},
		{"an earlier one does not", []Change{cooled(now+2*minute, now)}, cooled(now+minute, now), false, 2 * minute},
		{"nor does the same", []Change{cooled(now+minute, now)}, cooled(now+minute, now), false, minute},
		{"nor one that is over", nil, cooled(now, minute), false, 0},
		{"a clearing ends what was learned before", []Change{cooled(now+minute, 1)}, cleared(nothing, 2), true, 0},
		{"and at the same instant", []Change{cooled(now+minute, 2)}, cleared(nothing, 2), true, 0},
		{"and not what was learned after", []Change{cooled(now+minute, 3)}, cleared(nothing, 2), false, minute},
		{"a clearing of what is ready changes nothing", nil, cleared(nothing, 2), false, 0},
		{"but what was learned before is void, if it comes later", []Change{cleared(nothing, 2)}, cooled(now+minute, 1), false, 0},
		{"also if it has cooled since", []Change{cleared(cooled(now+minute, 3), 2)}, cooled(now+2*minute, 1), false, minute},
		{"and what was learned after counts", []Change{cleared(nothing, 2)}, cooled(now+minute, 3), true, minute},
		{"an earlier clearing does not undo a later one", []Change{cleared(nothing, 5), cleared(nothing, 2)}, cooled(now+minute, 4), false, 0},
		{"a clearing and a cooldown after it at once", []Change{cooled(now+2*minute, 1)}, cleared(cooled(now+minute, 3), 2), true, minute},
		{"a clearing and a cooldown before it at once", []Change{cooled(now+2*minute, 1)}, cleared(cooled(now+minute, 1), 2), true, 0},
		{"a reason out of range is refused", nil, Change{ID: id, Until: in(now + minute), Reason: MaxReasons}, false, 0},
	} {
		p, told := makeNode(t, key)
		for _, c := range row.known {
			p.state.Learn(in(now), c, p.journal)
		}
		if got := p.state.Learn(in(now), row.news, p.journal); got != row.changed {
			t.Errorf("%s: changed is %t", row.sentence, got)
		}
		if got := p.Census(in(now)).Soonest; got != row.left {
			t.Errorf("%s: the key cools for %s, want %s", row.sentence, got, row.left)
		}
		if len(*told) != 0 {
			t.Errorf("%s: what was learned from others was told to them", row.sentence)
		}
		checkPool(t, p)
		checkState(t, p.state)
	}
}

func TestLearnOfForeignKeys(t *testing.T) {
	keys := makeKeys(t, 2)
	p, _ := makeNode(t, keys[:1])
	s, id := p.state, keys[1].ID()
	if s.Learn(start, Change{ID: id, Cleared: start}, p.journal) || len(s.entries) != 1 {
		t.Error("a clearing of a key in no pool is kept")
	}
	if !s.Learn(start, Change{ID: id, Until: in(minute), Learned: start}, p.journal) {
		t.Error("a key in no pool cannot cool")
	}
	checkState(t, s)
	later, told := &notes{}, 0
	q, err := NewPool(keys, s, start, WithJournal(later))
	if err != nil {
		t.Fatal(err)
	}
	if q.Census(start).Ready != 1 {
		t.Error("a key that comes into a pool is ready, though it cools")
	}
	if _, ok := (*later)[subject{id, ""}]; !ok || len(*later) != 1 {
		t.Errorf("the journal was told %v", *later)
	}
	s.Known(start, later, func(Change) bool { told++; return true })
	if told != 1 {
		t.Errorf("%d keys are known, want 1", told)
	}
	checkState(t, s)
}

// A pool with a journal that another pool of the state has already tells nothing.
func TestReloadTellsNothingTwice(t *testing.T) {
	keys := makeKeys(t, 3)
	p, told := makeNode(t, keys)
	p.Cool(start, 0, Cooldown{For: minute})
	clear(*told)
	q, err := NewPool(keys, p.state, start, WithJournal(told))
	if err != nil {
		t.Fatal(err)
	}
	p.Close(start)
	if len(*told) != 0 {
		t.Errorf("told %v", *told)
	}
	q.Close(start)
}

func TestRecord(t *testing.T) {
	keys := makeKeys(t, 1)
	p, told := makeNode(t, keys)
	last := func() Change { return (*told)[subject{keys[0].ID(), ""}] }
	p.Cool(start, 0, Cooldown{For: minute, Reason: limited, Source: "retry-after"})
	if want := (Change{ID: keys[0].ID(), Until: in(minute), Learned: start, Reason: limited, Source: "retry-after"}); last() != want {
		t.Errorf("told %+v, want %+v", last(), want)
	}
	clear(*told)
	if p.Cool(start, 0, Cooldown{For: minute / 2}); len(*told) != 0 {
		t.Error("an earlier deadline was told")
	}
	if !p.Clear(in(1), 0) {
		t.Error("the key was not cooling")
	}
	if c := last(); !c.Until.IsZero() || c.Cleared.Sub(start) < clockError {
		t.Errorf("told %+v of a clearing", c)
	}
	p.Cool(in(2), 0, Cooldown{For: minute})
	if c := last(); !c.Until.Equal(in(2+minute)) || c.Learned.Sub(c.Cleared) < clockError || c.Cleared.IsZero() {
		t.Errorf("told %+v of a cooldown after a clearing", c)
	}
	clear(*told)
	if p.Clear(in(3), 0); len(*told) != 1 || p.Clear(in(4), 0) {
		t.Error("the second clearing ended a cooldown")
	}
}

// A clearing must end what is seen to cool, though the other node's clock is ahead.
func TestClearWhatIsLearnedInTheFuture(t *testing.T) {
	keys := makeKeys(t, 1)
	p, told := makeNode(t, keys)
	p.state.Learn(start, Change{ID: keys[0].ID(), Until: in(minute), Learned: in(50 * time.Millisecond)}, p.journal)
	p.Clear(start, 0)
	if c := (*told)[subject{keys[0].ID(), ""}]; c.Cleared.Before(in(50 * time.Millisecond)) {
		t.Errorf("cleared %s after the start", c.Cleared.Sub(start))
	}
	if p.state.Learn(start, Change{ID: keys[0].ID(), Until: in(minute), Learned: in(50 * time.Millisecond)}, p.journal) {
		t.Error("the cooldown is back")
	}
}

func TestKnownStops(t *testing.T) {
	p, _ := makeNode(t, makeKeys(t, 5))
	for s := range Slot(5) {
		p.Cool(start, s, Cooldown{For: minute})
	}
	calls := 0
	p.state.Known(start, p.journal, func(Change) bool { calls++; return calls < 2 })
	if calls != 2 {
		t.Errorf("%d calls after the second said stop", calls)
	}
	p.state.Known(start, &notes{}, func(Change) bool { t.Error("another journal's keys"); return true })
	p.state.Known(in(minute), p.journal, func(Change) bool { t.Error("a key that is ready"); return true })
}

// fleet is nodes that talk through a hub, which loses, doubles and disorders.
type fleet struct {
	*testing.T
	r     *rand.Rand
	now   time.Time
	nodes []*Pool
	told  []*notes
	hub   *Pool
	mail  [][]Change // of the hub, to each node, on its way
}

// Whatever is lost, doubled or comes in the wrong order: once all have told each
// other what they know, they know the same.
func TestNodesConverge(t *testing.T) {
	keys := makeKeys(t, 6)
	for seed := range uint64(300) {
		f := &fleet{T: t, r: rand.New(rand.NewPCG(seed, 9)), now: start, mail: make([][]Change, 4)}
		f.hub, _ = makeNode(t, keys)
		for range f.mail {
			p, told := makeNode(t, keys)
			f.nodes, f.told = append(f.nodes, p), append(f.told, told)
		}
		for range 200 {
			f.step()
		}
		for range 3 {
			for i := range f.nodes {
				f.resync(i)
			}
		}
		for s := range Slot(len(keys)) {
			for _, scope := range fleetScopes {
				f.agree(seed, s, scope)
			}
		}
		for _, p := range f.nodes {
			checkPool(t, p)
			checkState(t, p.state)
		}
	}
}

var fleetScopes = []string{"", "gpt-x", "gpt-y"}

// agree checks that all nodes know of the slot what the hub knows.
func (f *fleet) agree(seed uint64, s Slot, scope string) {
	want := knownIn(f.hub, f.now, s, scope)
	for i, p := range f.nodes {
		got := knownIn(p, f.now, s, scope)
		// A clearing in a scope is of no use to who never knew what it ends.
		if !got.Until.Equal(want.Until) || scope == "" && !got.Cleared.Equal(want.Cleared) {
			f.Fatalf("seed %d, slot %d in %q: node %d knows %+v, the hub %+v", seed, s, scope, i, got, want)
		}
	}
}

func (f *fleet) step() {
	i := f.r.IntN(len(f.nodes))
	p, s := f.nodes[i], Slot(f.r.IntN(f.hub.Len()))
	switch n := f.r.IntN(100); {
	case n < 20:
		f.now = f.now.Add(time.Duration(f.r.IntN(300)) * time.Millisecond)
	case n < 45:
		c := Cooldown{For: time.Hour + time.Duration(f.r.IntN(1000))*time.Second, Scope: fleetScopes[f.r.IntN(3)]}
		p.Cool(f.now, s, c)
	case n < 50:
		p.Clear(f.now, s)
	case n < 55:
		p.Serve(f.now, f.now, s, fleetScopes[f.r.IntN(3)])
	case n < 75:
		f.send(i)
	case n < 97:
		f.receive(i)
	default:
		f.resync(i)
	}
}

// send brings what the node has to tell to the hub, and what is news on its way to
// all, itself included.
func (f *fleet) send(i int) {
	for about, c := range *f.told[i] {
		if f.r.IntN(4) > 0 { // the others are sent again later
			delete(*f.told[i], about)
		}
		f.hub.state.Learn(f.now, c, f.hub.journal)
		for s := range Slot(f.hub.Len()) {
			if f.hub.keys[s].ID() != about.ID {
				continue
			}
			for to := range f.mail {
				f.mail[to] = append(f.mail[to], knownIn(f.hub, f.now, s, about.scope))
			}
		}
	}
}

func (f *fleet) receive(i int) {
	if len(f.mail[i]) == 0 {
		return
	}
	k := f.r.IntN(len(f.mail[i]))
	if f.r.IntN(5) > 0 {
		f.nodes[i].state.Learn(f.now, f.mail[i][k], f.nodes[i].journal)
	}
	if f.r.IntN(3) > 0 { // or it comes again
		f.mail[i] = append(f.mail[i][:k], f.mail[i][k+1:]...)
	}
}

// resync is a full reading, and a filling up of what the hub lacks.
func (f *fleet) resync(i int) {
	for s := range Slot(f.hub.Len()) {
		for _, scope := range fleetScopes {
			if c := knownIn(f.nodes[i], f.now, s, scope); c.ID != (ID{}) {
				f.hub.state.Learn(f.now, c, f.hub.journal)
			}
			if c := knownIn(f.hub, f.now, s, scope); c.ID != (ID{}) {
				f.nodes[i].state.Learn(f.now, c, f.nodes[i].journal)
			}
		}
	}
}

func TestLearnInScopes(t *testing.T) {
	key := makeKeys(t, 1)
	const now = 10 * minute
	cooled := func(scope string, until, learned time.Duration) Change {
		return Change{ID: key[0].ID(), Scope: scope, Until: in(until), Learned: in(learned), Reason: limited, Source: "elsewhere"}
	}
	cleared := func(scope string, at, kept time.Duration) Change {
		c := Change{ID: key[0].ID(), Scope: scope, Cleared: in(at)}
		if kept != 0 {
			c.Kept = in(kept)
		}
		return c
	}
	for _, row := range []struct {
		sentence string
		known    []Change
		news     Change
		changed  bool
		left     time.Duration // in x
	}{
		{"the first cooldown counts", nil, cooled("x", now+minute, now), true, minute},
		{"one in another scope does not count here", nil, cooled("y", now+minute, now), true, 0},
		{"a later deadline counts", []Change{cooled("x", now+minute, now)}, cooled("x", now+2*minute, 1), true, 2 * minute},
		{"an earlier one does not", []Change{cooled("x", now+2*minute, now)}, cooled("x", now+minute, now), false, 2 * minute},
		{"nor one that is over", nil, cooled("x", now, 1), false, 0},
		{"a clearing of the key ends what was learned before", []Change{cooled("x", now+minute, 1)}, cleared("", 2, 0), true, 0},
		{"and not what was learned after", []Change{cooled("x", now+minute, 3)}, cleared("", 2, 0), false, minute},
		{"what was learned before it is void, if it comes later", []Change{cleared("", 2, 0)}, cooled("x", now+minute, 1), false, 0},
		{"what was learned after it counts, in either order", []Change{cleared("", 2, 0)}, cooled("x", now+minute, 3), true, minute},
		{"a cooldown and the clearing before it end a longer one, in either order", []Change{cooled("x", now+2*minute, 1)},
			Change{ID: key[0].ID(), Scope: "x", Until: in(now + minute), Learned: in(3), Cleared: in(2)}, true, minute},
		{"a clearing in the scope ends what was learned before", []Change{cooled("x", now+minute, 1)}, cleared("x", 2, now+minute), true, 0},
		{"and nothing in other scopes", []Change{cooled("x", now+minute, 1)}, cleared("y", 2, now+minute), false, minute},
		{"what was learned before it is void", []Change{cooled("x", now+minute, 1), cleared("x", 2, 0)}, cooled("x", now+2*minute, 1), false, 0},
		{"also if nothing was known when it came", []Change{cleared("x", 2, now+minute)}, cooled("x", now+minute, 1), false, 0},
		{"a reason out of range is refused", nil, Change{ID: key[0].ID(), Scope: "x", Until: in(now + minute), Reason: MaxReasons}, false, 0},
	} {
		p, told := makeNode(t, key)
		for _, c := range row.known {
			p.state.Learn(in(now), c, p.journal)
		}
		if got := p.state.Learn(in(now), row.news, p.journal); got != row.changed {
			t.Errorf("%s: changed is %t", row.sentence, got)
		}
		if got := p.CensusIn(in(now), "x").Soonest; got != row.left {
			t.Errorf("%s: the key cools for %s, want %s", row.sentence, got, row.left)
		}
		if p.Census(in(now)).Ready != 1 || len(*told) != 0 {
			t.Errorf("%s: it cools for all, or was told: %v", row.sentence, *told)
		}
		checkPool(t, p)
		checkState(t, p.state)
	}
}

// The key's clearing and a cooldown in a scope after it may arrive in either order:
// each must say enough.
func TestRecordInScopes(t *testing.T) {
	keys := makeKeys(t, 1)
	p, told := makeNode(t, keys)
	last := func(scope string) Change { return (*told)[subject{keys[0].ID(), scope}] }
	p.Cool(start, 0, Cooldown{For: minute, Reason: limited, Source: "retry-after", Scope: "x"})
	if want := (Change{ID: keys[0].ID(), Scope: "x", Until: in(minute), Learned: start, Reason: limited, Source: "retry-after"}); last("x") != want || len(*told) != 1 {
		t.Errorf("told %+v, want %+v", *told, want)
	}
	p.Clear(in(1), 0)
	p.Cool(in(2), 0, Cooldown{For: minute / 2, Scope: "x"})
	if whole, c := last(""), last("x"); whole.Cleared.Sub(start) < clockError || !c.Cleared.Equal(whole.Cleared) || c.Learned.Sub(c.Cleared) < clockError {
		t.Errorf("told %+v of a clearing and %+v of a cooldown after it", whole, c)
	}
	p.Serve(in(minute/4), in(minute/4), 0, "x")
	if c := last("x"); !c.Until.IsZero() || !c.Kept.Equal(in(minute)) || c.Cleared.Sub(last("").Cleared) < clockError {
		t.Errorf("told %+v of a cooldown that a success has ended", c)
	}
}

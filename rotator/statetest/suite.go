package statetest

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// soon is how long news may take to reach another node of an undisturbed backend:
// generous, since test machines are busy.
const soon = time.Minute

// Run runs the suite. fresh returns a backend that shares nothing with what it
// returned before.
func Run(t *testing.T, fresh func(t testing.TB) Backend) {
	for _, row := range []struct {
		sentence string
		check    func(*testing.T, Backend)
	}{
		{"what one node learns the others know", push},
		{"the later deadline wins", extendOnly},
		{"the later deadline wins when answers come in the wrong order", wrongOrder},
		{"a cooldown ends on all nodes", expiry},
		{"all nodes know when a key may be asked before its time", early},
		{"a clearing ends a cooldown on all nodes", clearing},
		{"a cooldown after a clearing counts from there", clearedThenCooled},
		{"what was learned before a clearing is void even if it arrives later", void},
		{"so it is after the key has cooled again", voidAfterCooling},
		{"a key that is disabled is so on all nodes", disabling},
		{"what an operator says last counts", lastWord},
		{"the word that came first does not come back", oldWord},
		{"a node that joins later knows all", snapshot},
		{"a pool that comes tells what its node knows", reload},
		{"what a pool without a journal learns the others know", silent},
		{"what a pool learns after it was replaced the others know", outlived},
		{"a node that restarts knows all", restart},
		{"a cooldown in a scope is one on all nodes, and in that scope alone", scopedPush},
		{"the later deadline wins in each scope", scopedExtendOnly},
		{"a clearing ends cooldowns in all scopes on all nodes", scopedClearing},
		{"what was learned in a scope before a clearing is void even if it arrives later", scopedVoid},
		{"a node that joins or restarts knows the scopes", scopedRestart},
		{"names that are too many share a scope on all nodes", scopedOverflow},
		{"a success ends on all nodes what was learned before it began", success},
		{"in its scope, too, and in that scope alone", scopedSuccess},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			began.Store(t, time.Now())
			t.Cleanup(func() { began.Delete(t) })
			row.check(t, fresh(t))
		})
	}
}

// began tells when each check began: a time.Time by its *testing.T.
var began sync.Map

// members starts n nodes that hold the same keys.
func members(t *testing.T, backend Backend, n, keys int) []*Member {
	t.Helper()
	nodes := make([]*Member, n)
	for i := range nodes {
		nodes[i] = Join(t, backend(t), Keys(t, keys))
	}
	return nodes
}

// all waits until all nodes know that the key cools, since some time of this check, for
// d; 0 means not at all.
func all(t *testing.T, nodes []*Member, s rotator.Slot, d time.Duration) {
	t.Helper()
	allIn(t, nodes, "", s, d)
}

// allIn is all for the key in a scope.
func allIn(t *testing.T, nodes []*Member, scope string, s rotator.Slot, d time.Duration) {
	t.Helper()
	begin, _ := began.Load(t)
	defer func() {
		if !t.Failed() {
			return
		}
		for i, n := range nodes {
			t.Logf("node %c knows of slot %d in %q: %+v, and for all requests %+v", 'A'+i, s, scope, n.changeIn(scope, s), n.change(s))
		}
	}()
	for i, n := range nodes {
		Until(t, soon, "node "+string(rune('A'+i)), func() bool { return n.near(scope, s, d, begin.(time.Time)) })
	}
}

func push(t *testing.T, backend Backend) {
	nodes := members(t, backend, 3, 10)
	for i, n := range nodes {
		n.Cool(rotator.Slot(i), time.Minute)
		all(t, nodes, rotator.Slot(i), time.Minute)
	}
	for i, n := range nodes {
		if n.Ready() != 7 {
			t.Errorf("node %d has %d keys ready, want 7", i, n.Ready())
		}
		if s, ok := n.Pool.Pick(n.Now(), nil); !ok || s < 3 {
			t.Errorf("node %d picked slot %d, %t", i, s, ok)
		}
		if c := n.change(0); c.Reason != 1 || c.Source != "retry-after" {
			t.Errorf("node %d knows reason %d, source %q", i, c.Reason, c.Source)
		}
	}
}

func extendOnly(t *testing.T, backend Backend) {
	nodes := members(t, backend, 3, 4)
	a, b := nodes[0], nodes[1]
	a.Cool(0, time.Hour)
	all(t, nodes, 0, time.Hour)
	if b.Cool(0, time.Minute) {
		t.Error("an earlier deadline has moved the known one")
	}
	// The next key is a mark: what came before it has arrived.
	b.Cool(1, time.Minute)
	all(t, nodes, 1, time.Minute)
	all(t, nodes, 0, time.Hour)
	if !b.Cool(0, 2*time.Hour) {
		t.Error("a later deadline has not moved the known one")
	}
	all(t, nodes, 0, 2*time.Hour)
}

func wrongOrder(t *testing.T, backend Backend) {
	nodes := members(t, backend, 3, 4)
	a, b := nodes[0], nodes[1]
	a.Cool(0, time.Hour)
	a.Cool(0, time.Minute) // the answer to an earlier request
	b.Cool(0, time.Second) // neither has heard of the other
	b.Cool(0, 30*time.Minute)
	late := rotator.Change{ID: a.keys[1].ID(), Until: a.Now().Add(time.Minute), Learned: a.Now().Add(-time.Second)}
	a.Cool(1, time.Hour)
	deliver(b, late)
	b.Cool(2, time.Minute)
	a.Cool(3, time.Minute)
	all(t, nodes, 2, time.Minute)
	all(t, nodes, 3, time.Minute)
	all(t, nodes, 0, time.Hour)
	all(t, nodes, 1, time.Hour)
}

// deliver lets news arrive that the node should have brought earlier.
func deliver(m *Member, c rotator.Change) {
	if m.Journal == nil {
		m.State.Learn(m.Now(), c, m.Journal)
		return
	}
	m.Journal.Record(c)
}

func expiry(t *testing.T, backend Backend) {
	const short = 2 * time.Second
	nodes := members(t, backend, 3, 2)
	begin := time.Now()
	nodes[0].Cool(0, short)
	nodes[0].Cool(1, time.Minute)
	for i, n := range nodes {
		Until(t, soon, "the news", func() bool { return n.Left(1) != 0 })
		// A node that reads what is known reads one after the other.
		for looked := time.Now(); n.Left(0) == 0 && time.Since(looked) < short/8; {
			runtime.Gosched()
		}
		if n.Left(0) == 0 && time.Since(begin) < short-Tolerance {
			t.Errorf("node %d knows the minute and not the %s", i, short)
		}
	}
	for i, n := range nodes {
		Until(t, soon, "the end of a cooldown", func() bool { return n.Ready() == 1 })
		took := time.Since(begin)
		t.Logf("node %d: a cooldown of %s took %s", i, short, took)
		if took < short-Tolerance {
			t.Errorf("node %d: a cooldown of %s has ended after %s", i, short, took)
		}
		if s, ok := n.Pool.Pick(n.Now(), nil); !ok || s != 0 {
			t.Errorf("node %d picked %d, %t", i, s, ok)
		}
	}
}

func clearing(t *testing.T, backend Backend) {
	nodes := members(t, backend, 3, 2)
	nodes[0].Cool(0, time.Hour)
	all(t, nodes, 0, time.Hour)
	if !nodes[1].Clear(0) {
		t.Error("the key was not cooling")
	}
	all(t, nodes, 0, 0)
	nodes[0].Cool(0, time.Minute)
	all(t, nodes, 0, time.Minute)
	nodes[0].Clear(0)
	all(t, nodes, 0, 0)
	if nodes[2].Clear(1) {
		t.Error("a key that is ready was cooling")
	}
}

func clearedThenCooled(t *testing.T, backend Backend) {
	nodes := members(t, backend, 3, 1)
	nodes[0].Cool(0, time.Hour)
	all(t, nodes, 0, time.Hour)
	nodes[1].Clear(0)
	nodes[1].Cool(0, time.Minute)
	all(t, nodes, 0, time.Minute)
	nodes[2].Cool(0, time.Hour)
	nodes[2].Clear(0)
	nodes[2].Cool(0, 2*time.Minute)
	nodes[2].Clear(0)
	all(t, nodes, 0, 0)
}

func void(t *testing.T, backend Backend) {
	nodes := members(t, backend, 3, 2)
	late := rotator.Change{ID: nodes[0].keys[0].ID(), Until: nodes[2].Now().Add(time.Hour), Learned: nodes[2].Now(), Source: "late"}
	nodes[0].Cool(0, time.Minute)
	all(t, nodes, 0, time.Minute)
	nodes[1].Clear(0)
	all(t, nodes, 0, 0)
	deliver(nodes[2], late)
	nodes[2].Cool(1, time.Minute)
	all(t, nodes, 1, time.Minute)
	all(t, nodes, 0, 0)
}

func voidAfterCooling(t *testing.T, backend Backend) {
	nodes := members(t, backend, 3, 2)
	late := rotator.Change{ID: nodes[0].keys[0].ID(), Until: nodes[2].Now().Add(time.Hour), Learned: nodes[2].Now(), Source: "late"}
	nodes[0].Cool(0, time.Minute)
	all(t, nodes, 0, time.Minute)
	nodes[1].Clear(0)
	nodes[1].Cool(0, 2*time.Minute)
	all(t, nodes, 0, 2*time.Minute)
	deliver(nodes[2], late)
	nodes[2].Cool(1, time.Minute)
	all(t, nodes, 1, time.Minute)
	all(t, nodes, 0, 2*time.Minute)
}

// allDisabled waits until the key is disabled, or not, on all nodes.
func allDisabled(t *testing.T, nodes []*Member, s rotator.Slot, want bool) {
	t.Helper()
	for i, n := range nodes {
		Until(t, soon, "the switch at node "+string(rune('A'+i)), func() bool { return n.Disabled(s) == want })
	}
}

func disabling(t *testing.T, backend Backend) {
	nodes := members(t, backend, 3, 3)
	nodes[0].Disable(0)
	nodes[1].Cool(1, time.Hour)
	nodes[1].Disable(1)
	allDisabled(t, nodes, 0, true)
	allDisabled(t, nodes, 1, true)
	for i, n := range nodes {
		if s, ok := n.Pool.Pick(n.Now(), nil); !ok || s != 2 {
			t.Errorf("node %d picked %d, %t", i, s, ok)
		}
		if n.Pool.Disable(n.Now(), 0) {
			t.Errorf("node %d has disabled a key twice", i)
		}
	}
	nodes[2].Enable(1)
	allDisabled(t, nodes, 1, false)
	all(t, nodes, 1, time.Hour)
	nodes[2].Enable(0)
	allDisabled(t, nodes, 0, false)
	all(t, nodes, 0, 0)
}

func lastWord(t *testing.T, backend Backend) {
	nodes := members(t, backend, 3, 2)
	for i := range 10 { // at once, by the clock
		n := nodes[i%3]
		n.Disable(0)
		allDisabled(t, nodes, 0, true)
		n = nodes[(i+1)%3]
		n.Enable(0)
		allDisabled(t, nodes, 0, false)
	}
	for range 10 {
		nodes[0].Enable(1)
		nodes[0].Disable(1)
	}
	allDisabled(t, nodes, 1, true)
}

func oldWord(t *testing.T, backend Backend) {
	nodes := members(t, backend, 3, 2)
	old := rotator.Change{ID: nodes[0].keys[0].ID(), Off: rotator.Switch(nodes[2].Now().Add(-time.Second).UnixMilli())}
	nodes[0].Disable(0)
	allDisabled(t, nodes, 0, true)
	nodes[1].Enable(0)
	allDisabled(t, nodes, 0, false)
	deliver(nodes[2], old)
	nodes[2].Disable(1)
	allDisabled(t, nodes, 1, true)
	allDisabled(t, nodes, 0, false)
}

func snapshot(t *testing.T, backend Backend) {
	const keys = 1500 // more than one batch, and more than fits into one entry
	early := members(t, backend, 2, keys)
	begin := time.Now()
	for s := range rotator.Slot(keys - 10) {
		early[s%2].Cool(s, time.Hour+time.Duration(s)*time.Minute)
	}
	for _, m := range early {
		Until(t, soon, "all keys to cool", func() bool { return m.Ready() == 10 })
	}
	for s := range rotator.Slot(10) {
		early[0].Clear(s)
	}
	Until(t, soon, "the clearings", func() bool { return early[1].Ready() == 20 })
	late := Join(t, backend(t), Keys(t, keys))
	Until(t, soon, "the late node to know all", func() bool { return Agree(early[0], early[1], late) })
	for _, s := range []rotator.Slot{10, keys - 11} {
		// It was set at some time since begin.
		longest := time.Hour + time.Duration(s)*time.Minute
		if left := late.Left(s); left > longest+Tolerance || left < longest-time.Since(begin)-Tolerance {
			t.Errorf("slot %d cools for %s, want %s less the time of this test", s, left, longest)
		}
	}
	if late.Ready() != 20 {
		t.Errorf("%d keys are ready, want 20", late.Ready())
	}
}

func reload(t *testing.T, backend Backend) {
	node := backend(t)
	alone := node
	alone.Journal = nil
	before := Join(t, alone, Keys(t, 3)) // the config without a journal
	before.Cool(1, time.Minute)
	after := Join(t, node, Keys(t, 3))
	before.Pool.Close(before.Now())
	all(t, []*Member{after, Join(t, backend(t), Keys(t, 3))}, 1, time.Minute)
}

// silent is a node with two pools of the same keys, one of which tells nobody.
func silent(t *testing.T, backend Backend) {
	nodes := members(t, backend, 2, 3)
	alone := nodes[0].Node
	alone.Journal = nil
	speakAfterwards(t, Join(t, alone, Keys(t, 3)), nodes)
}

// outlived is a request that goes on after a reload.
func outlived(t *testing.T, backend Backend) {
	nodes := members(t, backend, 2, 3)
	before := nodes[0]
	nodes[0] = Join(t, before.Node, Keys(t, 3))
	before.Pool.Close(before.Now())
	speakAfterwards(t, before, nodes)
}

// speakAfterwards lets the member say all that there is to say, and checks that the
// nodes hear it.
func speakAfterwards(t *testing.T, m *Member, nodes []*Member) {
	t.Helper()
	m.CoolIn("gpt-y", 0, time.Hour)
	m.CoolIn("gpt-x", 1, time.Hour)
	m.Disable(2)
	allIn(t, nodes, "gpt-x", 1, time.Hour)
	allDisabled(t, nodes, 2, true)
	allIn(t, nodes, "gpt-y", 0, time.Hour)
	began := m.after("gpt-y", 0)
	m.coolAt(began.Add(Tolerance/4), "", 0, time.Hour)
	all(t, nodes, 0, time.Hour)
	m.Serve("gpt-y", 0, began)
	m.Clear(1)
	m.Enable(2)
	allIn(t, nodes, "gpt-y", 0, 0)
	allIn(t, nodes, "gpt-x", 1, 0)
	allDisabled(t, nodes, 2, false)
	all(t, nodes, 0, time.Hour)
}

func restart(t *testing.T, backend Backend) {
	nodes := members(t, backend, 2, 3)
	nodes[0].Cool(0, time.Hour)
	nodes[1].Cool(1, time.Hour)
	all(t, nodes, 0, time.Hour)
	all(t, nodes, 1, time.Hour)
	nodes[0].Cool(2, time.Hour)
	nodes[1].Disable(2)
	for _, n := range nodes { // the last one writes what it has yet to tell
		n.Leave()
	}
	again := []*Member{Join(t, backend(t), Keys(t, 3)), Join(t, backend(t), Keys(t, 3))}
	for s := range rotator.Slot(3) {
		all(t, again, s, time.Hour)
	}
	allDisabled(t, again, 2, true)
}

package statetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

func scopedPush(t *testing.T, backend Backend) {
	nodes := members(t, backend, 3, 4)
	nodes[0].CoolIn("gpt-x", 0, time.Minute)
	nodes[1].CoolIn("gpt-x", 1, time.Minute)
	nodes[2].CoolIn("modèle y, 2", 2, time.Minute)
	nodes[2].Cool(3, time.Minute)
	allIn(t, nodes, "gpt-x", 0, time.Minute)
	allIn(t, nodes, "gpt-x", 1, time.Minute)
	allIn(t, nodes, "modèle y, 2", 2, time.Minute)
	all(t, nodes, 3, time.Minute)
	for i, n := range nodes {
		if n.Ready() != 3 || n.ReadyIn("gpt-x") != 1 || n.ReadyIn("modèle y, 2") != 2 || n.ReadyIn("gpt-z") != 3 {
			t.Errorf("node %d has %d keys ready, in scopes %d, %d and %d", i, n.Ready(), n.ReadyIn("gpt-x"), n.ReadyIn("modèle y, 2"), n.ReadyIn("gpt-z"))
		}
		if s, ok := n.Pool.PickIn(n.Now(), "gpt-x", nil); !ok || s != 2 {
			t.Errorf("node %d picked slot %d, %t", i, s, ok)
		}
		if st := n.Pool.Status(n.Now(), 0).Scopes; len(st) != 1 || st[0].Scope != "gpt-x" || st[0].Reason != 1 || st[0].Source != "retry-after" {
			t.Errorf("node %d knows %+v", i, st)
		}
	}
}

func scopedExtendOnly(t *testing.T, backend Backend) {
	nodes := members(t, backend, 3, 2)
	a, b := nodes[0], nodes[1]
	a.CoolIn("gpt-x", 0, time.Hour)
	allIn(t, nodes, "gpt-x", 0, time.Hour)
	if b.CoolIn("gpt-x", 0, time.Minute) {
		t.Error("an earlier deadline has moved the known one")
	}
	b.CoolIn("gpt-y", 0, time.Minute)
	b.Cool(0, 30*time.Minute)
	allIn(t, nodes, "gpt-y", 0, time.Minute)
	all(t, nodes, 0, 30*time.Minute)
	allIn(t, nodes, "gpt-x", 0, time.Hour)
	if !b.CoolIn("gpt-x", 0, 2*time.Hour) {
		t.Error("a later deadline has not moved the known one")
	}
	allIn(t, nodes, "gpt-x", 0, 2*time.Hour)
	allIn(t, nodes, "gpt-y", 0, time.Minute)
}

func scopedClearing(t *testing.T, backend Backend) {
	nodes := members(t, backend, 3, 2)
	nodes[0].CoolIn("gpt-x", 0, time.Hour)
	nodes[1].CoolIn("gpt-y", 0, time.Hour)
	nodes[1].CoolIn("gpt-x", 1, time.Hour)
	nodes[2].Cool(0, time.Hour)
	for _, scope := range []string{"", "gpt-x", "gpt-y"} {
		allIn(t, nodes, scope, 0, time.Hour)
	}
	allIn(t, nodes, "gpt-x", 1, time.Hour)
	if !nodes[2].Clear(0) || nodes[2].Clear(0) {
		t.Error("the key was cooling, and was not any more")
	}
	for _, scope := range []string{"", "gpt-x", "gpt-y"} {
		allIn(t, nodes, scope, 0, 0)
	}
	allIn(t, nodes, "gpt-x", 1, time.Hour)
	// A key that cools in a scope only was cooling; what comes after counts.
	nodes[0].CoolIn("gpt-x", 0, time.Minute)
	allIn(t, nodes, "gpt-x", 0, time.Minute)
	if !nodes[1].Clear(0) {
		t.Error("the key was cooling in a scope")
	}
	nodes[1].CoolIn("gpt-x", 0, 2*time.Minute)
	allIn(t, nodes, "gpt-x", 0, 2*time.Minute)
}

func scopedVoid(t *testing.T, backend Backend) {
	nodes := members(t, backend, 3, 2)
	id := nodes[0].keys[0].ID()
	late := rotator.Change{ID: id, Scope: "gpt-x", Until: nodes[2].Now().Add(time.Hour), Learned: nodes[2].Now(), Source: "late"}
	unheard := late
	unheard.Scope = "a scope that no node has heard of"
	nodes[0].CoolIn("gpt-x", 0, time.Minute)
	allIn(t, nodes, "gpt-x", 0, time.Minute)
	nodes[1].Clear(0)
	allIn(t, nodes, "gpt-x", 0, 0)
	deliver(nodes[2], unheard)
	deliver(nodes[2], late)
	nodes[2].Cool(1, time.Minute)
	all(t, nodes, 1, time.Minute)
	allIn(t, nodes, "gpt-x", 0, 0)
	allIn(t, nodes, unheard.Scope, 0, 0)
	nodes[1].CoolIn("gpt-x", 0, 2*time.Minute)
	allIn(t, nodes, "gpt-x", 0, 2*time.Minute)
	deliver(nodes[2], late)
	nodes[2].Cool(1, 2*time.Minute)
	all(t, nodes, 1, 2*time.Minute)
	allIn(t, nodes, "gpt-x", 0, 2*time.Minute)
}

func scopedRestart(t *testing.T, backend Backend) {
	nodes := members(t, backend, 2, 3)
	nodes[0].CoolIn("gpt-x", 0, time.Hour)
	nodes[1].CoolIn("gpt-y", 0, time.Minute)
	nodes[1].CoolIn("gpt-x", 1, time.Hour)
	nodes = append(nodes, Join(t, backend(t), Keys(t, 3)))
	check := func(nodes []*Member) {
		allIn(t, nodes, "gpt-x", 0, time.Hour)
		allIn(t, nodes, "gpt-y", 0, time.Minute)
		allIn(t, nodes, "gpt-x", 1, time.Hour)
		all(t, nodes, 0, 0)
		for i, n := range nodes {
			if n.ReadyIn("gpt-x") != 1 || n.ReadyIn("gpt-y") != 2 {
				t.Errorf("node %d has %d and %d keys ready", i, n.ReadyIn("gpt-x"), n.ReadyIn("gpt-y"))
			}
		}
	}
	check(nodes)
	for _, n := range nodes {
		n.Leave()
	}
	check([]*Member{Join(t, backend(t), Keys(t, 3)), Join(t, backend(t), Keys(t, 3))})
}

func scopedOverflow(t *testing.T, backend Backend) {
	nodes := members(t, backend, 2, 3)
	nodes[0].CoolIn("gpt-x", 0, time.Hour)
	allIn(t, nodes, "gpt-x", 0, time.Hour)
	for i := range 3 * rotator.MaxScopes {
		nodes[0].CoolIn(fmt.Sprintf("invented %d", i), 1, time.Hour)
	}
	allIn(t, nodes, rotator.Overflow, 1, time.Hour)
	allIn(t, nodes, "gpt-x", 0, time.Hour)
	for i, n := range nodes {
		Until(t, soon, "the names", func() bool { return len(n.Known()) == rotator.MaxScopes+1 })
		if n.Ready() != 3 || n.ReadyIn("gpt-x") != 2 || n.ReadyIn("another") != 2 {
			t.Errorf("node %d has %d keys ready, in scopes %d and %d", i, n.Ready(), n.ReadyIn("gpt-x"), n.ReadyIn("another"))
		}
	}
	nodes[1].Clear(1)
	allIn(t, nodes, rotator.Overflow, 1, 0)
	allIn(t, nodes, "gpt-x", 0, time.Hour)
}

// success is a request that is served with a key that cools: it ends what was learned
// before it began, and not what was learned since.
func success(t *testing.T, backend Backend) {
	nodes := members(t, backend, 3, 2)
	a, b := nodes[0], nodes[1]
	a.Cool(0, time.Hour)
	a.Cool(1, time.Hour)
	b.CoolIn("gpt-x", 0, time.Hour)
	all(t, nodes, 0, time.Hour)
	all(t, nodes, 1, time.Hour)
	allIn(t, nodes, "gpt-x", 0, time.Hour)
	began := a.after("", 0)
	b.coolAt(began.Add(Tolerance/2), "", 1, 2*time.Hour)
	all(t, nodes, 1, 2*time.Hour)
	if !a.Serve("", 0, began) || a.Serve("", 0, began) || a.Serve("", 1, began) {
		t.Error("one of two cooldowns is ended by a request that began before the other one, once")
	}
	all(t, nodes, 0, 0)
	all(t, nodes, 1, 2*time.Hour)
	b.Cool(0, time.Minute) // and the key can cool again
	all(t, nodes, 0, time.Minute)
	allIn(t, nodes, "gpt-x", 0, time.Hour)
}

func scopedSuccess(t *testing.T, backend Backend) {
	nodes := members(t, backend, 3, 1)
	a, b := nodes[0], nodes[1]
	for _, scope := range []string{"gpt-x", "gpt-y"} {
		a.CoolIn(scope, 0, time.Hour)
		allIn(t, nodes, scope, 0, time.Hour)
	}
	began := a.after("gpt-x", 0)
	a.coolAt(began.Add(Tolerance/4), "", 0, 2*time.Hour)
	late := rotator.Change{ID: a.keys[0].ID(), Scope: "gpt-x", Until: b.Now().Add(time.Hour), Learned: b.Now().Add(-time.Minute)}
	if !a.Serve("gpt-x", 0, began) {
		t.Error("the cooldown did not hold any more")
	}
	allIn(t, nodes, "gpt-x", 0, 0)
	deliver(b, late)
	b.CoolIn("gpt-z", 0, time.Minute)
	allIn(t, nodes, "gpt-z", 0, time.Minute)
	allIn(t, nodes, "gpt-x", 0, 0)
	allIn(t, nodes, "gpt-y", 0, time.Hour)
	all(t, nodes, 0, 2*time.Hour)
	b.CoolIn("gpt-x", 0, time.Minute)
	allIn(t, nodes, "gpt-x", 0, time.Minute)
}

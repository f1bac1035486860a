// Package statetest is what every backend that shares a rotator.State between
// nodes must pass. It knows the engine alone. A promise that all backends keep goes here.
package statetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// Node is one process.
type Node struct {
	State   *rotator.State
	Journal rotator.Journal  // nil: the nodes share the State itself
	Now     func() time.Time // nil: time.Now
	Close   func()           // nil: nothing to do; called once
}

// Backend starts a process that shares what it knows with those before it. The
// backend closes what it has started when the test ends.
type Backend func(t testing.TB) Node

// Member is a node with a pool.
type Member struct {
	Node
	Pool *rotator.Pool
	keys []rotator.Key
}

// Keys makes n keys, the same ones on every call.
func Keys(t testing.TB, n int) []rotator.Key {
	t.Helper()
	keys := make([]rotator.Key, n)
	for i := range keys {
		k, err := rotator.NewKey(fmt.Sprintf("sk-statetest-%08d", i))
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = k
	}
	return keys
}

// Join gives the node a pool of the keys.
func Join(t testing.TB, n Node, keys []rotator.Key) *Member {
	t.Helper()
	if n.Now == nil {
		n.Now = time.Now
	}
	var options []rotator.Option
	if n.Journal != nil {
		options = append(options, rotator.WithJournal(n.Journal))
	}
	pool, err := rotator.NewPool(keys, n.State, n.Now(), options...)
	if err != nil {
		t.Fatal(err)
	}
	return &Member{Node: n, Pool: pool, keys: keys}
}

// Leave ends the process.
func (m *Member) Leave() {
	m.Pool.Close(m.Now())
	if m.Close != nil {
		m.Close()
	}
}

// Cool makes a key cool, as a rejection would.
func (m *Member) Cool(s rotator.Slot, d time.Duration) bool {
	return m.Pool.Cool(m.Now(), s, rotator.Cooldown{For: d, Reason: 1, Source: "retry-after"})
}

// CoolIn makes a key cool in a scope, as a rejection would.
func (m *Member) CoolIn(scope string, s rotator.Slot, d time.Duration) bool {
	return m.coolAt(m.Now(), scope, s, d)
}

func (m *Member) coolAt(now time.Time, scope string, s rotator.Slot, d time.Duration) bool {
	return m.Pool.Cool(now, s, rotator.Cooldown{For: d, Reason: 1, Source: "retry-after", Scope: scope})
}

// Serve lets the upstream take a request of the scope with the key, which began then. It
// reports whether that has ended a cooldown.
func (m *Member) Serve(scope string, s rotator.Slot, began time.Time) bool {
	return m.Pool.Serve(m.Now(), began, s, scope)
}

// Clear ends a key's cooldowns, as an operator would.
func (m *Member) Clear(s rotator.Slot) bool { return m.Pool.Clear(m.Now(), s) }

// Disable and Enable say whether the key may be used, as an operator would.
func (m *Member) Disable(s rotator.Slot) bool { return m.Pool.Disable(m.Now(), s) }

// Enable is the reverse of Disable.
func (m *Member) Enable(s rotator.Slot) bool { return m.Pool.Enable(m.Now(), s) }

// Disabled tells whether the key is.
func (m *Member) Disabled(s rotator.Slot) bool {
	return m.Pool.Status(m.Now(), s).Condition == rotator.Disabled
}

// Subject is what cools: a key, for all requests or in a scope.
type Subject struct {
	rotator.ID
	Scope string
}

// Known returns what the node knows of the keys that cool, and for how much longer
// each does.
func (m *Member) Known() map[Subject]time.Duration {
	now, left := m.Now(), make(map[Subject]time.Duration)
	told := m.State.Told(now)
	m.State.Known(now, m.Journal, func(c rotator.Change) bool {
		if c.Until.After(told) {
			left[Subject{c.ID, c.Scope}] = c.Until.Sub(told)
		}
		return true
	})
	return left
}

// Left returns for how much longer the key cools, 0 if it does not.
func (m *Member) Left(s rotator.Slot) time.Duration { return m.LeftIn("", s) }

// LeftIn returns for how much longer the key cools in the scope, whether or not it
// cools for all requests.
func (m *Member) LeftIn(scope string, s rotator.Slot) time.Duration {
	return m.Known()[Subject{m.keys[s].ID(), scope}]
}

// Ready returns how many keys are ready.
func (m *Member) Ready() int { return m.Pool.Census(m.Now()).Ready }

// ReadyIn returns how many keys are ready for requests of the scope.
func (m *Member) ReadyIn(scope string) int { return m.Pool.CensusIn(m.Now(), scope).Ready }

// change returns what the node knows of a key for all requests.
func (m *Member) change(s rotator.Slot) rotator.Change { return m.changeIn("", s) }

// changeIn returns what the node knows of a key in a scope.
func (m *Member) changeIn(scope string, s rotator.Slot) (found rotator.Change) {
	m.State.Known(m.Now(), m.Journal, func(c rotator.Change) bool {
		if c.ID == m.keys[s].ID() && c.Scope == scope {
			found = c
		}
		return found.ID != m.keys[s].ID()
	})
	return found
}

// after returns a moment after the key's cooldown was learned, as the node knows it: its
// clock may have become better since, and what it has told come back to it later than it was.
func (m *Member) after(scope string, s rotator.Slot) time.Time {
	return m.changeIn(scope, s).Learned.Add(Tolerance/4 - m.State.Skipped())
}

// Tolerance is how far two nodes' deadlines of the same cooldown may differ.
const Tolerance = time.Second

// near reports whether the key cools in the scope for d, which has begun since then: a
// machine may be so busy that this is a while ago. It is not another cooldown, which is
// half as long or twice.
func (m *Member) near(scope string, s rotator.Slot, d time.Duration, since time.Time) bool {
	left := m.LeftIn(scope, s)
	if d == 0 {
		return left == 0
	}
	return left > d/2 && left <= d+Tolerance && left >= d-time.Since(since)-Tolerance
}

// Agree reports whether all nodes know the same keys to cool, in the same
// scopes, until the same time.
func Agree(members ...*Member) bool {
	first := members[0].Known()
	for _, m := range members[1:] {
		known := m.Known()
		if len(known) != len(first) {
			return false
		}
		for subject, left := range known {
			other, ok := first[subject]
			if !ok || (other-left).Abs() > Tolerance {
				return false
			}
		}
	}
	return true
}

// Until polls until the condition holds and returns how long that took. It ends the
// test after the limit. It asks less often the longer it takes: asking may be work.
func Until(t testing.TB, limit time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for !holds() {
		pause := min(max(2*time.Millisecond, time.Since(begin)/10), 30*time.Millisecond)
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within %s", what, limit)
		case <-time.After(pause):
		}
	}
	return time.Since(begin)
}

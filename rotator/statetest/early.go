package statetest

import (
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// early is about keys that may be asked before their cooldown is over: one that is as
// good as a ready one then, one that is not, one in a scope, and one that may be at once.
func early(t *testing.T, backend Backend) {
	nodes := members(t, backend, 2, 5)
	a := nodes[0]
	cools := func(s rotator.Slot, scope string, spare time.Duration, equal bool) {
		a.Pool.Cool(a.Now(), s, rotator.Cooldown{For: time.Hour, Spare: spare, Equal: equal, Reason: 1, Source: "retry-after", Scope: scope})
	}
	cools(0, "", 30*time.Minute, true)
	cools(1, "", 20*time.Minute, false)
	cools(2, "gpt-x", 10*time.Minute, true)
	cools(3, "", time.Millisecond, true)
	a.Cool(4, time.Hour)
	check := func(nodes ...*Member) {
		t.Helper()
		for i, n := range nodes {
			n.rests(t, "", 0, 30*time.Minute, true)
			n.rests(t, "", 1, 20*time.Minute, false)
			n.rests(t, "gpt-x", 2, 10*time.Minute, true)
			all(t, []*Member{n}, 4, time.Hour)
			if c := n.change(4); !c.Spare.IsZero() || c.Equal || c.Reason != 1 || n.change(0).Reason != 1 {
				t.Errorf("node %d knows %+v of a key that must not be asked before its time", i, c)
			}
			Until(t, soon, "a key that may be asked at once", func() bool {
				s, ok := n.Pool.PickIn(n.Now(), "gpt-x", nil)
				return ok && s == 3 && n.Pool.CensusIn(n.Now(), "gpt-x").Usable == 1
			})
		}
	}
	check(nodes...)
	check(Join(t, backend(t), Keys(t, 5)))
	if !nodes[1].Serve("", 3, nodes[1].Now()) {
		t.Error("the key that has served did not cool")
	}
	all(t, nodes, 3, 0)
}

// rests waits until the node knows that the key may be asked again d after some time of
// this check, and what it is then.
func (m *Member) rests(t *testing.T, scope string, s rotator.Slot, d time.Duration, equal bool) {
	t.Helper()
	begin, _ := began.Load(t)
	Until(t, soon, "the moment from which the key may be asked", func() bool {
		c := m.changeIn(scope, s)
		left := c.Spare.Sub(m.Now())
		return !c.Spare.IsZero() && c.Equal == equal && left <= d+Tolerance && left >= d-time.Since(begin.(time.Time))-Tolerance
	})
}

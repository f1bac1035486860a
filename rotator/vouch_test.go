package rotator

import (
	"testing"
	"time"
)

// That the upstream knows a key ends what speaks against that, and nothing else.
func TestVouch(t *testing.T) {
	suspect := func(r Reason, began, at time.Duration) Refusal {
		return Refusal{Cooldown: Cooldown{For: minute, Reason: r}, Began: in(began), At: in(at), Step: time.Second, Max: minute, Limit: r == limited, Shown: r == limited}
	}
	for _, row := range []struct {
		sentence string
		before   func(p *Pool)
		began    time.Duration
		want     bool
		left     time.Duration // that the key cools afterwards
		suspect  bool
	}{
		{"a key against which nothing is held", func(*Pool) {}, 1, false, 0, false},
		{"one that cools as invalid is ready", func(p *Pool) { p.Cool(in(0), 0, Cooldown{For: minute, Reason: quota}) }, 1, true, 0, false},
		{"one that cools for a limit cools on", func(p *Pool) { p.Cool(in(0), 0, Cooldown{For: minute, Reason: limited}) }, 1, false, minute - 2, false},
		{"one that has cooled since the question was asked cools on", func(p *Pool) { p.Cool(in(1), 0, Cooldown{For: minute, Reason: quota}) }, 0, false, minute - 1, false},
		{"one in a scope is none for all", func(p *Pool) { p.Cool(in(0), 0, Cooldown{For: minute, Reason: quota, Scope: "x"}) }, 1, false, 0, false},
		{"a suspicion of it is over", func(p *Pool) { p.Suspect(0, suspect(quota, 0, 0)) }, 1, true, 0, false},
		{"one of a limit is not", func(p *Pool) { p.Suspect(0, suspect(limited, 0, 0)) }, 1, false, minute - 2, true},
		{"nor one that came since", func(p *Pool) { p.Suspect(0, suspect(quota, 1, 1)) }, 0, false, 0, true},
		{"a conviction is over", func(p *Pool) {
			p.Suspect(0, suspect(quota, 0, 0))
			p.Convict(in(0), 0, suspect(quota, 0, 0))
		}, 1, true, 0, false},
	} {
		woken := 0
		p, err := NewPool(makeKeys(t, 2), NewState(start), start, WithWake(func() { woken++ }))
		if err != nil {
			t.Fatal(err)
		}
		row.before(p)
		before, wakes := p.Clearings(), woken
		if got := p.Vouch(in(2), in(row.began), 0, quota); got != row.want {
			t.Errorf("%s: %t", row.sentence, got)
		}
		st := p.Status(in(2), 0)
		if st.Left != row.left || (st.Suspect != nil) != row.suspect {
			t.Errorf("%s: it cools for %s, suspect of %v", row.sentence, st.Left, st.Suspect)
		}
		if row.want != (woken > wakes) || row.want != (p.Clearings() > before) {
			t.Errorf("%s: who waits was woken %d times, and the pace told %d times", row.sentence, woken-wakes, p.Clearings()-before)
		}
	}
}

// A disabled key stays disabled, and the other nodes hear what is over.
func TestVouchingEnablesNothing(t *testing.T) {
	p := makePool(t, makeKeys(t, 1), nil, start)
	p.Cool(in(0), 0, Cooldown{For: minute, Reason: quota})
	p.Disable(in(0), 0)
	if !p.Vouch(in(2), in(1), 0, quota) {
		t.Error("nothing is over")
	}
	if st := p.Status(in(2), 0); st.Condition != Disabled || st.Left != 0 {
		t.Errorf("the key is %s and cools for %s", st.Condition, st.Left)
	}
}

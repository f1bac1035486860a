package rotator

import (
	"testing"
	"time"
)

// Time that the process's clock did not count ends cooldowns all the same.
func TestSkip(t *testing.T) {
	s := NewState(start)
	p := makePool(t, makeKeys(t, 3), s, start)
	p.Cool(start, 0, Cooldown{For: time.Hour})
	p.Cool(start, 1, Cooldown{For: time.Hour, Scope: "gpt-x"})
	s.Skip(59 * time.Minute)
	s.Skip(-time.Hour) // time never goes back
	if left := p.Status(start, 0).Left; left != time.Minute || s.Skipped() != 59*time.Minute {
		t.Errorf("%s are left, %s were skipped", left, s.Skipped())
	}
	s.Known(start, nil, func(c Change) bool {
		if c.Until.Sub(s.Told(start)) != time.Minute {
			t.Errorf("%q cools until %s", c.Scope, c.Until.Sub(s.Told(start)))
		}
		return true
	})
	p.Cool(start, 2, Cooldown{For: time.Hour}) // counts from here
	s.Skip(2 * time.Minute)
	if now := p.Census(start); now.Ready != 2 || p.CensusIn(start, "gpt-x").Ready != 2 {
		t.Errorf("%d keys are ready, and %d in the scope", now.Ready, p.CensusIn(start, "gpt-x").Ready)
	}
	if left := p.Status(start, 2).Left; left != 58*time.Minute {
		t.Errorf("%s are left of the later cooldown", left)
	}
	checkPool(t, p)
}

// A node whose clock is a century ahead says nothing that others cannot take back, and
// nobody hears of what no node can have said.
func TestSwitchesOfTheFuture(t *testing.T) {
	s := NewState(start)
	p := makePool(t, makeKeys(t, 1), s, start)
	id := p.Key(0).ID()
	if s.Learn(start, Change{ID: id, Off: maxSwitch + 1}, nil) || s.Learn(start, Change{ID: id, Off: -maxSwitch - 1}, nil) {
		t.Error("what nobody can have said was heard")
	}
	for range 3 {
		p.Disable(start.AddDate(200, 0, 0), 0)
		if off := s.entries[id].off; !off.Valid() || !off.Disabled() {
			t.Errorf("disabled by %d", off)
		}
		p.Enable(start, 0)
		if off := s.entries[id].off; !off.Valid() || off.Disabled() {
			t.Errorf("enabled by %d", off)
		}
	}
}

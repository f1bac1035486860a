package rotator

import (
	"testing"
	"time"
)

func TestSwitchOrder(t *testing.T) {
	for _, row := range []struct {
		sentence string
		a, b     Switch
		after    bool
	}{
		{"a word counts over none", 5, 0, true},
		{"an enabling, too", -5, 0, true},
		{"the later counts", -6, 5, true},
		{"the earlier does not", 5, -6, false},
		{"of two at once the disabling counts", 5, -5, true},
		{"and not the enabling", -5, 5, false},
		{"the same is no news", 5, 5, false},
		{"nothing is no news", 0, 0, false},
	} {
		if got := row.a.After(row.b); got != row.after {
			t.Errorf("%s: %d after %d is %t", row.sentence, row.a, row.b, got)
		}
	}
	now := time.UnixMilli(1000)
	for _, row := range []struct {
		sentence string
		known    Switch
		disable  bool
		want     Switch
	}{
		{"the first word is dated by the clock", 0, true, 1000},
		{"so is a later one", 900, false, -1000},
		{"one at the same time comes after what is known", 1000, false, -1001},
		{"also if the clock is behind", -5000, true, 5001},
	} {
		got := row.known.next(now, row.disable)
		if got != row.want || got.Disabled() != row.disable || !got.After(row.known) {
			t.Errorf("%s: %d, want %d", row.sentence, got, row.want)
		}
	}
}

func TestDisabledKeys(t *testing.T) {
	keys := makeKeys(t, 4)
	p := makePool(t, keys, nil, start)
	p.Cool(start, 1, Cooldown{For: time.Hour, Reason: limited})
	for _, row := range []struct {
		sentence string
		do       func() bool
		changed  bool
		want     Census
	}{
		{"a ready key is disabled", func() bool { return p.Disable(start, 0) }, true, Census{Ready: 2, Disabled: 1}},
		{"twice is once", func() bool { return p.Disable(start, 0) }, false, Census{Ready: 2, Disabled: 1}},
		{"a cooling key is disabled, and counts as that", func() bool { return p.Disable(start, 1) }, true, Census{Ready: 2, Disabled: 2}},
		{"a disabled key that cools stays disabled", func() bool { return p.Cool(start, 0, Cooldown{For: time.Minute, Reason: limited}) }, true, Census{Ready: 2, Disabled: 2}},
		{"enabled, it cools", func() bool { return p.Enable(start, 1) }, true, Census{Ready: 2, Disabled: 1}},
		{"a key that is enabled cannot be so again", func() bool { return p.Enable(start, 1) }, false, Census{Ready: 2, Disabled: 1}},
		{"a clearing does not enable", func() bool { return p.Clear(start, 0) }, true, Census{Ready: 2, Disabled: 1}},
		{"one that was cleared meanwhile is ready when it is enabled", func() bool { return p.Enable(start, 0) }, true, Census{Ready: 3}},
		{"all others are disabled: what cools is the soonest", func() bool { return p.Disable(start, 0) && p.Disable(start, 2) && p.Disable(start, 3) }, true,
			Census{Disabled: 3}},
		{"all are disabled: none will be ready", func() bool { return p.Disable(start, 1) }, true, Census{Disabled: 4}},
	} {
		if got := row.do(); got != row.changed {
			t.Errorf("%s: changed is %t", row.sentence, got)
		}
		want := row.want
		want.Keys = 4
		want.Cooling[limited] = 4 - want.Ready - want.Disabled
		if want.Cooling[limited] > 0 {
			want.Soonest = time.Hour
		}
		if got := p.Census(start); got != flat(want) {
			t.Errorf("%s: %+v, want %+v", row.sentence, got, flat(want))
		}
		checkPool(t, p)
	}
	if s, ok := p.Pick(start, nil); ok {
		t.Errorf("slot %d was picked, and all are disabled", s)
	}
	// A pool that replaces this one finds what was said, and so does one that comes
	// when no pool has held the keys for a while.
	p.Close(start)
	later := start.Add(48 * time.Hour)
	makePool(t, makeKeys(t, 1), p.state, later).Close(later)
	again := makePool(t, keys, p.state, later)
	if c := again.Census(later); c.Disabled != 4 {
		t.Errorf("a later pool has %+v", c)
	}
	again.Enable(later, 2)
	if c := again.Census(later); c.Ready != 1 {
		t.Errorf("enabled, %+v", c)
	}
}

// A disabled key of another node is remembered, even if no pool here holds it yet.
func TestLearnDisabledKeys(t *testing.T) {
	keys := makeKeys(t, 2)
	p, told := makeNode(t, keys[:1])
	off := Switch(start.UnixMilli())
	if p.state.Learn(start, Change{ID: keys[1].ID(), Off: off}, p.journal); len(*told) != 0 {
		t.Errorf("the journal was told %v of what it brought", *told)
	}
	if p.state.Learn(start, Change{ID: keys[0].ID(), Off: off}, p.journal) != true || p.state.Learn(start, Change{ID: keys[0].ID(), Off: off}, p.journal) {
		t.Error("the first word is news, the second is not")
	}
	both := makePool(t, keys, p.state, start)
	if c := both.Census(start); c.Disabled != 2 {
		t.Errorf("%+v", c)
	}
	if !both.Enable(start, 0) || known(p, start, 0).Off != -off-1 {
		t.Errorf("enabled, the key is known as %+v", known(p, start, 0))
	}
}

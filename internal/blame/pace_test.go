package blame

import (
	"testing"
	"time"
)

var start = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func in(d time.Duration) time.Time { return start.Add(d) }

func none() bool { return false } // of the keys is ready
func some() bool { return true }

// refused returns a pace that has seen so many refused calls of one shape, the first at
// start and all others then.
func refused(n int, limits bool, then time.Duration) *Pace {
	p := new(Pace)
	for i := range n {
		at := start
		if i > 0 {
			at = in(then)
		}
		p.Refuse(at, 1, limits, 0)
	}
	return p
}

func TestWhenThePaceIsOn(t *testing.T) {
	const second = time.Second
	for _, row := range []struct {
		sentence string
		refused  int
		limits   bool
		at       time.Duration
		ready    func() bool
		want     bool
	}{
		{"nothing was refused", 0, true, 0, none, false},
		{"four calls were", 4, true, time.Hour, none, false},
		{"the fifth limit begins it at once", 5, true, 0, none, true},
		{"the fifth of other refusals does not", 5, false, 0, none, false},
		{"nor a moment before two seconds", 5, false, 2*second - 1, none, false},
		{"two seconds after the first one it does", 5, false, 2 * second, none, true},
		{"a key is ready", 50, false, time.Hour, some, false},
		{"and all were limits", manyLimits - 1, true, time.Hour, some, false},
		{"a hundred limits: they are not those of keys", manyLimits, true, 0, some, true},
		{"a hundred other refusals", manyLimits, false, time.Hour, some, false},
	} {
		p := refused(row.refused, row.limits, 0)
		if got := p.Holds(in(row.at), row.ready); got != row.want {
			t.Errorf("%s: %t", row.sentence, got)
		}
		if p.Active() != (row.refused > 0) {
			t.Errorf("%s: active %t", row.sentence, p.Active())
		}
		// A request of the shape is held back at first where the pace holds, and is let out else.
		if got := p.Admit(in(row.at), 1, row.ready); !got.Goes && !row.want {
			t.Errorf("%s: %+v", row.sentence, got)
		}
	}
}

// One refusal of another kind among limits, and the pace has the time of the others.
func TestOneOtherRefusalIsEnough(t *testing.T) {
	p := refused(20, true, 0)
	p.Refuse(start, 1, false, 0)
	if p.Holds(in(paceAfter-1), none) || !p.Holds(in(paceAfter), none) {
		t.Error("the pace has the time of limits")
	}
}

// The moments are half of the trouble's age apart: no less than 0.25 s and no more than 10 s.
func TestTheMoments(t *testing.T) {
	const step = 10 * time.Millisecond
	p := refused(5, true, 0)
	var last time.Duration
	for at := time.Duration(0); at < 5*time.Minute; at += step {
		pass := p.Admit(in(at), 1, none)
		if !pass.Goes {
			if pass.Wait <= 0 || pass.Wait > maxPace {
				t.Fatalf("after %s it waits %s", at, pass.Wait)
			}
			continue
		}
		p.Refuse(in(at), 1, true, 0)
		if want := min(max(last/2, minPace), maxPace); at-last < want || at-last > want+step {
			t.Errorf("a moment after %s and then after %s, want %s more", last, at, want)
		}
		last = at
	}
	if last < 5*time.Minute-maxPace-step {
		t.Errorf("no moment since %s", last)
	}
}

func TestHowManyCallsAreLetOut(t *testing.T) {
	for _, row := range []struct {
		sentence string
		limits   bool
		at       time.Duration
		want     int
	}{
		{"limits: one", true, time.Second, 1},
		{"young trouble: as many as others", false, 5 * time.Second, anyNumber},
		{"after ten seconds", false, oldTrouble, anyNumber},
		{"old trouble: one", false, oldTrouble + 1, 1},
	} {
		if got := refused(5, row.limits, 0).Admit(in(row.at), 1, none); !got.Goes || got.Calls != row.want {
			t.Errorf("%s: %+v", row.sentence, got)
		}
	}
	if got := refused(4, true, 0).Admit(start, 1, none); !got.Goes || got.Calls != 0 || got.Begins {
		t.Errorf("where the pace is off: %+v", got)
	}
}

// Who is of another shape than what was refused goes out at any time, and each shape gets
// the answer that its own have got.
func TestShapesAndTheirAnswers(t *testing.T) {
	p := refused(5, true, 0)
	p.Answer(1, "first")
	if got := p.Admit(start, 1, none); got.Goes || got.Answer != "first" || got.Wait != minPace || !got.Begins {
		t.Errorf("a shape that was refused: %+v", got)
	}
	if got := p.Admit(start, 2, none); !got.Goes || got.Begins {
		t.Errorf("another one: %+v", got)
	}
	p.Refuse(start, 2, true, 0)
	if got := p.Admit(start, 2, none); got.Goes || got.Answer != nil {
		t.Errorf("once it was refused: %+v", got)
	}
	p.Answer(2, "second")
	p.Answer(1, "last")
	for shape, want := range map[Shape]string{1: "last", 2: "second"} {
		if got := p.Admit(start, shape, none); got.Goes || got.Answer != want {
			t.Errorf("shape %d: %+v", shape, got)
		}
	}
}

// However many shapes come, so many are remembered, and of each its own answer.
func TestShapesAreBounded(t *testing.T) {
	p := refused(5, true, 0)
	for s := range Shape(3 * maxShapes) {
		p.Refuse(start, s, true, 0)
		p.Answer(s, s)
	}
	known := 0
	for s := range Shape(3 * maxShapes) {
		switch got := p.Admit(start, s, none); {
		case got.Goes:
		case got.Answer != s:
			t.Fatalf("shape %d: %+v", s, got)
		default:
			known++
		}
	}
	if last := p.Admit(start, 3*maxShapes-1, none); known != maxShapes || last.Goes {
		t.Errorf("%d shapes are known, want %d, and of the last one %+v", known, maxShapes, last)
	}
}

func TestWhatEndsThePace(t *testing.T) {
	told := func() *Pace {
		p := refused(5, true, time.Second)
		p.Answer(1, "refused")
		p.Admit(in(time.Second), 1, none)
		return p
	}
	for _, row := range []struct {
		sentence string
		do       func(*Pace) bool
		on, told bool
	}{
		{"a success that began before the first refusal", func(p *Pace) bool { return p.Serve(in(-1)) }, true, false},
		{"one that began with it", func(p *Pace) bool { return p.Serve(start) }, false, true},
		{"one that began after", func(p *Pace) bool { return p.Serve(in(time.Minute)) }, false, true},
		{"an operator clears a key", func(p *Pace) bool { p.Heed(1); return false }, false, false},
		{"none has", func(p *Pace) bool { p.Heed(0); return false }, true, false},
	} {
		p := told()
		if got := row.do(p); got != row.told {
			t.Errorf("%s: told %t", row.sentence, got)
		}
		if p.Holds(in(time.Second), none) != row.on || p.Active() != row.on {
			t.Errorf("%s: the pace is on: %t", row.sentence, !row.on)
		}
		if row.on {
			continue
		}
		// It begins anew, with the next fifth, and what it has forgotten is nobody's answer.
		for range 4 {
			p.Refuse(in(time.Hour), 1, true, 0)
		}
		if p.Holds(in(time.Hour), none) {
			t.Errorf("%s: it holds after four refusals", row.sentence)
		}
		p.Refuse(in(time.Hour), 1, true, 0)
		if got := p.Admit(in(time.Hour), 1, none); got.Goes || got.Answer != nil || got.Wait != minPace || !got.Begins {
			t.Errorf("%s: then %+v", row.sentence, got)
		}
	}
}

// Nothing is told of a pace that has held nobody.
func TestAPaceThatHeldNobody(t *testing.T) {
	p := refused(5, true, 0)
	if p.Serve(in(1)) {
		t.Error("it was told that requests are served again")
	}
	p.Answer(1, "late") // of a request that was under way
	if got := p.Admit(start, 1, none); !got.Goes || got.Answer != nil {
		t.Errorf("%+v", got)
	}
	p.Heed(7)
	p.Refuse(start, 1, true, 0)
	if p.Heed(7); !p.Active() {
		t.Error("what an operator did before counts")
	}
	if p.Heed(6); !p.Active() {
		t.Error("who has counted before another one ends the pace again")
	}
	if p.Heed(7); !p.Active() {
		t.Error("what was heeded counts once more")
	}
}

// Where all refusals state a time, it is asked no more often than thirty times until the
// first of them is over.
func TestWhatIsStatedIsAskedForLess(t *testing.T) {
	p := new(Pace)
	for range paceFrom {
		p.Refuse(start, 1, true, time.Minute)
	}
	if got := p.Admit(start, 1, none); got.Goes || got.Wait != 2*time.Second {
		t.Errorf("a minute is stated: %+v", got)
	}
	if got := p.Admit(in(2*time.Second), 1, none); !got.Goes {
		t.Errorf("two seconds later: %+v", got)
	}
	p.Refuse(in(2*time.Second), 1, true, 0)
	if got := p.Admit(in(4*time.Second), 1, none); !got.Goes {
		t.Errorf("another two seconds later: %+v", got)
	}
	if got := p.Admit(in(4*time.Second), 1, none); got.Goes || got.Wait != 2*time.Second {
		t.Errorf("one has stated nothing, and it is half of the trouble's age: %+v", got)
	}
}

// As long as many calls are open, many limits say little: these may be served.
func TestWhatIsOpenCountsForTheKeys(t *testing.T) {
	p := refused(manyLimits+20, true, 0)
	p.Call(41)
	if p.Holds(start, some) {
		t.Error("120 limits, and 41 calls are open")
	}
	if p.Call(-1); !p.Holds(start, some) {
		t.Error("120 limits, and 40 calls are open")
	}
}

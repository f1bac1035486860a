package meter

import (
	"fmt"
	"testing"
	"time"
)

const minute = int64(time.Minute)

func tokens(limit, remaining int64, left time.Duration) []Stated {
	return []Stated{{Of: "tokens", Limit: limit, Remaining: remaining, Left: left}}
}

// Less than half is little, until half is there again: limits fill up steadily.
func TestLittle(t *testing.T) {
	for _, row := range []struct {
		sentence string
		stated   []Stated
		want     int64 // since it was stated; never: it is not little
	}{
		{"all of it", tokens(100, 100, 0), never},
		{"half", tokens(100, 50, time.Minute), never},
		{"half of an odd number", tokens(99, 50, time.Minute), never},
		{"nothing, a minute before all of it", tokens(100, 0, time.Minute), minute / 2},
		{"less than half", tokens(100, 20, 80*time.Second), int64(30 * time.Second)},
		{"nothing, and it is reset", tokens(100, 0, 0), 0},
		{"the scarcest counts", append(tokens(100, 20, 80*time.Second), Stated{Of: "requests", Limit: 10, Remaining: 0, Left: 80 * time.Second}), int64(40 * time.Second)},
		{"nothing is stated", nil, never},
	} {
		want := row.want
		if want != never {
			want += 7
		}
		if got := new(Learned).Note(7, "", row.stated); got != want {
			t.Errorf("%s: little until %d, want %d", row.sentence, got, want)
		}
	}
}

// What is known is told until it is reset, and what is stated later counts alone.
func TestLearned(t *testing.T) {
	var l Learned
	l.Note(0, "", append(tokens(100, 60, time.Minute), Stated{Of: "requests", Limit: 10, Remaining: 9, Left: time.Second}))
	check := func(at int64, want string) {
		t.Helper()
		text := ""
		for _, s := range l.Now(at) {
			text += fmt.Sprintf("%s%s %d/%d %s; ", s.Model, s.Of, s.Remaining, s.Limit, s.Left)
		}
		if text != want {
			t.Errorf("after %s: %q, want %q", time.Duration(at), text, want)
		}
	}
	check(0, "requests 9/10 1s; tokens 60/100 1m0s; ")
	check(int64(time.Second), "tokens 60/100 59s; ")
	check(minute, "")
	l.Note(minute, "", tokens(100, 50, time.Minute))
	check(minute, "tokens 50/100 1m0s; ")
	l.Note(minute, "m ", tokens(7, 1, time.Second))
	check(minute, "tokens 50/100 1m0s; m tokens 1/7 1s; ")
}

// Clients name models, and upstreams limits: of both few are kept, and no long names.
func TestLearnedIsBounded(t *testing.T) {
	var l Learned
	many := make([]Stated, 100)
	for i := range many {
		many[i] = Stated{Of: fmt.Sprintf("%0200d", i), Limit: 10, Remaining: 5, Left: time.Hour}
	}
	for i := range int64(100) {
		l.Note(i, fmt.Sprint("m", i), many)
	}
	all := l.Now(100)
	if len(l.models) != maxLearned || len(all) != maxLearned*maxStated {
		t.Errorf("%d models, %d limits", len(l.models), len(all))
	}
	for _, s := range all {
		if s.Model < "m92" || len(s.Of) > maxNamed {
			t.Errorf("%q of %q is kept", s.Of, s.Model)
		}
	}
}

// Who says the same again costs nothing.
func TestLearnedAllocations(t *testing.T) {
	var l Learned
	stated := append(tokens(100, 60, time.Minute), Stated{Of: "requests", Limit: 10, Remaining: 9, Left: time.Second})
	if got := testing.AllocsPerRun(100, func() { l.Note(1, "gpt-demo", stated) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

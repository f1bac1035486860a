package simulation

import (
	"testing"
	"time"
)

// What judges must be right itself: a scenario is played whose numbers can be counted by
// hand.
func TestPlaying(t *testing.T) {
	s := usual(scenario{warm: true, speed: quick}, 2, 10*time.Second)
	s.odd = odd{once: 3}
	s.rule = func() rule { return oddly(suspended.reply) }
	r := s.play(t)
	odd := 0
	for _, v := range r.visits {
		switch {
		case v.odd:
			odd++
		case !v.served() || v.end-v.at != quick.serves:
			t.Errorf("a request of %s was answered with %d at %s", v.at, v.status, v.end)
		}
	}
	// Regular requests come each 100 ms, the first after that; what warmed is left out.
	if odd != 3 || r.ordinaries() != 99 || r.servedOnes() != 99 || r.failed(0, forever) != 0 {
		t.Errorf("%d odd and %.0f ordinary requests, %.0f served", odd, r.ordinaries(), r.servedOnes())
	}
	if got := len(r.calls) - int(r.refusedCalls(2, 0, forever)); got != 99 {
		t.Errorf("%d calls were served", got)
	}
}

func TestOracles(t *testing.T) {
	r := &result{scenario: scenario{keys: 2}}
	for i := range 10 {
		r.visits = append(r.visits, &visit{at: time.Duration(i) * 250 * time.Millisecond, took: time.Second})
	}
	// Four a second, for two and a quarter: at once 2 of a token each, then 2 a second.
	if got := r.knowingBuckets(newBuckets(2, 1, time.Second)); got != 6 {
		t.Errorf("two buckets of 1 a second serve %.0f", got)
	}
	if got := r.knowingBuckets(newBuckets(2, 5, time.Hour)); got != 10 {
		t.Errorf("two buckets of 5 serve %.0f", got)
	}
	if got := r.knowingWhoIsFree(); got != 6 {
		t.Errorf("two keys that take a second each serve %.0f", got)
	}
}

func TestCountingRefusals(t *testing.T) {
	r := &result{scenario: scenario{keys: 2, speed: slow}}
	for _, c := range []struct {
		second float64
		key    int32
	}{{1, 0}, {2, 1}, {3, 0}, {3.5, 0}, {4.5, 0}, {4.6, 1}, {9, 1}} {
		r.calls = append(r.calls, seen{at: time.Duration(c.second * float64(time.Second)), key: c.key, refused: true})
	}
	if firsts, knowingly := r.refusedKnowingly(forever); firsts != 2 || knowingly != 2 {
		t.Errorf("%.0f keys were refused, and %.0f calls came that knew it", firsts, knowingly)
	}
	if n, most := r.callsWithin(3*time.Second, 10*time.Second); n != 5 || most != 5 {
		t.Errorf("%.0f calls, at most %.0f in ten seconds", n, most)
	}
	if each := r.refusedEach(1, 0, forever); each != 4 {
		t.Errorf("the first key was refused %.0f times", each)
	}
}

// The names of the cases tell them apart, and those that were measured exist.
func TestCasesHaveNames(t *testing.T) {
	known := make(map[string]bool)
	for _, r := range table() {
		for _, c := range r.cases() {
			name := c.name(r.number)
			if known[name] {
				t.Errorf("two cases are called %q", name)
			}
			known[name] = true
		}
	}
	for name := range today {
		if !known[name] {
			t.Errorf("%q was measured and is no case", name)
		}
	}
}

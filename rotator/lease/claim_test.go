package lease

import (
	"math"
	"testing"
	"time"
)

// What a node asks for, and when.
func TestClaims(t *testing.T) {
	const now, minute = int64(1e18), int64(time.Minute)
	held := func(c claim) claim { // a lease that is fresh
		c.until, c.asked, c.owed = now+int64(Term), now, true
		return c
	}
	five := crowd{nodes: 5}
	for _, row := range []struct {
		sentence     string
		claim        claim
		most, used   int64
		refused      float64
		wants, keeps int64
		due          bool
		others       crowd
		after        time.Duration
		allowed      int64
	}{
		{"nothing is used", claim{}, 1000, 0, 0, 0, 0, false, five, 0, 8},
		{"the first is used", claim{}, 1000, 1, 0, 9, 9, true, five, 0, 8},
		{"a small limit's first", claim{}, 10, 1, 0, 2, 2, true, five, 0, 1},
		{"enough is left", held(claim{ceiling: 110}), 1000, 100, 0, 108, 108, false, five, 0, 110},
		{"less than half of what is kept at hand", held(claim{ceiling: 103}), 1000, 100, 0, 108, 108, true, five, 0, 103},
		{"some were refused", held(claim{ceiling: 100}), 1000, 100, 20, 128, 128, true, five, 0, 100},
		{"all of the limit is there", held(claim{ceiling: 1000}), 1000, 1000, 50, 1000, 1000, false, five, 0, 1000},
		{"no more is to be had yet", held(claim{ceiling: 100, short: true}), 1000, 100, 20, 128, 128, false, five, 0, 100},
		{"no more was to be had half a second ago", held(claim{ceiling: 100, short: true}), 1000, 100, 20, 128, 128, true, five, time.Second / 2, 100},
		{"others go without", held(claim{ceiling: 600, short: true, contested: true, level: 400}), 1000, 300, 900, 1000, 400, true, five, 0, 600},
		{"others go without, and all is used", held(claim{ceiling: 600, short: true, contested: true, level: 400}), 1000, 600, 900, 1000, 600, false, five, 0, 600},
		{"others go without, of a small limit", held(claim{ceiling: 6, contested: true, level: 8}), 10, 5, 0, 5, 5, true, five, 0, 6},
		{"much is not used any more", held(claim{ceiling: 500}), 1000, 100, 0, 108, 108, true, five, 0, 500},
		{"nothing is used any more", held(claim{ceiling: 8}), 1000, 0, 0, 0, 0, true, five, 0, 8},
		{"half of the term is over", held(claim{ceiling: 110}), 1000, 100, 0, 108, 108, true, five, Term / 2, 110},
		{"the term is over", held(claim{ceiling: 310}), 1000, 300, 0, 308, 308, true, five, Term, 200},
		{"the term of less than the fair share is over", held(claim{ceiling: 110}), 1000, 100, 0, 108, 108, true, five, Term, 110},
		{"nobody answers, for long", held(claim{ceiling: 110}), 1000, 100, 0, 108, 108, true, crowd{nodes: 5, lost: now}, 2*Term + time.Minute, 200},
		{"nobody has ever answered", claim{}, 1000, 0, 0, 0, 0, false, crowd{lost: now}, 2*Term + time.Minute, 100},
		{"more is used than the limit, which was lowered", held(claim{ceiling: 300}), 100, 250, 0, 250, 250, true, five, 0, 300},
		{"a limit beyond all numbers", claim{}, math.MaxInt64, 1, 1e300, largest, largest, true, five, 0, largest / 125},
	} {
		c, w := row.claim, row.others
		c.refused, c.looked = row.refused, now+int64(row.after)
		r := reading{at: now + int64(row.after), most: min(row.most, largest), per: minute, used: row.used}
		c.lapse(r, w)
		wants := c.wants(r, w)
		if keeps := c.keeps(r, wants); wants != row.wants || keeps != row.keeps || c.due(r, w, wants) != row.due {
			t.Errorf("%s: wants %d and keeps %d, which it says: %t; want %d, %d, %t", row.sentence, wants, keeps, c.due(r, w, wants), row.wants, row.keeps, row.due)
		}
		if got := c.allowed(r, w); got != row.allowed {
			t.Errorf("%s: it may use %d, want %d", row.sentence, got, row.allowed)
		}
	}
}

// What was refused counts for about a 32nd of the window.
func TestRefused(t *testing.T) {
	var c claim
	r := reading{at: 1e18, per: int64(time.Minute), used: 1000}
	c.note(r, 100)
	for _, row := range []struct {
		after       time.Duration
		least, most float64
	}{{0, 100, 100}, {time.Second, 55, 65}, {4 * time.Second, 5, 15}, {20 * time.Second, 0, 0.5}} {
		later, at := c, r
		at.at += int64(row.after)
		if later.note(at, 0); later.refused < row.least || later.refused > row.most {
			t.Errorf("after %s %.1f count, want %.1f to %.1f", row.after, later.refused, row.least, row.most)
		}
	}
}

// Names of limits are not to be seen, and stay the same from version to version.
func TestHash(t *testing.T) {
	if got := Hash("key fa97607a83f3 1m0s"); len(got) != 32 || got == Hash("key fa97607a83f3 1h0m0s") {
		t.Errorf("%q", got)
	}
}

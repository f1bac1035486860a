// Package allowance brings what answers state of keys' limits to the pool that has drawn the
// key, so that others come first while little of it is left.
//
// It knows answers and pools, and nothing of attempts. How a header is read is ttl's, what
// follows for a draw is rotator's; what one makes of the other goes here.
package allowance

import (
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// most is how many limits of one answer count.
const most = 8

// longest is the longest time until a limit is reset that counts as such.
const longest = 366 * 24 * time.Hour

// Learn notes what the header of an answer, which came at now, states of the limits of the key
// that it was got with: for requests of the model, "" for all. Where it states nothing, what
// is known stays. It is safe for concurrent use.
func Learn(d *ttl.Dialect, header map[string][]string, now time.Time, pool *rotator.Pool, slot rotator.Slot, model string) {
	var room [most]ttl.Allowance
	var stated [most]rotator.Stated
	n := 0
	for _, a := range d.Allowances(room[:0], ttl.Response{Header: header, Now: now}) {
		if n < most {
			stated[n] = statedOf(a)
			n++
		}
	}
	if n > 0 {
		pool.Learn(now, slot, model, stated[:n])
	}
}

func statedOf(a ttl.Allowance) rotator.Stated {
	const largest = 1 << 50
	return rotator.Stated{
		Of: a.Of, Limit: int64(min(max(a.Limit, 1), largest)), Remaining: int64(min(a.Remaining, largest)),
		Left: time.Duration(min(a.Seconds, longest.Seconds()) * float64(time.Second)),
	}
}

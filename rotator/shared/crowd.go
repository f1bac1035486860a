package shared

import (
	"strings"
	"sync/atomic"
	"time"
)

const (
	// share is how often all processes together read the stream: each the less often,
	// the more of them there are. Redis then does as much for a thousand as for a hundred.
	share = 200 * time.Microsecond

	// maxPace is how long news waits at most, however many processes there are.
	maxPace = time.Second / 2

	// crowdTerm is how long a process counts after it has written something, at least.
	crowdTerm = 10 * time.Second
)

// crowd counts the processes that write. The zero value is ready for use. Only the listener
// notes them; the rest may be asked at any time.
type crowd struct {
	since       time.Time
	now, before map[string]bool
	many        atomic.Int64
}

// note counts one that has written.
func (c *crowd) note(now time.Time, node string) {
	if now.Sub(c.since) >= crowdTerm || c.now == nil {
		c.since, c.before, c.now = now, c.now, make(map[string]bool)
	}
	if len(c.now) < int(maxPace/share) {
		c.now[strings.Clone(node)] = true
	}
	c.many.Store(int64(max(len(c.now), len(c.before))))
}

// pace is how long a process that has read something lets pass before it reads again.
func (c *crowd) pace() time.Duration {
	return min(time.Duration(c.many.Load())*share, maxPace)
}

const (
	// fillShare is for how long who fills in what was lost rests after a change, for each
	// process: all of them hear it, and their news waits meanwhile.
	fillShare = 8 * time.Microsecond

	// maxFillShare is the longest rest after a change, however many processes there are: 500
	// changes a second go on.
	maxFillShare = 2 * time.Millisecond

	// fillBatch is how many changes go into one round trip then, and minFillBatch how many
	// where a crowd hears them: few enough for news not to wait behind them.
	fillBatch    = 200
	minFillBatch = 50

	// fillCrowd is how many processes there may be for a batch to be a whole one.
	fillCrowd = 25
)

// fillSize is how much of what was lost is filled in at a time.
func (c *crowd) fillSize() int {
	return max(fillBatch*fillCrowd/max(int(c.many.Load()), fillCrowd), minFillBatch)
}

// fillPause is how long who has filled in so much rests at least.
func (c *crowd) fillPause(changes int) time.Duration {
	return time.Duration(changes) * min(time.Duration(c.many.Load())*fillShare, maxFillShare)
}

package shared

import (
	"strings"
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

// crowd counts the processes that write. The zero value is ready for use.
type crowd struct {
	since       time.Time
	now, before map[string]bool
}

// note counts one that has written.
func (c *crowd) note(now time.Time, node string) {
	if now.Sub(c.since) >= crowdTerm || c.now == nil {
		c.since, c.before, c.now = now, c.now, make(map[string]bool)
	}
	if len(c.now) < int(maxPace/share) {
		c.now[strings.Clone(node)] = true
	}
}

// pace is how long a process that has read something lets pass before it reads again.
func (c *crowd) pace() time.Duration {
	return min(time.Duration(max(len(c.now), len(c.before)))*share, maxPace)
}

package shared

import (
	"sync"
	"time"
)

// clock translates between Redis' time and this process's. It trusts the sample
// whose round trip was the shortest: its error is at most half of that.
type clock struct {
	mu    sync.Mutex
	known bool
	zero  time.Time     // when Redis' clock showed 1970, by this process's
	taken time.Time     // when that was found out …
	trip  time.Duration // … and how long it took
	jumps int           // how often Redis' clock was another than before
}

// coarseTrip is the round trip from which on a sample is not good enough.
const coarseTrip = 5 * time.Millisecond

// maxSampleAge is how old the best sample may get: clocks drift apart.
const maxSampleAge = 10 * time.Minute

// maxStep is how far apart two samples may be, beyond their own errors, before
// Redis' clock has been set, or a replica with another clock has taken over.
const maxStep = time.Second

// maxMillis is the latest time that is written or read, in the year 2255: what
// lies beyond does not fit a time.Duration since 1970.
const maxMillis = 9_000_000_000_000

// sample takes the time since 1970 that Redis told between two instants of this
// process.
func (c *clock) sample(sent, received time.Time, redis time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	trip := received.Sub(sent)
	zero := sent.Add(trip / 2).Add(-redis)
	jumped := c.known && zero.Sub(c.zero).Abs() > maxStep+trip/2+c.trip/2
	if jumped {
		c.jumps++
	}
	if !c.known || jumped || trip <= c.trip || received.Sub(c.taken) > maxSampleAge {
		c.known, c.zero, c.taken, c.trip = true, zero, received, trip
	}
}

// coarse tells whether the best sample is worth another try.
func (c *clock) coarse() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trip > coarseTrip
}

// state tells whether Redis' time is known, how wrong it may be, and how often it
// has jumped.
func (c *clock) state() (known bool, wrong time.Duration, jumps int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known, c.trip / 2, c.jumps
}

// local returns when it is ms by Redis' clock.
func (c *clock) local(ms int64) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.zero.Add(time.Duration(ms) * time.Millisecond)
}

// remote returns what Redis' clock shows at t, in ms.
func (c *clock) remote(t time.Time) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return min(max(t.Sub(c.zero).Milliseconds(), 1), maxMillis)
}

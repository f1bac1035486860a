package shared

import (
	"sync"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// clock translates between the journal's time and this process's.
//
// The journal's time is Redis' clock and a shift, which stands in Redis. It goes on
// evenly: whoever finds that Redis' clock was set, or that a replica with another one
// has taken over, changes the shift by as much. See settle.
//
// It trusts the sample whose round trip was the shortest: its error is at most half of
// that. What the state has skipped counts as time that this process's clock has shown.
type clock struct {
	state *rotator.State // nil: nothing is skipped

	mu      sync.Mutex
	known   bool
	zero    time.Time     // when the journal's time was 1970, as a rotator.Change tells instants
	taken   time.Time     // when that was found out …
	trip    time.Duration // … and how long it took
	first   time.Time     // when anything was found out first
	samples int           // how many there were, of which a few are tried before one is good
	alone   bool          // nobody had noted the time lately then
	jumps   int           // how often the journal's time was another than before
	shift   int64         // the journal's time less Redis' clock, in ms
	claimed time.Time     // since when this process is behind for a reason that is not known; zero: it is not
}

// coarseTrip is the round trip from which on a sample is not good enough.
const coarseTrip = 5 * time.Millisecond

// slowTrip is the one from which on it is of no use: deadlines would be wrong by more
// than a second.
const slowTrip = 2 * time.Second

// maxSampleAge is how old the best sample may get: clocks drift apart.
const maxSampleAge = 10 * time.Minute

// maxStep is how far apart two samples may be, beyond their own errors, before
// Redis' clock has been set, or a replica with another clock has taken over.
const maxStep = time.Second / 2

// youth is how long a process must have known the journal's time to know better than
// Redis, and how long it waits for others who do. They look every heartbeat.
const youth = 2*heartbeat + time.Second

// maxMillis is the latest time that is written or read, in the year 2255: what
// lies beyond does not fit a time.Duration since 1970.
const maxMillis = 9_000_000_000_000

// told is an instant of this process as a rotator.Change tells it.
func (c *clock) told(t time.Time) time.Time {
	if c.state == nil {
		return t
	}
	return c.state.Told(t)
}

// zeroOf returns when the journal's time was 1970, if it was that between the instants.
func (c *clock) zeroOf(sent, received time.Time, journal time.Duration) (zero time.Time, trip time.Duration) {
	trip = received.Sub(sent)
	return c.told(sent).Add(trip / 2).Add(-journal), trip
}

// sample takes the journal's time since 1970 that Redis told between two instants of
// this process.
func (c *clock) sample(sent, received time.Time, journal time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	zero, trip := c.zeroOf(sent, received, journal)
	jumped := c.known && zero.Sub(c.zero).Abs() > maxStep+trip/2+c.trip/2
	if jumped {
		c.jumps++
	}
	c.samples++
	if !c.known {
		c.first = received
	}
	if !c.known || jumped || trip <= c.trip || received.Sub(c.taken) > maxSampleAge {
		c.known, c.zero, c.taken, c.trip = true, zero, received, trip
	}
}

// off returns by how much Redis is ahead of what this process takes the journal's time
// for; 0 if that is no more than what neither can know.
func (c *clock) off(sent, received time.Time, journal time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	zero, trip := c.zeroOf(sent, received, journal)
	ahead := c.zero.Sub(zero)
	if !c.known || ahead.Abs() <= maxStep+trip/2+c.trip/2 {
		return 0
	}
	return ahead
}

// unsure tells whether others may know better what time it is: this process does not
// know it for long, and nobody had noted it lately when it asked first.
func (c *clock) unsure(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.known || c.alone && now.Sub(c.first) < youth
}

// begin notes whether nobody had noted the time lately when this process asked first.
func (c *clock) begin(alone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		c.alone = alone
	}
}

// coarse tells whether the best sample is worth another try.
func (c *clock) coarse() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trip > coarseTrip
}

// tries is how often a process looks for a better sample before it writes by what it has.
const tries = 3

// rough tells whether a process should look again before it writes: the first look had to
// connect, and what is written by it would seem to be of another time than what follows.
func (c *clock) rough() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.known || c.trip > coarseTrip && c.samples < tries
}

// status tells whether the journal's time is known, how wrong it may be, and how often it
// has jumped.
func (c *clock) status() (known bool, wrong time.Duration, jumps int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known, c.trip / 2, c.jumps
}

// claim notes since when this process is behind without a reason, and returns for how
// long it has been; false ends that.
func (c *clock) claim(now time.Time, behind bool) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !behind:
		c.claimed = time.Time{}
		return 0
	case c.claimed.IsZero():
		c.claimed = now
	}
	return now.Sub(c.claimed)
}

// waits tells whether it is open what time it is.
func (c *clock) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.claimed.IsZero()
}

// shifted returns the journal's time less Redis' clock, as it was last, in ms.
func (c *clock) shifted() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shift
}

func (c *clock) setShift(ms int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shift = ms
}

// local returns when it is ms by the journal's time, as a rotator.Change tells it.
func (c *clock) local(ms int64) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.zero.Add(time.Duration(ms) * time.Millisecond)
}

// remote turns that back. What waits to be written is the same time, whatever is skipped
// meanwhile.
func (c *clock) remote(told time.Time) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return min(max(told.Sub(c.zero).Milliseconds(), 1), maxMillis)
}

// shows is what the journal's time is at an instant of this process, in ms.
func (c *clock) shows(t time.Time) int64 { return c.remote(c.told(t)) }

package shared

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
)

// promise is until when the keys may cool at the latest.
type promise map[rotator.Slot]time.Time

// check fails the test for each cooldown that is longer than promised by more than a
// second, and for each that is shorter by more than that, if exact.
func (p promise) check(t *testing.T, what string, exact bool, nodes ...*node) {
	t.Helper()
	for i, n := range nodes {
		for s, end := range p {
			left, want := n.Left(s), time.Until(end)
			if left-want > time.Second {
				t.Errorf("%s: key %d cools for %s on node %d, %s too long", what, s, left.Round(time.Millisecond), i, (left - want).Round(time.Millisecond))
			}
			if exact && want-left > time.Second {
				t.Errorf("%s: key %d cools for %s on node %d, %s too short", what, s, left.Round(time.Millisecond), i, (want - left).Round(time.Millisecond))
			}
		}
	}
}

// corrected waits until the nodes have looked at Redis since its clock was set, and have
// made good for it.
func corrected(t *testing.T, s *redistest.Server, off time.Duration) {
	t.Helper()
	until(t, "the shift to be changed", func() bool {
		shift, _ := s.Client().HGet(t.Context(), "{keycycler}:meta", "shift").Int64()
		return (time.Duration(shift)*time.Millisecond + off).Abs() < time.Second*3/4
	})
}

var steps = []time.Duration{time.Second, -time.Second, 3 * time.Second, -3 * time.Second, 50 * time.Minute, -50 * time.Minute, 24 * time.Hour, -24 * time.Hour}

// Redis' clock is set while nodes are there: right after they have written something, or
// an hour later. What cools goes on for as long as it did, also for a node that joins.
func TestStepsOfRedisClock(t *testing.T) {
	t.Parallel()
	for _, off := range steps {
		for _, idle := range []time.Duration{0, time.Hour} {
			t.Run(fmt.Sprintf("by %s after %s", off, idle), func(t *testing.T) {
				t.Parallel()
				server := redistest.StartClocked(t)
				var passed atomic.Int64
				later := func(o *Options) {
					o.Now = func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
				}
				nodes := startAll(t, 2, 5, to(server), later)
				ends := promise{0: time.Now().Add(2 * time.Hour), 1: time.Now().Add(65 * time.Minute)}
				nodes[0].Cool(0, 2*time.Hour)
				nodes[1].Cool(1, 65*time.Minute)
				nodes[1].Disable(2)
				agreeOn(t, nodes, 2)
				// An hour passes for all of them.
				server.SetClock(idle, func() { passed.Store(int64(idle)) })
				for s := range ends {
					ends[s] = ends[s].Add(-idle)
				}
				until(t, "the time to be noted", func() bool {
					noted, _ := server.Client().HGet(t.Context(), "{keycycler}:meta", "time").Int64()
					return time.Until(time.UnixMilli(noted).Add(-idle)).Abs() < 3*time.Second
				})
				server.SetClock(idle + off)
				corrected(t, server, off)
				ends.check(t, "before", true, nodes...)
				nodes[0].Cool(3, time.Minute)
				ends[3] = time.Now().Add(time.Minute)
				agreeOn(t, nodes, 3)
				nodes = append(nodes, start(t, to(server)(), 5, later))
				agreeOn(t, nodes, 3)
				ends.check(t, "after", true, nodes...)
				if !nodes[2].Disabled(2) {
					t.Error("a key that was disabled is not any more")
				}
				for i, n := range nodes {
					if h := n.journal.Health(); h.Resyncs != 1 {
						t.Errorf("node %d has read everything %d times", i, h.Resyncs)
					}
				}
			})
		}
	}
}

// A replica takes over whose clock is another.
func TestReplicaWithAnotherClock(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{-time.Hour, -2 * time.Second, 2 * time.Second, time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			master, replica := redistest.StartClocked(t), redistest.StartClocked(t)
			replica.SetClock(off)
			replica.Do("REPLICAOF", "127.0.0.1", master.Port())
			proxy := redistest.StartProxy(t, master.Addr())
			far := func() *redis.UniversalOptions { return clientOptions(proxy.Addr()) }
			nodes := startAll(t, 2, 5, far, impatient)
			ends := promise{0: time.Now().Add(2 * time.Hour)}
			nodes[0].Cool(0, 2*time.Hour)
			agreeOn(t, nodes, 1)
			master.Do("WAIT", 1, 10_000)
			replica.Do("REPLICAOF", "NO", "ONE")
			proxy.Redirect(replica.Addr())
			proxy.Cut()
			corrected(t, replica, off)
			nodes[1].Cool(1, time.Minute)
			ends[1] = time.Now().Add(time.Minute)
			agreeOn(t, nodes, 2)
			nodes = append(nodes, start(t, far(), 5))
			agreeOn(t, nodes, 2)
			ends.check(t, "after the failover", true, nodes...)
		})
	}
}

// A machine stands still, and its clock with it, while others go on. When it is back it
// knows cooldowns to be over that it has never seen end, and tells nobody of them.
func TestPausedMachine(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		sentence string
		during   func(s *redistest.Server, others []*node)
		exact    bool
	}{
		{"and nothing happens", func(*redistest.Server, []*node) {}, true},
		{"and others learn something", func(_ *redistest.Server, others []*node) { others[0].Cool(3, time.Hour) }, true},
		{"and Redis loses everything", func(s *redistest.Server, _ []*node) { s.Do("FLUSHALL") }, false},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			t.Parallel()
			server := redistest.StartClocked(t)
			const pause = 10 * time.Minute
			var others, stood atomic.Int64 // how far the clocks are from this test's
			at := func(off *atomic.Int64) func(*Options) {
				return func(o *Options) { o.Now = func() time.Time { return time.Now().Add(time.Duration(off.Load())) } }
			}
			nodes := startAll(t, 2, 5, to(server), at(&others))
			paused := startAll(t, 1, 5, to(server), at(&stood))[0]
			all := append(nodes, paused)
			ends := promise{0: time.Now().Add(time.Hour), 1: time.Now().Add(11 * time.Minute)}
			paused.Cool(0, time.Hour)
			nodes[0].Cool(1, 11*time.Minute)
			agreeOn(t, all, 2)

			// Ten minutes pass for all but one, which has just learned something.
			server.SetClock(pause, func() {
				paused.Cool(2, 30*time.Minute)
				ends[2] = time.Now().Add(30 * time.Minute)
				others.Store(int64(pause))
			})
			row.during(server, nodes)
			for s := range ends {
				ends[s] = ends[s].Add(-pause)
			}
			until(t, "the machine to know", func() bool { return paused.State.Skipped() > pause-time.Second })
			nodes[1].Cool(4, time.Hour)
			ends[4] = time.Now().Add(time.Hour)
			until(t, "the news", func() bool { return paused.Left(4) != 0 })
			settled(t, all...)
			all = append(all, start(t, to(server)(), 5, at(&others)))
			until(t, "all to agree", func() bool { return agree(all) })
			ends.check(t, row.sentence, row.exact, all...)
		})
	}
}

// A shift that makes a time of it that nobody writes is not believed, wherever it comes from:
// in Go it was another one than in Redis, so that all that was written came at another time.
func TestShiftsOutOfBounds(t *testing.T) {
	now := time.Now()
	for _, shift := range []int64{7_500_000_000_000, 10_000_000_000_000, -10_000_000_000_000, 9_999_999_999_999_999, 99_999_999_999_999_999} {
		for sentence, settle := range map[string]func(j *Journal, s sight){
			"found":   func(j *Journal, s sight) { j.settle(s) },
			"kept":    func(j *Journal, s sight) { j.clock.setShift(shift); j.restart(s) },
			"at once": func(j *Journal, s sight) { j.clock = clock{shift: shift}; j.restart(s) },
		} {
			j := journalAt(now, time.Duration(now.UnixNano()))
			settle(j, sight{sent: now, received: now, redis: time.Duration(now.UnixNano()), sound: true, holds: true, shift: shift})
			if got := j.clock.shifted(); got != 0 || j.clock.shows(now) != now.UnixMilli() {
				t.Errorf("%d, %s: the shift is %d, the time %d ms off", shift, sentence, got, j.clock.shows(now)-now.UnixMilli())
			}
		}
	}
}

// The listener and the writer find at once that the machine stood still. The pause is skipped
// once: it was skipped twice, and then all other nodes followed.
func TestPauseIsSkippedOnce(t *testing.T) {
	const pause, lookers = 10 * time.Minute, 2
	now := time.Now()
	j := journalAt(now, time.Duration(now.UnixNano()))
	j.everHad, j.clock.state = true, j.state
	later := now.Add(pause)
	s := sight{sent: now, received: now, redis: time.Duration(later.UnixNano()), sound: true, holds: true, seen: later.UnixMilli()}
	done := make(chan error, lookers)
	j.mu.Lock() // so that none goes on before all have begun
	for range lookers {
		go settleFor(j, s, done)
	}
	until(t, "all to wait", func() bool { return waiting("shared.settleFor(") == lookers })
	j.mu.Unlock()
	for range lookers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if skipped := j.state.Skipped(); skipped != pause || j.clock.shows(now) != later.UnixMilli() {
		t.Errorf("%s were skipped of %s", skipped, pause)
	}
}

func settleFor(j *Journal, s sight, done chan<- error) {
	_, err := j.settle(s)
	done <- err
}

// waiting is how many goroutines wait for a lock that such a function takes.
func waiting(function string) (n int) {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, function) && strings.Contains(stack, "sync.(*Mutex).Lock(") {
			n++
		}
	}
	return n
}

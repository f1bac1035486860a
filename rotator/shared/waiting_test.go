package shared

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// byHand is a journal without goroutines, and a pool that has it.
func byHand(t *testing.T, client redis.UniversalClient, keys int) (*Journal, *rotator.Pool) {
	t.Helper()
	now := time.Now()
	j := journalAt(now, time.Duration(now.UnixNano()))
	j.client, j.names, j.mended, j.timeout, j.clock = client, namesFor(defaultPrefix), func(string) {}, limit, clock{state: j.state}
	pool, err := rotator.NewPool(statetest.Keys(t, keys), j.state, now, rotator.WithJournal(j))
	if err != nil {
		t.Fatal(err)
	}
	return j, pool
}

// What waits to be written while a machine stands still is told as it was meant: until when
// a key cools, when that was learned and cleared, and when a file was used. It was told to be
// later by the whole pause.
func TestWhatWaitsKeepsItsTime(t *testing.T) {
	now := time.Now()
	j, pool := byHand(t, nil, 3)
	j.clock.sample(now, now, time.Duration(now.UnixNano()))
	cool := func(s rotator.Slot) { pool.Cool(now, s, rotator.Cooldown{For: time.Hour, Spare: time.Minute}) }
	made := rotator.Resource{1}
	for _, row := range []struct {
		sentence string
		queue    func() (change func() rotator.Change)
	}{
		{"a change that is queued", func() func() rotator.Change {
			cool(0)
			return func() rotator.Change { return j.take()[0] }
		}},
		{"a clearing", func() func() rotator.Change {
			pool.Clear(now, 0)
			return func() rotator.Change { return j.take()[0] }
		}},
		{"a batch on its way that is put back", func() func() rotator.Change {
			cool(1)
			batch := j.take()
			return func() rotator.Change { j.putBack(batch); return j.take()[0] }
		}},
		{"a batch that nobody may have heard of", func() func() rotator.Change {
			cool(2)
			j.remember("batch", j.take(), nil)
			return func() rotator.Change { return j.unseen["batch"].changes[0] }
		}},
		{"what Redis has lost", func() func() rotator.Change {
			clear(j.pending)
			j.refill(newKnowledge())
			j.computeFill(j.fill.number)
			fill := j.fill
			return func() rotator.Change { return fill.facts[0] }
		}},
	} {
		change := row.queue()
		pool.Own(now, 0, made)
		before, owned := j.known(), j.owners
		want := make(map[subject]fact)
		for _, c := range before {
			want[subjectOf(c)] = j.remote(c)
		}
		used := j.minute(owned[0].Used)
		j.state.Skip(10 * time.Minute)
		c := change()
		if got := j.remote(c); got != want[subjectOf(c)] {
			t.Errorf("%s: told as %+v, was %+v", row.sentence, got, want[subjectOf(c)])
		}
		if got := j.minute(owned[0].Used); got != used {
			t.Errorf("%s: a file was used %d ms later", row.sentence, got-used)
		}
	}
}

// A machine stands still while what it has learned waits for Redis, or while it fills Redis
// again. What it then tells ends when it would have.
func TestPausedWhileThingsWait(t *testing.T) {
	t.Parallel()
	const pause, left = 10 * time.Minute, 30 * time.Minute
	for _, row := range []struct {
		sentence string
		wait     func(t *testing.T, j *Journal)
	}{
		{"news", func(*testing.T, *Journal) {}},
		{"a refill", func(t *testing.T, j *Journal) {
			clear(j.pending)
			j.refill(newKnowledge())
			j.computeFill(j.fill.number)
			if len(j.fill.facts) != 2 {
				t.Errorf("%d facts are to be filled in", len(j.fill.facts))
			}
		}},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			t.Parallel()
			server := redistest.StartClocked(t)
			j, pool := byHand(t, server.Client(), 2)
			j.now = time.Now
			pool.Disable(j.now(), 1) // Redis holds something, and the time
			written := func() bool { return j.flush(t.Context()) == nil && j.Health().Queue == 0 }
			until(t, "something to be written", written)
			until(t, "a look", func() bool { _, err := j.look(t.Context()); return err == nil })
			j.stand(place{epoch: "some"})
			pool.Cool(j.now(), 0, rotator.Cooldown{For: left})
			ends := time.Now().Add(left)
			row.wait(t, j)
			server.SetClock(pause)
			// Another node has seen that time.
			server.Do("HSET", j.names.meta, "time", time.Now().Add(pause).UnixMilli())
			until(t, "the pause to be known", func() bool {
				_, err := j.look(t.Context())
				return err == nil && j.state.Skipped() > pause-time.Second
			})
			until(t, "all to be written", written)
			f, ok := j.codec.decode(server.Client().HGet(t.Context(), j.names.state, pool.Key(0).ID().String()).Val())
			if got := time.UnixMilli(f.until); !ok || got.Sub(ends).Abs() > time.Second {
				t.Errorf("the key cools for %s longer than without the pause", got.Sub(ends))
			}
		})
	}
}

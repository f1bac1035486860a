package shared

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// encode writes a fact as the script does.
func encode(c codec, f fact) string {
	return fmt.Sprintf("%d %d %d %d %s %s", f.until, f.learned, f.cleared, f.off, c.reason(f), c.source(f))
}

// eachRedis runs the check against miniredis, whose Lua is another, and a real one.
func eachRedis(t *testing.T, check func(t *testing.T, c *redis.Client)) {
	t.Run("miniredis", func(t *testing.T) {
		c := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
		defer c.Close()
		check(t, c)
	})
	t.Run("redis", func(t *testing.T) { check(t, redistest.Start(t).Client()) })
}

// saver sends facts by Redis' own clock.
type saver struct {
	*testing.T
	client *redis.Client
	codec  codec
	names  names
}

func newSaver(t *testing.T, c *redis.Client) *saver {
	return &saver{t, c, codec{reasons: reasons}, namesFor("test")}
}

// now is Redis' time in ms.
func (s *saver) now() int64 {
	s.Helper()
	now, err := s.client.Time(context.Background()).Result()
	if err != nil {
		s.Fatal(err)
	}
	return now.UnixMilli()
}

// save sends facts, as if it were sent then, and returns how many were news.
func (s *saver) save(sent int64, facts map[string]fact) int64 {
	s.Helper()
	args := []any{"epoch", 1 << 20, "node", sent, 1000, 0, 0, 0, "", 1000, "mend"}
	for id, f := range facts {
		args = append(args, id, f.until, f.learned, f.cleared, int64(f.off), s.codec.reason(f), s.codec.source(f))
	}
	n := s.names
	news, err := save.Run(context.Background(), s.client, []string{n.meta, n.state, n.log, n.deadlines, n.owners}, args...).Int64()
	if err != nil {
		s.Fatal(err)
	}
	return news
}

// saveNow is save, again for as long as the machine is too slow to be in time.
func (s *saver) saveNow(facts map[string]fact) (news int64) {
	s.Helper()
	until(s, "a write in time", func() bool {
		news = s.save(s.now(), facts)
		return news != -1
	})
	return news
}

func (s *saver) known(id string) fact {
	s.Helper()
	text, err := s.client.HGet(context.Background(), s.names.state, id).Result()
	if err == redis.Nil {
		return fact{}
	}
	f, ok := s.codec.decode(text)
	if !ok || err != nil || encode(s.codec, f) != text {
		s.Fatalf("%q was read as %+v (%v)", text, f, err)
	}
	return f
}

// The script believes nothing that nodes do not read: what a key is known to cool for there would
// be no news, and nobody would hear of it.
func TestWhatTheScriptBelieves(t *testing.T) {
	t.Parallel()
	const id = "fa97607a83f3"
	eachRedis(t, func(t *testing.T, c *redis.Client) {
		for _, row := range []struct {
			value string
			read  bool
		}{
			{"8000000000000 1 0 0 other default", true}, {"8000000000000 1 0 0 other -", true}, {"8000000000000 1 0 0 x body:a b c", true},
			{"8000000000000 1 0 0 other", false}, {"8000000000000 1 0 0 ", false}, {"8000000000000 1 0 0", false}, {"8000000000000 1 0 x y", false},
			{"8e12 1 0 0 x y", false}, {"-1 1 0 0 x y", false}, {"8000000000000 1 0 0x5 x y", false}, {"8000000000000  1 0 0 x y", false}, {" 8000000000000 1 0 0 x y", false},
		} {
			if err := c.FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			s := newSaver(t, c)
			s.saveNow(map[string]fact{id: {until: s.now() + 60_000, learned: s.now() - 500}})
			if err := c.HSet(t.Context(), s.names.state, id, row.value).Err(); err != nil {
				t.Fatal(err)
			}
			_, read := s.codec.decode(row.value)
			news := s.saveNow(map[string]fact{id: {until: s.now() + 120_000, learned: s.now() - 400}})
			if believed := news == 0; read != row.read || believed != row.read {
				t.Errorf("%q is read: %t; it is believed: %t; want %t", row.value, read, believed, row.read)
			}
		}
	})
}

// Nodes that pass a clearing on from one Redis to another differ by a millisecond in when
// it was. A regression would have them tell each other for ever, always a bit later.
func TestAClearingIsNewsOnce(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(t *testing.T, c *redis.Client) {
		s := newSaver(t, c)
		now := s.now()
		for i, step := range []struct {
			says string
			fact fact
			news int64
		}{
			{"a cooldown", fact{until: now + 60_000, learned: now - 500}, 1},
			{"its end", fact{cleared: now - 400}, 1},
			{"its end, as another node has it", fact{cleared: now - 399}, 0},
			{"its end, as far off as may be", fact{cleared: now - 300}, 0},
			{"a cooldown right after", fact{until: now + 60_000, learned: now - 390}, 1},
			{"its end, soon", fact{cleared: now - 380}, 1},
			{"an end much later", fact{cleared: now}, 1},
		} {
			if n := s.saveNow(map[string]fact{"fa97607a83f3": step.fact}); n != step.news {
				t.Errorf("step %d, %s: %d news, want %d", i, step.says, n, step.news)
			}
		}
	})
}

func TestScriptWritesWhatIsRead(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(t *testing.T, c *redis.Client) {
		s := newSaver(t, c)
		now := s.now()
		facts := map[string]fact{
			"a": {until: now + 60_000, learned: now, reason: 1, source: "retry-after"},
			"b": {until: maxMillis, learned: now, cleared: now - 1, source: `body:"try again" in  1.2s%d ~`},
			"c": {cleared: now},
			"d": {until: now + 60_000, learned: 1, reason: rotator.MaxReasons - 1},
			"f": {off: rotator.Switch(now)},
			"g": {until: now + 60_000, learned: now, off: -5_000_000_000_000, source: "x"},
			"e": {until: now + 3_600_000_001, learned: now, source: strings.Repeat("x", maxSource)},
		}
		if n := s.saveNow(facts); n != int64(len(facts)) {
			t.Errorf("%d were news", n)
		}
		for id, want := range facts {
			if got := s.known(id); got != want {
				t.Errorf("%s: wrote %+v, read %+v", id, want, got)
			}
		}
		if n := s.saveNow(facts); n != 0 {
			t.Errorf("the same again: %d were news", n)
		}
		entries, err := c.XRange(context.Background(), s.names.log, "-", "+").Result()
		if err != nil || len(entries) != 1 || strings.Count(fmt.Sprint(entries[0].Values[entryField]), "\n") != 4+2*len(facts) {
			t.Errorf("the stream has %v, %v", entries, err)
		}
	})
}

// The stream goes on wherever the data say that it ends: the script broke off, half done, where
// that was less than what is kept of it.
func TestScriptGoesOnFromAnywhere(t *testing.T) {
	t.Parallel()
	for _, last := range []string{"0", "5", "1048575", "-1", "-16777216", "9007199254740993", "99999999999999999"} {
		eachRedis(t, func(t *testing.T, c *redis.Client) {
			s := newSaver(t, c)
			now := s.now()
			s.saveNow(map[string]fact{"fa97607a83f3": {until: now + 60_000, learned: now}})
			c.HSet(t.Context(), s.names.meta, "last", last)
			if n := s.saveNow(map[string]fact{"fa97607a83f3": {until: now + 120_000, learned: now}}); n != 1 {
				t.Errorf("after %s: %d news", last, n)
			}
			if n := c.XLen(t.Context(), s.names.log).Val(); n != 1 {
				t.Errorf("after %s: %d entries, want the last one alone", last, n)
			}
		})
	}
}

// The script joins what it is told as a node's memory does.
func TestScriptAgainstState(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(t *testing.T, c *redis.Client) {
		s := newSaver(t, c)
		key := statetest.Keys(t, 1)
		for seed := range uint64(60) {
			r := rand.New(rand.NewPCG(seed, 1))
			begin, now := time.Now(), s.now()
			j := journalAt(begin, time.Duration(now)*time.Millisecond)
			pool, err := rotator.NewPool(key, j.state, begin, rotator.WithJournal(j))
			if err != nil {
				t.Fatal(err)
			}
			id := fmt.Sprint(seed)
			for range 20 {
				f := fact{}
				if r.IntN(3) > 0 { // in steps that the tolerance does not blur
					f.until, f.learned = now+60_000+1000*r.Int64N(8), now-200*r.Int64N(10)
				}
				if f.until == 0 || r.IntN(3) == 0 {
					f.cleared = now - 200*r.Int64N(10)
				}
				f.off = rotator.Switch(r.Int64N(9) - 4)
				s.saveNow(map[string]fact{id: f})
				j.state.Learn(begin, j.local(subject{id: key[0].ID()}, f), j)
				got, want := s.known(id), fact{}
				j.state.Known(begin, j, func(c rotator.Change) bool { want = j.remote(c); return true })
				if got != want {
					t.Fatalf("seed %d: after %+v Redis knows %+v, the node %+v", seed, f, got, want)
				}
			}
			pool.Close(begin)
		}
	})
}

func TestScriptRefusesWhatIsLate(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(t *testing.T, c *redis.Client) {
		s := newSaver(t, c)
		now := s.now()
		facts := map[string]fact{"a": {until: now + 60_000, learned: now}}
		for _, off := range []int64{-3000, 60_000, -now} {
			if n := s.save(now+off, facts); n != -1 || s.known("a") != (fact{}) {
				t.Errorf("sent %d ms off: %d, known %+v", off, n, s.known("a"))
			}
		}
		if n := s.saveNow(facts); n != 1 {
			t.Errorf("in time: %d", n)
		}
	})
}

// However many cooldowns have ended at once, nothing of them stays.
func TestScriptForgets(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(t *testing.T, c *redis.Client) {
		s := newSaver(t, c)
		ctx := context.Background()
		// All are written before the first is over, however slow the machine is.
		end := int64(0)
		for span := int64(5000); end <= s.now(); span *= 2 {
			c.FlushAll(ctx)
			end = s.now() + span
			saveMany(s, 2500, end)
			s.saveNow(map[string]fact{"clearing": {cleared: s.now()}})
		}
		until(t, "the cooldowns to end", func() bool { return s.now() > end })
		for _, want := range []int64{1503, 503, 3, 3} {
			s.saveNow(map[string]fact{"stays": {until: s.now() + 60_000, learned: 1}, "stays too": {until: s.now() + 60_000, learned: 1}})
			if n := c.HLen(ctx, s.names.state).Val(); n != want || c.ZCard(ctx, s.names.deadlines).Val() != n {
				t.Errorf("%d fields, want %d", n, want)
			}
		}
	})
}

// saveMany saves so many cooldowns that last until then.
func saveMany(s *saver, n int, end int64) {
	facts := make(map[string]fact)
	for i := range n {
		facts[fmt.Sprint(i)] = fact{until: end, learned: 1}
		if len(facts) == batch {
			s.saveNow(facts)
			clear(facts)
		}
	}
}

// What an operator said must outlive cooldowns, and not the gateways by more than a
// year.
func TestSwitchesAreKept(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	eachRedis(t, func(t *testing.T, c *redis.Client) {
		s := newSaver(t, c)
		now := s.now()
		s.saveNow(map[string]fact{
			"disabled": {off: rotator.Switch(now)},
			"enabled":  {off: rotator.Switch(-now)},
		})
		for id, want := range map[string]time.Duration{"disabled": 365 * day, "enabled": 30 * day} {
			until := c.ZScore(context.Background(), s.names.deadlines, id).Val()
			if left := time.Duration(until-float64(now)) * time.Millisecond; (left - want).Abs() > time.Minute {
				t.Errorf("the key that was %s is kept for %s, want %s", id, left, want)
			}
		}
		if left := c.PTTL(context.Background(), s.names.state).Val(); (left - 365*day).Abs() > 2*time.Hour {
			t.Errorf("the hash is kept for %s", left)
		}
	})
}

package shared

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
)

func resource(i int) rotator.Resource { return rotator.ResourceOf(fmt.Appendf(nil, "file-%d", i)) }

// own notes that the node's key at the slot has made the resources from … to-1.
func (n *node) own(s rotator.Slot, from, to int) {
	for i := from; i < to; i++ {
		n.Pool.Own(n.Now(), s, resource(i))
	}
}

// owns tells whether the node knows that of the resources.
func (n *node) owns(s rotator.Slot, from, to int) bool {
	for i := from; i < to; i++ {
		if id, ok := n.Pool.Owner(n.Now(), resource(i)); !ok || id != n.Pool.Key(s).ID() {
			return false
		}
	}
	return true
}

// settled waits until the node has nothing to write.
func settled(t testing.TB, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		until(t, "the queue to be written", func() bool { h := n.journal.Health(); return h.Healthy && h.Queue == 0 })
	}
}

// members returns how many owners stand in Redis.
func members(t testing.TB, s *redistest.Server) int64 {
	t.Helper()
	n, err := s.Client().ZCard(context.Background(), "{keycycler}:owners").Result()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestOwnersAreShared(t *testing.T) {
	t.Parallel()
	checkLeaks(t)
	server := redistest.Start(t)
	nodes := startAll(t, 2, 3, to(server))
	nodes[0].own(1, 0, 1200)
	until(t, "the other node to know", func() bool { return nodes[1].owns(1, 0, 1200) })
	nodes[1].own(2, 1200, 1201)
	until(t, "the first node to know", func() bool { return nodes[0].owns(2, 1200, 1201) })

	late := start(t, to(server)(), 3)
	until(t, "a node that joins to know", func() bool { return late.owns(1, 0, 1200) && late.owns(2, 1200, 1201) })
	settled(t, nodes...)
	if n := members(t, server); n != 1201 {
		t.Errorf("Redis holds %d owners", n)
	}
	if h := nodes[0].journal.Health(); h.Resyncs != 1 {
		t.Errorf("everything was read %d times", h.Resyncs)
	}

	for _, n := range nodes {
		n.Leave()
	}
	late.Leave()
	again := start(t, to(server)(), 3)
	until(t, "a node that restarts to know", func() bool { return again.owns(1, 0, 1200) })
}

// A use within a day, and what is known already, cost nothing.
func TestOwnersAreWrittenOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := startAll(t, 2, 3, to(server))
	nodes[0].own(0, 0, 10)
	until(t, "the other node to know", func() bool { return nodes[1].owns(0, 0, 10) })
	settled(t, nodes...)
	commands(server)
	begin := time.Now()
	for range 1000 {
		nodes[0].own(1, 0, 10)
		if !nodes[1].owns(0, 0, 10) {
			t.Fatal("the other node has forgotten")
		}
	}
	if calls := commands(server); calls["zadd"] > 0 || calls["evalsha"] > looks(begin, 2) {
		t.Errorf("what is known already took %v", calls)
	}
}

// What Redis does not know after it was away, or has forgotten, is written again.
func TestOwnersOutliveRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := startAll(t, 2, 3, to(server), impatient)
	nodes[0].own(0, 0, 10)
	until(t, "the other node to know", func() bool { return nodes[1].owns(0, 0, 10) })
	server.Kill()
	unhealthy(t, nodes)
	nodes[0].own(1, 10, 20)
	server.Restart() // empty
	until(t, "the other node to know", func() bool { return nodes[1].owns(0, 0, 10) && nodes[1].owns(1, 10, 20) })
	until(t, "Redis to hold all", func() bool { return members(t, server) == 20 })
	settled(t, nodes...)
	late := start(t, to(server)(), 3)
	until(t, "a node that joins to know", func() bool { return late.owns(0, 0, 10) && late.owns(1, 10, 20) })
}

func TestOwnersQueueIsBounded(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := redis.NewUniversalClient(to(server)())
	server.Kill()
	n, j, _ := open(t, client, impatient)
	for i := range maxOwnersQueued + 500 {
		j.RecordOwner(rotator.Owner{Resource: resource(i), Used: n.Now()})
	}
	if h := j.Health(); h.Queue > maxOwnersQueued {
		t.Errorf("%d are queued", h.Queue)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if last := j.owners[len(j.owners)-1]; last.Resource != resource(maxOwnersQueued+499) {
		t.Error("the latest was dropped, not the oldest")
	}
}

// ownerArgs are the script's arguments for owners alone.
func ownerArgs(s *saver, most int, owners ...any) []any {
	return append([]any{"epoch", 1 << 20, "node", s.now(), 1000, most, len(owners) / 3, 0, "", 1000, "mend"}, owners...)
}

func TestOwnersScript(t *testing.T) {
	eachRedis(t, func(t *testing.T, c *redis.Client) {
		ctx, s := context.Background(), newSaver(t, c)
		n := s.names
		save := func(most int, owners ...any) (news int64) {
			until(t, "a write in time", func() (inTime bool) {
				var err error
				news, err = save.Run(ctx, c, []string{n.meta, n.state, n.log, n.deadlines, n.owners}, ownerArgs(s, most, owners...)...).Int64()
				if err != nil {
					t.Fatal(err)
				}
				return news != tooLate
			})
			return news
		}
		name := func(i int) string { return strings.Repeat(fmt.Sprintf("%02x", i), 16) }
		const key, other = "0123456789ab", "ba9876543210"
		month := int64(30 * 24 * time.Hour / time.Millisecond)
		now := s.now()
		for _, row := range []struct {
			sentence string
			used     int64
			key      string
			news     int64
		}{
			{"what is new is news", now - 1000, key, 1},
			{"the same is not", now - 1000, key, 0},
			{"an earlier use is not", now - 2000, key, 0},
			{"a later use is", now - 500, key, 1},
			{"another key's is", now - 400, other, 1},
		} {
			if news := save(10, name(1), row.key, row.used); news != row.news {
				t.Errorf("%s: %d news", row.sentence, news)
			}
		}
		if save(10, name(9), key, now+1_000_000); c.ZScore(ctx, n.owners, name(9)+" "+key).Val() > float64(s.now()) {
			t.Error("a use lies ahead")
		}
		for i := 10; i < 40; i++ {
			save(10, name(i), key, now+int64(i))
		}
		if left := c.ZRange(ctx, n.owners, 0, -1).Val(); len(left) != 10 {
			t.Errorf("of 30 owners %v are left, want 10", left)
		}
		const lasting = 60 // even: such a name is that of one that lasts
		c.Del(ctx, n.owners)
		save(10, name(lasting), key, now-month/2)
		for i := 101; i < 161; i += 2 {
			save(10, name(i), key, now+int64(i))
		}
		if score := c.ZScore(ctx, n.owners, name(lasting)+" "+key).Val(); int64(score)-month != now-month/2 {
			t.Errorf("those that pass have pushed one out that lasts, which stands at %f", score)
		}
		save(10, name(51), key, now-month-1)
		save(10, name(50), key, now-month-1)
		for _, left := range c.ZRange(ctx, n.owners, 0, -1).Val() {
			if strings.HasPrefix(left, name(50)) || strings.HasPrefix(left, name(51)) {
				t.Error("what is over was kept")
			}
		}
		if ttl := c.PTTL(ctx, n.owners).Val(); ttl < 29*24*time.Hour || ttl > 31*24*time.Hour {
			t.Errorf("the owners expire in %s", ttl)
		}
	})
}

func TestParseOwner(t *testing.T) {
	for _, row := range []struct {
		sentence  string
		name, key string
		ok        bool
	}{
		{"a resource and a key", strings.Repeat("0a", 16), "0123456789ab", true},
		{"no hexadecimal digits", strings.Repeat("xy", 16), "0123456789ab", false},
		{"too short", "0a", "0123456789ab", false},
		{"no key", strings.Repeat("0a", 16), "", false},
	} {
		if _, _, ok := parseOwner(row.name, row.key); ok != row.ok {
			t.Errorf("%s: %t", row.sentence, ok)
		}
	}
}

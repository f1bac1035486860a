package shared

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// commands returns how often the server has run each command since the last call.
func commands(s *redistest.Server) map[string]int {
	calls := make(map[string]int)
	for line := range strings.Lines(s.Info("commandstats")) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		if !ok {
			continue
		}
		text, _, _ := strings.Cut(rest, ",")
		calls[name], _ = strconv.Atoi(text)
	}
	s.Do("CONFIG", "RESETSTAT")
	for _, own := range []string{"info", "config|resetstat"} {
		delete(calls, own)
	}
	return calls
}

// looks bounds how often nodes have looked after the time that has passed.
func looks(begin time.Time, nodes int) int {
	return nodes * (int(time.Since(begin)/heartbeat) + 2)
}

// Requests that meet no rejection cause no command, and what is written is written
// in few.
func TestCommandsPerRequest(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := startAll(t, 2, 3000, to(server))
	nodes[0].Cool(2999, time.Hour)
	agreeOn(t, nodes, 1)
	commands(server)

	begin := time.Now()
	for i := range 10_000 {
		if _, ok := nodes[i%2].Pool.Pick(nodes[i%2].Now(), nil); !ok {
			t.Fatal("no key")
		}
	}
	until(t, "a heartbeat", func() bool { return time.Since(begin) > heartbeat })
	calls := commands(server)
	t.Logf("10,000 picks in %s: %v", time.Since(begin).Round(time.Millisecond), calls)
	for name, n := range calls {
		if !slices.Contains([]string{"xread", "evalsha", "time", "hmget", "hlen", "zcard", "hset"}, name) || n > looks(begin, 2) {
			t.Errorf("%d times %s without a rejection", n, name)
		}
	}

	begin = time.Now()
	for s := range rotator.Slot(1000) {
		nodes[0].Cool(s, time.Hour)
		until(t, "the cooldown to arrive", func() bool { return nodes[1].Left(s) != 0 })
	}
	calls = commands(server)
	t.Logf("1,000 cooldowns one after the other in %s: %v", time.Since(begin).Round(time.Millisecond), calls)
	if n := calls["evalsha"] + calls["eval"]; n > 1000+looks(begin, 2) {
		t.Errorf("1,000 cooldowns took %d scripts", n)
	}

	begin = time.Now()
	var all sync.WaitGroup
	for s := range rotator.Slot(1000) {
		all.Go(func() { nodes[0].Cool(1000+s, time.Hour) })
	}
	all.Wait()
	agreeOn(t, nodes, 2001)
	calls = commands(server)
	t.Logf("1,000 cooldowns at once in %s: %v", time.Since(begin).Round(time.Millisecond), calls)
	if n := calls["evalsha"] + calls["eval"]; n > 200 {
		t.Errorf("1,000 cooldowns at once took %d scripts", n)
	}
}

// Redis sees ids, never keys; what it holds stands in one slot of a cluster, and
// expires.
func TestWhatRedisSees(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	seen := monitor(t, server)
	nodes := startAll(t, 2, 50, to(server))
	for s := range rotator.Slot(20) {
		nodes[s%2].Cool(s, time.Hour)
	}
	agreeOn(t, nodes, 20)
	nodes[0].Clear(3)
	agreeOn(t, nodes, 19)
	late := start(t, to(server)(), 50)
	agreeOn(t, append(nodes, late), 19)

	ctx, client := context.Background(), server.Client()
	names := client.Keys(ctx, "*").Val()
	if slices.Sort(names); !slices.Equal(names, []string{
		"{keycycler}:deadlines", "{keycycler}:log", "{keycycler}:meta", "{keycycler}:state",
	}) {
		t.Errorf("Redis holds %q", names)
	}
	var all strings.Builder
	for _, name := range names {
		if left := client.PTTL(ctx, name).Val(); left < time.Hour || left > 26*time.Hour {
			t.Errorf("%s expires in %s", name, left)
		}
	}
	fmt.Fprint(&all, client.HGetAll(ctx, "{keycycler}:state"), client.HGetAll(ctx, "{keycycler}:meta"),
		client.ZRangeWithScores(ctx, "{keycycler}:deadlines", 0, -1), client.XRange(ctx, "{keycycler}:log", "-", "+"))
	stored, sent := all.String(), seen()
	if id := statetest.Keys(t, 50)[5].String(); !strings.Contains(stored, id) || !strings.Contains(sent, id) {
		t.Fatal("what is looked through is not what was written")
	}
	for _, k := range statetest.Keys(t, 50) {
		if strings.Contains(stored, k.Secret()) || strings.Contains(sent, k.Secret()) {
			t.Errorf("Redis has seen the secret of %s", k)
		}
	}
	if strings.Contains(stored+sent, "sk-") {
		t.Error("Redis has seen what begins like a key")
	}
}

// monitor returns what says which commands the server has seen since.
func monitor(t *testing.T, s *redistest.Server) func() string {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "MONITOR\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, len("+OK\r\n"))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return func() string {
		const end = "all that was sent before this"
		client := s.Client()
		if err := client.Echo(t.Context(), end).Err(); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(limit))
		var text strings.Builder
		for lines := bufio.NewReader(conn); !strings.Contains(text.String(), end); {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			text.WriteString(line)
		}
		return text.String()
	}
}

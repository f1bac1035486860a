package shared

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator/keep"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// stores gives each backend a prefix of its own in the same Redis.
func stores(o func() *redis.UniversalOptions) func(testing.TB) statetest.Store {
	return func(t testing.TB) statetest.Store {
		name := t.Name()
		return func(t testing.TB) keep.Store {
			_, j, _ := open(t, redis.NewUniversalClient(patient(o())), patiently, func(o *Options) { o.Prefix = name })
			return counts{j}
		}
	}
}

func TestStoreMiniredis(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	statetest.RunStore(t, stores(func() *redis.UniversalOptions { return clientOptions(server.Addr()) }))
}

func TestStoreRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	statetest.RunStore(t, stores(to(server)))
}

func TestStoreCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	statetest.RunStore(t, stores(func() *redis.UniversalOptions { return clientOptions(cluster.Addrs()...) }))
}

// accountant is a node that counts.
type accountant struct {
	*Journal
	statetest.Counter
	book *keep.Book
}

func startAccountants(t testing.TB, n int, o func() *redis.UniversalOptions, edit ...func(*Options)) []*accountant {
	t.Helper()
	all := make([]*accountant, n)
	for i := range all {
		_, j, _ := open(t, redis.NewUniversalClient(o()), edit...)
		a := &accountant{Journal: j}
		a.book = keep.NewBook("main", &a.Counter)
		j.Keeper().Keep(a.book)
		all[i] = a
	}
	return all
}

// spansNow are today and this minute.
func spansNow() [2]keep.Span {
	minute := time.Now().Unix() / 60
	return [2]keep.Span{{Pool: "main", Number: minute}, {Pool: "main", Day: true, Number: minute / (24 * 60)}}
}

// note counts an answer now.
func (a *accountant) note(name string) {
	for _, span := range spansNow() {
		a.Count(span, name, keep.Counts{1, 0, 10})
	}
}

// today is what the node tells of today.
func (a *accountant) today(ctx context.Context, name string) (n int64) {
	a.Keeper().Refresh(ctx, a.book)
	add := func(s keep.Span, c keep.Cell) {
		if s.Day && c.Name == name {
			n += c.Counts[0]
		}
	}
	a.All(add)
	a.book.Others(add)
	return n
}

// tellAll waits until all tell that name was counted so often today.
func tellAll(t testing.TB, all []*accountant, name string, want int64) {
	t.Helper()
	for i, a := range all {
		last := int64(0)
		until(t, fmt.Sprintf("node %d to tell %d of %s", i, want, name), func() bool {
			last = a.today(t.Context(), name)
			return last == want
		})
	}
}

// Junk in a span heals: the nodes bring back what they know.
func TestJunkInCounts(t *testing.T) {
	t.Parallel()
	day := fmt.Sprintf("{keycycler}:usage:main:d%d", spansNow()[1].Number)
	huge := strings.Repeat("9", 1<<20)
	for _, row := range []struct {
		name     string
		commands [][]any
	}{
		{"a string for the hash", [][]any{{"DEL", day}, {"SET", day, "junk"}}},
		{"a list for the hash", [][]any{{"DEL", day}, {"RPUSH", day, "junk"}}},
		{"nothing", [][]any{{"DEL", day}}},
		{"all is gone", [][]any{{"FLUSHALL"}}},
		{"a field more", [][]any{{"HSET", day, "cjunk", "1 0 1"}}},
		{"a field less", [][]any{{"HDEL", day, "cada"}}},
		{"no word of what it is", [][]any{{"HDEL", day, "#"}}},
		{"junk for that", [][]any{{"HSET", day, "#", huge}}},
		{"line breaks in that", [][]any{{"HSET", day, "#", "a\nb 1 1 1 1 1"}}},
		{"huge numbers in that", [][]any{{"HSET", day, "#", "a " + huge[:100] + " 9 1 1 1"}}},
		{"a value that is no number", [][]any{{"HSET", day, "cada", "junk"}}},
		{"a huge value", [][]any{{"HSET", day, "cada", huge}}},
		{"a negative one", [][]any{{"HSET", day, "cada", "-5 0 0"}}},
		{"too many numbers", [][]any{{"HSET", day, "cada", strings.Repeat("1 ", 500)}}},
		{"a sign", [][]any{{"HSET", day, "cada", "+5 0 0"}}},
		{"a zero below zero", [][]any{{"HSET", day, "cada", "5 -0 0"}}},
		{"more digits than a number has", [][]any{{"HSET", day, "cada", "00000000000000005"}}},
		{"more than the most", [][]any{{"HSET", day, "cada", "9000000000000001"}}},
		{"nothing at all", [][]any{{"HSET", day, "cada", ""}}},
		{"two spaces", [][]any{{"HSET", day, "cada", "5  0"}}},
		{"a space at the end", [][]any{{"HSET", day, "cada", "5 "}}},
		{"so many writes that one more is as many", [][]any{{"HSET", day, "#", "a 90000000000000000 4 1 0 0"}}},
		{"a sign before last batches", marks(day, "+7")},
		{"last batches of too many digits", marks(day, "000000000000000007")},
		{"last batches that nobody can count on from", marks(day, "90000000000000000")},
		{"no last batch", marks(day, "0")},
		{"last batches that are none", marks(day, "junk")},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			all := startAccountants(t, 2, to(server))
			all[0].note("cada")
			all[1].note("cada")
			tellAll(t, all, "cada", 2)
			for _, c := range row.commands {
				server.Do(c...)
			}
			all[0].note("cada")
			late := append(all, startAccountants(t, 1, to(server))...)
			late[2].note("cada")
			tellAll(t, late, "cada", 4)
			tellAll(t, startAccountants(t, 1, to(server)), "cada", 4)
			for i, a := range late {
				if h := a.Health(); h.Err != nil {
					t.Errorf("node %d: %v", i, h.Err)
				}
			}
		})
	}
}

// marks makes that the last batch of each node, in a span.
func marks(span, to string) [][]any {
	return [][]any{{"EVAL", `
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 1) == '@' then
    redis.call('HSET', KEYS[1], field, ARGV[1])
  end
end`, 1, span, to}}
}

// A value that can be added to is one that can be read, and no other: a node that found one of
// these alone would neither go on nor bring anything back.
func TestWhatCountsAsANumber(t *testing.T) {
	t.Parallel()
	span := spansNow()[1]
	eachRedis(t, func(t *testing.T, c *redis.Client) {
		_, j, _ := open(t, c, patiently)
		check := func(field, value string, want bool) {
			t.Helper()
			if err := c.Del(t.Context(), j.spanName(span)).Err(); err != nil {
				t.Fatal(err)
			}
			addOne(t, counts{j}, span, 1)
			if err := c.HSet(t.Context(), j.spanName(span), field, value).Err(); err != nil {
				t.Fatal(err)
			}
			all, err := counts{j}.Read(t.Context(), []keep.Span{span}, []string{""})
			if err != nil {
				t.Fatal(err)
			}
			if can, sound := addOne(t, counts{j}, span, 2) != keep.Lost, !all[0].Unsound; can != want || sound != want {
				t.Errorf("%q in %s can be added to: %t; it can be read: %t; want %t", value, field, can, sound, want)
			}
		}
		for _, row := range []struct {
			value         string
			counts, batch bool
		}{
			{"5", true, true}, {"0", true, false}, {"005", true, true}, {"5 0 7", true, false}, {"1 2 3 4 5 6 7 8 9 10", true, false},
			{"9000000000000000", true, true}, {"9000000000000001", false, false}, {"9999999999999999", false, false}, {"1 9000000000000001", false, false},
			{"0000000000000005", true, true}, {"00000000000000005", false, false}, {"90000000000000000", false, false}, {"1 00000000000000005", false, false},
			{"+5", false, false}, {"-5", false, false}, {"-0", false, false}, {"5 +5", false, false}, {"5 -0", false, false}, {"5.0", false, false},
			{"5e1", false, false}, {"0x5", false, false}, {"nan", false, false}, {"inf", false, false}, {"", false, false}, {" ", false, false},
			{" 5", false, false}, {"5 ", false, false}, {"5  5", false, false}, {"5\t5", false, false}, {"5\n", false, false}, {"5\x00", false, false}, {"٥", false, false},
			{strings.Repeat("1 ", 199) + "11", true, false}, {strings.Repeat("1 ", 200) + "1", false, false},
		} {
			check("cada", row.value, row.counts)
			check("@node", row.value, row.batch)
		}
	})
}

// addOne adds a batch, and returns the node's last one.
func addOne(t *testing.T, to keep.Store, span keep.Span, seq int64) int64 {
	t.Helper()
	b := keep.Batch{Span: span, Seq: seq, Cells: []keep.Cell{{Name: "cada", Counts: keep.Counts{1}}}}
	had, err := to.Add(t.Context(), "node", []keep.Batch{b})
	if err != nil {
		t.Fatal(err)
	}
	return had[0]
}

// All of it expires.
func TestCountsExpire(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	all := startAccountants(t, 1, to(server))
	all[0].note("cada")
	spans := spansNow()
	until(t, "the node to have written", func() bool { return server.Do("EXISTS", all[0].spanName(spans[1])) == int64(1) })
	for i, most := range []time.Duration{2 * time.Hour, 31 * 24 * time.Hour} {
		ttl, _ := server.Do("PTTL", all[0].spanName(spans[i])).(int64)
		if left := time.Duration(ttl) * time.Millisecond; left > most || left < most-time.Minute {
			t.Errorf("a span stays for %s, want %s", left, most)
		}
	}
}

// What was counted until the end is there, and what was counted while Redis was away.
func TestCountsOverRestarts(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	// These have one try to write what they know: it must not fail for want of time.
	all := startAccountants(t, 2, func() *redis.UniversalOptions { return patient(to(server)()) }, patiently)
	tellAll(t, all, "cada", 0)
	for _, a := range all {
		a.note("cada")
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	all = startAccountants(t, 2, to(server), impatient)
	tellAll(t, all, "cada", 2)
	server.Stall()
	for range 10 {
		all[0].note("cada")
	}
	until(t, "the node to notice", func() bool { return !all[0].Health().Healthy })
	began := time.Now()
	if n := all[0].today(t.Context(), "cada"); n != 12 || time.Since(began) > 10*time.Second {
		t.Errorf("while Redis is away %d are told, after %s", n, time.Since(began))
	}
	server.Resume()
	tellAll(t, all, "cada", 12)
}

// One that nobody uses writes nothing.
func TestIdleNodesWriteNoCounts(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	all := startAccountants(t, 3, to(server))
	tellAll(t, all, "cada", 0)
	if names := server.Do("KEYS", "{keycycler}:usage:*").([]any); len(names) > 0 {
		t.Errorf("there is %v", names)
	}
	all[0].note("cada")
	tellAll(t, all, "cada", 1)
	if names := server.Do("KEYS", "{keycycler}:usage:*").([]any); len(names) != 2 {
		t.Errorf("there is %v", names)
	}
}

// What it costs that a node keeps what 100 clients use of 10 models with 10 keys, each second.
func TestCostOfCounts(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr())
	all := startAccountants(t, 1, func() *redis.UniversalOptions { return patient(clientOptions(proxy.Addr())) }, patiently)
	a, store := all[0], counts{all[0].Journal}
	tellAll(t, all, "cada", 0)
	batch := func(span keep.Span, seq int64) (b keep.Batch) {
		b = keep.Batch{Span: span, Seq: seq}
		for i := range 120 {
			name := fmt.Sprintf("cclient-%d", i)
			if i >= 100 {
				name = fmt.Sprintf("k%012x", i)
			}
			b.Cells = append(b.Cells, keep.Cell{Name: name, Counts: keep.Counts{30, 1, 40_000, 12_000, 0, 9_000, 2_000, 123_456_789, 0}})
		}
		return b
	}
	const writes = 20
	spans := []keep.Span{{Pool: "other", Number: 1}, {Pool: "other", Day: true, Number: 1}}
	before := proxy.Bytes()
	commands(server)
	begin := time.Now()
	for seq := range int64(writes) {
		if _, err := store.Add(t.Context(), "node", []keep.Batch{batch(spans[0], seq+1), batch(spans[1], seq+1)}); err != nil {
			t.Fatal(err)
		}
	}
	sent := (proxy.Bytes() - before) / writes
	calls := commands(server)
	memory, _ := server.Do("MEMORY", "USAGE", a.spanName(spans[1])).(int64)
	t.Logf("a write of 240 cells: %d bytes; %d writes: %v; 120 names of a span take %d bytes", sent, writes, calls, memory)
	if n := calls["evalsha"] + calls["eval"]; n > writes+2+looks(begin, 1) || sent > 30_000 || memory > 30_000 {
		t.Errorf("%d scripts for %d writes, %d bytes each; a span takes %d bytes", n, writes, sent, memory)
	}
	before = proxy.Bytes()
	if _, err := store.Read(t.Context(), spans, []string{"", ""}); err != nil {
		t.Fatal(err)
	}
	read := proxy.Bytes() - before
	before = proxy.Bytes()
	idle := make([]keep.Span, minutesAndDays)
	for i := range idle {
		idle[i] = keep.Span{Pool: "none", Number: int64(i)}
	}
	if _, err := store.Read(t.Context(), idle, make([]string, len(idle))); err != nil {
		t.Fatal(err)
	}
	t.Logf("two spans are read in %d bytes, and it takes %d to see that nothing has changed", read, proxy.Bytes()-before)
}

// minutesAndDays is how many spans are read.
const minutesAndDays = 60 + 30 + 2

func BenchmarkCounts(b *testing.B) {
	server := redistest.Start(b)
	_, j, _ := open(b, redis.NewUniversalClient(to(server)()))
	batch := keep.Batch{Span: spansNow()[1]}
	for i := range 200 {
		batch.Cells = append(batch.Cells, keep.Cell{Name: fmt.Sprintf("cclient-%d", i), Counts: keep.Counts{30, 1, 40_000, 12_000, 0, 9_000, 2_000, 123_456_789, 0}})
	}
	before := processorTime(server)
	for b.Loop() {
		batch.Seq++
		if _, err := (counts{j}).Add(b.Context(), "node", []keep.Batch{batch}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(1e6*(processorTime(server)-before)/float64(b.N), "redis-µs/op")
}

// processorTime is for how many seconds the server has had a processor.
func processorTime(s *redistest.Server) (seconds float64) {
	for line := range strings.Lines(s.Info("cpu")) {
		name, digits, _ := strings.Cut(strings.TrimSpace(line), ":")
		if n, err := strconv.ParseFloat(digits, 64); err == nil && (name == "used_cpu_user" || name == "used_cpu_sys") {
			seconds += n
		}
	}
	return seconds
}

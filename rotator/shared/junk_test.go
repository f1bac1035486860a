package shared

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator/shared/redistest"
)

// Whoever can write to Redis can write anything. A node takes it for nothing, goes
// on hearing of what others learn, and keeps nothing of it.
func TestJunkInRedis(t *testing.T) {
	const state, log, meta = "{keycycler}:state", "{keycycler}:log", "{keycycler}:meta"
	huge := strings.Repeat("9", 10<<20)
	for _, test := range []struct {
		name     string
		commands [][]any
	}{
		{"fields that are no keys", [][]any{{"HSET", state, "a\nb", "x", "", "y", "fa97607a83f3\r\n", "1 1 0 0 a b", strings.Repeat("f", 1<<20), "z"}}},
		{"scopes with line breaks, and long ones", [][]any{{"HSET", state, "fa97607a83f3 a\nb", "9 9 0 0 a b", "fa97607a83f3 " + strings.Repeat("m", 5000), "9 9 0 0 a b"}}},
		{"values that are no facts", [][]any{{"HSET", state, "fa97607a83f3", huge, "ad7ae57daf97", "", "0a7ae57daf97", "NaN inf -1 1e9 a b", "0b7ae57daf97", "1 2"}}},
		{"numbers beyond all bounds", [][]any{{"HSET", state, "fa97607a83f3", huge[:400] + " 1 0 0 a b", "ad7ae57daf97", "-1 -1 -1 0 a b"}}},
		{"entries out of order", [][]any{{"XADD", log, "*", "p", "junk", "n", "a\nb", "fa97607a83f3", "junk"}}},
		{"entries without fields that are ours", [][]any{{"XADD", log, "*", "x", huge}}},
		{"an epoch with line breaks", [][]any{{"HSET", meta, "epoch", "a\nb"}}},
		{"an entry that is none", [][]any{{"HSET", meta, "last", "junk\r\nPING"}}},
		{"an entry in the far future", [][]any{{"HSET", meta, "last", "18446744073709551615-18446744073709551615"}}},
		{"a count that is no number", [][]any{{"HSET", meta, "fields", "nan"}}},
		{"a huge count", [][]any{{"HSET", meta, "fields", huge}}},
		{"a time that is no number", [][]any{{"HSET", meta, "time", "junk"}}},
		{"a time in the far future", [][]any{{"HSET", meta, "time", "1e300"}}},
		{"a time that is not a number by its own word", [][]any{{"HSET", meta, "time", "nan"}}},
		{"deadlines that are no fields", [][]any{{"ZADD", "{keycycler}:deadlines", "-inf", "a\nb", "inf", "c"}}},
		{"a string for the hash", [][]any{{"DEL", state}, {"SET", state, "junk"}}},
		{"a string for the stream", [][]any{{"DEL", log}, {"SET", log, "junk"}}},
		{"a list for the meta data", [][]any{{"DEL", meta}, {"RPUSH", meta, "junk"}}},
		{"a string for the deadlines", [][]any{{"DEL", "{keycycler}:deadlines"}, {"SET", "{keycycler}:deadlines", "junk"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			nodes := startAll(t, 2, 10, func() *redis.UniversalOptions { return clientOptions(server.Addr()) })
			nodes[0].Cool(0, time.Hour)
			agreeOn(t, nodes, 1)
			server.DoAtOnce(test.commands...)
			nodes[0].Cool(1, time.Hour)
			agreeOn(t, nodes, 2)
			late := start(t, clientOptions(server.Addr()), 10)
			agreeOn(t, append(nodes, late), 2)
			for _, n := range append(nodes, late) {
				if err := n.journal.Health().Err; err != nil && strings.ContainsAny(err.Error(), "\r\n") {
					t.Errorf("an error of several lines: %q", err)
				}
			}
		})
	}
}

// A source that nobody has written for people to read is none.
func TestJunkSources(t *testing.T) {
	c := codec{reasons}
	for _, source := range []string{"a\nb", "\x1b[2J", "é", strings.Repeat("s", maxSource+1), ""} {
		if f, ok := c.decode("9 9 0 0 rate_limited " + source); !ok || f.source != "" || f.until != 9 {
			t.Errorf("%q is read as %+v, %t", source, f, ok)
		}
	}
	if f, _ := c.decode("9 9 0 0 rate_limited body:message"); f.source != "body:message" {
		t.Errorf("%+v", f)
	}
}

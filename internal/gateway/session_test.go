package gateway

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/keycycler/keycycler/internal/session"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// sessions makes requests of a conversation stay with a key.
func sessions(c *Config) { c.Sessions = true }

// saying returns a request of a client that says so, in a body and in fields of the header.
func saying(body string, fields ...string) *http.Request {
	r := testkit.Post(body)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	return withReplacer(r)
}

// keyFor returns the keys that a request went out with, whose attempts are answered so.
func keyFor(t *testing.T, h *Gateway, r *http.Request, replies ...testkit.Reply) []string {
	t.Helper()
	up := testkit.Script(replies...)
	if w, err := testkit.Serve(h, up, r); err != nil || w.Code != http.StatusOK {
		t.Fatalf("status %d, error %v", w.Code, err)
	}
	return up.Keys()
}

// turnOf returns the body of a conversation's turn, the first being 0.
func turnOf(conversation, turn int, rest string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"model":"m","messages":[{"role":"system","content":"be kind"},{"role":"user","content":"question %d"}`, conversation)
	for i := range turn {
		fmt.Fprintf(&b, `,{"role":"assistant","content":"answer %d"},{"role":"user","content":"and %d?"}`, i, i)
	}
	return b.String() + `]` + rest + `}`
}

// However the client says which conversation it is, its requests stay with one key, and
// conversations spread.
func TestSelectSession(t *testing.T) {
	for what, request := range map[string]func(conversation, turn int) *http.Request{
		"a header": func(c, turn int) *http.Request {
			return saying(turnOf(turn, 0, ""), "X-Claude-Code-Session-Id", fmt.Sprint("s-", c))
		},
		"a header, without a body": func(c, _ int) *http.Request {
			r := saying("", "Session-Id", fmt.Sprint("s-", c))
			r.Body, r.ContentLength = http.NoBody, 0
			return r
		},
		"a field": func(c, turn int) *http.Request {
			return saying(turnOf(turn, 0, fmt.Sprintf(`,"prompt_cache_key":"s-%d"`, c)))
		},
		"its beginning": func(c, turn int) *http.Request { return saying(turnOf(c, turn, "")) },
		"its beginning, in a large body": func(c, turn int) *http.Request {
			r := saying(turnOf(c, 3000*turn, ""))
			r.ContentLength = -1
			return r
		},
		"a field of which a large body shows nothing": func(c, turn int) *http.Request {
			return saying(turnOf(c, 3000*turn, fmt.Sprintf(`,"metadata":{"user_id":"s-%d"}`, c)))
		},
	} {
		h := provision(t, 20, sessions)
		var all []string
		for c := range 40 {
			var keys []string
			for turn := range 4 {
				keys = append(keys, keyFor(t, h, request(c, turn), testkit.Fine)...)
			}
			if unique(keys) != 1 {
				t.Fatalf("%s: a conversation went out with %v", what, keys)
			}
			all = append(all, keys[0])
		}
		if n := unique(all); n < 10 {
			t.Errorf("%s: 40 conversations use no more than %d of 20 keys", what, n)
		}
	}
}

// What compression hides tells, too.
func TestSelectSessionOfCompressedBodies(t *testing.T) {
	for coding := range testkit.Compressors {
		h := provision(t, 20, sessions)
		named := coding
		if coding == "raw" {
			named = "deflate"
		}
		var keys []string
		for turn := range 6 {
			r := saying(testkit.Compress(t, coding, turnOf(7, 10*turn, "")), "Content-Encoding", named)
			if turn%2 == 1 {
				r.ContentLength = -1
			}
			keys = append(keys, keyFor(t, h, r, testkit.Fine)...)
		}
		if unique(keys) != 1 {
			t.Errorf("%s: %v", coding, keys)
		}
	}
}

// A conversation whose key is out moves, and stays when that is ready again; what was not
// served moves nothing. The others stay where they are.
func TestSelectSessionMovesAndStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := provision(t, 20, sessions)
		send := func(c int, replies ...testkit.Reply) []string {
			return keyFor(t, h, saying(turnOf(c, 1, "")), replies...)
		}
		var before []string
		for c := range 30 {
			before = append(before, send(c, testkit.Fine)...)
		}
		moved := send(0, testkit.Limited, testkit.Fine)
		if moved[0] != before[0] || moved[1] == before[0] {
			t.Fatalf("its keys were %v, want %s and another", moved, before[0])
		}
		for range 5 {
			time.Sleep(time.Hour)
			if got := send(0, testkit.Fine); got[0] != moved[1] {
				t.Errorf("it did not stay: %v, want %s", got, moved[1])
			}
		}
		if got := send(0, testkit.Reply{Status: 200, Body: "fine"}); got[0] != moved[1] {
			t.Errorf("%v, want %s", got, moved[1])
		}
		for c := 1; c < 30; c++ {
			if got := send(c, testkit.Fine); before[c] != before[0] && got[0] != before[c] {
				t.Errorf("conversation %d went from %s to %v", c, before[c], got)
			}
		}
	})
}

// A reload, or another order of the keys, forgets nothing of what has moved; a pool of
// another name on the same keys knows nothing of it; another node agrees on the first key.
func TestSelectSessionOutlivesReloads(t *testing.T) {
	c := configOf(t, 20)
	c.Sessions = true
	first := gatewayOf(t, c)
	keys := keyFor(t, first, saying(turnOf(1, 0, "")), testkit.Limited, testkit.Fine)
	place, _ := first.roster.Load().Find(rotator.IDOf(keys[0]))
	first.KeyPool().Clear(time.Now(), place.Slot)
	other := c
	other.Pool = testkit.FreshPool("other")
	if got := keyFor(t, gatewayOf(t, other), saying(turnOf(1, 0, "")), testkit.Fine); got[0] != keys[0] {
		t.Errorf("another pool has it at %v, want %s", got, keys[0])
	}
	first.Close()
	texts := slices.Clone((*c.Keys.Groups)[0].Texts)
	slices.Reverse(texts)
	(*c.Keys.Groups)[0].Texts = texts
	if got := keyFor(t, gatewayOf(t, c), saying(turnOf(1, 1, "")), testkit.Fine); got[0] != keys[1] {
		t.Errorf("after the reload it is at %v, want %s", got, keys[1])
	}
	node := configOf(t, 20)
	node.Sessions, node.State = true, rotator.NewState(time.Now())
	for i := range 50 {
		r := func() *http.Request { return saying(turnOf(100+i, 0, "")) }
		here, there := keyFor(t, gatewayOf(t, c), r(), testkit.Fine), keyFor(t, gatewayOf(t, node), r(), testkit.Fine)
		if here[0] != there[0] {
			t.Errorf("two nodes have it at %v and %v", here, there)
		}
	}
}

func gatewayOf(t *testing.T, c Config) *Gateway {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	c.Events, c.Registry = ctx, ctx.GetMetricsRegistry()
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

// The placeholder shows a hash: of what the body says where keys are chosen by it, else of
// what the header says.
func TestSessionPlaceholder(t *testing.T) {
	const secret = "my secret plan"
	body := `{"input":"` + secret + `"}`
	for _, row := range []struct {
		what      string
		configure func(*Config)
		body      string
		header    string
		want      string
	}{
		{"select session", sessions, body, "", begins(body)},
		{"select hash {http.keycycler.session}", func(c *Config) { c.Hash = "http.keycycler.session" }, body, "", begins(body)},
		{"nobody looks at bodies", nil, body, "", ""},
		{"a header", nil, body, "s-1", session.Named(http.Header{"X-Session-Id": {"s-1"}}).String()},
		{"a header before the body", sessions, body, "s-1", session.Named(http.Header{"X-Session-Id": {"s-1"}}).String()},
		{"no conversation", sessions, `{"a":1}`, "", ""},
	} {
		h := provision(t, 3, row.configure)
		r := saying(row.body)
		if row.header != "" {
			r.Header.Set("X-Session-Id", row.header)
		}
		keyFor(t, h, r, testkit.Fine)
		repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
		if got, ok := repl.GetString("http.keycycler.session"); !ok || got != row.want || strings.Contains(got, "secret") {
			t.Errorf("%s: %q, want %q", row.what, got, row.want)
		}
	}
}

// begins returns what a conversation is known by that begins so.
func begins(body string) string {
	f := session.NewFinder()
	io.WriteString(writer{f}, body)
	return f.Release().ID.String()
}

type writer struct{ *session.Finder }

func (w writer) Write(p []byte) (int, error) { w.Finder.Write(p); return len(p), nil }

// select hash by the conversation is like select session, but for where it is when its key
// is ready again.
func TestSelectHashOfTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := provision(t, 20, func(c *Config) { c.Hash = "http.keycycler.session" })
		keys := keyFor(t, h, saying(turnOf(1, 0, "")), testkit.Limited, testkit.Fine)
		if got := keyFor(t, h, saying(turnOf(1, 1, "")), testkit.Fine); got[0] != keys[1] {
			t.Errorf("while its key cools it is at %v, want %s", got, keys[1])
		}
		time.Sleep(2 * time.Hour)
		if got := keyFor(t, h, saying(turnOf(1, 2, "")), testkit.Fine); got[0] != keys[0] {
			t.Errorf("later it is at %v, want %s", got, keys[0])
		}
	})
}

// One key serves all until it is out, then the next.
func TestSelectFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := provision(t, 3, func(c *Config) { c.First = true })
		all := testkit.DemoKeys(3)
		for _, step := range []struct {
			replies []testkit.Reply
			want    []string
		}{
			{[]testkit.Reply{testkit.Fine}, all[:1]},
			{[]testkit.Reply{testkit.Fine}, all[:1]},
			{[]testkit.Reply{testkit.Limited, testkit.Fine}, all[:2]},
			{[]testkit.Reply{testkit.Fine}, all[1:2]},
			{[]testkit.Reply{testkit.Limited, testkit.Fine}, all[1:]},
			{[]testkit.Reply{testkit.Fine}, all[2:]},
		} {
			if got := keyFor(t, h, testkit.Post("x"), step.replies...); !slices.Equal(got, step.want) {
				t.Errorf("the keys were %v, want %v", got, step.want)
			}
			time.Sleep(time.Hour)
		}
	})
}

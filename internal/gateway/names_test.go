package gateway

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// labelsOf returns the names and groups of all keys, by their secrets' last letters, and
// where they stand.
func labelsOf(h *Gateway) string {
	r := h.roster.Load()
	var all []string
	for _, p := range r.ByID() {
		secret, l := r.Pool.Key(p.Slot).Secret(), p.Label()
		if p.Name() != l.Name {
			return "two names for " + l.Origin
		}
		all = append(all, fmt.Sprintf("%s:%s/%s@%s", secret[len(secret)-1:], l.Name, l.Group, l.Origin))
	}
	return strings.Join(all, " ")
}

// What people know keys by is theirs, wherever the keys move: a file in which names or
// lines alone have changed is read, and cooldowns stay.
func TestNamesChangeWithTheirFile(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	core, logs := observer.New(zap.InfoLevel)
	write := func(a, b string) {
		for path, text := range map[string]string{first: a, second: b} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("sk-demo-1 east\nsk-demo-2 west\n", "sk-demo-3\n")
	h := provision(t, 0, func(c *Config) {
		c.Logger = zap.New(core)
		*c.Keys.Groups = []keyset.Group{{Rank: plainRank, Files: []string{first}}, {Name: "acme", Rank: plainRank, Files: []string{second}}}
	})
	cooling := h.KeyPool().Key(0).ID()
	h.KeyPool().Cool(time.Now(), 0, rotator.Cooldown{For: time.Hour, Reason: reason.Operator})
	for _, step := range []struct {
		name, first, second, want string
		log                       string // the message, "" for none
	}{
		{"nothing", "sk-demo-1 east\nsk-demo-2 west\n", "sk-demo-3\n", "1:east/@first:1 2:west/@first:2 3:/acme@second:1", ""},
		{"a name", "sk-demo-1 asia\nsk-demo-2 west\n", "sk-demo-3\n", "1:asia/@first:1 2:west/@first:2 3:/acme@second:1", "keys have changed"},
		{"keys that swap places, and so names", "sk-demo-2 asia\nsk-demo-1 west\n", "sk-demo-3\n", "1:west/@first:2 2:asia/@first:1 3:/acme@second:1", "keys have changed"},
		{"keys that swap groups", "sk-demo-2 asia\nsk-demo-3 west\n", "sk-demo-1\n", "1:/acme@second:1 2:asia/@first:1 3:west/@first:2", "keys have changed"},
		{"names alone swapped", "sk-demo-2 west\nsk-demo-3 asia\n", "sk-demo-1\n", "1:/acme@second:1 2:west/@first:1 3:asia/@first:2", "keys have changed"},
		{"lines alone", "# ours\nsk-demo-2 west\nsk-demo-3 asia\n", "sk-demo-1\n", "1:/acme@second:1 2:west/@first:2 3:asia/@first:3", ""},
		{"keys in another order, with their names", "sk-demo-3 asia\nsk-demo-2 west\n", "sk-demo-1\n", "1:/acme@second:1 2:west/@first:2 3:asia/@first:1", ""},
		{"a bad name keeps the last good ones", "sk-demo-3 a/b\n", "sk-demo-1\n", "1:/acme@second:1 2:west/@first:2 3:asia/@first:1", "error"},
		{"a name twice as well", "sk-demo-3 x\nsk-demo-2 x\n", "sk-demo-1\n", "1:/acme@second:1 2:west/@first:2 3:asia/@first:1", "error"},
	} {
		logs.TakeAll()
		write(step.first, step.second)
		err := h.reloadKeys()
		got := labelsOf(h)
		if byKey := strings.Join(slices.Sorted(strings.FieldsSeq(got)), " "); byKey != step.want {
			t.Errorf("%s: %s, want %s", step.name, byKey, step.want)
		}
		if (err != nil) != (step.log == "error") {
			t.Errorf("%s: %v", step.name, err)
		}
		if told := logs.FilterMessage("keys have changed").Len() == 1; told != (step.log == "keys have changed") {
			t.Errorf("%s: it is logged that keys have changed: %t", step.name, told)
		}
		if p, ok := h.roster.Load().Find(cooling); !ok || p.Status(time.Now()).Condition != rotator.Cooling {
			t.Errorf("%s: the key does not cool any more", step.name)
		}
	}
}

// A name is logged beside the id, where there is one.
func TestNamesAreLogged(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	h := provision(t, 1, func(c *Config) {
		c.Logger = zap.New(core)
		*c.Keys.Groups = append(*c.Keys.Groups, keyset.Group{Rank: rotator.Rank{Tier: 1, Weight: 1}, Label: "east", Texts: []string{"sk-demo-9"}})
	})
	testkit.Serve(h, testkit.Script(used), testkit.Post("x"))
	lines := logs.FilterMessage("key is cooling").All()
	if len(lines) != 2 {
		t.Fatalf("logged %v", logs.All())
	}
	for _, line := range lines {
		name, named := line.ContextMap()["key_name"]
		if isEast := line.ContextMap()["key_id"] == testkit.IDOf("sk-demo-9"); named != isEast || isEast && name != "east" {
			t.Errorf("logged %v", line.ContextMap())
		}
	}
}

// A key is convicted when another one serves the request. By then other keys may have been
// read: it is called what it is called now.
func TestAKeyIsRenamedUnderARequest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	writeKeys(t, path, "sk-demo-1 east", "sk-demo-2 west")
	core, logs := observer.New(zap.InfoLevel)
	h := provision(t, 0, func(c *Config) {
		c.Logger = zap.New(core)
		(*c.Keys.Groups)[0].Files = []string{path}
	})
	renamed := map[string]string{}
	upstream := &testkit.Upstream{Answer: func(n int, w http.ResponseWriter, r *http.Request) error {
		if n > 0 {
			return testkit.Fine.Write(w)
		}
		// Another order, so that slots mean other keys.
		writeKeys(t, path, "sk-demo-2 two", "sk-demo-1 one", "sk-demo-0 new")
		if err := h.reloadKeys(); err != nil {
			t.Error(err)
		}
		key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		renamed[testkit.IDOf(key)] = map[string]string{"sk-demo-1": "one", "sk-demo-2": "two"}[key]
		return testkit.BadKey.Write(w)
	}}
	testkit.Serve(h, upstream, testkit.Post("x"))
	lines := logs.FilterMessage("key is cooling").All()
	if len(lines) == 0 {
		t.Fatal("nothing cools: this test looks at nothing")
	}
	for _, line := range lines {
		fields := line.ContextMap()
		if name := renamed[fmt.Sprint(fields["key_id"])]; name == "" || fields["key_name"] != name {
			t.Errorf("logged %v, and the names are %v", fields, renamed)
		}
	}
}

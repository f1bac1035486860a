package command

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/gateway"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/adminapi"
	"github.com/keycycler/keycycler/internal/testkit/pools"
	"github.com/keycycler/keycycler/rotator"
)

// managedPools serves the admin API of pools, each with a key of the config and a managed
// file of its name.
func managedPools(t *testing.T, names ...string) (address, dir string) {
	dir = t.TempDir()
	var first *gateway.Gateway
	for _, name := range names {
		rank := rotator.Rank{Tier: 1, Weight: 1}
		groups := []keyset.Group{
			{Rank: rank, Texts: []string{"sk-demo-inline"}},
			{Rank: rank, Files: []string{filepath.Join(dir, name+".keys")}, Managed: true},
		}
		g := pools.New(t, 0, func(c *gateway.Config) {
			c.Pool, c.Keys = name, &keyset.Source{Groups: &groups, Log: zap.NewNop()}
			if first != nil {
				c.Registry, c.State = first.Registry, first.State
			}
		})
		if first == nil {
			first = g
		}
	}
	server := httptest.NewServer(adminapi.Mux())
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), dir
}

func fileHas(t *testing.T, path, want string) {
	t.Helper()
	if text, err := os.ReadFile(path); err != nil && want != "" || string(text) != want {
		t.Errorf("%s has %q, want %q (%v)", filepath.Base(path), text, want, err)
	}
}

// What the commands say and do, with one file to write. No part of a key shows.
func TestCommandAddsAndRemoves(t *testing.T) {
	address, dir := managedPools(t, "main")
	file := filepath.Join(dir, "main.keys")
	env := filepath.Join(dir, "demo.env")
	const both = "OPENAI_API_KEY=sk-demo-3\nANTHROPIC_API_KEY=sk-demo-4\nPORT=80\n"
	if err := os.WriteFile(env, []byte(both), 0o600); err != nil {
		t.Fatal(err)
	}
	id := testkit.IDOf
	for _, row := range []struct {
		sentence, stdin, args string
		code                  int
		says                  string // all of the output, or a part of the error
		file                  string
	}{
		{"a key and one with a name", "# ours\nsk-demo-1\n\nsk-demo-2 east\n", "add", 0,
			id("sk-demo-1") + " was added\n" + id("sk-demo-2") + " was added\n2 of 2 keys were added to main.keys of pool main\n", "sk-demo-1\nsk-demo-2 east\n"},
		{"what is there", "sk-demo-2\nsk-demo-inline\nsk-demo-2\n", "add --pool main --file main.keys", 0,
			"line 3: key " + id("sk-demo-2") + " stands on line 1 already\nline 1: key " + id("sk-demo-2") + " stands at main.keys:2 already\nline 2: key " + id("sk-demo-inline") + " stands at keys: key 1 already\n0 of 2 keys were added to main.keys of pool main\n", "sk-demo-1\nsk-demo-2 east\n"},
		{"nothing", "\n", "add", 1, "nothing was added: there is no key", "sk-demo-1\nsk-demo-2 east\n"},
		{"one good line and two bad ones", "sk-demo-5\nKEY=sk-demo-6\nBearer sk-demo-7\n", "add", 1, "nothing was added: line 2: a variable's name and = stand in front: write the value alone; line 3: 'Bearer' stands", "sk-demo-1\nsk-demo-2 east\n"},
		{"a name that is taken", "sk-demo-5 east\n", "add", 1, "nothing was added: line 1: the key's name is that of another key, at main.keys:2: a name stands for one key", "sk-demo-1\nsk-demo-2 east\n"},
		{"an argument", "", "add sk-demo-5", 2, "add takes no arguments: other users", "sk-demo-1\nsk-demo-2 east\n"},
		{"another file", "sk-demo-5\n", "add --file sk-demo-9", 1, "no pool has a managed file of that name (--file): there is " + file, "sk-demo-1\nsk-demo-2 east\n"},
		{"another pool", "sk-demo-5\n", "add --pool spare", 1, "no pool is named 'spare': there is main", "sk-demo-1\nsk-demo-2 east\n"},
		{"keys of several providers", "", "import " + env, 1, "nothing was added: the keys are of several providers: anthropic (1), openai (1): say which, since a pool is of one (--provider)", "sk-demo-1\nsk-demo-2 east\n"},
		{"those of one", "", "import --provider anthropic " + env, 0, "line 3: the variable is left out: only those are taken whose name has API_KEY in it\n" + id("sk-demo-4") + " was added\n1 of 1 keys were added to main.keys of pool main\n", "sk-demo-1\nsk-demo-2 east\nsk-demo-4\n"},
		{"a file that is missing", "", "import sk-demo-9", 1, "the file cannot be read: no such file or directory", "sk-demo-1\nsk-demo-2 east\nsk-demo-4\n"},
		{"a folder", "", "import " + dir, 1, "the file cannot be read: is a directory", "sk-demo-1\nsk-demo-2 east\nsk-demo-4\n"},
		{"two files", "", "import a b", 2, "import takes one file", "sk-demo-1\nsk-demo-2 east\nsk-demo-4\n"},
		{"the standard input", "[\"sk-demo-6\"]", "import --json -", 0, `{"pool":"main","file":"main.keys","added":["` + id("sk-demo-6") + `"],"skipped":[]}` + "\n", "sk-demo-1\nsk-demo-2 east\nsk-demo-4\nsk-demo-6\n"},
		{"a name and an id", "", "remove east " + id("sk-demo-4"), 0, id("sk-demo-2") + " was removed from main.keys of pool main\n" + id("sk-demo-4") + " was removed from main.keys of pool main\n", "sk-demo-1\nsk-demo-6\n"},
		{"an unknown one", "", "remove " + id("sk-demo-1") + " 0123456789ab", 1, "pool main has no key 0123456789ab: nothing was removed", "sk-demo-1\nsk-demo-6\n"},
		{"one of the config", "", "remove --json " + id("sk-demo-inline"), 1, "key " + id("sk-demo-inline") + " stands at keys: key 1, which is not managed: take it away there", "sk-demo-1\nsk-demo-6\n"},
		{"a key", "", "remove sk-demo-1", 2, "argument 1 is no key's id, nor a name", "sk-demo-1\nsk-demo-6\n"},
		{"none", "", "remove", 2, "remove takes ids or names of keys", "sk-demo-1\nsk-demo-6\n"},
		{"json", "", "remove --json " + id("sk-demo-1"), 0, `[{"pool":"main","id":"` + id("sk-demo-1") + `","files":["main.keys"]}]` + "\n", "sk-demo-6\n"},
	} {
		r := runCLI(row.stdin, append(strings.Fields(row.args), "--address", address)...)
		if r.code != row.code || row.code == 0 && r.out != row.says || !strings.Contains(r.out+r.errors, row.says) {
			t.Errorf("%s: exit code %d\n%s%s\nwant %d and\n%s", row.sentence, r.code, r.out, r.errors, row.code, row.says)
		}
		if strings.Contains(r.out+r.errors, "demo-") {
			t.Errorf("%s: it shows %s%s", row.sentence, r.out, r.errors)
		}
		fileHas(t, file, row.file)
	}
}

// With several pools that have files it must be said which; a file's name can say it.
func TestCommandAddsToOneOfSeveralPools(t *testing.T) {
	address, dir := managedPools(t, "main", "spare")
	for _, row := range []struct {
		args string
		code int
		says string
	}{
		{"add", 2, "--pool is needed, since several pools have such a file: main, spare"},
		{"add --file spare.keys", 0, "1 of 1 keys were added to spare.keys of pool spare"},
		{"add --pool main", 0, "1 of 1 keys were added to main.keys of pool main"},
		{"remove " + testkit.IDOf("sk-demo-1"), 2, "is in several pools: --pool says which"},
		{"remove --pool main " + testkit.IDOf("sk-demo-1"), 0, "was removed from main.keys of pool main"},
	} {
		r := runCLI("sk-demo-1\n", append(strings.Fields(row.args), "--address", address)...)
		if r.code != row.code || !strings.Contains(r.out+r.errors, row.says) {
			t.Errorf("%s: exit code %d\n%s%s\nwant %d and %s", row.args, r.code, r.out, r.errors, row.code, row.says)
		}
	}
	fileHas(t, filepath.Join(dir, "main.keys"), "")
	fileHas(t, filepath.Join(dir, "spare.keys"), "sk-demo-1\n")

	address = twoPools().start(t)
	if r := runCLI("sk-demo-1\n", "add", "--address", address); r.code != 1 || !strings.Contains(r.errors, "no pool has a file that keycycler may write: add 'managed' to the block of a keys_file") {
		t.Errorf("without managed files: %d %s", r.code, r.errors)
	}
}

// Where a pool has several files it must be said which: that is wrong usage, as without --pool.
func TestCommandAddsToOneOfSeveralFiles(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one.keys"), filepath.Join(dir, "two.keys")
	groups := []keyset.Group{{Rank: rotator.Rank{Tier: 1, Weight: 1}, Files: []string{one, two}, Managed: true}}
	pools.New(t, 0, func(c *gateway.Config) {
		c.Pool, c.Keys = "main", &keyset.Source{Groups: &groups, Log: zap.NewNop()}
	})
	server := httptest.NewServer(adminapi.Mux())
	t.Cleanup(server.Close)
	for _, row := range []struct {
		args string
		code int
		says string
	}{
		{"add", 2, "--file is needed, since pool main has several managed files: " + one + ", " + two},
		{"add --file two.keys", 0, "1 of 1 keys were added to two.keys of pool main"},
		{"add --file one.keys", 0, "line 1: key " + testkit.IDOf("sk-demo-1") + " stands at two.keys:1 already\n0 of 1 keys were added to one.keys"},
	} {
		r := runCLI("sk-demo-1\n", append(strings.Fields(row.args), "--address", strings.TrimPrefix(server.URL, "http://"))...)
		if r.code != row.code || !strings.Contains(r.out+r.errors, row.says) {
			t.Errorf("%s: exit code %d\n%s%s\nwant %d and %s", row.args, r.code, r.out, r.errors, row.code, row.says)
		}
	}
	fileHas(t, one, "")
	fileHas(t, two, "sk-demo-1\n")
}

// Many keys come in one write, and are told in one line.
func TestCommandImportsManyKeys(t *testing.T) {
	const n = 10_000
	address, dir := managedPools(t, "main")
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "sk-Qw7Zt%05dXy9Kp4Lm2Vb\n", i)
	}
	if out := runCLI(text.String(), "import", "-", "--address", address); out.code != 0 || out.out != "10000 of 10000 keys were added to main.keys of pool main\n" {
		t.Fatalf("%d %.300s %s", out.code, out.out, out.errors)
	}
	fileHas(t, filepath.Join(dir, "main.keys"), text.String())
}

// On a terminal it asks for keys, and does not show what is typed.
func TestCommandAddAtTerminal(t *testing.T) {
	screen := &terminal{Reader: strings.NewReader("sk-demo-1\rsk-demo-2 east\r\r")}
	lines, err := promptLines(screen, readText)
	if err != nil || strings.Join(lines, "|") != "sk-demo-1|sk-demo-2 east" || strings.Contains(screen.String(), "demo") {
		t.Errorf("%q, %v; the screen shows %q", lines, err, screen.String())
	}
}

//go:build unix

package nodes

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// managedNode is a node whose pool has a managed file, which does not exist yet.
func managedNode(t *testing.T, level string) (n *node, file string) {
	t.Helper()
	upstream := startLimiter(t)
	n = startNode(t, nodeConfig{name: "a", keys: 1, state: "memory", level: level, upstream: upstream.URL})
	file = filepath.Join(n.dir, "demo.keys")
	config := strings.Replace(n.caddyfile(n.config), "keycycler main {\nkeys {env.KEY_0}\n", fmt.Sprintf("keycycler main {\nkeys_file %s {\nmanaged\n}\n", file), 1)
	config = strings.Replace(config, "handle /ready", "handle /status {\nbasic_auth {\nada "+bcrypted+"\n}\nkeycycler_status\n}\nhandle /ready", 1)
	n.post(config)
	return n, file
}

// bcrypted is the hash of "demo".
const bcrypted = "$2a$04$QMpU2jO3du4HHeaLPu4ZROMDkZmb0rUXQNviNKX5EZsLgQHZE66WG"

// cli runs the command with this input, and returns what it prints and its exit code.
func (n *node) cli(stdin string, args ...string) (out string, code int) {
	n.t.Helper()
	var all bytes.Buffer
	cmd := n.command(append([]string{"keycycler"}, append(args, "--address", strings.TrimPrefix(n.admin, "http://"))...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &all, &all
	if err := live.RunInTime(cmd); err != nil && cmd.ProcessState == nil {
		n.t.Fatal(err)
	}
	return all.String(), cmd.ProcessState.ExitCode()
}

// numbers returns the keys of that number, one a line.
func numbers(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		b.WriteString(key(i) + "\n")
	}
	return b.String()
}

// A real Caddy starts without any key, gets some by the real command, serves with them at
// once, and loses them again.
func TestNodeGetsKeysAtRunTime(t *testing.T) {
	t.Parallel()
	n, file := managedNode(t, "INFO")
	if status := n.get("/"); status != http.StatusServiceUnavailable {
		t.Errorf("without a key a client gets %d", status)
	}
	if out, code := n.cli(key(0)+" east\n", "add"); code != 0 || !strings.Contains(out, idOf(0)+" was added\n1 of 1 keys were added to demo.keys of pool main") {
		t.Fatalf("add: %d %s", code, out)
	}
	if status := n.get("/"); status != http.StatusOK {
		t.Errorf("with a key a client gets %d", status)
	}
	imported := filepath.Join(t.TempDir(), "export.json")
	if err := os.WriteFile(imported, []byte(`["`+key(0)+`","`+key(1)+`"]`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := n.cli("", "import", imported); code != 0 || !strings.Contains(out, "line 1: key "+idOf(0)+" stands at demo.keys:1 already\n"+idOf(1)+" was added") {
		t.Errorf("import: %d %s", code, out)
	}
	// An editor and the command at once: the editor's line stays.
	editor, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(editor, "# an editor\n%s\n", key(2))
	editor.Close()
	if out, code := n.cli("", "remove", "east"); code != 0 || !strings.Contains(out, idOf(0)+" was removed from demo.keys of pool main") {
		t.Errorf("remove: %d %s", code, out)
	}
	text, err := os.ReadFile(file)
	if want := key(1) + "\n# an editor\n" + key(2) + "\n"; err != nil || string(text) != want {
		t.Errorf("the file has %q, want %q: %v", text, want, err)
	}
	var pools []adminPool
	if n.api("GET", "pools", "", &pools); len(pools) != 1 || pools[0].Keys != 2 {
		t.Errorf("pools: %+v", pools)
	}
}

// Commands and operators at the page at once: each key is there once.
func TestNodeGetsKeysFromManyAtOnce(t *testing.T) {
	t.Parallel()
	const writers, each = 4, 3
	n, file := managedNode(t, "INFO")
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				one := key(w*each + i)
				if w%2 == 0 {
					if out, code := n.cli(one+"\n", "add"); code != 0 {
						t.Errorf("add: %d %s", code, out)
					}
				} else if status, body := n.form(one); status != http.StatusOK {
					t.Errorf("the form: %d %.300s", status, body)
				}
			}
		})
	}
	all.Wait()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range writers * each {
		if strings.Count(string(text), key(i)+"\n") != 1 {
			t.Errorf("key %d stands %d times", i, strings.Count(string(text), key(i)+"\n"))
		}
	}
	var pools []adminPool
	if n.api("GET", "pools", "", &pools); pools[0].Ready != writers*each {
		t.Errorf("pools: %+v", pools)
	}
}

// form sends keys by the page's form, as a browser does, and returns what comes of it.
func (n *node) form(keys string) (status int, body string) {
	n.t.Helper()
	form := url.Values{"pool": {"main"}, "file": {filepath.Join(n.dir, "demo.keys")}, "keys": {keys}}
	r := live.Request(n.t, "POST", n.url+"/status?add", form.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.SetBasicAuth("ada", "demo")
	res, text := live.Do(n.t, http.DefaultClient, r)
	return res.StatusCode, string(text)
}

// However keys come and whatever is wrong with them, no six bytes of one show anywhere: in no
// answer, no output, no log at DEBUG, and in no file but the one.
func TestManagedKeysShowNowhere(t *testing.T) {
	t.Parallel()
	const keys = 30
	n, file := managedNode(t, "DEBUG")
	var shown strings.Builder
	note := func(out string, code int) { fmt.Fprintln(&shown, code, out) }
	note(n.cli(numbers(0, 2)+"Bearer "+key(2)+"\n", "add"))
	note(n.cli(numbers(0, 2), "add"))
	note(n.cli(numbers(1, 3)+key(3)+" "+key(4)+"\n", "add"))
	note(n.cli("", "add", key(5)))
	note(n.cli("", "add", "--file", key(5), "--pool", key(6)))
	note(n.cli("", "import", key(5)))
	note(n.cli("", "remove", key(0)))
	for i, text := range []string{
		"OPENAI_API_KEY=" + key(7) + "\n" + key(8) + "_API_KEY=" + key(9), `["` + key(10) + `",` + key(11), `{"` + key(12) + `":"` + key(13) + `"}`,
		"model_list:\n- litellm_params: {model: " + key(14) + "/x, api_key: *" + key(15) + "}", "model_list:\n\t" + key(16),
		"model_list:\n- litellm_params: {model: a/b, api_key: " + key(17) + "}\n- litellm_params: {model: " + key(18) + "/d, api_key: " + key(19) + "}",
	} {
		name := filepath.Join(t.TempDir(), "demo")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		note(n.cli("", "import", name))
		status, body := n.form(text)
		fmt.Fprintln(&shown, i, status, body)
	}
	pool := n.admin + "/keycycler/pools/main/keys"
	for _, body := range []string{`{"keys":[{"key":"` + key(20) + `","name":"` + key(21) + `"}]}`, `{"keys":["` + key(22) + `"]}`, `{"` + key(23) + `":1}`, key(24), `{"keys":[{"key":"` + key(25) + `"}],"file":"` + key(26) + `"}`} {
		r := live.Request(t, "POST", pool, body)
		res, text := live.Do(t, http.DefaultClient, r)
		fmt.Fprintln(&shown, res.Header, string(text))
	}
	for _, path := range []string{"", "/" + idOf(0), "/" + idOf(1)} {
		res, text := live.Do(t, http.DefaultClient, live.Request(t, "GET", pool+path, ""))
		fmt.Fprintln(&shown, res.Header, string(text))
	}
	note(n.cli("", "remove", idOf(0)))
	status, body := n.form(key(1))
	fmt.Fprintln(&shown, status, body)
	texts := map[string]string{"an answer": shown.String(), "the log": n.log()}
	for what, text := range texts {
		if part := keyPart(text, keys); part != "" {
			at := strings.Index(text, part)
			t.Errorf("%s shows %q: …%s…", what, part, text[max(at-300, 0):min(at+100, len(text))])
		}
	}
	for _, wanted := range []string{"keys were added by an operator", "key was removed by an operator", "keys have changed"} {
		if !strings.Contains(n.log(), wanted) {
			t.Errorf("the log has no %q: this test looks at nothing", wanted)
		}
	}
	for _, wanted := range []string{"nothing was added: line 3: 'Bearer' stands in front", "looks like another key", "was removed from demo.keys", "No key was added: "} {
		if !strings.Contains(shown.String(), wanted) {
			t.Errorf("the answers have no %q: this test looks at nothing", wanted)
		}
	}
	found, err := os.ReadDir(filepath.Dir(file))
	for _, f := range found {
		text, _ := os.ReadFile(filepath.Join(n.dir, f.Name()))
		if part := keyPart(string(text), keys); part != "" && f.Name() != "demo.keys" {
			t.Errorf("%s has %q", f.Name(), part)
		}
		if info, err := f.Info(); strings.Contains(f.Name(), "demo.keys") && (err != nil || info.Mode().Perm() != 0o600) {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
	}
	if err != nil || len(found) < 3 {
		t.Errorf("%v, %v", found, err)
	}
}

// Ten thousand keys come in one write, and requests go out with them at once.
func TestNodeImportsManyKeys(t *testing.T) {
	t.Parallel()
	const keys = 10_000
	n, file := managedNode(t, "INFO")
	begun := time.Now()
	if out, code := n.cli(numbers(0, keys), "import", "-"); code != 0 || !strings.Contains(out, "10000 of 10000 keys were added") {
		t.Fatalf("import: %d %.300s", code, out)
	}
	t.Logf("10,000 keys were imported in %s", time.Since(begun))
	if text, err := os.ReadFile(file); err != nil || string(text) != numbers(0, keys) {
		t.Errorf("the file has %d bytes, %v", len(text), err)
	}
	if status := n.get("/"); status != http.StatusOK {
		t.Errorf("a client gets %d", status)
	}
}

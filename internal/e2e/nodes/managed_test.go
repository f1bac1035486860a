//go:build unix

package nodes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
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
	const keys = 40
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
		"OPENAI_API_KEY=\"" + key(30) + "\nA_API_KEY='" + key(31) + "' " + key(32) + "\nA_API_KEY=" + key(30) + "=", `["` + key(33) + "\"]\n[\"" + key(34) + "\"]\n" + key(35),
		"\xff\xfe" + strings.Join(strings.Split(key(36), ""), "\x00"), "\xef\xbb\xbfmodel_list: [" + key(37) + ", *" + key(38), key(39) + " taken\n" + key(0) + " taken",
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
	note(n.cli(key(27)+" east\n", "add"))
	note(n.cli(key(28)+" east\n", "add"))
	note(n.cli("", "remove", key(28)))
	for _, args := range []string{"test east " + idOf(0), "test --all", "test " + key(29), "usage --by key", "list --json", "show " + key(29), "disable east"} {
		note(n.cli("", strings.Fields(args)...))
	}
	for _, path := range []string{"/keycycler/ready", "/keycycler/ready/main", "/keycycler/pools", "/keycycler/pools/main/usage", "/metrics", "/config/"} {
		shown.WriteString(n.raw(http.MethodGet, n.admin+path))
	}
	for _, path := range []string{"/status/ready", "/", "/v1/models?key=" + key(29)} {
		shown.WriteString(n.raw(http.MethodGet, n.url+path))
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
	for _, wanted := range []string{"nothing was added: line 3: 'Bearer' stands in front", "this stands behind the array", "a quote before the value is not closed", "UTF-16",
		"line 1: the key's name is that of another key, at demo.keys:", " (east) in main: ", "looks like another key", "was removed from demo.keys", "No key was added: "} {
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

// forms are the forms that keys are imported from.
var forms = map[string]func(keys []string) string{
	"a keys file":  func(keys []string) string { return strings.Join(keys, "\n") + "\n" },
	"from Windows": func(keys []string) string { return "\xef\xbb\xbf# ours\r\n" + strings.Join(keys, "\r\n") },
	"commas":       func(keys []string) string { return strings.Join(keys, ",") },
	"semicolons":   func(keys []string) string { return strings.Join(keys, ";\n") },
	".env": func(keys []string) string {
		return "export OPENAI_API_KEY=\"" + strings.Join(keys, "\"\nexport OPENAI_API_KEY=\"") + "\" # x\n"
	},
	"an array": func(keys []string) string { return "[\"" + strings.Join(keys, "\",\n\"") + "\"]" },
	"objects":  func(keys []string) string { return `{"keys":[{"key":"` + strings.Join(keys, `"},{"key":"`) + `"}]}` },
	"LiteLLM's YAML": func(keys []string) string {
		const model = "- litellm_params:\n    model: openai/gpt-4o\n    api_key: "
		return "model_list:\n" + model + strings.Join(keys, "\n"+model) + "\n" + model + "os.environ/OPENAI_API_KEY\n"
	},
}

// Ten thousand keys of each form come in one write, and requests go out with them at once. They
// are there once each, in order, and no second time when they are imported again.
func TestNodeImportsManyKeys(t *testing.T) {
	t.Parallel()
	const keys = 10_000
	n, file := managedNode(t, "INFO")
	names := slices.Sorted(maps.Keys(forms))
	if !live.Long() {
		names = []string{"a keys file"}
	}
	want := ""
	for i, form := range names {
		begun, text := time.Now(), numbers(i*keys, (i+1)*keys)
		want += text
		from := filepath.Join(t.TempDir(), "demo")
		if err := os.WriteFile(from, []byte(forms[form](strings.Fields(text))), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, code := n.cli("", "import", from); code != 0 || !strings.Contains(out, "10000 of 10000 keys were added") {
			t.Fatalf("%s: %d %.300s", form, code, out)
		}
		t.Logf("%s: 10,000 keys were imported in %s", form, time.Since(begun))
		if out, code := n.cli("", "import", from); live.Long() && (code != 0 || !strings.Contains(out, "0 of 10000 keys were added")) {
			t.Errorf("%s again: %d %.300s", form, code, out[max(len(out)-300, 0):])
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Fatalf("%s: the file has %d bytes, want %d: %v", form, len(got), len(want), err)
		}
	}
	if status := n.get("/"); status != http.StatusOK {
		t.Errorf("a client gets %d", status)
	}
}

// A node is killed while it imports, at any moment: what it said was imported is there, an
// import that was under way is there whole or not at all, and the next node serves with that.
func TestNodesThatAreKilledWhileTheyImport(t *testing.T) {
	t.Parallel()
	const batch = 500
	rounds := 1
	if live.Long() {
		rounds = 200
	}
	upstream := startLimiter(t)
	file := filepath.Join(t.TempDir(), "demo.keys")
	config := nodeConfig{name: "a", state: "memory", upstream: upstream.URL,
		site: fmt.Sprintf("handle {\nkeycycler main {\nkeys_file %s {\nmanaged\n}\n}\nreverse_proxy %s\n}", file, upstream.URL)}
	want, next, unsaid := numbers(0, 1), 1, 0
	if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
	for range rounds {
		done := killedImport(t, config, next, batch, file)
		for range done {
			want += numbers(next, next+batch)
			next += batch
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if more := want + numbers(next, next+batch); string(text) == more {
			want, next, unsaid = more, next+batch, unsaid+1
		}
		if string(text) != want {
			t.Fatalf("the file has %d bytes, want %d", len(text), len(want))
		}
		if next > 20_000 {
			want, next = numbers(0, 1), 1
			if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	n := startNode(t, config)
	var pools []adminPool
	if n.api("GET", "pools", "", &pools); pools[0].Ready != strings.Count(want, "\n") {
		t.Errorf("the last node has %d keys, want %d", pools[0].Ready, strings.Count(want, "\n"))
	}
	t.Logf("%d nodes were killed, %d of them after a write of which they had not told", rounds, unsaid)
}

// killedImport starts a node, which must serve with the keys of the file, and kills it while it
// imports. It returns how many imports it said were done.
func killedImport(t *testing.T, config nodeConfig, next, batch int, file string) (done int) {
	t.Helper()
	n := startNode(t, config)
	if status := n.get("/"); status != http.StatusOK {
		t.Fatalf("the file does not load: a client gets %d\n%s", status, tail(n.log()))
	}
	most, begun, ended := rand.IntN(4), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for ; done <= most; done++ {
			if done == most {
				close(begun)
			}
			if !n.imports(next+done*batch, batch) {
				return
			}
		}
	}()
	select {
	case <-begun:
	case <-ended: // an import was refused
	}
	for range rand.IntN(3000) { // somewhat later
		_, _ = os.Stat(file)
	}
	n.kill()
	<-ended
	return done
}

// imports reports false where no answer came.
func (n *node) imports(from, count int) bool {
	type newKey struct {
		Key string `json:"key"`
	}
	var body struct {
		Keys []newKey `json:"keys"`
	}
	for i := range count {
		body.Keys = append(body.Keys, newKey{key(from + i)})
	}
	text, _ := json.Marshal(body)
	res, err := http.Post(n.admin+"/keycycler/pools/main/keys", "application/json", bytes.NewReader(text))
	if err != nil {
		return false
	}
	defer res.Body.Close()
	_, err = io.ReadAll(res.Body)
	return err == nil && res.StatusCode == http.StatusOK
}

// The files that docs/migrate.md begins with, from KeyCycler, gpt-load and LiteLLM, go into a
// running node by one command each, and requests go out with their keys.
func TestNodeMigrates(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		from, file, content, has, says string
		args                           []string
	}{
		{"KeyCycler", "openai_keys.txt", "sk-demo-1\nsk-demo-2\n\nsk-demo-3\n", "sk-demo-1\nsk-demo-2\nsk-demo-3\n", "3 of 3 keys were added", nil},
		{"gpt-load", "exported.txt", "sk-demo-1\nsk-demo-2\nsk-demo-1\n", "sk-demo-1\nsk-demo-2\n", "line 3: key fa97607a83f3 stands on line 1 already", nil},
		{"LiteLLM", "config.yaml", migrateSample(t, "cat > config.yaml <<'END'\nmodel_list:"), "sk-demo-1\n", "line 9: the key stands in a variable of the environment", []string{"--provider", "openai"}},
	} {
		t.Run(row.from, func(t *testing.T) {
			t.Parallel()
			n, file := managedNode(t, "INFO")
			from := filepath.Join(t.TempDir(), row.file)
			if err := os.WriteFile(from, []byte(row.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if page := migratePage(t); row.args == nil && !strings.Contains(page, fmt.Sprintf("printf '%s' > %s\n", strings.ReplaceAll(row.content, "\n", `\n`), row.file)) {
				t.Errorf("docs/migrate.md has another sample of %s", row.file)
			}
			out, code := n.cli("", append(append([]string{"import"}, row.args...), from)...)
			if code != 0 || !strings.Contains(out, row.says) {
				t.Errorf("%d %s", code, out)
			}
			if text, err := os.ReadFile(file); err != nil || string(text) != row.has {
				t.Errorf("the file has %q, %v", text, err)
			}
			for range strings.Count(row.has, "\n") {
				if status := n.get("/"); status != http.StatusOK {
					t.Errorf("a client gets %d", status)
				}
			}
		})
	}
}

func migratePage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/migrate.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// migrateSample returns the sample file that the page makes by such a command.
func migrateSample(t *testing.T, begin string) string {
	t.Helper()
	command, _, _ := strings.Cut(begin, "\n")
	_, rest, found := strings.Cut(migratePage(t), begin)
	text, _, ends := strings.Cut(rest, "\nEND\n")
	if !found || !ends {
		t.Fatalf("docs/migrate.md has no %s", command)
	}
	return strings.TrimPrefix(begin, command+"\n") + text + "\n"
}

//go:build unix

package nodes

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// mistake is one that people make, and the answer that they get.
type mistake struct {
	sentence string
	pool     string // the block's options; $FILE is a file's path
	file     string // what that holds
	site     string // in the place of a pool before reverse_proxy; the config loads, and the log tells
	command  string // of `caddy keycycler`
	answer   string // how the error ends, but for the line of the Caddyfile; or what the log says
}

// many is an environment variable with two keys in it.
const many = "KEYCYCLER_MANY=sk-mistake-1,sk-mistake-2"

var mistakes = []mistake{
	// In a keys file.
	{sentence: "a comma list", file: "sk-mistake-1,sk-mistake-2\n", answer: "$FILE:1: commas or semicolons stand between several: write one a line, or each as a word of its own behind the option"},
	{sentence: "a list with semicolons", file: "# keys\nsk-mistake-1; sk-mistake-2\n", answer: "$FILE:2: commas or semicolons stand between several: write one a line, or each as a word of its own behind the option"},
	{sentence: "NAME=key", file: "OPENAI_API_KEY=sk-mistake-1\n", answer: "$FILE:1: a variable's name and = stand in front: write the value alone"},
	{sentence: "quotes", file: "\"sk-mistake-1\"\n", answer: "$FILE:1: quotes stand around the text: write it without them"},
	{sentence: "a JSON array", file: "[\"sk-mistake-1\", \"sk-mistake-2\"]\n", answer: "$FILE:1: the text is JSON: write one a line, without brackets, quotes and commas"},
	{sentence: "a scheme", file: "Bearer sk-mistake-1\n", answer: "$FILE:1: 'Bearer' stands in front: write what follows it alone"},
	{sentence: "a list of YAML", file: "- sk-mistake-1\n- sk-mistake-2\n", answer: "$FILE:1: a dash stands in front, as in a list of YAML: write what follows it alone"},
	{sentence: "a comment behind a key", file: "sk-mistake-1 # prod\n", answer: "$FILE:1: a comment stands behind it: write comments on lines of their own, only a key's name may stand behind the key"},
	{sentence: "a file that is missing", pool: "keys_file /nowhere/openai.keys", answer: "keys_file: open /nowhere/openai.keys: no such file or directory: make it, or correct the path"},

	// In a Caddyfile.
	{sentence: "a variable with several keys", pool: "keys {env.KEYCYCLER_MANY}", answer: "keys: key 1: commas or semicolons stand between several: write one a line, or each as a word of its own behind the option"},
	{sentence: "a variable that is not set", pool: "keys {$KEYCYCLER_UNSET}", answer: "keys: <key...> is missing: if it is a {$VARIABLE}, is the variable set?"},
	{sentence: "an option behind keys", pool: "keys sk-mistake-1 weight 3", answer: "keys: key 2 of the line: 'weight' is an option and no key: options stand in a block behind the keys, each on a line of its own"},
	{sentence: "a size without a unit", pool: "keys sk-mistake-1\nreplay {\nmemory 16\n}", answer: "replay memory: '16' is a number of bytes: did you mean '16MiB'? (16B, if not)"},
	{sentence: "a number of retries in a rule", pool: "keys sk-mistake-1\non 500 retry 3", answer: "on: surplus argument behind retry, which takes none: how many keys a request tries stands in 'max_attempts', not in a rule"},
	{sentence: "a rate with a slash", pool: "keys sk-mistake-1\nlimit {\nrequests 500/min\n}", answer: "limit requests: '500/min' is out of range: 1 to 1000000: did you mean '500 1m'?"},
	{sentence: "one duration of all cooldowns", pool: "keys sk-mistake-1\ncooldown 60s", answer: "cooldown: 60s stands alone: open a block, with 'default 60s' on a line of its own for limits that state no time, or min or max"},
	{sentence: "key", pool: "key sk-mistake-1", answer: "keycycler: unknown option 'key': did you mean 'keys'?"},
	{sentence: "key_file", pool: "key_file $FILE", answer: "keycycler: unknown option 'key_file': did you mean 'keys_file'?"},

	// In a Caddyfile whose config loads.
	{sentence: "keycycler behind reverse_proxy", site: "route {\nreverse_proxy $UPSTREAM\nkeycycler {\nkeys sk-mistake-1\n}\n}", answer: "no request comes to keycycler: a handler before it answers them all: put keycycler before it"},
	{sentence: "no reverse_proxy", site: "keycycler {\nkeys sk-mistake-1\n}", answer: "no handler stands behind keycycler: add reverse_proxy, or clients get an empty answer"},
	{sentence: "header_up Authorization", site: "keycycler {\nkeys sk-mistake-1\n}\nreverse_proxy $UPSTREAM {\nheader_up Authorization \"Bearer mine\"\n}", answer: "the key does not reach the upstream: a handler behind keycycler replaces or deletes its header"},
	{sentence: "two keycyclers", site: "route {\nkeycycler a {\nkeys sk-mistake-1\n}\nkeycycler b {\nkeys sk-mistake-2\n}\nreverse_proxy $UPSTREAM\n}", answer: "keycycler stands behind another keycycler: requests go out with the keys of this pool alone"},
	{sentence: "one name for two providers", site: "keycycler /a {\nkeys sk-mistake-1\n}\nkeycycler /b {\nkeys sk-mistake-1\nprovider azure\n}\nreverse_proxy $UPSTREAM", answer: "pools of one name have different providers: lists and metrics mix them up"},

	// At the command line.
	{sentence: "a command that there is not", command: "lsit --nothing localhost:2019", answer: "unknown command 'lsit': did you mean 'list'?"},
	{sentence: "a flag that there is not", command: "list --adddress localhost:2019", answer: "unknown flag '--adddress': did you mean '--address'?"},
}

// Each of the mistakes that people make most gets an answer that says what to do, and that
// shows nothing of a key.
func TestMistakes(t *testing.T) {
	const known = 25
	if len(mistakes) != known {
		t.Errorf("%d mistakes, want %d", len(mistakes), known)
	}
	for _, m := range mistakes {
		t.Run(m.sentence, func(t *testing.T) {
			said := ""
			switch {
			case m.site != "":
				said = m.load(t)
			default:
				said = m.fail(t)
			}
			if strings.Contains(said, "sk-mistake") && m.site == "" {
				t.Errorf("it shows a key: %s", said)
			}
		})
	}
}

// A key that stands where the pool's name belongs is shown by no line.
func TestAPoolsNameThatIsAKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "caddy.json")
	config := `{"admin":{"disabled":true},"apps":{"http":{"servers":{"a":{"listen":["127.0.0.1:0"],"routes":[{"handle":[{"handler":"keycycler","pool":"sk-mistake-1","keys":["x"]}]}]}}}}}`
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "validate", "--config", file)
	cmd.Env = append(os.Environ(), nodeEnv+"=1", "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	if err == nil || strings.Count(string(out), "the name begins with sk-") != 2 || strings.Contains(string(out), "sk-mistake") {
		t.Errorf("%v, %s", err, out)
	}
}

// fail runs a command that must say the answer.
func (m mistake) fail(t *testing.T) (said string) {
	t.Helper()
	dir := t.TempDir()
	file, caddyfile := filepath.Join(dir, "openai.keys"), filepath.Join(dir, "Caddyfile")
	if m.pool == "" {
		m.pool = "keys_file $FILE"
	}
	for path, text := range map[string]string{file: m.file, caddyfile: "{\nadmin off\n}\n:80\nkeycycler {\n" + strings.ReplaceAll(m.pool, "$FILE", file) + "\n}\nreverse_proxy localhost:9\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"validate", "--config", caddyfile}
	if m.command != "" {
		args = append([]string{"keycycler"}, strings.Fields(m.command)...)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), nodeEnv+"=1", many, "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir, "GORACE=atexit_sleep_ms=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err == nil {
		t.Error("it is no error")
	}
	answer := strings.ReplaceAll(m.answer, "$FILE", file)
	line := lastError(stderr.String())
	before, _, _ := strings.Cut(line, ", at "+caddyfile+":")
	if !strings.HasSuffix(before, ": "+answer) {
		t.Errorf("it says\n%s\nwant\n%s", line, answer)
	}
	return stderr.String()
}

// lastError returns what Caddy says last of an error, in the log or as cobra does.
func lastError(said string) (text string) {
	for line := range strings.Lines(said) {
		var e struct{ Level, Msg string }
		if own, ok := strings.CutPrefix(line, "Error: "); ok {
			text = ": " + strings.TrimSpace(own)
		} else if json.Unmarshal([]byte(line), &e) == nil && e.Level == "error" {
			text = e.Msg
		}
	}
	return text
}

// load runs Caddy with a config that loads, sends a request, and wants the answer in the log,
// once.
func (m mistake) load(t *testing.T) (said string) {
	t.Helper()
	upstream := live.StartProvider(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }).URL
	n := startNode(t, nodeConfig{name: "a", site: strings.ReplaceAll(m.site, "$UPSTREAM", upstream)})
	for _, path := range []string{"/a", "/a", "/b"} {
		live.Do(t, http.DefaultClient, live.Request(t, http.MethodPost, n.url+path, "x"))
	}
	live.Eventually(t, "the log tells", func() bool { return strings.Contains(n.log(), m.answer) })
	n.stop()
	if strings.Count(n.log(), m.answer) != 1 {
		t.Errorf("the log tells %d times: %s", strings.Count(n.log(), m.answer), n.log())
	}
	return n.log()
}

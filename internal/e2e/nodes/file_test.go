//go:build unix

package nodes

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

const (
	fileAwayLine = "the state file cannot be written: this node goes on with what it knows"
	fileBackLine = "the state file is written again"
)

// kill ends the node as a power cut does, but for what the kernel still has to write.
func (n *node) kill() {
	n.t.Helper()
	n.ended = true
	if err := n.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		n.t.Fatal(err)
	}
	<-n.done
	n.stdin.Close()
}

// written waits until the file says something.
func written(t *testing.T, path, text string) {
	t.Helper()
	live.Eventually(t, "the file says "+text, func() bool {
		all, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(all), text)
	})
}

// What cools and what an operator has disabled is known to the process that comes after one
// that was killed, and to the next one, after a clean end. No key stands in the file.
func TestAStateFileOutlivesItsProcess(t *testing.T) {
	t.Parallel()
	const keys = 6
	upstream, path := startLimiter(t), filepath.Join(t.TempDir(), "made", "keys.state")
	config := nodeConfig{name: "a", keys: keys, only: upTo(keys), state: "file " + path, upstream: upstream.URL, options: "cooldown {\nscope model\n}"}
	first := startNode(t, config)
	upstream.limit(0, 1)
	for i := range 2 {
		first.get(onlyPath(i))
	}
	upstream.limit(4)
	first.askForModel(3 * keys)
	first.do("disable", 2, "")
	first.do("disable", 3, "")
	first.do("enable", 3, "")
	written(t, path, idOf(3)+"\t0\t0\t0\t-")
	written(t, path, "\tgpt-x\n")
	first.kill()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if part := keyPart(string(text), keys); part != "" {
		t.Errorf("%q of a key stands in the file:\n%s", part, text)
	}

	hits := upstream.hits(0, first) + upstream.hits(1, first) + upstream.hits(4, first)
	again := startNode(t, config)
	for round := range 2 { // the second one comes after a clean end
		if !again.knows(0) || !again.knows(1) {
			t.Error("a cooldown was forgotten")
		}
		again.askForModel(3 * keys)
		for i, want := range []string{"cooling", "cooling", "disabled", "ready"} {
			if state := again.keyState(i); state != want {
				t.Errorf("key %d is %s, want %s", i, state, want)
			}
		}
		again.do([]string{"disable", "enable"}[round], 5, "") // the moment before the end
		again.stop()
		again = startNode(t, config)
		if state, want := again.keyState(5), []string{"disabled", "ready"}[round]; state != want {
			t.Errorf("after a clean end key 5 is %s, want %s", state, want)
		}
	}
	if n := upstream.hits(0, again) + upstream.hits(1, again) + upstream.hits(4, again); n != hits {
		t.Errorf("the upstream has seen %d calls with keys that cool", n-hits)
	}
	var pool adminPool
	again.api("GET", "pools/main", "", &pool)
	if pool.State.Backend != "file" || !pool.State.Healthy {
		t.Errorf("the state is %+v", pool.State)
	}
}

// askForModel sends so many requests for a model, one after the other, all of which are
// served.
func (n *node) askForModel(requests int) {
	n.t.Helper()
	for range requests {
		r := live.Request(n.t, http.MethodPost, n.url+"/", `{"model":"gpt-x"}`)
		r.Header.Set("Content-Type", "application/json")
		if res, text := live.Do(n.t, http.DefaultClient, r); res.StatusCode != http.StatusOK {
			n.t.Fatalf("%s: %s", res.Status, text)
		}
	}
}

// A second process on the file does not start, and says why. To check its config is fine,
// and leaves the file alone; so is a reload of the process that has it.
func TestASecondProcessOnTheStateFile(t *testing.T) {
	t.Parallel()
	upstream, path := startLimiter(t), filepath.Join(t.TempDir(), "keys.state")
	config := nodeConfig{name: "a", keys: 2, state: "file " + path, upstream: upstream.URL}
	first := startNode(t, config)
	first.do("disable", 0, "")
	written(t, path, idOf(0))
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first.run("validate", "--config", first.file())

	second := &node{t: t, config: config, dir: t.TempDir(), url: "http://127.0.0.1:" + live.FreePort(t), admin: "http://127.0.0.1:" + live.FreePort(t)}
	second.write(config)
	cmd := second.command("run", "--config", second.file())
	cmd.Stdin = neverEnds(t)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	if err := live.RunInTime(cmd); err == nil {
		t.Error("a second process has started")
	}
	want := path + ": another process uses it: give each one a file of its own, or let them share what they know through Redis"
	if !strings.Contains(complaint.String(), want) {
		t.Errorf("it says\n%s\nwant …%s", &complaint, want)
	}
	if after, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(after), string(before)) {
		t.Errorf("the file has become\n%s\nof\n%s, %v", after, before, err)
	}
	for range 3 {
		first.reload(config)
	}
	if state := first.keyState(0); state != "disabled" {
		t.Errorf("after reloads the key is %s", state)
	}
	first.do("enable", 0, "")
	written(t, path, idOf(0)+"\t0\t0\t0\t-")
}

// neverEnds is a standard input for a process that ends by itself.
func neverEnds(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r
}

// The directory goes away under load, and comes back: requests are served all the while,
// each change is told once, the metric tells it, and what was learned meanwhile is in the
// file afterwards.
func TestAStateFileThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	upstream, dir := startLimiter(t), filepath.Join(t.TempDir(), "made")
	path := filepath.Join(dir, "keys.state")
	config := nodeConfig{name: "a", keys: 40, only: upTo(2), state: "file " + path, upstream: upstream.URL}
	n := startNode(t, config)
	live.Eventually(t, "the file is there", func() bool { _, err := os.Stat(path); return err == nil })
	load := startPacedLoad(t, 20, 20*time.Millisecond, n)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	upstream.limit(0)
	n.get(onlyPath(0))
	live.Eventually(t, "the node says so", func() bool { return n.logged(fileAwayLine) == 1 })
	if text := metricsOf(n); !strings.Contains(text, `caddy_keycycler_state_healthy{pool="main"} 0`) {
		t.Error("the metric does not say so")
	}
	n.do("disable", 1, "")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	live.Eventually(t, "the node says that it is over", func() bool { return n.logged(fileBackLine) == 1 })
	load.end()
	if text := metricsOf(n); !strings.Contains(text, `caddy_keycycler_state_healthy{pool="main"} 1`) {
		t.Error("the metric does not say that it is over")
	}
	if lines := n.logged(fileAwayLine); lines != 1 {
		t.Errorf("it was said %d times", lines)
	}
	written(t, path, idOf(0))
	written(t, path, idOf(1))
	n.kill()
	again := startNode(t, config)
	if again.keyState(0) != "cooling" || again.keyState(1) != "disabled" {
		t.Errorf("key 0 is %s, key 1 %s", again.keyState(0), again.keyState(1))
	}
}

// switchIn is what the file says last of whether the i-th key is disabled: above 0 if it is,
// below 0 if it is not any more.
func switchIn(path string, i int) (n int) {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if fields := strings.Split(line, "\t"); len(fields) > 5 && strings.HasSuffix(fields[0], " key") && fields[1] == idOf(i) {
			n, _ = strconv.Atoi(fields[5])
		}
	}
	return n
}

// A process is killed at any moment while keys are disabled and enabled as fast as that
// goes: the file always loads, and says of each key what was said of it last, or what was
// said within the second before.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	const keys = 5 // that are switched, and one that is cooled
	lives := 4
	if live.Long() {
		lives = 200
	}
	upstream, path := startLimiter(t), filepath.Join(t.TempDir(), "keys.state")
	config := nodeConfig{name: "a", keys: keys + 1, state: "file " + path, upstream: upstream.URL}
	for life := range lives {
		n := startNode(t, config)
		if n.logged("the state file was damaged: it was set aside, and what could be read of it goes on") > 0 {
			t.Fatalf("life %d: the file does not load:\n%s", life, n.log())
		}
		end := time.Now().Add(time.Duration(rand.Int64N(int64(2 * time.Second))))
		for i := 0; time.Now().Before(end); i++ {
			n.do([]string{"disable", "enable"}[i/keys%2], i%keys, "")
		}
		for i := range keys {
			n.do([]string{"disable", "enable"}[life%2], i, "")
		}
		for i := range keys {
			live.Eventually(t, fmt.Sprint("the last word about key ", i), func() bool { return (switchIn(path, i) > 0) == (life%2 == 0) })
		}
		n.kill()
		again := startNode(t, config)
		for i := range keys {
			if state, want := again.keyState(i), []string{"disabled", "ready"}[life%2]; state != want {
				t.Fatalf("life %d: key %d is %s, want %s", life, i, state, want)
			}
		}
		again.do("cool", keys, `{"seconds":60}`)
		again.kill()
	}
}

// remains sends a request of the client's, and returns the answer's status and how many more it
// may send.
func (n *node) remains(team string) (status int, remaining string) {
	n.t.Helper()
	r := live.Request(n.t, http.MethodPost, n.url+"/v1/chat/completions", `{"model":"demo","max_tokens":60}`)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Team", team)
	res, _ := live.Do(n.t, http.DefaultClient, r)
	return res.StatusCode, res.Header.Get("X-Ratelimit-Remaining-Requests")
}

// usedBy is how many answers the node tells of, by client, model and key.
func (n *node) usedBy(team string) (all [3]int64) {
	n.t.Helper()
	for i, by := range [...][2]string{{"client", team}, {"model", "demo"}, {"key", idOf(0)}} {
		all[i], _ = n.usesOf(by[0], by[1])
	}
	return all
}

// tellsUsed waits until all that was used is told, and fails when more is.
func (n *node) tellsUsed(team string, want [3]int64) {
	n.t.Helper()
	live.Eventually(n.t, "what was before is told", func() bool {
		got := n.usedBy(team)
		if got[0] > want[0] || got[1] > want[1] || got[2] > want[2] {
			n.t.Fatalf("%v answers are told of, of %v", got, want)
		}
		return got == want
	})
}

// What was used, and what clients have used of their limits, is told by the process that comes
// after one that was killed as it was by that one: a budget of which all was used stays used up.
// So it is when a reload takes the file away, and another one gives it back.
func TestUsageInAStateFile(t *testing.T) {
	t.Parallel()
	beginOfDay(t)
	lives := 2
	if live.Long() {
		lives = 40
	}
	upstream, path := startTeller(t), filepath.Join(t.TempDir(), "keys.state")
	most := 4 * lives // requests in all
	config := nodeConfig{
		name: "a", keys: 1, state: "file " + path, upstream: upstream.URL,
		options: fmt.Sprintf("clients {header.X-Team} {\n ada {\n requests %d 24h\n budget %d tokens day UTC\n }\n }", 2*most, most*each),
	}
	without := config
	without.state = "memory"
	n := startNode(t, config)
	for sent := 0; sent < most; {
		for range 4 {
			sent++
			if status, left := n.remains("ada"); status != http.StatusOK || left != strconv.Itoa(2*most-sent) {
				t.Fatalf("request %d of %d: status %d, %s remaining", sent, 2*most, status, left)
			}
		}
		want := [3]int64{int64(sent), int64(sent), int64(sent)}
		live.Eventually(t, "all of it is told", func() bool { return n.usedBy("ada") == want })
		written(t, path, fmt.Sprintf("%q\t%d 0 ", "cada", sent))
		n.reload(without) // the file is left, and taken again
		n.reload(config)
		n.tellsUsed("ada", want)
		if n.kill(); sent == most {
			break
		}
		n = startNode(t, config)
		n.tellsUsed("ada", want)
	}
	last := startNode(t, config)
	if status, seconds := last.ask("ada"); status != http.StatusTooManyRequests || seconds <= 61 {
		t.Errorf("beyond the budget the status is %d, for %d seconds", status, seconds)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if part := keyPart(string(text), 1); part != "" || !strings.Contains(string(text), " spent\t") {
		t.Errorf("%q of a key stands in the file:\n%s", part, text)
	}
}

// fail posts another config to the admin API, which does not take it.
func (n *node) fail(why, caddyfile string) {
	n.t.Helper()
	r := live.Request(n.t, http.MethodPost, n.admin+"/load", caddyfile)
	r.Header.Set("Content-Type", "text/caddyfile")
	if res, text := live.Do(n.t, http.DefaultClient, r); res.StatusCode == http.StatusOK || !strings.Contains(string(text), why) {
		n.t.Fatalf("%s: %s, want an error with %s", res.Status, text, why)
	}
	n.settle()
}

// Reloads that fail, each at another time and with a state file of its own, end nothing: what was
// used before and after is told by the process that comes after one that was stopped.
func TestUsageAfterReloadsThatFail(t *testing.T) {
	t.Parallel()
	upstream, dir := startTeller(t), t.TempDir()
	config := nodeConfig{
		name: "a", keys: 1, state: "file " + filepath.Join(dir, "keys.state"), upstream: upstream.URL,
		options: "clients {header.X-Team} {\n ada {\n requests 24 24h\n }\n }",
	}
	n, sent := startNode(t, config), 0
	use := func(n *node) {
		t.Helper()
		sent++
		if status, left := n.remains("ada"); status != http.StatusOK || left != strconv.Itoa(24-sent) {
			t.Errorf("request %d: status %d, %s remaining", sent, status, left)
		}
	}
	use(n)

	unpriced := config
	unpriced.state = "file " + filepath.Join(dir, "unpriced.state")
	unpriced.options += "\nprices " + filepath.Join(dir, "missing.json")
	n.fail("missing.json", n.caddyfile(unpriced))
	use(n)
	used := config
	used.state = "file " + filepath.Join(dir, "used.state")
	lockFile(t, filepath.Join(dir, "used.state.lock"))
	n.fail("another process uses it", n.caddyfile(used))
	use(n)
	n.stop()

	again := startNode(t, config)
	use(again)
	want := [3]int64{int64(sent), int64(sent), int64(sent)}
	live.Eventually(t, "all of it is told", func() bool { return again.usedBy("ada") == want })
}

// lockFile locks a file as another process that has the state file does.
func lockFile(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
}

//go:build unix

package nodes

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// Most tests here run several Caddy processes, as nodes of one
// gateway, with a Redis process between them.

// nodeConfig says what a node's Caddyfile holds. The keys travel by the
// environment, since Caddy logs its config at DEBUG.
type nodeConfig struct {
	name     string
	keys     int      // the pool of the site: key(0) …
	only     []int    // each of these keys has a pool of its own, at /only/<i>
	state    string   // "memory", "redis …"
	options  string   // more of the site's pool
	site     string   // in the place of that pool
	admin    string   // the option, if it is not to be 127.0.0.1; $PORT, $DIR
	level    string   // of the log, default INFO
	upstream string   // URL
	env      []string // more environment, as NAME=value
	limits   string   // of the process, as the shell's ulimit takes them
}

// key returns the i-th key of these tests. It looks like one, and is none.
func key(i int) string { return fmt.Sprintf("sk-Qw7Zt%05dXy9Kp4Lm2Vb", i) }

func (c nodeConfig) caddyfile(port, admin, dir string) string {
	level := c.level
	if level == "" {
		level = "INFO"
	}
	proxy := fmt.Sprintf("reverse_proxy %s {\n header_up X-Node %s\n transport http {\n keepalive 1s\n keepalive_idle_conns_per_host 256\n }\n}", c.upstream, c.name)
	var keys, only strings.Builder
	for i := range c.keys {
		fmt.Fprintf(&keys, " {env.KEY_%d}", i)
	}
	const group = 32 // routes are tried one after the other
	for i := 0; i < len(c.only); i += group {
		fmt.Fprintf(&only, "handle /only/%d/* {\n", c.only[i]/group)
		for _, k := range c.only[i:min(i+group, len(c.only))] {
			fmt.Fprintf(&only, "handle /only/%d/%d {\nkeycycler only-%d {\nkeys {env.KEY_%d}\nstate %s\n}\n%s\n}\n", c.only[i]/group, k, k, k, c.state, proxy)
		}
		only.WriteString("}\n")
	}
	site := fmt.Sprintf("handle {\nkeycycler main {\nkeys%s\nstate %s\n%s\n}\n%s\n}", &keys, c.state, c.options, proxy)
	if c.keys == 0 {
		site = c.site
	}
	endpoint := strings.NewReplacer("$PORT", admin, "$DIR", dir).Replace(cmp.Or(c.admin, "admin 127.0.0.1:$PORT"))
	return fmt.Sprintf("{\n%s\npersist_config off\nauto_https off\nstorage file_system %q\nstorage_clean_interval off\ngrace_period 10s\n"+
		"log default {\noutput stderr\nlevel %s\n}\n}\nhttp://127.0.0.1:%s {\nbind 127.0.0.1\nhandle /ready {\nrespond ready\n}\n%s\n%s\n}\n",
		endpoint, dir, level, port, &only, site)
}

// onlyPath is where the pool of one key is, if the numbers in nodeConfig.only
// begin with a multiple of 32 and are in order without gaps.
func onlyPath(i int) string { return fmt.Sprintf("/only/%d/%d", i/32, i) }

// upTo returns 0 … n-1.
func upTo(n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i
	}
	return numbers
}

// node is a running Caddy process.
type node struct {
	t      testing.TB
	config nodeConfig
	dir    string
	url    string // http://127.0.0.1:port
	admin  string // the same
	cmd    *exec.Cmd
	stdin  io.Closer
	done   chan error // gets what Wait returned
	ended  bool
}

func startNode(t testing.TB, c nodeConfig) *node {
	t.Helper()
	dir := t.TempDir()
	n := &node{t: t, config: c, dir: dir}
	if err := os.Mkdir(n.tmp(), 0o700); err != nil {
		t.Fatal(err)
	}
	port, admin := live.FreePort(t), live.FreePort(t)
	n.url, n.admin = "http://127.0.0.1:"+port, "http://127.0.0.1:"+admin
	n.write(c)
	log, err := os.Create(n.logFile())
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	n.cmd = n.command("run", "--config", n.file())
	if c.limits != "" {
		n.cmd.Args = append([]string{"sh", "-c", "ulimit " + c.limits + ` && exec "$0" "$@"`}, n.cmd.Args...)
		n.cmd.Path = "/bin/sh"
	}
	n.cmd.Stderr = log
	if n.stdin, err = n.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n.done = make(chan error, 1)
	go func() { n.done <- n.cmd.Wait() }()
	t.Cleanup(func() {
		n.stop()
		if t.Failed() {
			t.Logf("node %s has logged:\n%s", c.name, tail(n.log()))
		}
	})
	live.Eventually(t, "the node serves", func() bool {
		select {
		case err := <-n.done:
			n.ended = true
			t.Fatalf("the node has ended: %v\n%s", err, n.log())
		default:
		}
		res, err := http.Get(n.url + "/ready")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return n
}

func (n *node) tmp() string     { return filepath.Join(n.dir, "tmp") }
func (n *node) file() string    { return filepath.Join(n.dir, "Caddyfile") }
func (n *node) logFile() string { return filepath.Join(n.dir, "log") }

// write puts a config where the node's command line names it.
func (n *node) write(c nodeConfig) {
	n.t.Helper()
	if err := os.WriteFile(n.file(), []byte(n.caddyfile(c)), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) caddyfile(c nodeConfig) string {
	port := strings.TrimPrefix(n.url, "http://127.0.0.1:")
	admin := strings.TrimPrefix(n.admin, "http://127.0.0.1:")
	return c.caddyfile(port, admin, n.dir)
}

// command returns a caddy command in the node's environment.
func (n *node) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), nodeEnv+"=1", "TMPDIR="+n.tmp(), "HOME="+n.dir, "XDG_CONFIG_HOME="+n.dir, "XDG_DATA_HOME="+n.dir, "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	for i := range max(n.config.keys, len(n.config.only)) {
		cmd.Env = append(cmd.Env, fmt.Sprintf("KEY_%d=%s", i, key(i)))
	}
	cmd.Env = append(cmd.Env, n.config.env...)
	return cmd
}

// terminated tells the node to end, again where it has not listened yet, and returns how it has.
func (n *node) terminated() error {
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for late := time.After(live.Patience); ; {
		_ = n.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-n.done:
			return err
		case <-again.C:
		case <-late:
			_ = n.cmd.Process.Kill()
			<-n.done
			return errors.New("a kill: it did not end")
		}
	}
}

// stop ends the node as a service manager does, and wants a clean end.
func (n *node) stop() {
	n.t.Helper()
	if n.ended {
		return
	}
	n.ended = true
	if err := n.terminated(); err != nil {
		n.t.Errorf("the node ended with %v:\n%s", err, tail(n.log()))
	}
	n.stdin.Close()
	if log := n.log(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic") {
		n.t.Errorf("node %s:\n%s", n.config.name, tail(log))
	}
}

// tail returns the end of a log, or what the race detector has found.
func tail(text string) string {
	if at := strings.Index(text, "WARNING: DATA RACE"); at >= 0 {
		return text[at:min(len(text), at+8000)]
	}
	return text[max(0, len(text)-4000):]
}

func (n *node) log() string {
	n.t.Helper()
	log, err := os.ReadFile(n.logFile())
	if err != nil {
		n.t.Fatal(err)
	}
	return string(log)
}

const (
	awayLine = "redis is away: this node goes on with what it knows"
	backLine = "redis is back"
)

// logged counts the lines with this message.
func (n *node) logged(message string) int {
	n.t.Helper()
	return len(n.said(message))
}

// said returns the lines of the log that say one of the messages.
func (n *node) said(messages ...string) (lines []string) {
	n.t.Helper()
	for line := range strings.Lines(n.log()) {
		var entry struct{ Msg string }
		if json.Unmarshal([]byte(line), &entry) == nil && slices.Contains(messages, entry.Msg) {
			lines = append(lines, line)
		}
	}
	return lines
}

// get sends a request and returns the answer's status.
func (n *node) get(path string, header ...string) int {
	n.t.Helper()
	r := live.Request(n.t, http.MethodGet, n.url+path, "")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, _ := live.Do(n.t, http.DefaultClient, r)
	return res.StatusCode
}

// knows tells whether the node holds the key for limited: then its pool of this key
// alone answers by itself. A probe that the upstream served would show that the key is good:
// one under way when the news comes would end the cooldown, on all nodes.
func (n *node) knows(i int) bool {
	n.t.Helper()
	return n.get(onlyPath(i), probeHeader, "1") == http.StatusTooManyRequests
}

// reload posts another config to the admin API, which answers when it runs. Each
// reload gives the admin API a new listener, too, and resets who waits at the old.
func (n *node) reload(c nodeConfig) {
	n.t.Helper()
	n.post(n.caddyfile(c))
}

func (n *node) post(caddyfile string) {
	n.t.Helper()
	live.Eventually(n.t, "the admin API takes a config", func() bool {
		res, err := http.Post(n.admin+"/load", "text/caddyfile", strings.NewReader(caddyfile))
		if err != nil {
			return false
		}
		defer res.Body.Close()
		if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
			n.t.Fatalf("reload: %s: %s", res.Status, body)
		}
		return true
	})
	n.settle()
}

// settle waits until one config is left. The other's server ends its idle connections, over which
// a POST would not be sent again, and resets those that nobody has accepted at its listener.
func (n *node) settle() {
	n.t.Helper()
	for _, url := range []string{n.url, n.admin} {
		live.Eventually(n.t, "one listener is left", func() bool { return live.Listeners(n.t, url) <= 1 })
	}
	http.DefaultClient.CloseIdleConnections()
}

// run runs a caddy command to its end and returns what it wrote.
func (n *node) run(args ...string) (stdout, stderr string) {
	n.t.Helper()
	var out, complaint bytes.Buffer
	cmd := n.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := live.RunInTime(cmd); err != nil {
		n.t.Fatalf("caddy %v: %v\n%s", args, err, &complaint)
	}
	return out.String(), complaint.String()
}

package sdk

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The gateway's two sites hold the same pool. Their listeners are handed down to
// the process, so that nobody can take a free port between finding and using it.
const caddyfile = `
{
	admin off
	persist_config off
	auto_https off
	debug
	grace_period 10s
	%[8]s
	servers {
		protocols h1 h2
	}
}

(gateway) {
	log
	handle /ready {
		respond 204
	}
	handle {
		keycycler sdk {
			keys %[1]s
			%[2]s
		}
		reverse_proxy %[3]s
	}
}

http://127.0.0.1:%[4]d {
	bind fd/3
	import gateway
}

https://127.0.0.1:%[5]d {
	bind fd/4
	tls %[6]s %[7]s
	import gateway
}
`

// gateway is a Caddy process with keycycler before a reverse_proxy.
type gateway struct {
	plain, tls string // where it answers: API base URLs
	temporary  string // its directory for temporary files

	process *exec.Cmd
	log     logBuffer
	exited  chan struct{}
	stopped bool
}

// startGateway starts a gateway with n keys, sk-demo-1 to sk-demo-n, before the
// upstream, and ends it with the test.
func startGateway(t *testing.T, up *upstream, n int, options string) *gateway {
	t.Helper()
	return startGatewayWith(t, up, n, options, "")
}

// startGatewayWith is startGateway with global options of Caddy's.
func startGatewayWith(t *testing.T, up *upstream, n int, options, global string) *gateway {
	t.Helper()
	plain, tls := listen(t), listen(t)
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s%d", keyPrefix, i+1)
	}
	g := &gateway{
		plain: fmt.Sprintf("http://127.0.0.1:%d/v1", port(plain)),
		tls:   fmt.Sprintf("https://127.0.0.1:%d/v1", port(tls)),
	}
	to := strings.TrimPrefix(up.url, "http://")
	if *transport != "" {
		options += "\nupstream " + up.url
		to = "{\ndynamic keycycler\ntransport " + *transport + "\n}"
	}
	g.start(t, fmt.Sprintf(caddyfile, strings.Join(keys, " "), options, to,
		port(plain), port(tls), edge.certFile, edge.keyFile, global), plain, tls)
	return g
}

// start starts the process with this Caddyfile, in which the listeners are fd/3,
// fd/4 and so on, and ends it with the test.
func (g *gateway) start(t *testing.T, text string, listeners ...*net.TCPListener) {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g.temporary, g.exited = t.TempDir(), make(chan struct{})
	g.process = exec.Command(caddyBinary, "run", "--config", config)
	g.process.Env = append(os.Environ(), "TMPDIR="+g.temporary, "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	g.process.Stdout, g.process.Stderr = &g.log, &g.log
	for _, l := range listeners {
		g.process.ExtraFiles = append(g.process.ExtraFiles, file(t, l))
	}
	if err := g.process.Start(); err != nil {
		t.Fatal(err)
	}
	for _, f := range g.process.ExtraFiles {
		f.Close() // the process has its own: when it dies, so does the port
	}
	go func() {
		g.process.Wait() // a test that needs Caddy notices
		close(g.exited)
	}()
	t.Cleanup(func() {
		g.stop(t)
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", g.log.String())
		}
	})
	g.awaitReady(t)
}

// awaitReady asks the gateway until it answers.
func (g *gateway) awaitReady(t *testing.T) {
	t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); ; {
		response, err := client.Get(strings.TrimSuffix(g.plain, "/v1") + "/ready")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusNoContent {
				return
			}
			err = fmt.Errorf("status %s", response.Status)
		}
		select {
		case <-tick.C:
		case <-g.exited:
			t.Fatalf("the gateway did not start: %v", err)
		case <-deadline:
			t.Fatalf("the gateway is not ready: %v", err)
		}
	}
}

// stop ends the process, once, and checks what must hold for every gateway:
// whatever it was asked, no key stands in its log, not even at level DEBUG, no
// temporary file is left, and, where GOFLAGS=-race built it so, it had no race.
func (g *gateway) stop(t *testing.T) {
	t.Helper()
	if g.stopped {
		return
	}
	g.stopped = true
	g.process.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-g.exited:
	case <-time.After(patience):
		g.process.Process.Kill() // as above
		<-g.exited
		t.Error("the gateway did not end by itself")
	}
	if strings.Contains(g.log.String(), keyPrefix) {
		t.Error("an upstream key stands in the gateway's log")
	}
	if strings.Contains(g.log.String(), "WARNING: DATA RACE") {
		t.Error("the gateway has a data race")
	}
	left, err := os.ReadDir(g.temporary)
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v %v", left, err)
	}
}

func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l.(*net.TCPListener)
}

func port(l *net.TCPListener) int { return l.Addr().(*net.TCPAddr).Port }

// file gives the listener away to a child process.
func file(t *testing.T, l *net.TCPListener) *os.File {
	t.Helper()
	defer l.Close()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// logBuffer is a buffer that can be read while a process writes to it.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

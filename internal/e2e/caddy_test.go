package e2e

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/quic-go/quic-go/http3"

	_ "github.com/keycycler/keycycler"
)

// The tests in this file and its siblings run a real Caddy in this process: real
// listeners, real reverse_proxy, an upstream of their own.

// gateway is a running Caddy.
type gateway struct {
	t       *testing.T
	dir     string
	plain   string // http://127.0.0.1:port
	secure  string // https://localhost:port
	logFile string
	format  string // of the log
	level   string // likewise, default DEBUG
	global  string // more global options
	sites   string // more sites
}

// startGateway runs Caddy with these directives in front of both an HTTP and an
// HTTPS site. It logs everything to a file.
func startGateway(t *testing.T, directives string) *gateway {
	t.Helper()
	g := newGateway(t)
	g.start(directives)
	return g
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	dir := t.TempDir()
	return &gateway{
		t: t, dir: dir, logFile: filepath.Join(dir, "caddy.log"),
		plain: "http://127.0.0.1:" + freePort(t), secure: "https://localhost:" + freePort(t),
	}
}

func (g *gateway) start(directives string) {
	g.t.Helper()
	g.load(directives)
	g.t.Cleanup(func() {
		inTime(g.t, "Caddy stops", func() {
			if err := caddy.Stop(); err != nil {
				g.t.Errorf("stopping Caddy: %v", err)
			}
		})
	})
	eventually(g.t, "the site has its certificate", func() bool {
		conn, err := dialTLS(g)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
}

// load makes a config with these directives the running one.
func (g *gateway) load(directives string) {
	g.t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(g.caddyfile(directives)), nil)
	if err != nil {
		g.t.Fatalf("adapting the Caddyfile: %v", err)
	}
	inTime(g.t, "Caddy loads the config", func() { err = caddy.Load(config, true) })
	if err != nil {
		g.t.Fatalf("loading the config: %v", err)
	}
}

func (g *gateway) caddyfile(directives string) string {
	return fmt.Sprintf(`{
		admin off
		persist_config off
		skip_install_trust
		auto_https disable_redirects
		storage file_system %q
		grace_period 10s
		log default {
			output file %q
			level %s
			%s
		}
		%s
	}
	(site) {
		%s
	}
	%s {
		bind 127.0.0.1
		log
		import site
	}
	%s {
		bind 127.0.0.1
		log
		tls internal
		import site
	}
	%s`, g.dir, g.logFile, cmp.Or(g.level, "DEBUG"), g.format, g.global, directives, g.plain, g.secure, g.sites)
}

// log returns what Caddy has logged so far.
func (g *gateway) log() string {
	g.t.Helper()
	log, err := os.ReadFile(g.logFile)
	if err != nil {
		g.t.Fatal(err)
	}
	return string(log)
}

// protocolClients returns a client for each version of HTTP, by name, and where
// each goes.
func (g *gateway) protocolClients() map[string]struct {
	client *http.Client
	url    string
} {
	trust := func() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
	h1 := &http.Transport{}
	h2 := &http.Transport{TLSClientConfig: trust(), ForceAttemptHTTP2: true, DialContext: dialLoopback}
	h3 := &http3.Transport{TLSClientConfig: trust()}
	g.t.Cleanup(func() {
		h1.CloseIdleConnections()
		h2.CloseIdleConnections()
		h3.Close()
	})
	type target = struct {
		client *http.Client
		url    string
	}
	return map[string]target{
		"HTTP/1.1": {patient(h1), g.plain},
		"HTTP/2.0": {patient(h2), g.secure},
		"HTTP/3.0": {patient(h3), g.secure},
	}
}

// dialLoopback goes to 127.0.0.1, where the tests' sites are bound.
func dialLoopback(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
}

// attempt is one call as the upstream saw it.
type attempt struct {
	key    string
	body   []byte
	header http.Header
	length int64
}

// provider is an upstream that limits the keys it is told to.
type provider struct {
	*httptest.Server
	serve func(w http.ResponseWriter, r *http.Request) // answers the keys that are not limited

	mu      sync.Mutex
	calls   []attempt
	limited map[string]string // key → body of its 429
	first   int               // so many calls are limited, whatever their key
}

const rateLimitBody = `{"error":{"message":"Rate limit reached. Please try again in 40s.","type":"requests","param":null,"code":"rate_limit_exceeded"}}`

func startProvider(t testing.TB, serve http.HandlerFunc) *provider {
	t.Helper()
	p := &provider{serve: serve, limited: make(map[string]string)}
	p.Server = httptest.NewServer(p)
	t.Cleanup(func() { closeServer(t, p.Server) })
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	a := attempt{key: key, header: r.Header.Clone(), length: r.ContentLength}
	p.mu.Lock()
	body, limited := p.limited[key]
	if p.first > 0 {
		p.first--
		body, limited = rateLimitBody, true
	}
	p.mu.Unlock()
	if limited {
		a.body, _ = io.ReadAll(r.Body)
		p.note(a)
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Retry-After", "40")
		h.Set("X-Rejected", "yes")
		h.Set("Trailer", "X-Rejected-Trailer")
		w.WriteHeader(http.StatusTooManyRequests)
		io.WriteString(w, body)
		h.Set("X-Rejected-Trailer", "yes")
		return
	}
	var copied bytes.Buffer
	r.Body = io.NopCloser(io.TeeReader(r.Body, &copied))
	p.serve(w, r)
	a.body = copied.Bytes()
	p.note(a)
}

func (p *provider) note(a attempt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, a)
}

// limitFirst makes the next n calls meet a rate limit.
func (p *provider) limitFirst(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.first, p.calls = n, nil
}

func (p *provider) seen() []attempt {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]attempt(nil), p.calls...)
}

func demoKeys(n int) string {
	var keys []string
	for i := range n {
		keys = append(keys, fmt.Sprintf("sk-demo-secret-%d", i+1))
	}
	return strings.Join(keys, " ")
}

func do(t testing.TB, client *http.Client, r *http.Request) (*http.Response, []byte) {
	t.Helper()
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, body
}

func request(t testing.TB, method, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// dialTLS opens a connection to the HTTPS site that speaks one of the protocols.
func dialTLS(g *gateway, protocols ...string) (net.Conn, error) {
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(g.secure, "https://"))
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", "127.0.0.1:"+port, &tls.Config{
		ServerName: "localhost", InsecureSkipVerify: true, NextProtos: protocols,
	})
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(patience))
}

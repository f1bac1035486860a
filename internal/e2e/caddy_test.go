package e2e

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/quic-go/quic-go/http3"

	_ "github.com/keycycler/keycycler"
	"github.com/keycycler/keycycler/internal/testkit/live"
	"github.com/keycycler/keycycler/internal/upstream"
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

// sites is how many sites a gateway's directives stand in: each reads its files itself.
const sites = 2

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
	// The kernel gives ports again that other tests had: nothing rests from before, and no
	// connection is kept.
	upstream.Resting.Each(time.Now().Add(24*time.Hour), nil, nil)
	http.DefaultClient.CloseIdleConnections()
	dir := t.TempDir()
	return &gateway{
		t: t, dir: dir, logFile: filepath.Join(dir, "caddy.log"),
		plain: "http://127.0.0.1:" + live.FreePort(t), secure: "https://localhost:" + live.SitePort(t),
	}
}

func (g *gateway) start(directives string) {
	g.t.Helper()
	g.load(directives)
	g.t.Cleanup(func() {
		live.InTime(g.t, "Caddy stops", func() {
			if err := caddy.Stop(); err != nil {
				g.t.Errorf("stopping Caddy: %v", err)
			}
		})
	})
	live.Eventually(g.t, "the site has its certificate", func() bool {
		conn, err := live.DialTLS(g.secure)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
}

// load makes a config with these directives the running one.
// load waits until the old config's listeners are closed: connections that come to them
// till then are reset, as with every reload of Caddy on Linux.
func (g *gateway) load(directives string) {
	g.t.Helper()
	if err := g.tryLoad(directives); err != nil {
		g.t.Fatalf("loading the config: %v", err)
	}
	live.Eventually(g.t, "the old listeners are closed", func() bool {
		return live.Listeners(g.t, g.plain) <= 1 && live.Listeners(g.t, g.secure) <= 1
	})
}

// tryLoad does so, or returns why Caddy stays with the config that it has.
func (g *gateway) tryLoad(directives string) error {
	g.t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(g.caddyfile(directives)), nil)
	if err != nil {
		g.t.Fatalf("adapting the Caddyfile: %v", err)
	}
	live.InTime(g.t, "Caddy loads the config", func() { err = caddy.Load(config, true) })
	return err
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
	h2 := &http.Transport{TLSClientConfig: trust(), ForceAttemptHTTP2: true, DialContext: live.DialLoopback}
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
		"HTTP/1.1": {live.Patient(h1), g.plain},
		"HTTP/2.0": {live.Patient(h2), g.secure},
		"HTTP/3.0": {live.Patient(h3), g.secure},
	}
}

func demoKeys(n int) string {
	var keys []string
	for i := range n {
		keys = append(keys, fmt.Sprintf("sk-demo-secret-%d", i+1))
	}
	return strings.Join(keys, " ")
}

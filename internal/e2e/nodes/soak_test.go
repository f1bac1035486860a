//go:build unix

package nodes

import (
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

var (
	soakFor   = flag.Duration("soak", 0, "how long TestNodeSoak runs, with all connections and keys; 0: 15 s with few")
	soakRate  = flag.Int("soak.rate", 150, "requests a second of a long TestNodeSoak")
	soakConns = flag.Int("soak.conns", 500, "connections of a long TestNodeSoak")
)

// soakPlan is what a soak does and how often.
type soakPlan struct {
	lasts, period                 time.Duration
	keys, conns, rate             int
	redis, reload, rewrite, watch time.Duration // between two kills, reloads, new keys files, samples
	fits                          bool          // it is long enough to tell growth from noise
}

func planSoak() soakPlan {
	if *soakFor == 0 {
		return soakPlan{
			lasts: 15 * time.Second, period: 12 * time.Second, keys: 200, conns: 70, rate: 100,
			redis: 4 * time.Second, reload: 3 * time.Second, rewrite: 3 * time.Second, watch: time.Second,
		}
	}
	return soakPlan{
		lasts: *soakFor, period: 2 * time.Minute, keys: 1000, conns: *soakConns, rate: *soakRate,
		redis: time.Minute, reload: 30 * time.Second, rewrite: 45 * time.Second, watch: 10 * time.Second,
		fits: *soakFor >= 5*time.Minute,
	}
}

// soak is one under way.
type soak struct {
	t        *testing.T
	plan     soakPlan
	node     *node
	redis    *redisServer
	upstream *soakUpstream
	clients  *soakClients
	ports    [2]string // of the plain and the secure site

	kills, reloads, rewrites int
	samples                  []soakSample
}

// A gateway under load of every kind, whose keys come and go, whose Redis dies and
// comes back, and whose config changes: every request gets its right answer, no key
// is used while it is known to be limited, and memory stays as it is.
//
//	go test -run TestNodeSoak -soak 1h -timeout 0 -v .
//
// With -race the gateway has the race detector, too.
func TestNodeSoak(t *testing.T) {
	t.Parallel()
	plan := planSoak()
	s := &soak{t: t, plan: plan, redis: startRedis(t), ports: [2]string{live.FreePort(t), live.SitePort(t)}}
	s.upstream = startSoakUpstream(t, plan.keys, plan.period, 2*time.Second)
	s.node = startNode(t, nodeConfig{name: "soak", upstream: s.upstream.URL})
	s.writeKeys()
	s.node.post(s.caddyfile())
	secure := "https://localhost:" + s.ports[1]
	live.Eventually(t, "the secure site has its certificate", func() bool {
		conn, err := live.DialTLS(secure)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
	s.clients = startSoakClients(t, "http://127.0.0.1:"+s.ports[0], secure, plan.conns, plan.rate)
	s.run()
	s.clients.end()
	s.judge()
}

// run makes things happen until it is over.
func (s *soak) run() {
	redis, reload := time.NewTicker(s.plan.redis), time.NewTicker(s.plan.reload)
	rewrite, watch := time.NewTicker(s.plan.rewrite), time.NewTicker(s.plan.watch)
	for _, ticker := range []*time.Ticker{redis, reload, rewrite, watch} {
		defer ticker.Stop()
	}
	for end := time.After(s.plan.lasts); ; {
		select {
		case <-redis.C:
			s.kill()
		case <-reload.C:
			s.reload()
		case <-rewrite.C:
			s.rewrites++
			s.writeKeys()
		case <-watch.C:
			s.samples = append(s.samples, s.sample())
		case <-end:
			return
		}
	}
}

func (s *soak) reload() {
	s.reloads++
	s.clients.reloaded.Store(math.MaxInt64)
	s.node.post(s.caddyfile())
	s.clients.reloaded.Store(time.Now().UnixNano())
}

// kill ends Redis, which comes back empty, or with what it had.
func (s *soak) kill() {
	s.kills++
	if s.kills%2 == 1 {
		s.redis.RestartEmpty()
		return
	}
	s.redis.Save()
	s.redis.Kill()
	s.redis.Restart()
}

func (s *soak) keysFile() string { return filepath.Join(s.node.dir, "keys") }

// writeKeys writes the keys file, every other time without a tenth of the keys.
func (s *soak) writeKeys() {
	var text strings.Builder
	for i := range s.plan.keys {
		if s.rewrites%2 == 0 || i%10 != s.rewrites/2%10 {
			fmt.Fprintln(&text, key(i))
		}
	}
	next := s.keysFile() + ".new"
	if err := os.WriteFile(next, []byte(text.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(next, s.keysFile()); err != nil {
		s.t.Fatal(err)
	}
}

// caddyfile is a config that differs from the last.
func (s *soak) caddyfile() string {
	memory := []string{"64KiB", "256KiB"}[s.reloads%2]
	admin := strings.TrimPrefix(s.node.admin, "http://")
	return fmt.Sprintf(`{
		admin %s
		persist_config off
		skip_install_trust
		auto_https disable_redirects
		storage file_system %q
		grace_period 20s
		servers {
			protocols h1 h2
		}
		log default {
			output stderr
			level WARN
		}
	}
	(soak) {
		bind 127.0.0.1
		keycycler soak {
			keys_file %s
			cooldown {
				min 1s
				jitter 0%%
			}
			replay {
				memory %s
			}
			state redis %s {
				dial_timeout 500ms
				read_timeout 500ms
				write_timeout 500ms
			}
		}
		reverse_proxy %s
	}
	http://127.0.0.1:%s {
		import soak
	}
	https://localhost:%s {
		tls internal
		import soak
	}`, admin, s.node.dir, s.keysFile(), memory, s.redis.Addr(), s.upstream.URL, s.ports[0], s.ports[1])
}

// judge prints what has happened and fails the test for what should not have.
func (s *soak) judge() {
	s.t.Helper()
	clients, total := s.clients, 0
	var table strings.Builder
	fmt.Fprintf(&table, "%s, %d connections, %d keys, %d kills of Redis, %d reloads, %d keys files\n",
		s.plan.lasts, s.plan.conns, s.plan.keys, s.kills, s.reloads, s.rewrites)
	for _, kind := range slices.Sorted(maps.Keys(clients.served)) {
		total += clients.served[kind]
		fmt.Fprintf(&table, "%-24s %9d\n", kind, clients.served[kind])
	}
	calls, rejected, early := s.upstream.counts()
	fmt.Fprintf(&table, "%-24s %9d\n%-24s %9d\n%-24s %9d\n%-24s %9d\n%-24s %9d\n%-24s %9d\n",
		"requests", total, "cut off by a reload", clients.again, "unexpected answers", len(clients.wrong), "calls to the upstream", calls, "of them rejected", rejected, "of known limited keys", early)
	for _, m := range soakMeasures {
		fmt.Fprintln(&table, m.fit(s.samples))
	}
	s.t.Logf("soak\n%s", &table)

	for _, kind := range soakKinds {
		if clients.served[kind.name] == 0 {
			s.t.Errorf("no %s request was served: this test looks at nothing", kind.name)
		}
	}
	if rejected == 0 || s.kills == 0 || s.reloads == 0 || s.rewrites == 0 {
		s.t.Error("nothing has happened: this test looks at nothing")
	}
	if n := len(clients.wrong); n > 0 {
		s.t.Errorf("%d unexpected answers, the first of them:\n%s\n%s", n, strings.Join(clients.wrong[:min(n, 10)], "\n"), tail(s.node.log()))
	}
	// It closes the websockets, one connection in seven.
	if most := s.reloads * s.plan.conns / 7; clients.again > most {
		s.t.Errorf("%d of %d requests were cut off by a reload, %d at most should be", clients.again, total, most)
	}
	if early > 0 {
		s.t.Errorf("%d calls with keys that were known to be limited", early)
	}
	for _, m := range soakMeasures {
		if f := m.fit(s.samples); s.plan.fits && f.grows() {
			s.t.Errorf("it grows: %s", f)
		}
	}
}

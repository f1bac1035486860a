package sdk

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// operatorsCaddyfile has the pools on one site and the status page on another, three
// times: as anybody may ask for it, behind a password, and at Caddy's admin endpoint.
const operatorsCaddyfile = `
{
	admin %[1]s {
		%[2]s
	}
	persist_config off
	auto_https off
	debug
	grace_period 10s
}

http://127.0.0.1:%[3]d {
	bind fd/3
	handle /ready {
		respond 204
	}
	%[5]s
}

http://127.0.0.1:%[4]d {
	bind fd/4
	handle_path /open/* {
		keycycler_status
	}
	handle_path /ops/* {
		basic_auth {
			operator $2a$05$10jy5tYyXy.gr1q4tHRZquXXWijCUkUTZQ044u6ew5nmCmAqkAXyi
		}
		keycycler_status
	}
}
`

var credentials = map[string]string{"username": "operator", "password": "opens-the-page"}

// operators is a gateway whose status page can be reached.
type operators struct {
	*gateway
	admin string // Caddy's admin endpoint
	site  string // where /open/ and /ops/ are
}

// pool is one of a gateway's.
type pool struct {
	name  string
	first int // the number of its first key: sk-demo-<first>
	keys  int
}

// mainPool is enough for most tests.
var mainPool = pool{"main", 1, 6}

func (p pool) key(i int) string { return fmt.Sprintf("%s%d", keyPrefix, p.first+i) }

// idOf is what keys are called everywhere. It is written down once more here, since
// operators may have noted ids.
func idOf(key string) string {
	sum := sha256.Sum256([]byte("keycycler key id v1\x00" + key))
	return hex.EncodeToString(sum[:6])
}

// block is a part of the Caddyfile, with a pool.
type block interface {
	block(t *testing.T, up *upstream) string
}

// blockOf is a block that a test makes of the upstream.
type blockOf func(up *upstream) string

func (b blockOf) block(_ *testing.T, up *upstream) string { return b(up) }

// block is the pool's part of the Caddyfile, at /<name>/.
func (p pool) block(t *testing.T, up *upstream) string {
	t.Helper()
	var keys strings.Builder
	for i := range p.keys {
		fmt.Fprintln(&keys, p.key(i))
	}
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(keys.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	prices := filepath.Join(t.TempDir(), "prices.json")
	if err := os.WriteFile(prices, []byte(`{"demo-model": {"input": 2.5}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("handle_path /%s/* {\nkeycycler %[1]s {\nkeys_file %q {\nmanaged\n}\nprices %q\n%s\n}\nreverse_proxy %s\n}\n",
		p.name, path, prices, exact, strings.TrimPrefix(up.url, "http://"))
}

// startOperators starts a gateway with these pools. Browsers may open the page at its
// admin endpoint if that is said.
func startOperators(t *testing.T, up *upstream, browsers bool, pools ...block) *operators {
	t.Helper()
	plain, site, admin := listen(t), listen(t), "127.0.0.1:"+quietPort(t)
	g := &operators{
		gateway: &gateway{plain: fmt.Sprintf("http://127.0.0.1:%d/v1", port(plain))},
		admin:   "http://" + admin,
		site:    fmt.Sprintf("http://127.0.0.1:%d", port(site)),
	}
	origins := ""
	if browsers {
		origins = `origins ` + admin + ` ""`
	}
	var blocks strings.Builder
	for _, p := range pools {
		blocks.WriteString(p.block(t, up))
	}
	g.start(t, fmt.Sprintf(operatorsCaddyfile, admin, origins, port(plain), port(site), &blocks), plain, site)
	return g
}

// quietPort returns a free port that no outgoing connection gets by chance: whom
// Caddy's admin endpoint lets in depends on its address, so it cannot be handed down.
func quietPort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := fmt.Sprint(30_000 + rand.IntN(1000))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return ""
}

// send sends n requests to the pool, one after the other, and returns their status,
// which must be that of all.
func (g *operators) send(t *testing.T, pool string, n int) int {
	t.Helper()
	status := 0
	for range n {
		base := strings.TrimSuffix(g.plain, "/v1")
		response, err := http.Post(base+"/"+pool+"/v1/chat/completions", "application/json", strings.NewReader(`{"model":"demo-model"}`))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if status != 0 && status != response.StatusCode {
			t.Fatalf("status %d, then %d", status, response.StatusCode)
		}
		status = response.StatusCode
	}
	return status
}

// adminKey is the part of the admin API's answer that these tests look at.
type adminKey struct {
	State, Class, Source string
	Remaining            float64 `json:"remaining_seconds"`
}

// status asks the admin API about a key.
func (g *operators) status(t *testing.T, pool, id string) adminKey {
	t.Helper()
	response, err := http.Get(g.admin + "/keycycler/pools/" + pool + "/keys/" + id)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var k adminKey
	if err := json.NewDecoder(response.Body).Decode(&k); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("the admin API says %s: %v", response.Status, err)
	}
	return k
}

// moods are what an upstream thinks of keys, which changes while a test runs.
type moods struct {
	mu sync.Mutex
	of map[string]*refusal
}

func (m *moods) set(key string, r *refusal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil {
		m.of = make(map[string]*refusal)
	}
	m.of[key] = r
}

func (m *moods) refuse(key string) *refusal {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of[key]
}

// usedBy returns the keys that the calls were made with.
func usedBy(calls []call) []string {
	var keys []string
	for _, c := range calls {
		if !slices.Contains(keys, c.key) {
			keys = append(keys, c.key)
		}
	}
	return keys
}

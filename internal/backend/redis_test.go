package backend

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator/shared"
)

// redisSecret is obviously no password.
const redisSecret = "abcdefgh-password"

// redisContext is the context of a config that Caddy does not run: nothing connects.
func redisContext(t *testing.T) caddy.Context {
	t.Helper()
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin: &caddy.AdminConfig{Disabled: true},
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{
			"default": {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

func provisionRedis(t *testing.T, r *RedisState) *RedisState {
	t.Helper()
	if err := r.Provision(redisContext(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestRedisDefaults(t *testing.T) {
	r := provisionRedis(t, &RedisState{Addresses: []string{"redis.demo"}})
	got := fmt.Sprint(r.Username, r.DB, r.Prefix, r.MasterName, r.Cluster, r.TLS == nil, time.Duration(r.DialTimeout), time.Duration(r.ReadTimeout), time.Duration(r.WriteTimeout))
	if want := fmt.Sprint("", 0, "keycycler", "", false, true, 2*time.Second, 3*time.Second, 3*time.Second); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if mod := r.CaddyModule(); mod.ID != "http.keycycler.state.redis" || mod.New() == nil {
		t.Errorf("module %v", mod)
	}
	if r.State() == nil || r.Journal() == nil {
		t.Error("no state or no journal")
	}
}

func TestRedisPlaceholders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(redisSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DEMO_HOST", "redis.demo")
	t.Setenv("DEMO_NAME", "gateway")
	r := &RedisState{
		Addresses: []string{"{env.DEMO_HOST}:7000"}, Username: "{env.DEMO_NAME}", Password: "{file." + file + "}", Prefix: "of-{env.DEMO_NAME}",
		MasterName: "{env.DEMO_NAME}", SentinelUsername: "{env.DEMO_NAME}", SentinelPassword: "{file." + file + "}",
		TLS: &RedisTLS{ServerName: "{env.DEMO_HOST}"},
	}
	if err := r.expand(); err != nil {
		t.Fatal(err)
	}
	o, err := r.options()
	if err != nil {
		t.Fatal(err)
	}
	got := []string{o.Addrs[0], o.Username, o.Password, r.Prefix, o.MasterName, o.SentinelUsername, o.SentinelPassword, o.TLSConfig.ServerName}
	want := []string{"redis.demo:7000", "gateway", redisSecret, "of-gateway", "gateway", "gateway", redisSecret, "redis.demo"}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
}

// What Caddyfiles can only know when they are provisioned, and what JSON can hold.
func TestRedisProvisionErrors(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DEMO_PASSWORD", redisSecret)
	t.Setenv("DEMO_BRACE", redisSecret+"}")
	t.Setenv("DEMO_EMPTY", "")
	address := []string{"redis.demo"}
	const unknown = `unknown placeholder: there are {env.<name>} and {file.<path>}; a brace that is none is written \{`
	for _, test := range []struct {
		name  string
		state RedisState
		err   string // how the error begins
	}{
		{"no address", RedisState{}, "redis: no address"},
		{"an empty address", RedisState{Addresses: []string{""}}, "redis address: it is not host, "},
		{"an address that is not set", RedisState{Addresses: []string{"{env.DEMO_UNSET}"}}, "redis address: evaluated placeholder {env.DEMO_UNSET} is empty"},
		{"an address that turns out to be a URL", RedisState{Addresses: []string{"redis://:{env.DEMO_PASSWORD}@redis.demo"}}, "redis address: it is a URL"},
		{"a user that is not set", RedisState{Addresses: address, Username: "{env.DEMO_UNSET}"}, "redis username: evaluated placeholder {env.DEMO_UNSET} is empty"},
		{"a password that is empty", RedisState{Addresses: address, Password: "{env.DEMO_EMPTY}"}, "redis password: evaluated placeholder {env.DEMO_EMPTY} is empty"},
		{"a password of braces", RedisState{Addresses: address, Password: "{" + redisSecret + "}"}, "redis password: " + unknown},
		{"a sentinel's password of braces", RedisState{Addresses: address, SentinelPassword: "{" + redisSecret + "}"}, "redis sentinel_password: " + unknown},
		{"a prefix that turns out to be none", RedisState{Addresses: address, Prefix: "{env.DEMO_BRACE}"}, "redis prefix: it is not 1 to 64 letters"},
		{"a database below", RedisState{Addresses: address, DB: -1}, "redis db: -1 is out of range: 0 to 1000000"},
		{"a database above", RedisState{Addresses: address, DB: 1_000_001}, "redis db: 1000001 is out of range: 0 to 1000000"},
		{"a database in a cluster", RedisState{Addresses: []string{"a", "b"}, DB: 1}, "redis db: a cluster has no databases"},
		{"a cluster with sentinels", RedisState{Addresses: address, Cluster: true, MasterName: "demo"}, "redis: cluster and master_name exclude each other"},
		{"a sentinel's user without sentinels", RedisState{Addresses: address, SentinelUsername: "demo"}, "redis: sentinel_username and sentinel_password go with master_name"},
		{"a timeout below", RedisState{Addresses: address, DialTimeout: 1}, "redis dial_timeout: 1ns is out of range: 10ms to 1m0s"},
		{"a negative timeout", RedisState{Addresses: address, ReadTimeout: -1}, "redis read_timeout: -1ns is out of range: 10ms to 1m0s"},
		{"a timeout above", RedisState{Addresses: address, WriteTimeout: caddy.Duration(time.Hour)}, "redis write_timeout: 1h0m0s is out of range: 10ms to 1m0s"},
		{"a certificate without its key", RedisState{Addresses: address, TLS: &RedisTLS{CertFile: text}}, "redis tls: cert_file and key_file go together"},
		{"a path that is not set", RedisState{Addresses: address, TLS: &RedisTLS{CAFile: "{env.DEMO_UNSET}"}}, "redis tls ca_file: evaluated placeholder {env.DEMO_UNSET} is empty"},
		{"a file of authorities that is not there", RedisState{Addresses: address, TLS: &RedisTLS{CAFile: filepath.Join(dir, "none")}}, "redis tls: ca_file: open " + filepath.Join(dir, "none")},
		{"a file of authorities without any", RedisState{Addresses: address, TLS: &RedisTLS{CAFile: text}}, "redis tls: ca_file: no certificate in " + text},
		{"a certificate that is none", RedisState{Addresses: address, TLS: &RedisTLS{CertFile: text, KeyFile: text}}, "redis tls: cert_file: tls: failed to find any PEM data"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := test.state
			r.Addresses = append([]string(nil), r.Addresses...)
			if r.SentinelPassword == "" && r.Password == "" {
				r.Password = redisSecret
			}
			err := r.Provision(redisContext(t))
			if !strings.HasPrefix(testkit.Message(err), test.err) {
				t.Errorf("error %v, want %s", err, test.err)
			}
			if strings.Contains(testkit.Message(err), redisSecret) {
				t.Errorf("the error shows the password: %v", err)
			}
			for range 2 {
				if err := r.Cleanup(); err != nil {
					t.Errorf("cleanup: %v", err)
				}
			}
			if n := Users(); n != 0 {
				t.Errorf("%d configs hold the state", n)
			}
		})
	}
}

func TestWithPort(t *testing.T) {
	for address, want := range map[string]string{
		"redis.demo":        "redis.demo:6379",
		"redis.demo:7000":   "redis.demo:7000",
		"10.0.0.1":          "10.0.0.1:6379",
		"10.0.0.1:7000":     "10.0.0.1:7000",
		"::1":               "[::1]:6379",
		"[::1]":             "[::1]:6379",
		"[::1]:7000":        "[::1]:7000",
		"2001:db8::1":       "[2001:db8::1]:6379",
		"fe80::1%eth0":      "[fe80::1%eth0]:6379",
		"[fe80::1%eth0]:70": "[fe80::1%eth0]:70",
		":7000":             ":7000",
		"/run/redis.sock":   "/run/redis.sock",
		"/run/redis:7.sock": "/run/redis:7.sock",
	} {
		if got := withPort(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
		if err := checkRedisAddress(address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestRedisIdentity(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	configure := func(change func(*RedisState)) *RedisState {
		r := &RedisState{Addresses: []string{"redis.demo"}, Password: redisSecret, TLS: &RedisTLS{CAFile: ca}}
		change(r)
		r.setDefaults()
		return r
	}
	same := func(*RedisState) {}
	first := configure(same).identity()
	if configure(same).identity() != first || configure(func(r *RedisState) { r.Prefix = "keycycler" }).identity() != first {
		t.Error("the same config is told apart from itself")
	}
	if strings.Contains(first, redisSecret) || len(first) != 64 {
		t.Errorf("the identity %s is no hash", first)
	}
	for name, change := range map[string]func(*RedisState){
		"another address":   func(r *RedisState) { r.Addresses[0] = "other.demo" },
		"one more address":  func(r *RedisState) { r.Addresses = append(r.Addresses, "other.demo") },
		"another password":  func(r *RedisState) { r.Password += "2" },
		"another user":      func(r *RedisState) { r.Username = "gateway" },
		"another database":  func(r *RedisState) { r.DB = 1 },
		"another prefix":    func(r *RedisState) { r.Prefix = "demo" },
		"another timeout":   func(r *RedisState) { r.ReadTimeout = caddy.Duration(time.Second) },
		"no encryption":     func(r *RedisState) { r.TLS = nil },
		"another authority": func(r *RedisState) { r.TLS.CAFile = "" },
	} {
		if configure(change).identity() == first {
			t.Errorf("%s is not told apart", name)
		}
	}
	if err := os.WriteFile(ca, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	if configure(same).identity() == first {
		t.Error("a renewed certificate is not told apart")
	}
}

func TestRedisReloadsShareTheJournal(t *testing.T) {
	load := func(db int) *RedisState {
		r := &RedisState{Addresses: []string{"127.0.0.1:1"}, Password: redisSecret, DB: db}
		if err := r.Provision(redisContext(t)); err != nil {
			t.Fatal(err)
		}
		return r
	}
	unload := func(r *RedisState) {
		for range 2 { // Caddy may
			if err := r.Cleanup(); err != nil {
				t.Error(err)
			}
		}
	}
	first := load(0)
	journal, state := first.Journal().(*shared.Journal), first.State()
	second, other := load(0), load(1)
	if second.Journal() != first.Journal() {
		t.Error("the same config has a journal of its own")
	}
	if other.Journal() == first.Journal() {
		t.Error("another config shares the journal")
	}
	if second.State() != state || other.State() != state {
		t.Error("the process has more than one state")
	}
	unload(first)
	if n, _ := journals.References(second.key); n != 1 || second.Journal() != journal {
		t.Errorf("%d configs hold the journal, want 1", n)
	}
	unload(second)
	unload(other)
	for _, r := range []*RedisState{first, second, other} {
		if _, held := journals.References(r.key); held {
			t.Error("a journal is left")
		}
	}
	if n := Users(); n != 0 {
		t.Errorf("%d configs hold the state", n)
	}
	unload(new(RedisState)) // that was never provisioned
}

func TestRedisPrintsNoPassword(t *testing.T) {
	r := provisionRedis(t, &RedisState{
		Addresses: []string{"redis.demo"}, Password: redisSecret, MasterName: "demo", SentinelPassword: redisSecret,
	})
	for what, holder := range map[string]any{
		"the state": r, "its value": *r, "a slice": []any{r, *r}, "a struct": struct{ R *RedisState }{r}, "a struct that hides it": struct{ r *RedisState }{r},
		"its journal": r.Journal(), "an error": fmt.Errorf("%v %+v", r, *r),
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			text := fmt.Sprintf(verb, holder)
			if strings.Contains(text, redisSecret) || strings.Contains(text, fmt.Sprintf("%x", redisSecret)) {
				t.Errorf("%s: %s shows the password: %s", what, verb, text)
			}
		}
	}
}

func TestRedisTLSConfig(t *testing.T) {
	config, err := (&RedisTLS{}).config()
	if err != nil || config.RootCAs != nil || config.InsecureSkipVerify || config.MinVersion < 0x0303 {
		t.Errorf("an empty block gives %v, %v", config, err)
	}
	if config, err = (&RedisTLS{InsecureSkipVerify: true, ServerName: "redis.demo"}).config(); err != nil || !config.InsecureSkipVerify || config.ServerName != "redis.demo" {
		t.Errorf("%v, %v", config, err)
	}
}

package backend

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
)

func init() { caddy.RegisterModule(new(emitter)) }

// emitter is a module that has an event of its own.
type emitter struct{ ctx caddy.Context }

func (*emitter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "keycycler_test.emitter", New: func() caddy.Module { return new(emitter) }}
}

func (e *emitter) Provision(ctx caddy.Context) error {
	e.ctx = ctx
	return nil
}

// Only Caddy's own event begins, and once: other modules may have events of that name.
func TestStartSignal(t *testing.T) {
	ctx := redisContext(t)
	begin, err := started(ctx)
	if err != nil {
		t.Fatal(err)
	}
	app, err := ctx.App("events")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := ctx.LoadModuleByID("keycycler_test.emitter", nil)
	if err != nil {
		t.Fatal(err)
	}
	events := app.(*caddyevents.App)
	begun := func() bool {
		select {
		case <-begin:
			return true
		default:
			return false
		}
	}
	for range 2 {
		if events.Emit(mod.(*emitter).ctx, "started", nil); begun() {
			t.Fatal("another module's event has begun it")
		}
	}
	for range 2 {
		if events.Emit(ctx, "started", nil); !begun() {
			t.Fatal("Caddy's event has not begun it")
		}
	}
	events.Emit(mod.(*emitter).ctx, "started", nil)
}

// Caddy may clean up the state before the handlers that use it, which go on asking.
func TestStatesAnswerAfterCleanup(t *testing.T) {
	memory, redis := new(MemoryState), &RedisState{Addresses: []string{"127.0.0.1:1"}}
	for _, backend := range []interface {
		StateBackend
		caddy.Provisioner
		caddy.CleanerUpper
	}{memory, redis} {
		if err := backend.Provision(redisContext(t)); err != nil {
			t.Fatal(err)
		}
		state, journal := backend.State(), backend.Journal()
		if err := backend.Cleanup(); err != nil {
			t.Fatal(err)
		}
		if backend.State() != state || backend.Journal() != journal {
			t.Errorf("%T: state or journal is gone", backend)
		}
	}
	if redis.Health().Queue != 0 {
		t.Error("a closed journal has something to write")
	}
	if n := Users(); n != 0 {
		t.Errorf("%d configs hold the state", n)
	}
}

// Each new connection logs in with what the files say then.
func TestRedisLoginIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "{file." + file + "}"
	}
	server := redistest.Start(t)
	server.Do("ACL", "SETUSER", "first", "on", ">one-"+redisSecret, "+@all", "~*")
	r := &RedisState{Addresses: []string{server.Addr()}, Username: write("user", "first\n"), Password: write("password", "one-"+redisSecret+"\n")}
	if err := r.expand(); err != nil {
		t.Fatal(err)
	}
	o, err := r.options()
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewUniversalClient(o)
	t.Cleanup(func() { client.Close() })
	user := func() string {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		name, _ := client.Do(ctx, "ACL", "WHOAMI").Text()
		return name
	}
	if name := user(); name != "first" {
		t.Fatalf("logged in as %q", name)
	}
	write("user", "second\n")
	write("password", "two-"+redisSecret+"\n")
	if name := user(); name != "first" {
		t.Errorf("an open connection has changed to %q", name)
	}
	server.Do("ACL", "SETUSER", "second", "on", ">two-"+redisSecret, "+@all", "~*")
	server.Do("ACL", "DELUSER", "first") // which ends its connections
	deadline := time.Now().Add(10 * time.Second)
	for user() != "second" {
		if time.Now().After(deadline) {
			t.Fatal("new connections do not log in with what the files say")
		}
	}
	write("password", "")
	if _, _, err := r.login(); testkit.Message(err) == "" {
		t.Error("an empty file is a password")
	}
}

package keycycler

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// A line break or another control character in what ends up in headers, logs and
// Redis is an error when the config is loaded, and the error does not repeat it.
func TestControlCharactersInTheConfig(t *testing.T) {
	for name, bad := range map[string]string{
		"CRLF": "demo\r\nX-Injected: 1", "a line feed": "demo\nx", "a carriage return": "demo\rx", "NUL": "demo\x00x",
		"an escape": "demo\x1b[2Jx", "DEL": "demo\x7fx", "a C1 control": "demo\u0085x", "a line separator": "demo\u2028x",
	} {
		for option, set := range map[string]func(*Handler){
			"keys":             func(h *Handler) { h.Keys = []string{bad} },
			"keys {env}":       func(h *Handler) { h.Keys = []string{"{env.DEMO_CONTROL_KEY}"} },
			"keys of a group":  func(h *Handler) { h.Groups = []Group{{Name: "a", Keys: []string{bad}}} },
			"the pool's name":  func(h *Handler) { h.Pool = bad },
			"a group's name":   func(h *Handler) { h.Groups = []Group{{Name: bad, Keys: []string{"sk-demo-2"}}} },
			"auth header":      func(h *Handler) { h.Auth = &Auth{Header: bad} },
			"auth's prefix":    func(h *Handler) { h.Auth = &Auth{Header: "X-Own", Prefix: bad} },
			"a kept header":    func(h *Handler) { h.KeepHeaders = []string{bad} },
			"the provider":     func(h *Handler) { h.Provider = bad },
			"a rule's class":   func(h *Handler) { h.On = []Rule{{Class: bad, Action: "pass"}} },
			"a rule's action":  func(h *Handler) { h.On = []Rule{{Status: []int{429}, Action: bad}} },
			"cooldown's scope": func(h *Handler) { h.Cooldown = &Cooldown{Scope: bad} },
		} {
			t.Run(option+", "+name, func(t *testing.T) {
				if strings.Contains(option, "env") && strings.Contains(bad, "\x00") {
					return // the environment has no such value
				}
				if !strings.Contains(bad, "\x00") {
					t.Setenv("DEMO_CONTROL_KEY", bad)
				}
				h := &Handler{Keys: []string{"sk-demo-1"}}
				set(h)
				wantRefusal(t, h, bad)
			})
		}
	}
}

// In a keys file a line feed ends a key; a carriage return or a form feed within one
// does not, and is an error.
func TestControlCharactersInAKeysFile(t *testing.T) {
	for name, line := range map[string]string{
		"a carriage return": "sk-demo-1\rX: y", "NUL": "sk-demo-1\x00", "an escape": "\x1b[2Jsk-demo-1", "a form feed": "sk-demo\x0c-1",
		"a line separator": "sk-demo\u2028-1", "a byte order mark in the middle": "sk-\ufeffdemo-1",
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "keys")
			if err := os.WriteFile(file, []byte("sk-demo-2\n"+line+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, &Handler{KeysFiles: []string{file}}, line)
		})
	}
}

// wantRefusal wants an error in one line, without what is wrong in raw form.
func wantRefusal(t *testing.T, h *Handler, raw string) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	err := h.Provision(ctx)
	defer h.Cleanup()
	if err == nil {
		t.Fatal("it was taken")
	}
	if strings.Contains(err.Error(), raw) || strings.ContainsAny(err.Error(), "\r\n\x00\x1b") {
		t.Errorf("the error repeats it: %q", err)
	}
}

package admin

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/gateway"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/status"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/pools"
	"github.com/keycycler/keycycler/rotator"
)

// keysFile writes a keys file of that name.
func keysFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The page knows which keys it can remove and where they stand, and removes those alone.
func TestPageRemovesKeysOfManagedFiles(t *testing.T) {
	name, rank := testkit.FreshPool("page-remove"), rotator.Rank{Tier: 1, Weight: 1}
	mine := keysFile(t, "mine.keys", "sk-demo-1 east\nsk-demo-2\nsk-demo-3\n")
	groups := []keyset.Group{
		{Rank: rank, Texts: []string{"sk-demo-inline"}},
		{Rank: rank, Files: []string{mine}, Managed: true},
		{Rank: rank, Files: []string{keysFile(t, "fixed.keys", "sk-demo-3\nsk-demo-4\n")}},
	}
	h := pools.New(t, 0, func(c *gateway.Config) {
		c.Pool, c.Keys = name, &keyset.Source{Groups: &groups, Log: zap.NewNop()}
	})
	at := make(map[string]string)
	for k := range (pageSource{}).Keys(name) {
		at[k.ID] = k.About.Managed()
	}
	for secret, want := range map[string]string{"sk-demo-inline": "", "sk-demo-1": "mine.keys:1", "sk-demo-2": "mine.keys:2", "sk-demo-3": "mine.keys:3", "sk-demo-4": ""} {
		if got := at[testkit.IDOf(secret)]; got != want {
			t.Errorf("%s can be removed from %q, want %q", secret, got, want)
		}
	}
	for secret, want := range map[string]string{
		"sk-demo-inline": "which is not managed: take it away there", "sk-demo-4": "which is not managed: take it away there",
		"sk-demo-3": "also stands at fixed.keys:1",
	} {
		if err := (pageSource{}).Remove(name, testkit.IDOf(secret)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", secret, err, want)
		}
	}
	if err := (pageSource{}).Remove(name, testkit.IDOf("sk-demo-1")); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(mine); string(text) != "sk-demo-2\nsk-demo-3\n" || h.KeyPool().Len() != 4 {
		t.Errorf("the file has %q (%v), the pool %d keys", text, err, h.KeyPool().Len())
	}
	for id, pool := range map[string]string{testkit.IDOf("sk-demo-1"): name, "no id": name, testkit.IDOf("sk-demo-2"): "nobody's"} {
		if err := (pageSource{}).Remove(pool, id); !errors.Is(err, status.ErrNotFound) {
			t.Errorf("%s of %s: %v", id, pool, err)
		}
	}
}

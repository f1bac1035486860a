package keycycler

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// The reserve is used while all other keys are out, and no longer than that.
func TestTiersAreAReserve(t *testing.T) {
	h := provision(t, 2, func(c *gatewayConfig) {
		*c.Keys.groups = append(*c.Keys.groups, keyGroup{rank: rotator.Rank{Tier: 2, Weight: 1}, texts: []string{"sk-reserve-1"}})
	})
	for range 50 {
		up := script(fine)
		if _, err := serve(h, up, post("x")); err != nil || up.keys()[0] == "sk-reserve-1" {
			t.Fatalf("keys %v, error %v: the reserve is for need", up.keys(), err)
		}
	}
	up := script(limited, limited, fine)
	if w, err := serve(h, up, post("x")); err != nil || w.Code != 200 {
		t.Fatalf("status %d, error %v", w.Code, err)
	}
	if keys := up.keys(); len(keys) != 3 || keys[2] != "sk-reserve-1" {
		t.Errorf("keys %v, want the reserve last", keys)
	}
	h.roster.Load().pool.Clear(time.Now(), 0)
	for range 50 {
		up := script(fine)
		if serve(h, up, post("x")); up.keys()[0] != "sk-demo-1" {
			t.Fatalf("keys %v, though one of the first tier is back", up.keys())
		}
	}
}

// A key with weight 100 among one of weight 1 gets nearly everything.
func TestWeights(t *testing.T) {
	h := provision(t, 1, func(c *gatewayConfig) {
		*c.Keys.groups = append(*c.Keys.groups, keyGroup{rank: rotator.Rank{Tier: 1, Weight: 100}, texts: []string{"sk-heavy-1"}})
	})
	up := script(fine)
	const n = 505
	for range n {
		serve(h, up, post("x"))
	}
	light := 0
	for _, k := range up.keys() {
		if k == "sk-demo-1" {
			light++
		}
	}
	// Five are expected; more than 25 come once in 10^10 runs.
	if light > 25 {
		t.Errorf("the light key got %d of %d requests", light, n)
	}
}

// A key that moves to a file of another tier is another reason to build the pool anew,
// though the keys are the same.
func TestAKeyThatChangesItsTierIsAChange(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(first, "sk-demo-1\nsk-demo-2\n")
	write(second, "")
	h := provision(t, 0, func(c *gatewayConfig) {
		(*c.Keys.groups)[0].files = []string{first}
		*c.Keys.groups = append(*c.Keys.groups, keyGroup{rank: rotator.Rank{Tier: 2, Weight: 1}, files: []string{second}})
	})
	before := h.roster.Load()
	if err := h.reloadKeys(); err != nil || h.roster.Load() != before {
		t.Fatalf("nothing has changed, but the roster has: %v", err)
	}
	write(first, "sk-demo-1\n")
	write(second, "sk-demo-2\n")
	if err := h.reloadKeys(); err != nil || h.roster.Load() == before {
		t.Fatalf("the roster is the same: %v", err)
	}
	if got, want := h.roster.Load().ranks[1], (rotator.Rank{Tier: 2, Weight: 1}); got != want {
		t.Errorf("rank %v, want %v", got, want)
	}
}

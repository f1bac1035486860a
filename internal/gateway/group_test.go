package gateway

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// The reserve is used while all other keys are out, and no longer than that.
func TestTiersAreAReserve(t *testing.T) {
	h := provision(t, 2, func(c *Config) {
		*c.Keys.Groups = append(*c.Keys.Groups, keyset.Group{Rank: rotator.Rank{Tier: 2, Weight: 1}, Texts: []string{"sk-reserve-1"}})
	})
	for range 50 {
		up := testkit.Script(testkit.Fine)
		if _, err := testkit.Serve(h, up, testkit.Post("x")); err != nil || up.Keys()[0] == "sk-reserve-1" {
			t.Fatalf("keys %v, error %v: the reserve is for need", up.Keys(), err)
		}
	}
	up := testkit.Script(testkit.Limited, testkit.Limited, testkit.Fine)
	if w, err := testkit.Serve(h, up, testkit.Post("x")); err != nil || w.Code != 200 {
		t.Fatalf("status %d, error %v", w.Code, err)
	}
	if keys := up.Keys(); len(keys) != 3 || keys[2] != "sk-reserve-1" {
		t.Errorf("keys %v, want the reserve last", keys)
	}
	h.roster.Load().Pool.Clear(time.Now(), 0)
	for range 50 {
		up := testkit.Script(testkit.Fine)
		if testkit.Serve(h, up, testkit.Post("x")); up.Keys()[0] != "sk-demo-1" {
			t.Fatalf("keys %v, though one of the first tier is back", up.Keys())
		}
	}
}

// A key with weight 100 among one of weight 1 gets nearly everything.
func TestWeights(t *testing.T) {
	h := provision(t, 1, func(c *Config) {
		*c.Keys.Groups = append(*c.Keys.Groups, keyset.Group{Rank: rotator.Rank{Tier: 1, Weight: 100}, Texts: []string{"sk-heavy-1"}})
	})
	up := testkit.Script(testkit.Fine)
	const n = 505
	for range n {
		testkit.Serve(h, up, testkit.Post("x"))
	}
	light := 0
	for _, k := range up.Keys() {
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
	h := provision(t, 0, func(c *Config) {
		(*c.Keys.Groups)[0].Files = []string{first}
		*c.Keys.Groups = append(*c.Keys.Groups, keyset.Group{Rank: rotator.Rank{Tier: 2, Weight: 1}, Files: []string{second}})
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
	if got, want := h.roster.Load().RankOf(1), (rotator.Rank{Tier: 2, Weight: 1}); got != want {
		t.Errorf("rank %v, want %v", got, want)
	}
}

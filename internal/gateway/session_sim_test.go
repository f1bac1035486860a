//go:build !race

package gateway

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/internal/testkit"
)

// played is what became of conversations: how many turns had the key of the one before, and
// how many went out with each key.
type played struct {
	same, turns int
	use         map[string]int
}

// play sends 20 turns of 1,000 conversations, each turn a minute after the one before. Each
// minute one of 20 keys meets its limit, for two minutes.
func play(t *testing.T, configure func(*Config)) (p played) {
	const conversations, turns, keys = 1000, 20, 20
	synctest.Test(t, func(t *testing.T) {
		h := provision(t, keys, configure)
		r := rand.New(rand.NewPCG(5, 6))
		limited := make(map[string]time.Time)
		last, secrets := make([]string, conversations), testkit.DemoKeys(keys)
		p.use = make(map[string]int)
		for turn := range turns {
			limited[secrets[r.IntN(keys)]] = time.Now().Add(2 * time.Minute)
			for _, c := range r.Perm(conversations) {
				var key string
				w, err := testkit.Serve(h, handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
					key = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
					if left := time.Until(limited[key]); left > 0 {
						return testkit.Reply{Status: 429, Header: map[string]string{"Retry-After": fmt.Sprint(int(left.Seconds()))}}.Write(w)
					}
					return testkit.Fine.Write(w)
				}), saying(turnOf(c, turn, "")))
				if err != nil || w.Code != http.StatusOK {
					t.Fatalf("status %d, error %v", w.Code, err)
				}
				if p.use[key]++; turn > 0 {
					p.turns++
					if key == last[c] {
						p.same++
					}
				}
				last[c] = key
				time.Sleep(time.Minute / conversations)
			}
		}
	})
	return p
}

// Nearly all turns of a conversation have the key of the turn before, and keys are used
// alike. What others do is printed beside it.
func TestSessionsKeepTheirKeys(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	share := make(map[string]float64)
	for _, row := range []struct {
		how       string
		configure func(*Config)
	}{
		{"select session", sessions},
		{"select hash {http.keycycler.session}", func(c *Config) { c.Hash = "http.keycycler.session" }},
		{"select even", nil},
		{"select random", func(c *Config) { c.Random = true }},
	} {
		p := play(t, row.configure)
		share[row.how] = float64(p.same) / float64(p.turns)
		least, most := 1<<30, 0
		for _, n := range p.use {
			least, most = min(least, n), max(most, n)
		}
		t.Logf("%-37s %5.1f %% of %d turns with the key of the turn before; keys served %d to %d requests", row.how, 100*share[row.how], p.turns, least, most)
		if len(p.use) != 20 {
			t.Errorf("%s: %d of 20 keys were used", row.how, len(p.use))
		}
	}
	if s := share["select session"]; s < 0.94 || s <= share["select hash {http.keycycler.session}"] {
		t.Errorf("%.3f of the turns had the key of the turn before", s)
	}
}

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

// played is what became of conversations: how many turns had the key of the one before, how
// many went out with each key, and how many began with each.
type played struct {
	same, turns    int
	use, began     map[string]int
	prompt, cached int // tokens that were asked, and of these what the upstream had read before
}

// prefix is what the upstream keeps of a conversation with one key: so many tokens, for five
// minutes after they were asked for.
type prefix struct {
	tokens int
	until  time.Time
}

// asks counts the tokens of a turn, of which each is one of 500 more than that before.
func (p *played) asks(cache map[string]prefix, key string, conversation, turn int) {
	name, now, tokens := fmt.Sprint(key, " ", conversation), time.Now(), 500*(turn+1)
	if known := cache[name]; known.until.After(now) {
		p.cached += known.tokens
	}
	p.prompt += tokens
	cache[name] = prefix{tokens, now.Add(5 * time.Minute)}
}

// chiSquare tells how unevenly things are spread over n keys, of which some may have none:
// n - 1 on average, if each of them took a key by chance.
func chiSquare(counts map[string]int, n int) (x float64) {
	all := 0
	for _, c := range counts {
		all += c
	}
	mean := float64(all) / float64(n)
	for _, c := range counts {
		x += (float64(c) - mean) * (float64(c) - mean) / mean
	}
	return x + float64(n-len(counts))*mean
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
		p.use, p.began = make(map[string]int), make(map[string]int)
		cache := make(map[string]prefix)
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
				p.asks(cache, key, c, turn)
				if turn == 0 {
					p.began[key]++
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
	share, cached := make(map[string]float64), make(map[string]float64)
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
		share[row.how], cached[row.how] = float64(p.same)/float64(p.turns), float64(p.cached)/float64(p.prompt)
		least, most := 1<<30, 0
		for _, n := range p.use {
			least, most = min(least, n), max(most, n)
		}
		began := chiSquare(p.began, 19) // keys that are ready in the first minute
		t.Logf("%-37s %5.1f %% of %d turns with the key of the turn before; %.1f %% of the prompts' tokens were cached; keys served %d to %d requests (χ² %.0f); χ² of where conversations began %.1f",
			row.how, 100*share[row.how], p.turns, 100*cached[row.how], least, most, chiSquare(p.use, 20), began)
		if began > 85 { // once in 10^10 times, of 18 degrees of freedom: chance has no seed here
			t.Errorf("%s: conversations began with some keys more often than by chance: χ² %.1f", row.how, began)
		}
		if len(p.use) != 20 {
			t.Errorf("%s: %d of 20 keys were used", row.how, len(p.use))
		}
	}
	if s := cached["select session"]; s < 0.8 || s <= cached["select even"] {
		t.Errorf("%.3f of the prompts' tokens were cached", s)
	}
	if s := share["select session"]; s < 0.94 || s <= share["select hash {http.keycycler.session}"] {
		t.Errorf("%.3f of the turns had the key of the turn before", s)
	}
}

package gateway

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// The simulation: an upstream with true token buckets for every key, every group
// and the gateway's address, in synthetic time, and clients that come at random.

// bucket holds tokens that come back one by one.
type bucket struct {
	size, tokens float64
	every        time.Duration // until the next one
	at           time.Time
}

func newBucket(size float64, every time.Duration) *bucket {
	return &bucket{size: size, tokens: size, every: every, at: time.Now()}
}

// take takes a token, or tells how long it takes until there is one.
func (b *bucket) take(now time.Time) (wait time.Duration, ok bool) {
	b.tokens = min(b.size, b.tokens+float64(now.Sub(b.at))/float64(b.every))
	b.at = now
	if b.tokens >= 1 {
		b.tokens--
		return 0, true
	}
	return time.Duration((1 - b.tokens) * float64(b.every)), false
}

// world is the upstream.
type world struct {
	mu        sync.Mutex
	keys      map[string]*bucket
	group     map[string]string // key → group
	fallen    map[string]bool   // groups that are out
	throttled bool              // the address is
	states    bool              // whether a 429 states how long to wait
	slow      time.Duration     // how much longer it takes to serve than to refuse

	calls, refused int
	spent          map[string]time.Time // key → when its own limit, or its group's, is over
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) error {
	time.Sleep(20 * time.Millisecond) // as long as a refusal takes
	key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	now := time.Now()
	w.mu.Lock()
	w.calls++
	wait, ok := time.Minute, false
	own := false
	switch {
	case w.throttled, r.Header.Get("X-Poison") != "":
	case w.fallen[w.group[key]]:
		wait, own = time.Hour, true
	default:
		wait, ok = w.keys[key].take(now)
		own = !ok
	}
	if !ok {
		w.refused++
	}
	if own {
		w.spent[key] = now.Add(max(wait, 30*time.Second) * 11 / 10)
	}
	w.mu.Unlock()
	if ok {
		time.Sleep(w.slow)
		_, err := io.WriteString(rw, "fine")
		return err
	}
	if w.states {
		rw.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
	}
	rw.WriteHeader(http.StatusTooManyRequests)
	_, _ = io.WriteString(rw, `{"error":{"message":"Rate limit reached","code":"rate_limit_exceeded"}}`)
	return nil
}

// set changes the world.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// scenario is one simulation.
type scenario struct {
	keys, groups int           // groups of keys that the config knows of, or 0
	perSecond    float64       // requests
	length       time.Duration // of the simulation
	poison       float64       // share of requests that no key serves
	states       bool
	slow         time.Duration
	events       func(w *world) // happens meanwhile
}

// outcome is what came of it.
type outcome struct {
	calls, refused  int     // upstream
	poisonous       int     // requests
	failed          int     // requests that could have been served
	wrongly         float64 // key-seconds in which a key cooled that had no limit of its own
	wronglyAtTheEnd int
	recovered       time.Duration // after the last event, until a request was served
}

func (o outcome) String() string {
	return fmt.Sprintf("%6d calls, %5d refused, %4d requests failed, %7.0f key-seconds cooled wrongly, %3d keys at the end, served again after %s",
		o.calls, o.refused, o.failed, o.wrongly, o.wronglyAtTheEnd, o.recovered.Round(100*time.Millisecond))
}

// simulate runs the scenario, with keys that are compared or that cool to the letter. It
// must run in a bubble.
func simulate(t *testing.T, s scenario, compared bool) (o outcome) {
	w := &world{
		keys: make(map[string]*bucket), group: make(map[string]string), fallen: make(map[string]bool),
		spent: make(map[string]time.Time), states: s.states, slow: s.slow,
	}
	keys := testkit.DemoKeys(s.keys)
	h := provision(t, 1, func(c *Config) {
		c.ProbeOff = !compared
		(*c.Keys.Groups)[0].Texts = nil
		groups := make(map[string][]string)
		for i, k := range keys {
			w.keys[k] = newBucket(60, time.Second)
			w.group[k] = fmt.Sprintf("org-%d", i%5)
			groups[w.group[k]] = append(groups[w.group[k]], k)
		}
		if s.groups == 0 {
			(*c.Keys.Groups)[0].Texts = keys
			return
		}
		for name, members := range groups {
			*c.Keys.Groups = append(*c.Keys.Groups, keyset.Group{Name: name, Rank: plainRank, Texts: members})
		}
	})
	r := rand.New(rand.NewPCG(1, 2))
	end := time.Now().Add(s.length)
	var mu sync.Mutex
	var calmed time.Time // when the last event was over
	done := make(chan struct{})
	var background sync.WaitGroup
	background.Go(func() {
		if s.events != nil {
			s.events(w)
		}
		mu.Lock()
		calmed = time.Now()
		mu.Unlock()
		close(done)
	})
	background.Go(func() {
		for time.Now().Before(end) {
			time.Sleep(time.Second)
			n := wronglyCooling(h, w)
			o.wrongly += float64(n)
			o.wronglyAtTheEnd = n
		}
	})
	var clients sync.WaitGroup
	for time.Now().Before(end) {
		time.Sleep(time.Duration(r.ExpFloat64() / s.perSecond * float64(time.Second)))
		poison := r.Float64() < s.poison
		clients.Go(func() {
			request := testkit.Post("x")
			if poison {
				mu.Lock()
				o.poisonous++
				mu.Unlock()
				request.Header.Set("X-Poison", "1")
			}
			rec, err := testkit.Serve(h, w, request)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Error(err)
			case rec.Code == http.StatusOK:
				if !calmed.IsZero() && o.recovered == 0 {
					o.recovered = time.Since(calmed)
				}
			case !poison && w.healthy():
				o.failed++
			}
		})
	}
	clients.Wait()
	background.Wait()
	<-done
	o.calls, o.refused = w.calls, w.refused
	return o
}

func (w *world) healthy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.throttled
}

// wronglyCooling counts keys that are proven to cool and have met no limit of their own.
func wronglyCooling(h *Gateway, w *world) (n int) {
	now := time.Now()
	roster := h.roster.Load()
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range roster.Pool.Len() {
		key := roster.Pool.Key(rotator.Slot(s)).Secret()
		limited := w.spent[key].After(now) || w.fallen[w.group[key]]
		if st := roster.Pool.Status(now, rotator.Slot(s)); st.Condition == rotator.Cooling && st.Suspect == nil && !limited {
			n++
		}
	}
	return n
}

// backWithin is how soon a request is served again, once the upstream serves.
const backWithin = 11 * time.Second

// mistakes is how many of some 12,000 requests may be stopped by chance, where many
// keys are limited all at once.
const mistakes = 2

// Neither a poisonous request nor a throttle of the gateway's address cools keys
// that have nothing to do with it, and an organisation that falls out takes its own
// keys alone.
func TestNobodyBurnsThePool(t *testing.T) {
	throttle := func(w *world) {
		time.Sleep(2 * time.Minute)
		w.set(func() { w.throttled = true })
		time.Sleep(5 * time.Minute)
		w.set(func() { w.throttled = false })
	}
	fall := func(w *world) {
		time.Sleep(2 * time.Minute)
		w.set(func() { w.fallen["org-1"] = true })
	}
	for _, row := range []struct {
		sentence string
		scenario scenario
		check    func(t *testing.T, with, without outcome)
	}{
		{"one request in a hundred is poisonous", scenario{keys: 50, perSecond: 20, length: 10 * time.Minute, poison: 0.01, states: true},
			func(t *testing.T, with, without outcome) {
				// To the letter the pool is dead most of the time.
				if with.failed > mistakes || with.wronglyAtTheEnd > 0 || with.wrongly > without.wrongly/100 || with.refused > 15*with.poisonous {
					t.Error("the pool suffers")
				}
			}},
		{"a small pool with poisonous requests", scenario{keys: 3, perSecond: 1, length: 20 * time.Minute, poison: 0.01, states: true},
			func(t *testing.T, with, without outcome) {
				if with.failed > mistakes || with.wronglyAtTheEnd > 0 || with.wrongly > without.wrongly/20 {
					t.Error("the pool suffers")
				}
			}},
		{"the address is throttled for five minutes, and says how long", scenario{keys: 50, perSecond: 20, length: 15 * time.Minute, states: true, events: throttle},
			func(t *testing.T, with, without outcome) {
				if with.failed > without.failed || with.wronglyAtTheEnd > 0 || with.refused > 90+50 || with.recovered > backWithin {
					t.Error("the pool suffers")
				}
			}},
		{"likewise, and it says nothing", scenario{keys: 200, perSecond: 50, length: 10 * time.Minute, events: throttle},
			func(t *testing.T, with, without outcome) {
				if with.wronglyAtTheEnd > 0 || with.refused > without.refused/2 || with.recovered > backWithin {
					t.Error("the pool suffers")
				}
			}},
		{"an organisation falls out, and the config knows the groups", scenario{keys: 50, groups: 5, perSecond: 20, length: 10 * time.Minute, states: true, events: fall},
			func(t *testing.T, with, without outcome) {
				if with.failed > mistakes || with.wrongly > 0 || with.refused > 10 {
					t.Error("the pool suffers")
				}
			}},
		{"likewise, and the config knows nothing", scenario{keys: 50, perSecond: 20, length: 10 * time.Minute, states: true, events: fall},
			func(t *testing.T, with, without outcome) {
				if with.failed > mistakes || with.wrongly > 0 {
					t.Error("the pool suffers")
				}
			}},
		{"three of five organisations fall out at once", scenario{keys: 100, perSecond: 20, length: 10 * time.Minute, states: true, events: func(w *world) {
			time.Sleep(2 * time.Minute)
			w.set(func() { w.fallen["org-1"], w.fallen["org-2"], w.fallen["org-3"] = true, true, true })
		}},
			func(t *testing.T, with, without outcome) {
				if with.failed > 2*mistakes || with.wrongly > 0 {
					t.Error("the pool suffers")
				}
			}},
		{"two of five fall out, and it takes ten seconds to serve a request", scenario{keys: 100, perSecond: 20, length: 10 * time.Minute, states: true, slow: 10 * time.Second, events: func(w *world) {
			time.Sleep(2 * time.Minute)
			w.set(func() { w.fallen["org-1"], w.fallen["org-2"] = true, true })
		}},
			func(t *testing.T, with, without outcome) {
				if with.failed > mistakes || with.wrongly > 0 {
					t.Error("the pool suffers")
				}
			}},
		{"the address is throttled, and it takes ten seconds to serve a request", scenario{keys: 200, perSecond: 50, length: 10 * time.Minute, slow: 10 * time.Second, events: throttle},
			func(t *testing.T, with, without outcome) {
				if with.wronglyAtTheEnd > 0 || with.refused > without.refused/2 {
					t.Error("the pool suffers")
				}
			}},
		{"one request in a hundred is poisonous, and it takes ten seconds to serve the others", scenario{keys: 50, perSecond: 20, length: 10 * time.Minute, poison: 0.01, states: true, slow: 10 * time.Second},
			func(t *testing.T, with, without outcome) {
				// All come from one client and to one path: as long as nobody knows better, they
				// are taken for one kind.
				if with.failed > without.failed/4 || with.wronglyAtTheEnd > 0 || with.refused > 15*with.poisonous {
					t.Error("the pool suffers")
				}
			}},
		{"more is asked for than all keys allow", scenario{keys: 10, perSecond: 20, length: 10 * time.Minute, states: true},
			func(t *testing.T, with, without outcome) {
				if served := func(o outcome) int { return o.calls - o.refused }; served(with) < served(without) || with.refused > served(with)*11/10 {
					t.Error("the pool suffers")
				}
			}},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			var got [2]outcome
			for i, compared := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) { got[i] = simulate(t, row.scenario, compared) })
			}
			t.Logf("to the letter: %s", got[0])
			t.Logf("compared:      %s", got[1])
			row.check(t, got[1], got[0])
		})
	}
}

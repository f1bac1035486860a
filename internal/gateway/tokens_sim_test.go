//go:build !race

package gateway

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// tokensMinute is what each key of the simulation allows, tokens a minute.
const tokensMinute = 90_000

// size is how many tokens a request has, and its answer.
type size struct{ in, out int }

// sizes are spread widely: most are small, some are a third of what a key allows in a minute.
func sizes(r *rand.Rand) size {
	lognormal := func(median, sigma, least, most float64) int {
		return int(min(max(median*math.Exp(sigma*r.NormFloat64()), least), most))
	}
	return size{lognormal(1500, 1.2, 50, 30_000), lognormal(300, 1, 10, 4000)}
}

// meteredUpstream counts tokens truly, in a bucket a key. It takes the whole of a request from
// the bucket when that comes, as OpenAI does, and refuses one for which there is too little.
type meteredUpstream struct {
	mu      sync.Mutex
	buckets map[string]*bucket
	states  bool // answers say what is left

	calls, refused int
	served         int // tokens
}

// take takes n tokens, or tells how long it takes until there are so many.
func (b *bucket) takeAll(now time.Time, n float64) (wait time.Duration, ok bool) {
	b.tokens = min(b.size, b.tokens+float64(now.Sub(b.at))/float64(b.every))
	b.at = now
	if b.tokens >= n {
		b.tokens -= n
		return 0, true
	}
	return time.Duration((n - b.tokens) * float64(b.every)), false
}

func (u *meteredUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	in, _ := strconv.Atoi(r.Header.Get("X-In"))
	out, _ := strconv.Atoi(r.Header.Get("X-Out"))
	_, _ = io.Copy(io.Discard, r.Body)
	time.Sleep(50 * time.Millisecond)
	wait, ok := u.take(w.Header(), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), in+out)
	if !ok {
		w.Header().Set("Retry-After", fmt.Sprint(int(wait.Seconds())+1))
		w.WriteHeader(http.StatusTooManyRequests)
		_, err := io.WriteString(w, rateLimited)
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	time.Sleep(500*time.Millisecond + time.Duration(out)*10*time.Millisecond)
	_, err := fmt.Fprintf(w, `{"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d}}`, in, out)
	return err
}

func (u *meteredUpstream) take(h http.Header, key string, n int) (wait time.Duration, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	b := u.buckets[key]
	wait, ok = b.takeAll(time.Now(), float64(n))
	u.calls++
	if !ok {
		u.refused++
	} else {
		u.served += n
	}
	if u.states {
		h.Set("X-Ratelimit-Limit-Tokens", fmt.Sprint(int(b.size)))
		h.Set("X-Ratelimit-Remaining-Tokens", fmt.Sprint(int(b.tokens)))
		h.Set("X-Ratelimit-Reset-Tokens", time.Duration((b.size-b.tokens)*float64(b.every)).Round(time.Millisecond).String())
	}
	return wait, ok
}

// goodput is what became of the requests of a simulation.
type goodput struct {
	sent, failed   int
	offered        int // tokens
	calls, refused int // of the upstream
	served         int // tokens
	waited         time.Duration
}

func (g goodput) refusals() float64 { return float64(g.refused) / float64(g.calls) }
func (g goodput) share() float64    { return float64(g.served) / float64(g.offered) }

// burden sends requests at random, of 90 % of what the keys allow in all, for so long. Half of
// them state how long their answer may be: up to twice, or so many times, as long as it is.
func burden(t *testing.T, keys int, long time.Duration, states bool, times int, configure func(*Config)) (g goodput) {
	synctest.Test(t, func(t *testing.T) {
		u := &meteredUpstream{buckets: make(map[string]*bucket), states: states}
		h := provision(t, keys, func(c *Config) {
			c.MaxWait = 30 * time.Second
			configure(c)
		})
		for _, k := range testkit.DemoKeys(keys) {
			u.buckets[k] = newBucket(tokensMinute, time.Minute/tokensMinute)
		}
		r, mean := rand.New(rand.NewPCG(3, 4)), 0.0
		for range 100_000 {
			s := sizes(r)
			mean += float64(s.in+s.out) / 100_000
		}
		every := mean / (0.9 * tokensMinute * float64(keys)) * float64(time.Minute)
		var clients sync.WaitGroup
		var mu sync.Mutex
		for end := time.Now().Add(long); time.Now().Before(end); {
			time.Sleep(time.Duration(r.ExpFloat64() * every))
			s, most := sizes(r), 0
			if r.IntN(2) == 0 {
				most = times*s.out + r.IntN(s.out+1)
			}
			g.sent++
			g.offered += s.in + s.out
			clients.Go(func() {
				began := time.Now()
				w, err := testkit.Serve(h, u, sized(s, most))
				mu.Lock()
				defer mu.Unlock()
				if err != nil || w.Code != http.StatusOK {
					g.failed++
				}
				g.waited += time.Since(began)
			})
		}
		clients.Wait()
		g.calls, g.refused, g.served = u.calls, u.refused, u.served
	})
	return g
}

// sized returns a request of that size, which states how long its answer may be, or not.
func sized(s size, most int) *http.Request {
	limit := ""
	if most > 0 {
		limit = fmt.Sprintf(`"max_tokens":%d,`, most)
	}
	text := strings.Repeat("word", s.in)
	body := fmt.Sprintf(`{"model":"m",%s"messages":[{"role":"user","content":%q}]}`, limit, text)
	r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-In", fmt.Sprint(s.in))
	r.Header.Set("X-Out", fmt.Sprint(s.out))
	return r
}

// tokensOf limits each key to so many tokens a minute.
func tokensOf(n int64) func(*Config) {
	return func(c *Config) {
		c.Limit = &rotator.Limit{Tokens: n, TokensPer: time.Minute, Reason: reason.Limit, Source: reason.SourceConfig}
	}
}

// With a limit of tokens, hardly any call is refused; with what answers state, fewer than
// without. What that costs is printed beside it.
func TestLimitsOfTokensSaveRefusals(t *testing.T) {
	pools, minutes := []int{10}, 300
	if os.Getenv("KEYCYCLER_LONG") == "1" { // the numbers in docs/keys.md
		pools, minutes = []int{3, 10, 50}, 600
	}
	for _, keys := range pools {
		long := time.Duration(minutes/keys) * time.Minute
		results := make(map[string]goodput)
		for _, row := range []struct {
			how       string
			states    bool
			configure func(*Config)
		}{
			{"neither", false, func(*Config) {}},
			{"learned", true, func(*Config) {}},
			{"limit", false, tokensOf(tokensMinute)},
			{"both", true, tokensOf(tokensMinute)},
		} {
			g := burden(t, keys, long, row.states, 1, row.configure)
			results[row.how] = g
			t.Logf("%2d keys, %-8s %5.2f %% of %6d calls refused, %5.2f %% of the tokens served, %5d of %6d requests failed, %5.2f s each",
				keys, row.how+":", 100*g.refusals(), g.calls, 100*g.share(), g.failed, g.sent, g.waited.Seconds()/float64(g.sent))
		}
		for _, order := range [][2]string{{"learned", "neither"}, {"limit", "neither"}} {
			fewer, more := results[order[0]].refusals(), results[order[1]].refusals()
			if cmp.Compare(fewer, more) >= 0 {
				t.Errorf("%d keys: %.4f of the calls were refused with %s, %.4f with %s", keys, fewer, order[0], more, order[1])
			}
		}
		if limited := results["limit"].refusals(); limited > results["learned"].refusals() || limited > 0.0005 {
			t.Errorf("%d keys: %.4f of the calls were refused with a limit", keys, limited)
		}
	}
}

// Where clients let answers be many times as long as they are, as most do, requests wait hardly
// longer than where they do not.
func TestLimitsOfTokensLearnWhatAnswersUse(t *testing.T) {
	const keys, long = 10, 30 * time.Minute
	var each [2]float64
	for i, times := range []int{1, 20} {
		g := burden(t, keys, long, false, times, tokensOf(tokensMinute))
		each[i] = g.waited.Seconds() / float64(g.sent)
		t.Logf("up to %d times too much: %.2f %% of %d calls refused, %.1f %% of the tokens served, %.2f s each",
			times+1, 100*g.refusals(), g.calls, 100*g.share(), each[i])
		if g.refusals() > 0.0005 {
			t.Errorf("%.4f of the calls were refused", g.refusals())
		}
	}
	if each[1] > 1.3*each[0] {
		t.Errorf("a request takes %.1f s, and %.1f s where less is stated", each[1], each[0])
	}
}

// A limit of tokens adds no allocation to a request.
func TestTokensAddNoAllocation(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection would empty the pools
	content := []byte(turnOf(1, 15, `,"max_tokens":50`))
	allocations := func(configure func(*Config)) float64 {
		h := provision(t, 20, configure)
		silence(h)
		r, body := benchRequest(content)
		w := &discard{header: http.Header{}}
		return testing.AllocsPerRun(200, func() {
			body.Reset(content)
			if err := h.ServeHTTP(w, r, handlerFunc(served)); err != nil {
				t.Fatal(err)
			}
		})
	}
	without, with := allocations(nil), allocations(tokensOf(1e9))
	if with > without {
		t.Errorf("%v allocations, %v without", with, without)
	}
}

package gateway

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// forbidden is a refusal that nobody understands.
var forbidden = testkit.Reply{Status: 403, Header: map[string]string{"X-Own": "yes"}, Body: "no"}

// As long as nothing is served, clients get the last answer of their kind with the time of
// the next call; a request of another kind goes out.
func TestAPacedPool(t *testing.T) {
	for _, row := range []struct {
		sentence string
		answer   testkit.Reply
		body     string
		most     int // seconds until the next call, or until what is stated is over
	}{
		{"limits", unstated, "Rate limit reached", 10}, {"limits that state a time", timed(40), "Rate limit reached", 40}, {"other refusals", forbidden, "no", 10},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := provision(t, 6, func(c *Config) { c.Pool = testkit.FreshPool("paced") })
			registry := prometheus.NewRegistry()
			if _, err := observe.NewMetrics(registry, h.seen); err != nil {
				t.Fatal(err)
			}
			up := testkit.Script(row.answer)
			for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(500 * time.Millisecond) {
				testkit.Serve(h, up, testkit.Post("x"))
			}
			calls, began := len(up.Calls), time.Now()
			if calls > 70 {
				t.Errorf("%s: %d calls in half a minute", row.sentence, calls)
			}
			var held *httptest.ResponseRecorder
			for held == nil { // the next one may be let out
				w, err := testkit.Serve(h, up, testkit.Post("x"))
				if err != nil || w.Code != row.answer.Status || !strings.Contains(w.Body.String(), row.body) {
					t.Fatalf("%s: the client got %d %s, %v", row.sentence, w.Code, w.Body, err)
				}
				if len(up.Calls) == calls {
					held = w
				}
				calls = len(up.Calls)
			}
			if after := seconds(t, held); after < 1 || after > row.most || row.body == "no" && held.Header().Get("X-Own") != "yes" {
				t.Errorf("%s: the client got %v", row.sentence, held.Header())
			}
			if n := gather(t, registry)[`caddy_keycycler_stopped_total{fault="pool",pool="`+h.Pool+`"}`]; n < 1 {
				t.Errorf("%s: %v requests were counted", row.sentence, n)
			}
			other := testkit.Post("x")
			other.URL.Path = "/v1/embeddings"
			if testkit.Serve(h, up, other); len(up.Calls) == calls {
				t.Errorf("%s: a request of another kind did not go out", row.sentence)
			}
			// Who obeys is served.
			time.Sleep(time.Duration(seconds(t, held)) * time.Second)
			if w, _ := testkit.Serve(h, testkit.Script(testkit.Fine), testkit.Post("x")); w.Code != 200 {
				t.Errorf("%s: after %s the client got %d", row.sentence, time.Since(began), w.Code)
			}
		})
	}
}

// A kept answer in a content coding is for clients that take it.
func TestAKeptAnswerIsReadByItsClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := provision(t, 6, func(c *Config) { c.Pool = testkit.FreshPool("coded") })
		up := testkit.Script(testkit.Reply{Status: 403, Header: map[string]string{"Content-Encoding": "gzip"}, Body: testkit.Compress(t, "gzip", "no")})
		asks := func(codings string) *httptest.ResponseRecorder {
			r := testkit.Post("x")
			if codings != "" {
				r.Header.Set("Accept-Encoding", codings)
			}
			w, err := testkit.Serve(h, up, r)
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
		for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(500 * time.Millisecond) {
			asks("gzip")
		}
		for codings, coded := range map[string]bool{"gzip": true, "": false, "br": false} {
			for kept := false; !kept; { // the next one may be let out
				calls := len(up.Calls)
				w := asks(codings)
				kept = len(up.Calls) == calls
				if got := w.Header().Get("Content-Encoding") == "gzip"; kept && got != coded {
					t.Errorf("who takes %q got %v", codings, w.Header())
				}
			}
		}
	})
}

// seconds returns the Retry-After.
func seconds(t *testing.T, w *httptest.ResponseRecorder) int {
	t.Helper()
	d, err := time.ParseDuration(w.Header().Get("Retry-After") + "s")
	if err != nil {
		t.Fatalf("header %v", w.Header())
	}
	return int(d.Seconds())
}

// Those who may wait do so in the line, and all are served when it is over, but for those
// that went out to find out.
func TestAPacedPoolIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := patient(t, 3, time.Minute, nil)
		answers := map[int]testkit.Reply{0: unstated}
		var mu sync.Mutex
		calls, statuses := 0, make(map[int]int)
		next := handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			mu.Lock()
			defer mu.Unlock()
			calls++
			return answers[0].Write(w)
		})
		began := time.Now()
		var done sync.WaitGroup
		for n := range 100 {
			if n == 3 { // the pace is on then: until it is, whoever waits tries
				time.Sleep(5 * time.Second)
			}
			done.Go(func() {
				w, err := testkit.Serve(h, next, testkit.Post("x"))
				mu.Lock()
				defer mu.Unlock()
				if statuses[w.Code]++; err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(20 * time.Second)
		mu.Lock()
		refused := calls
		if refused > 40 {
			t.Errorf("%d calls in 25 s", refused)
		}
		answers[0] = testkit.Fine
		mu.Unlock()
		done.Wait()
		if took := time.Since(began); took > 35500*time.Millisecond {
			t.Errorf("all were served after %s only", took)
		}
		if statuses[200]+statuses[429] != 100 || statuses[429] > refused {
			t.Errorf("%v, after %d refused calls", statuses, refused)
		}
	})
}

// A request that waits asks a key that has refused it once its step is over, and no sooner.
func TestWhoWaitsAsksAgainAfterTheStep(t *testing.T) {
	for _, row := range []struct {
		sentence string
		answer   testkit.Reply
		step     time.Duration
		status   int
	}{
		{"what nobody understands", forbidden, 30 * time.Second, 403},
		{"a limit that states its time", timed(20), 20 * time.Second, 429},
		{"a limit that states none", unstated, time.Second, 429},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := patient(t, 1, 100*time.Second, nil)
			began, last, calls := time.Now(), time.Time{}, 0
			next := handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				if calls++; !last.IsZero() && time.Since(last) < row.step {
					t.Errorf("%s: asked again after %s", row.sentence, time.Since(last))
				}
				last = time.Now()
				return row.answer.Write(w)
			})
			w, err := testkit.Serve(h, next, testkit.Post("x"))
			if err != nil || w.Code != row.status || time.Since(began) > 100*time.Second {
				t.Errorf("%s: after %s the client got %d, %v", row.sentence, time.Since(began), w.Code, err)
			}
			if calls < 3 {
				t.Errorf("%s: %d calls", row.sentence, calls)
			}
		})
	}
}

// A reload keeps the pace, and so does another pool of a key; strangers, and those who ask
// in another way, have their own.
func TestWhoSharesThePace(t *testing.T) {
	h := provision(t, 5, nil)
	testkit.Serve(h, testkit.Script(unstated), testkit.Post("x"))
	texts := func(keys ...string) func(*Config) {
		return func(c *Config) { (*c.Keys.Groups)[0] = keyset.Group{Rank: plainRank, Texts: keys} }
	}
	for _, row := range []struct {
		sentence string
		change   func(*Config)
		want     bool
	}{
		{"a reload", func(*Config) {}, true},
		{"a reload with another name", func(c *Config) { c.Pool = "renamed" }, true},
		{"a pool with one of the keys", texts("sk-demo-2", "sk-new"), true},
		{"a pool of others", texts("sk-stranger"), false},
		{"another provider", func(c *Config) { c.Provider = provider.Presets["anthropic"] }, false},
		{"another header", func(c *Config) { c.Auth = &provider.Auth{Header: "X-Key"} }, false},
	} {
		next := provision(t, 5, row.change)
		if got := next.pace == h.pace; got != row.want {
			t.Errorf("%s: the pace is shared: %t", row.sentence, got)
		}
		next.Close()
	}
	next := provision(t, 5, nil)
	if h.Close(); !next.pace.Active() {
		t.Error("what was refused before the reload is forgotten")
	}
}

// An operator that clears a key ends the pace, and to the letter there is none.
func TestWhatIsNotPaced(t *testing.T) {
	for _, row := range []struct {
		sentence string
		change   func(*Config)
		do       func(*Gateway)
		want     int // calls of another request
	}{
		{"paced", nil, func(*Gateway) {}, 0},
		{"a key was cleared", nil, func(h *Gateway) { h.KeyPool().Clear(time.Now(), 0) }, 1},
		{"a key was disabled and enabled", nil, func(h *Gateway) {
			h.KeyPool().Disable(time.Now(), 0)
			h.KeyPool().Enable(time.Now(), 0)
		}, 1},
		{"to the letter keys cool", func(c *Config) { c.ProbeOff = true }, func(*Gateway) {}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := provision(t, 5, row.change)
			testkit.Serve(h, testkit.Script(unstated), testkit.Post("x"))
			row.do(h)
			up := testkit.Script(testkit.Fine)
			if testkit.Serve(h, up, testkit.Post("x")); len(up.Calls) != row.want {
				t.Errorf("%s: %d calls", row.sentence, len(up.Calls))
			}
			if h.judge.ToTheLetter && h.pace.Active() {
				t.Errorf("%s: there is a pace", row.sentence)
			}
		})
	}
}

// A suspicion of a limit is the model's, and so is a quota that names it; all else is the
// key's. So is what the same request's success with another key says.
func TestTheScopeOfASuspicion(t *testing.T) {
	named := testkit.Reply{Status: 429, Body: `{"error":{"message":"You exceeded your current quota for gpt-a","code":"insufficient_quota"}}`}
	for _, row := range []struct {
		sentence string
		answer   testkit.Reply
		scoped   bool
	}{
		{"a limit", unstated, true}, {"a quota that names the model", named, true},
		{"a quota", testkit.Spent, false}, {"a refused key", testkit.BadKey, false}, {"what nobody understands", forbidden, false},
	} {
		for _, proven := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				h := byModel(t, 2)
				replies := []testkit.Reply{row.answer}
				if proven {
					replies = append(replies, testkit.Fine)
				}
				up := testkit.Script(replies...)
				testkit.Serve(h, up, asking("gpt-a"))
				slot := rotator.Slot(0)
				if up.Keys()[0] == "sk-demo-2" {
					slot = 1
				}
				st := h.KeyPool().Status(time.Now(), slot)
				scoped := len(st.Scopes) == 1 && st.Scopes[0].Scope == "gpt-a" && (st.Scopes[0].Suspect == nil) == (proven && st.Scopes[0].Left > 0)
				whole := st.Suspect != nil || st.Condition == rotator.Cooling
				if scoped != row.scoped || whole == row.scoped {
					t.Errorf("%s, proven %t: %+v", row.sentence, proven, st)
				}
				if c := h.KeyPool().CensusIn(time.Now(), "gpt-b"); (c.Free == 2) != row.scoped {
					t.Errorf("%s, proven %t: for another model %+v", row.sentence, proven, c)
				}
			})
		}
	}
}

// People are told of a limit at once, as the seed has it, and of all else when it is proven.
func TestWhenCooldownsAreTold(t *testing.T) {
	for _, row := range []struct {
		sentence string
		answer   testkit.Reply
		class    string
		source   string
		at       int // the call at which it is told: 1 the refusal, 2 the success of another key
	}{
		{"a limit", unstated, "rate_limited", "default", 1},
		{"a limit that states a time", timed(40), "rate_limited", "retry-after", 1},
		{"a limit that is proven", used, "rate_limited", "retry-after", 1},
		{"a spent quota", testkit.Spent, "quota_exhausted", "default", 1},
		{"a refused key", testkit.BadKey, "invalid_key", "default", 2},
		{"what nobody understands", forbidden, "unknown", "default", 2},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			h := logged(t, 2, func(c *Config) { c.Pool, c.ByModel = testkit.FreshPool("told"), false })
			registry := prometheus.NewRegistry()
			if _, err := observe.NewMetrics(registry, h.seen); err != nil {
				t.Fatal(err)
			}
			name := `caddy_keycycler_cooldowns_total{class="` + row.class + `",pool="` + h.Pool + `",source="` + row.source + `"}`
			told := func() (lines int, counted float64) {
				return h.log.FilterMessage("key is cooling").Len(), gather(t, registry)[name]
			}
			call := 0
			next := handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				if call++; call == 1 {
					return row.answer.Write(w)
				}
				if lines, n := told(); (lines == 1) != (row.at == 1) || (n == 1) != (row.at == 1) {
					t.Errorf("when it was refused %d lines, counted %v", lines, n)
				}
				return testkit.Fine.Write(w)
			})
			testkit.Serve(h, next, testkit.Post("x"))
			if lines, n := told(); lines != 1 || n != 1 {
				t.Errorf("in the end %d lines, counted %v", lines, n)
			}
		})
	}
}

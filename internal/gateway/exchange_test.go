package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/ttl"
)

func TestRotation(t *testing.T) {
	for _, test := range []struct {
		name    string
		replies []testkit.Reply
		calls   int
		status  int
		body    string // a part of it
	}{
		{"a response that is no rejection passes", []testkit.Reply{testkit.Fine}, 1, 200, "fine"},
		{"a rate limit moves on to another key", []testkit.Reply{testkit.Limited, testkit.Fine}, 2, 200, "fine"},
		{"so do a spent quota and a key that was refused", []testkit.Reply{testkit.Spent, testkit.BadKey, testkit.Fine}, 3, 200, "fine"},
		{"a request that is too large for every key is passed on", []testkit.Reply{testkit.TooLarge, testkit.Fine}, 1, 429, "Request too large"},
		{"an overloaded upstream is passed on", []testkit.Reply{{Status: 503, Body: "busy"}, testkit.Fine}, 1, 503, "busy"},
		{"an upstream's error is passed on", []testkit.Reply{{Status: 500, Body: "oops"}, testkit.Fine}, 1, 500, "oops"},
		{"an error of the client's is passed on", []testkit.Reply{{Status: 400, Body: `{"error":{"message":"bad","code":"model_not_found"}}`}, testkit.Fine}, 1, 400, "model_not_found"},
		{"a 403 that says nothing about the key is passed on", []testkit.Reply{{Status: 403, Body: `{"error":{"code":"unsupported_country_region_territory"}}`}, testkit.Fine}, 1, 403, "country"},
		{"a rejection without a body is one", []testkit.Reply{{Status: 429}, testkit.Fine}, 2, 200, "fine"},
		{"a rejection whose body broke off is one", []testkit.Reply{{Status: 429, Body: "{", Panics: http.ErrAbortHandler}, testkit.Fine}, 2, 200, "fine"},
		{"the error that follows a rejection is of no account", []testkit.Reply{{Status: 429, Err: errors.New("late")}, testkit.Fine}, 2, 200, "fine"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := provision(t, 4, nil)
			upstream := testkit.Script(test.replies...)
			w, err := testkit.Serve(h, upstream, testkit.Post(`{"model":"demo"}`))
			if err != nil {
				t.Fatal(err)
			}
			if len(upstream.Calls) != test.calls {
				t.Errorf("%d upstream calls, want %d", len(upstream.Calls), test.calls)
			}
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.body) {
				t.Errorf("client got %d %q, want %d with %q", w.Code, w.Body, test.status, test.body)
			}
			testkit.Distinct(t, upstream.Keys())
			for i, c := range upstream.Calls {
				if c.Body != `{"model":"demo"}` {
					t.Errorf("attempt %d sent %q", i+1, c.Body)
				}
			}
		})
	}
}

func TestCoolingKeysAreLeftAlone(t *testing.T) {
	for _, test := range []struct {
		name  string
		first testkit.Reply
		class ttl.Class
		least time.Duration
		most  time.Duration
	}{
		{"a rate limit cools for what it states", testkit.Limited, ttl.RateLimited, 40 * time.Second, 44 * time.Second},
		{"a rate limit that states nothing cools for the default", testkit.Reply{Status: 429}, ttl.RateLimited, 60 * time.Second, 66 * time.Second},
		{"a short wait cools for min", testkit.Reply{Status: 429, Header: map[string]string{"Retry-After": "1"}}, ttl.RateLimited, 30 * time.Second, 33 * time.Second},
		{"an endless wait cools for max", testkit.Reply{Status: 429, Header: map[string]string{"Retry-After": "9223372037"}}, ttl.RateLimited, 24 * time.Hour, 27 * time.Hour},
		{"a spent quota cools for max", testkit.Spent, ttl.QuotaExhausted, 24 * time.Hour, 27 * time.Hour},
		{"an invalid key cools for max", testkit.BadKey, ttl.InvalidKey, 24 * time.Hour, 27 * time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := provision(t, 2, nil)
				upstream := testkit.Script(test.first, testkit.Fine)
				for range 50 {
					if w, err := testkit.Serve(h, upstream, testkit.Post("x")); err != nil || w.Code != 200 {
						t.Fatalf("client got %d, %v", w.Code, err)
					}
				}
				if len(upstream.Calls) != 51 {
					t.Errorf("%d upstream calls for 50 requests: the key was not left alone", len(upstream.Calls))
				}
				census := h.roster.Load().Pool.Census(time.Now())
				if census.Ready != 1 || census.Cooling[test.class] != 1 {
					t.Errorf("pool: %s", testkit.ReasonCounts(census))
				}
				time.Sleep(test.least - 1)
				if c := h.roster.Load().Pool.Census(time.Now()); c.Ready != 1 {
					t.Errorf("ready before %s", test.least)
				}
				time.Sleep(test.most - test.least + 1)
				if c := h.roster.Load().Pool.Census(time.Now()); c.Ready != 2 {
					t.Errorf("not ready after %s", test.most)
				}
			})
		})
	}
}

func TestWhatIsNotTheKeysFaultCoolsNothing(t *testing.T) {
	refused := errors.New("dial tcp: connection refused")
	for _, test := range []struct {
		name string
		next testkit.Reply
		want string
	}{
		{"a dial error comes back as it is", testkit.Reply{Err: caddyhttp.Error(http.StatusBadGateway, refused)}, "refused"},
		{"a 5xx", testkit.Reply{Status: 502}, ""},
		{"a client that is gone", testkit.Reply{Status: 499}, ""},
		{"a request too large for 20 keys", testkit.TooLarge, ""},
		{"a plain 404 that does not speak of the key", testkit.Reply{Status: 404, Body: "log in first"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := provision(t, 20, nil)
			for range 40 {
				_, err := testkit.Serve(h, testkit.Script(test.next), testkit.Post("x"))
				if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
					t.Fatalf("error %v, want %q", err, test.want)
				}
			}
			if c := h.roster.Load().Pool.Census(time.Now()); c.Ready != 20 {
				t.Errorf("%d of 20 keys are ready", c.Ready)
			}
		})
	}
}

func TestDialErrorAfterARejectionComesBackUnchanged(t *testing.T) {
	h := provision(t, 3, nil)
	want := caddyhttp.Error(http.StatusBadGateway, errors.New("dial"))
	w, err := testkit.Serve(h, testkit.Script(testkit.Limited, testkit.Reply{Err: want}), testkit.Post("x"))
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
	if len(w.Header()) != 0 || w.Body.Len() != 0 {
		t.Errorf("the rejection left header %v, body %q", w.Header(), w.Body)
	}
}

// Where the answers prove that the keys are at their limits, none is asked again.
func TestSixteenLimitedKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := provision(t, 16, nil)
		upstream := testkit.Script(used)
		w, err := testkit.Serve(h, upstream, testkit.Post("x"))
		if err != nil || w.Code != 429 {
			t.Fatalf("client got %d, %v", w.Code, err)
		}
		if len(upstream.Calls) != 15 {
			t.Fatalf("%d upstream calls, want 15", len(upstream.Calls))
		}
		testkit.Distinct(t, upstream.Keys())
		if got := w.Header().Get("Retry-After"); got != "1" {
			t.Errorf("Retry-After %q with one key ready, want 1", got)
		}
		for range 1000 {
			w, err = testkit.Serve(h, upstream, testkit.Post("x"))
			if err != nil || w.Code != 429 {
				t.Fatalf("client got %d, %v", w.Code, err)
			}
		}
		if len(upstream.Calls) != 16 {
			t.Errorf("%d upstream calls, want 16: only the second request had a key left", len(upstream.Calls))
		}
		soonest := h.roster.Load().Pool.Census(time.Now()).Soonest
		want := fmt.Sprint(int((soonest + time.Second - 1) / time.Second))
		if got := w.Header().Get("Retry-After"); got != want || soonest < 40*time.Second || soonest > 44*time.Second {
			t.Errorf("Retry-After %q, want %q; the soonest key is ready in %s", got, want, soonest)
		}
		time.Sleep(soonest)
		if w, err = testkit.Serve(h, testkit.Script(testkit.Fine), testkit.Post("x")); err != nil || w.Code != 200 {
			t.Errorf("after the Retry-After the client got %d, %v", w.Code, err)
		}
	})
}

func TestAttemptsAndTimeAreBounded(t *testing.T) {
	t.Run("max_attempts", func(t *testing.T) {
		h := provision(t, 10, func(c *Config) { c.MaxAttempts = 3 })
		upstream := testkit.Script(testkit.Limited)
		if w, err := testkit.Serve(h, upstream, testkit.Post("x")); err != nil || w.Code != 429 || len(upstream.Calls) != 3 {
			t.Errorf("%d calls, client got %d, %v", len(upstream.Calls), w.Code, err)
		}
	})
	t.Run("try_duration", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := provision(t, 10, func(c *Config) { c.TryDuration = 5 * time.Second })
			upstream := &testkit.Upstream{Answer: func(_ int, w http.ResponseWriter, _ *http.Request) error {
				time.Sleep(2 * time.Second)
				return testkit.Limited.Write(w)
			}}
			if w, err := testkit.Serve(h, upstream, testkit.Post("x")); err != nil || w.Code != 429 || len(upstream.Calls) != 3 {
				t.Errorf("%d calls, want 3 (at 0, 2 and 4 s); client got %d, %v", len(upstream.Calls), w.Code, err)
			}
		})
	})
	t.Run("a client that is gone", func(t *testing.T) {
		h := provision(t, 10, nil)
		ctx, cancel := context.WithCancel(context.Background())
		upstream := &testkit.Upstream{Answer: func(_ int, w http.ResponseWriter, _ *http.Request) error {
			cancel()
			return testkit.Limited.Write(w)
		}}
		if w, err := testkit.Serve(h, upstream, testkit.Post("x").WithContext(ctx)); err != nil || w.Code != 499 || len(upstream.Calls) != 1 {
			t.Errorf("%d calls, log shows %d, %v", len(upstream.Calls), w.Code, err)
		}
	})
}

func TestRulesChangeWhatResponsesMean(t *testing.T) {
	const hour = time.Hour
	for _, test := range []struct {
		name    string
		rule    blame.Rule
		first   testkit.Reply
		calls   int
		cooling int
		least   time.Duration
	}{
		{"a status can be retried", blame.Rule{Status: []int{503}, Action: "retry"}, testkit.Reply{Status: 503}, 2, 0, 0},
		{"a whole class of statuses can be retried", blame.Rule{Status: []int{5}, Action: "retry"}, testkit.Reply{Status: 502}, 2, 0, 0},
		{"a status can cool for a fixed time", blame.Rule{Status: []int{500}, Action: "cooldown", Duration: hour}, testkit.Reply{Status: 500}, 2, 1, time.Hour},
		{"a status can cool for what it states", blame.Rule{Status: []int{500}, Action: "cooldown"}, testkit.Reply{Status: 500, Header: map[string]string{"Retry-After": "120"}}, 2, 1, 2 * time.Minute},
		{"a status can be passed on", blame.Rule{Status: []int{429}, Action: "pass"}, testkit.Limited, 1, 0, 0},
		{"a class can be passed on", blame.Rule{Class: "quota_exhausted", Action: "pass"}, testkit.Spent, 1, 0, 0},
		{"a class can cool for a fixed time", blame.Rule{Class: "invalid_key", Action: "cooldown", Duration: hour}, testkit.BadKey, 2, 1, time.Hour},
		{"a class can be retried", blame.Rule{Class: "rate_limited", Action: "retry"}, testkit.Limited, 2, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := provision(t, 3, func(c *Config) { c.Rules = []blame.Rule{test.rule} })
				upstream := testkit.Script(test.first, testkit.Fine)
				if _, err := testkit.Serve(h, upstream, testkit.Post("x")); err != nil {
					t.Fatal(err)
				}
				c := h.roster.Load().Pool.Census(time.Now())
				if len(upstream.Calls) != test.calls || c.Keys-c.Ready != test.cooling {
					t.Errorf("%d calls, want %d; %s", len(upstream.Calls), test.calls, testkit.ReasonCounts(c))
				}
				if test.cooling == 0 {
					return
				}
				time.Sleep(test.least - 1)
				if c := h.roster.Load().Pool.Census(time.Now()); c.Ready != 2 {
					t.Error("ready too early")
				}
				time.Sleep(test.least/10 + 1)
				if c := h.roster.Load().Pool.Census(time.Now()); c.Ready != 3 {
					t.Error("not ready after the time and its jitter")
				}
			})
		})
	}
}

func TestAClassRuleComesBeforeAStatusRule(t *testing.T) {
	h := provision(t, 3, func(c *Config) {
		c.Rules = []blame.Rule{{Status: []int{429}, Action: "retry"}, {Status: []int{4}, Action: "pass"}, {Class: "quota_exhausted", Action: "pass"}}
	})
	for _, test := range []struct {
		first testkit.Reply
		calls int
	}{{testkit.Spent, 1}, {testkit.Limited, 2}, {testkit.BadKey, 1}} {
		upstream := testkit.Script(test.first, testkit.Fine)
		if _, err := testkit.Serve(h, upstream, testkit.Post("x")); err != nil || len(upstream.Calls) != test.calls {
			t.Errorf("%d: %d calls, want %d, %v", test.first.Status, len(upstream.Calls), test.calls, err)
		}
	}
}

func TestGenericJudgesNothingBut429(t *testing.T) {
	for _, test := range []struct {
		first testkit.Reply
		calls int
	}{{testkit.Limited, 2}, {testkit.BadKey, 1}, {testkit.Spent, 2}, {testkit.Reply{Status: 402}, 1}} {
		h := provision(t, 3, func(c *Config) { c.Provider = provider.Presets["generic"] })
		upstream := testkit.Script(test.first, testkit.Fine)
		if _, err := testkit.Serve(h, upstream, testkit.Post("x")); err != nil || len(upstream.Calls) != test.calls {
			t.Errorf("%d: %d calls, want %d, %v", test.first.Status, len(upstream.Calls), test.calls, err)
		}
	}
}

func TestAPanicThatIsNotAnAbortedResponseGoesOn(t *testing.T) {
	for _, first := range []testkit.Reply{{Status: 429, Panics: "bug"}, {Panics: "bug"}, {Status: 200, Panics: http.ErrAbortHandler}} {
		h := provision(t, 3, nil)
		func() {
			defer func() {
				if p := recover(); p != first.Panics {
					t.Errorf("status %d: recovered %v, want %v", first.Status, p, first.Panics)
				}
			}()
			testkit.Serve(h, testkit.Script(first, testkit.Fine), testkit.Post("x"))
			t.Errorf("status %d: no panic", first.Status)
		}()
	}
}

func TestTheServersRequestStaysAsItIs(t *testing.T) {
	h := provision(t, 3, nil)
	r := testkit.Post("x")
	r.Header.Set("Authorization", "Bearer client")
	r.Header.Set("X-API-Key", "client")
	before := r.Header.Clone()
	url := r.URL.String()
	meddle := &testkit.Upstream{Answer: func(n int, w http.ResponseWriter, r *http.Request) error {
		r.Header.Set("X-Meddled", "yes")
		r.Header["Accept"] = append(r.Header["Accept"], "meddled")
		for name := range r.Header {
			r.Header[name][0] = "meddled"
		}
		r.URL.Path = "/meddled"
		if n == 0 {
			return testkit.Limited.Write(w)
		}
		return testkit.Fine.Write(w)
	}}
	if w, err := testkit.Serve(h, meddle, r); err != nil || w.Code != 200 {
		t.Fatal(w.Code, err)
	}
	if fmt.Sprint(r.Header) != fmt.Sprint(before) || r.URL.String() != url {
		t.Errorf("request is %v %s now", r.Header, r.URL)
	}
	upstream := testkit.Script(testkit.Fine)
	if _, err := testkit.Serve(h, upstream, httptest.NewRequest("GET", "/", nil)); err != nil || strings.Contains(upstream.Calls[0].Key, "meddled") {
		t.Errorf("the pool's key was changed for all: %q, %v", upstream.Calls[0].Key, err)
	}
}

// net/http's transport goes on dialling for an attempt that is over, and Caddy's
// dialler reads variables: a second attempt that wrote into the same map would
// crash the process.
func TestAttemptsDoNotShareVariables(t *testing.T) {
	h := provision(t, 3, nil)
	var first context.Context
	read := make(chan any)
	next := attempts(
		func(w http.ResponseWriter, r *http.Request) {
			first = r.Context()
			caddyhttp.SetVar(first, "attempt", 1)
			w.WriteHeader(http.StatusTooManyRequests)
		},
		func(w http.ResponseWriter, r *http.Request) {
			go func() { read <- caddyhttp.GetVar(first, "attempt") }()
			caddyhttp.SetVar(r.Context(), "attempt", 2)
			if got := <-read; got != 1 {
				t.Errorf("the first attempt reads what the second wrote: %v", got)
			}
			if got := caddyhttp.GetVar(r.Context(), "outside"); got != "known" {
				t.Errorf("the second attempt does not know what was set before: %v", got)
			}
		})
	vars := map[string]any{"outside": "known"}
	r := testkit.Post("x").WithContext(context.WithValue(t.Context(), caddyhttp.VarsCtxKey, vars))
	if w, err := testkit.Serve(h, next, r); err != nil || w.Code != 200 {
		t.Error(w.Code, err)
	}
}

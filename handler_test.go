package keycycler

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

	"github.com/keycycler/keycycler/ttl"
)

func TestRotation(t *testing.T) {
	for _, test := range []struct {
		name    string
		replies []reply
		calls   int
		status  int
		body    string // a part of it
	}{
		{"a response that is no rejection passes", []reply{fine}, 1, 200, "fine"},
		{"a rate limit moves on to another key", []reply{limited, fine}, 2, 200, "fine"},
		{"so do a spent quota and a key that was refused", []reply{spent, badKey, fine}, 3, 200, "fine"},
		{"a request that is too large for every key is passed on", []reply{tooLarge, fine}, 1, 429, "Request too large"},
		{"an overloaded upstream is passed on", []reply{{status: 503, body: "busy"}, fine}, 1, 503, "busy"},
		{"an upstream's error is passed on", []reply{{status: 500, body: "oops"}, fine}, 1, 500, "oops"},
		{"an error of the client's is passed on", []reply{{status: 400, body: `{"error":{"message":"bad","code":"model_not_found"}}`}, fine}, 1, 400, "model_not_found"},
		{"a 403 that says nothing about the key is passed on", []reply{{status: 403, body: `{"error":{"code":"unsupported_country_region_territory"}}`}, fine}, 1, 403, "country"},
		{"a rejection without a body is one", []reply{{status: 429}, fine}, 2, 200, "fine"},
		{"a rejection whose body broke off is one", []reply{{status: 429, body: "{", panics: http.ErrAbortHandler}, fine}, 2, 200, "fine"},
		{"the error that follows a rejection is of no account", []reply{{status: 429, err: errors.New("late")}, fine}, 2, 200, "fine"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := provision(t, 4, nil)
			upstream := script(test.replies...)
			w, err := serve(h, upstream, post(`{"model":"demo"}`))
			if err != nil {
				t.Fatal(err)
			}
			if len(upstream.calls) != test.calls {
				t.Errorf("%d upstream calls, want %d", len(upstream.calls), test.calls)
			}
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.body) {
				t.Errorf("client got %d %q, want %d with %q", w.Code, w.Body, test.status, test.body)
			}
			distinct(t, upstream.keys())
			for i, c := range upstream.calls {
				if c.body != `{"model":"demo"}` {
					t.Errorf("attempt %d sent %q", i+1, c.body)
				}
			}
		})
	}
}

func TestCoolingKeysAreLeftAlone(t *testing.T) {
	for _, test := range []struct {
		name  string
		first reply
		class ttl.Class
		least time.Duration
		most  time.Duration
	}{
		{"a rate limit cools for what it states", limited, ttl.RateLimited, 40 * time.Second, 44 * time.Second},
		{"a rate limit that states nothing cools for the default", reply{status: 429}, ttl.RateLimited, 60 * time.Second, 66 * time.Second},
		{"a short wait cools for min", reply{status: 429, header: map[string]string{"Retry-After": "1"}}, ttl.RateLimited, 30 * time.Second, 33 * time.Second},
		{"an endless wait cools for max", reply{status: 429, header: map[string]string{"Retry-After": "9223372037"}}, ttl.RateLimited, 24 * time.Hour, 27 * time.Hour},
		{"a spent quota cools for max", spent, ttl.QuotaExhausted, 24 * time.Hour, 27 * time.Hour},
		{"an invalid key cools for max", badKey, ttl.InvalidKey, 24 * time.Hour, 27 * time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := provision(t, 2, nil)
				upstream := script(test.first, fine)
				for range 50 {
					if w, err := serve(h, upstream, post("x")); err != nil || w.Code != 200 {
						t.Fatalf("client got %d, %v", w.Code, err)
					}
				}
				if len(upstream.calls) != 51 {
					t.Errorf("%d upstream calls for 50 requests: the key was not left alone", len(upstream.calls))
				}
				census := h.roster.Load().pool.Census(time.Now())
				if census.Ready != 1 || census.Cooling[test.class] != 1 {
					t.Errorf("pool: %s", reasonCounts(census))
				}
				time.Sleep(test.least - 1)
				if c := h.roster.Load().pool.Census(time.Now()); c.Ready != 1 {
					t.Errorf("ready before %s", test.least)
				}
				time.Sleep(test.most - test.least + 1)
				if c := h.roster.Load().pool.Census(time.Now()); c.Ready != 2 {
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
		next reply
		want string
	}{
		{"a dial error comes back as it is", reply{err: caddyhttp.Error(http.StatusBadGateway, refused)}, "refused"},
		{"a 5xx", reply{status: 502}, ""},
		{"a client that is gone", reply{status: 499}, ""},
		{"a request too large for 20 keys", tooLarge, ""},
		{"a plain 401 that does not speak of the key", reply{status: 401, body: "log in first"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := provision(t, 20, nil)
			for range 40 {
				_, err := serve(h, script(test.next), post("x"))
				if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
					t.Fatalf("error %v, want %q", err, test.want)
				}
			}
			if c := h.roster.Load().pool.Census(time.Now()); c.Ready != 20 {
				t.Errorf("%d of 20 keys are ready", c.Ready)
			}
		})
	}
}

func TestDialErrorAfterARejectionComesBackUnchanged(t *testing.T) {
	h := provision(t, 3, nil)
	want := caddyhttp.Error(http.StatusBadGateway, errors.New("dial"))
	w, err := serve(h, script(limited, reply{err: want}), post("x"))
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
	if len(w.Header()) != 0 || w.Body.Len() != 0 {
		t.Errorf("the rejection left header %v, body %q", w.Header(), w.Body)
	}
}

func TestSixteenLimitedKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := provision(t, 16, nil)
		upstream := script(limited)
		w, err := serve(h, upstream, post("x"))
		if err != nil || w.Code != 429 {
			t.Fatalf("client got %d, %v", w.Code, err)
		}
		if len(upstream.calls) != 15 {
			t.Fatalf("%d upstream calls, want 15", len(upstream.calls))
		}
		distinct(t, upstream.keys())
		if got := w.Header().Get("Retry-After"); got != "1" {
			t.Errorf("Retry-After %q with one key ready, want 1", got)
		}
		for range 1000 {
			w, err = serve(h, upstream, post("x"))
			if err != nil || w.Code != 429 {
				t.Fatalf("client got %d, %v", w.Code, err)
			}
		}
		if len(upstream.calls) != 16 {
			t.Errorf("%d upstream calls, want 16: only the second request had a key left", len(upstream.calls))
		}
		soonest := h.roster.Load().pool.Census(time.Now()).Soonest
		want := fmt.Sprint(int((soonest + time.Second - 1) / time.Second))
		if got := w.Header().Get("Retry-After"); got != want || soonest < 40*time.Second || soonest > 44*time.Second {
			t.Errorf("Retry-After %q, want %q; the soonest key is ready in %s", got, want, soonest)
		}
		time.Sleep(soonest)
		if w, err = serve(h, script(fine), post("x")); err != nil || w.Code != 200 {
			t.Errorf("after the Retry-After the client got %d, %v", w.Code, err)
		}
	})
}

func TestAttemptsAndTimeAreBounded(t *testing.T) {
	t.Run("max_attempts", func(t *testing.T) {
		h := provision(t, 10, func(c *gatewayConfig) { c.MaxAttempts = 3 })
		upstream := script(limited)
		if w, err := serve(h, upstream, post("x")); err != nil || w.Code != 429 || len(upstream.calls) != 3 {
			t.Errorf("%d calls, client got %d, %v", len(upstream.calls), w.Code, err)
		}
	})
	t.Run("try_duration", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := provision(t, 10, func(c *gatewayConfig) { c.TryDuration = 5 * time.Second })
			upstream := &fakeUpstream{answer: func(_ int, w http.ResponseWriter, _ *http.Request) error {
				time.Sleep(2 * time.Second)
				return limited.write(w)
			}}
			if w, err := serve(h, upstream, post("x")); err != nil || w.Code != 429 || len(upstream.calls) != 3 {
				t.Errorf("%d calls, want 3 (at 0, 2 and 4 s); client got %d, %v", len(upstream.calls), w.Code, err)
			}
		})
	})
	t.Run("a client that is gone", func(t *testing.T) {
		h := provision(t, 10, nil)
		ctx, cancel := context.WithCancel(context.Background())
		upstream := &fakeUpstream{answer: func(_ int, w http.ResponseWriter, _ *http.Request) error {
			cancel()
			return limited.write(w)
		}}
		if w, err := serve(h, upstream, post("x").WithContext(ctx)); err != nil || w.Code != 499 || len(upstream.calls) != 1 {
			t.Errorf("%d calls, log shows %d, %v", len(upstream.calls), w.Code, err)
		}
	})
}

func TestRulesChangeWhatResponsesMean(t *testing.T) {
	const hour = time.Hour
	for _, test := range []struct {
		name    string
		rule    rule
		first   reply
		calls   int
		cooling int
		least   time.Duration
	}{
		{"a status can be retried", rule{status: []int{503}, action: "retry"}, reply{status: 503}, 2, 0, 0},
		{"a whole class of statuses can be retried", rule{status: []int{5}, action: "retry"}, reply{status: 502}, 2, 0, 0},
		{"a status can cool for a fixed time", rule{status: []int{500}, action: "cooldown", duration: hour}, reply{status: 500}, 2, 1, time.Hour},
		{"a status can cool for what it states", rule{status: []int{500}, action: "cooldown"}, reply{status: 500, header: map[string]string{"Retry-After": "120"}}, 2, 1, 2 * time.Minute},
		{"a status can be passed on", rule{status: []int{429}, action: "pass"}, limited, 1, 0, 0},
		{"a class can be passed on", rule{class: "quota_exhausted", action: "pass"}, spent, 1, 0, 0},
		{"a class can cool for a fixed time", rule{class: "invalid_key", action: "cooldown", duration: hour}, badKey, 2, 1, time.Hour},
		{"a class can be retried", rule{class: "rate_limited", action: "retry"}, limited, 2, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := provision(t, 3, func(c *gatewayConfig) { c.Rules = []rule{test.rule} })
				upstream := script(test.first, fine)
				if _, err := serve(h, upstream, post("x")); err != nil {
					t.Fatal(err)
				}
				c := h.roster.Load().pool.Census(time.Now())
				if len(upstream.calls) != test.calls || c.Keys-c.Ready != test.cooling {
					t.Errorf("%d calls, want %d; %s", len(upstream.calls), test.calls, reasonCounts(c))
				}
				if test.cooling == 0 {
					return
				}
				time.Sleep(test.least - 1)
				if c := h.roster.Load().pool.Census(time.Now()); c.Ready != 2 {
					t.Error("ready too early")
				}
				time.Sleep(test.least/10 + 1)
				if c := h.roster.Load().pool.Census(time.Now()); c.Ready != 3 {
					t.Error("not ready after the time and its jitter")
				}
			})
		})
	}
}

func TestAClassRuleComesBeforeAStatusRule(t *testing.T) {
	h := provision(t, 3, func(c *gatewayConfig) {
		c.Rules = []rule{{status: []int{429}, action: "retry"}, {status: []int{4}, action: "pass"}, {class: "quota_exhausted", action: "pass"}}
	})
	for _, test := range []struct {
		first reply
		calls int
	}{{spent, 1}, {limited, 2}, {badKey, 1}} {
		upstream := script(test.first, fine)
		if _, err := serve(h, upstream, post("x")); err != nil || len(upstream.calls) != test.calls {
			t.Errorf("%d: %d calls, want %d, %v", test.first.status, len(upstream.calls), test.calls, err)
		}
	}
}

func TestGenericJudgesNothingBut429(t *testing.T) {
	for _, test := range []struct {
		first reply
		calls int
	}{{limited, 2}, {badKey, 1}, {spent, 2}, {reply{status: 402}, 1}} {
		h := provision(t, 3, func(c *gatewayConfig) { c.Provider = providers["generic"] })
		upstream := script(test.first, fine)
		if _, err := serve(h, upstream, post("x")); err != nil || len(upstream.calls) != test.calls {
			t.Errorf("%d: %d calls, want %d, %v", test.first.status, len(upstream.calls), test.calls, err)
		}
	}
}

func TestAPanicThatIsNotAnAbortedResponseGoesOn(t *testing.T) {
	for _, first := range []reply{{status: 429, panics: "bug"}, {panics: "bug"}, {status: 200, panics: http.ErrAbortHandler}} {
		h := provision(t, 3, nil)
		func() {
			defer func() {
				if p := recover(); p != first.panics {
					t.Errorf("status %d: recovered %v, want %v", first.status, p, first.panics)
				}
			}()
			serve(h, script(first, fine), post("x"))
			t.Errorf("status %d: no panic", first.status)
		}()
	}
}

func TestTheServersRequestStaysAsItIs(t *testing.T) {
	h := provision(t, 3, nil)
	r := post("x")
	r.Header.Set("Authorization", "Bearer client")
	r.Header.Set("X-Api-Key", "client")
	before := r.Header.Clone()
	url := r.URL.String()
	meddle := &fakeUpstream{answer: func(n int, w http.ResponseWriter, r *http.Request) error {
		r.Header.Set("X-Meddled", "yes")
		r.Header["Accept"] = append(r.Header["Accept"], "meddled")
		for name := range r.Header {
			r.Header[name][0] = "meddled"
		}
		r.URL.Path = "/meddled"
		if n == 0 {
			return limited.write(w)
		}
		return fine.write(w)
	}}
	if w, err := serve(h, meddle, r); err != nil || w.Code != 200 {
		t.Fatal(w.Code, err)
	}
	if fmt.Sprint(r.Header) != fmt.Sprint(before) || r.URL.String() != url {
		t.Errorf("request is %v %s now", r.Header, r.URL)
	}
	upstream := script(fine)
	if _, err := serve(h, upstream, httptest.NewRequest("GET", "/", nil)); err != nil || strings.Contains(upstream.calls[0].key, "meddled") {
		t.Errorf("the pool's key was changed for all: %q, %v", upstream.calls[0].key, err)
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
	r := post("x").WithContext(context.WithValue(t.Context(), caddyhttp.VarsCtxKey, vars))
	if w, err := serve(h, next, r); err != nil || w.Code != 200 {
		t.Error(w.Code, err)
	}
}

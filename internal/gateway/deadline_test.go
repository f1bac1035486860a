package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/upstream"
)

// retrying are rules by which everything moves on.
var retrying = []blame.Rule{{Fault: []string{"timeout", "reset"}, Action: "retry"}}

// Reaching tells whoever watches that there is a connection, or that none comes about.
func reaching(r *http.Request, there bool) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil {
		trace.GetConn("upstream")
		if there {
			trace.GotConn(httptrace.GotConnInfo{})
		}
	}
}

// hangs waits until the attempt is canceled. As reverse_proxy does over HTTP/2 it takes
// that for the client's leaving, unless its transport says why.
func hangs(w http.ResponseWriter, r *http.Request, tells bool) error {
	<-r.Context().Done()
	if tells {
		return failure(context.Cause(r.Context()))
	}
	w.WriteHeader(statusClientGone)
	return nil
}

// An attempt ends that has no answer in time, and the next key is tried.
func TestFirstByte(t *testing.T) {
	const limit = 10 * time.Second
	for _, test := range []struct {
		why         string
		rules       []blame.Rule
		there, tell bool
		body        string
		calls       int
		longest     time.Duration
	}{
		{"a rule for timeouts", retrying, true, true, "", 2, limit},
		{"… over HTTP/2", retrying, true, false, "", 2, limit},
		{"… and a body, which goes out at once", retrying, true, false, "the body", 2, limit + limit/looks},
		{"no rule", nil, true, false, "", 1, limit},
		{"no connection comes about", nil, false, false, "", 2, limit},
		{"… nor does one, with a rule against that", []blame.Rule{{Fault: []string{"connect"}, Action: "pass"}}, false, true, "", 1, limit},
	} {
		t.Run(test.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := provision(t, 0, func(c *Config) { spread(t, 2)(c); c.FirstByte, c.Rules = limit, test.rules })
				var bodies []string
				began := time.Now()
				w, err := testkit.Serve(g, handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
					body, _ := io.ReadAll(r.Body)
					bodies = append(bodies, string(body))
					if len(bodies) > 1 {
						return testkit.Fine.Write(w)
					}
					reaching(r, test.there)
					return hangs(w, r, test.tell)
				}), testkit.Post(test.body))
				if took := time.Since(began); took < limit || took > test.longest {
					t.Errorf("it takes %s, want %s", took, test.longest)
				}
				var e caddyhttp.HandlerError
				if test.calls == 1 && (!errors.As(err, &e) || e.StatusCode != http.StatusGatewayTimeout || !errors.Is(err, upstream.ErrFirstByte)) {
					t.Errorf("the error is %v", err)
				}
				if test.calls == 2 && (err != nil || w.Body.String() != "fine" || bodies[len(bodies)-1] != test.body) {
					t.Errorf("%d %q, %v; bodies %q", w.Code, w.Body, err, bodies)
				}
				if len(bodies) != test.calls || w.Code == statusClientGone {
					t.Errorf("%d calls, the client gets %d", len(bodies), w.Code)
				}
				untouched(t, g)
			})
		})
	}
}

// With one key, or with none left, the client gets a 504, and who comes after the body.
func TestFirstByteWithOneKey(t *testing.T) {
	for _, rules := range [][]blame.Rule{retrying, nil} {
		synctest.Test(t, func(t *testing.T) {
			g := provision(t, 1, func(c *Config) { c.FirstByte, c.Rules = time.Second, rules })
			r := testkit.Post("the body").WithContext(t.Context())
			w, err := testkit.Serve(g, handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				io.ReadAll(r.Body)
				reaching(r, true)
				<-r.Context().Done()
				w.Header().Set("Content-Length", "5") // as reverse_proxy does that has waited for a body
				return hangs(w, r, false)
			}), r)
			var e caddyhttp.HandlerError
			if !errors.As(err, &e) || e.StatusCode != http.StatusGatewayTimeout || len(w.Result().Header) > 0 {
				t.Errorf("error %v, %d %v", err, w.Code, w.Header())
			}
			if body, _ := io.ReadAll(r.Body); string(body) != "the body" {
				t.Errorf("who comes after finds %q", body)
			}
		})
	}
}

// What goes on is not cut.
func TestFirstByteLetsGoOn(t *testing.T) {
	const limit = time.Second
	for why, next := range map[string]handlerFunc{
		"an answer whose body is slow": func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusOK)
			time.Sleep(time.Minute)
			_, err := io.WriteString(w, "fine")
			return err
		},
		"a stream that has not begun": func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Type", eventStream)
			w.WriteHeader(http.StatusOK)
			http.NewResponseController(w).Flush()
			time.Sleep(time.Minute)
			_, err := io.WriteString(w, "fine")
			return err
		},
		"an upload that goes on slowly": func(w http.ResponseWriter, r *http.Request) error {
			for p := make([]byte, 1); ; time.Sleep(limit * 9 / 10) { // the upstream takes its time, too
				if _, err := r.Body.Read(p); err != nil {
					return testkit.Fine.Write(w)
				}
			}
		},
		"a client that sends its body slowly": func(w http.ResponseWriter, r *http.Request) error {
			if body, err := io.ReadAll(r.Body); err != nil || len(body) != 5 {
				return errors.New(string(body))
			}
			return testkit.Fine.Write(w)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := provision(t, 2, func(c *Config) { c.FirstByte, c.Rules = limit, retrying })
			r := testkit.Post("")
			from, to := io.Pipe()
			go func() {
				for range 5 {
					if why == "a client that sends its body slowly" {
						time.Sleep(3 * limit)
					}
					io.WriteString(to, "x")
				}
				to.Close()
			}()
			r.Body, r.ContentLength = from, -1
			w, err := testkit.Serve(g, handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				reaching(r, true)
				done := make(chan error, 1)
				go func() { done <- next(w, r) }()
				select {
				case err := <-done:
					return err
				case <-r.Context().Done():
					from.Close()
					return errors.Join(<-done, context.Cause(r.Context()))
				}
			}), r)
			if err != nil || w.Body.String() != "fine" {
				t.Errorf("%s: %d %q, %v", why, w.Code, w.Body, err)
			}
			from.Close()
		})
	}
}

// final is a recorder of final responses.
type final struct{ *httptest.ResponseRecorder }

func (w final) WriteHeader(status int) {
	if status >= http.StatusOK {
		w.ResponseRecorder.WriteHeader(status)
	}
}

// What does not is: an upstream that says that it goes on, or does not read on.
func TestFirstByteCuts(t *testing.T) {
	const limit = time.Second
	for why, next := range map[string]handlerFunc{
		"it sends informational responses": func(w http.ResponseWriter, r *http.Request) error {
			for r.Context().Err() == nil {
				w.WriteHeader(http.StatusProcessing)
				time.Sleep(limit / 10)
			}
			return hangs(w, r, true)
		},
		"it does not read on": func(w http.ResponseWriter, r *http.Request) error {
			r.Body.Read(make([]byte, 1))
			return hangs(w, r, true)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := provision(t, 2, func(c *Config) { c.FirstByte, c.Rules = limit, retrying })
			var at []time.Duration
			began := time.Now()
			w := final{httptest.NewRecorder()}
			err := g.ServeHTTP(w, testkit.Post(strings.Repeat("x", 1<<20)), handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				reaching(r, true)
				if at = append(at, time.Since(began)); len(at) > 1 {
					return testkit.Fine.Write(w)
				}
				return next(w, r)
			}))
			if err != nil || w.Body.String() != "fine" || len(at) != 2 || at[1] < limit || at[1] > limit*12/10 {
				t.Errorf("%s: %d %q, %v, after %v", why, w.Code, w.Body, err, at)
			}
		})
	}
}

// A client that leaves is not taken for an upstream that hangs.
func TestFirstByteAndAClientThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := provision(t, 0, func(c *Config) { spread(t, 2)(c); c.FirstByte, c.Rules = time.Second, retrying })
		for _, after := range []time.Duration{time.Second / 2, time.Second, 3 * time.Second / 2} {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			var calls []string
			w, err := testkit.Serve(g, handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				calls = append(calls, r.Header.Get("Authorization"))
				reaching(r, true)
				return hangs(w, r, false)
			}), testkit.Post("").WithContext(ctx))
			cancel()
			if err != nil || w.Code != statusClientGone || len(slices.Compact(calls)) != len(calls) || len(calls) > 2 {
				t.Errorf("it leaves after %s: %d, %v, calls with %v", after, w.Code, err, calls)
			}
		}
		untouched(t, g)
	})
}

// A websocket has begun with its 101, and is silent for as long as it likes.
func TestFirstByteAndAWebsocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := provision(t, 2, func(c *Config) { c.FirstByte, c.Rules = time.Second, retrying })
		calls := 0
		w, err := testkit.Serve(g, handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			calls++
			reaching(r, true)
			w.WriteHeader(http.StatusSwitchingProtocols)
			time.Sleep(time.Hour)
			return r.Context().Err()
		}), get("/"))
		if err != nil || w.Code != http.StatusSwitchingProtocols || calls != 1 {
			t.Errorf("%d, %v, %d calls", w.Code, err, calls)
		}
	})
}

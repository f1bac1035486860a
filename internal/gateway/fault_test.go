package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/upstream"
)

// failure is what reverse_proxy makes of an error of its transport.
func failure(err error) error {
	e := caddyhttp.Error(http.StatusBadGateway, err)
	e.Trace = "reverseproxy.statusError (reverseproxy.go:1776)"
	return e
}

var (
	refused  = testkit.Reply{Err: failure(reverseproxy.NewDialError(errors.New("connection refused")))}
	broken   = testkit.Reply{Err: failure(io.EOF)}
	timedOut = testkit.Reply{Err: failure(upstream.ErrFirstByte)}
)

// spread makes the config's keys work at so many addresses, two keys each: east-0 and so on.
func spread(t testing.TB, n int) func(*Config) {
	return func(c *Config) {
		groups := make([]keyset.Group, n)
		for i := range groups {
			dial := fmt.Sprintf("east-%d.%s.example:443", i, strings.ToLower(strings.NewReplacer("/", ".", " ", "_").Replace(t.Name())))
			site := upstream.Site{Scheme: "https", Host: dial, Dial: dial}
			groups[i] = keyset.Group{Rank: plainRank, Place: &keyset.Place{Site: site}, Texts: []string{fmt.Sprintf("sk-east-%d-a", i), fmt.Sprintf("sk-east-%d-b", i)}}
		}
		c.Keys.Groups = &groups
	}
}

// sites are upstreams that answer each by a reply of their own. They note who was called.
type sites struct {
	mu     sync.Mutex
	called []string // east-0, …
	bodies []string
	reply  func(site string) testkit.Reply
}

func (s *sites) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	site, _, _ := strings.Cut(upstream.Of(r.Context()).Site.Host, ".")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return failure(err)
	}
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GetConn != nil {
		trace.GetConn(site)
		trace.GotConn(httptrace.GotConnInfo{})
	}
	s.mu.Lock()
	s.called, s.bodies = append(s.called, site), append(s.bodies, string(body))
	s.mu.Unlock()
	return s.reply(site).Write(w)
}

// down answers fine but for these sites, which answer so.
func down(reply testkit.Reply, but ...string) *sites {
	return &sites{reply: func(site string) testkit.Reply {
		if slices.Contains(but, site) {
			return reply
		}
		return testkit.Fine
	}}
}

// untouched fails the test if something is held against a key.
func untouched(t *testing.T, g *Gateway) {
	t.Helper()
	pool := g.roster.Load().Pool
	if c := pool.Census(time.Now()); c.Free != c.Keys || c.Ready != c.Keys {
		t.Errorf("of %d keys %d are ready, and against %d nothing is held", c.Keys, c.Ready, c.Free)
	}
}

func TestWhatMovesOn(t *testing.T) {
	on := func(action string, what ...string) blame.Rule { return blame.Rule{Fault: what, Action: action} }
	answer := func(status int) testkit.Reply { return testkit.Reply{Status: status, Body: "not now"} }
	status := func(action string, statuses ...int) blame.Rule { return blame.Rule{Status: statuses, Action: action} }
	unhealthy := testkit.Reply{Err: func() error {
		e := caddyhttp.Error(http.StatusServiceUnavailable, errors.New("no upstreams available"))
		e.Trace = "reverseproxy.(*Handler).proxyLoopIteration (reverseproxy.go:666)"
		return e
	}()}
	for _, test := range []struct {
		what        string
		reply       testkit.Reply
		rules       []blame.Rule
		spread, one bool // whether another key is tried: with upstreams of their own, and without
	}{
		{"a connection that is refused", refused, nil, true, false},
		{"… and a rule for it", refused, []blame.Rule{on("retry", "connect")}, true, true},
		{"… and one against it", refused, []blame.Rule{on("pass", "connect")}, false, false},
		{"… and a rule for 502, which is for answers", refused, []blame.Rule{status("retry", 502)}, true, false},
		{"no healthy upstream", unhealthy, nil, true, false},
		{"… and a rule for 503", unhealthy, []blame.Rule{status("retry", 503)}, true, true},
		{"… and one against 503", unhealthy, []blame.Rule{status("pass", 503)}, false, false},
		{"… and one against 503, but for connect", unhealthy, []blame.Rule{status("pass", 503), on("retry", "connect")}, true, true},
		{"a reset", broken, nil, false, false},
		{"… and a rule for it", broken, []blame.Rule{on("retry", "timeout", "reset")}, true, true},
		{"a timeout", timedOut, nil, false, false},
		{"… and a rule for it", timedOut, []blame.Rule{on("retry", "timeout")}, true, true},
		{"… and one for resets", timedOut, []blame.Rule{on("retry", "reset")}, false, false},
		{"a 502", answer(502), nil, true, false},
		{"a 503", answer(503), nil, true, false},
		{"a 503, and a rule for it", answer(503), []blame.Rule{status("retry", 503)}, true, true},
		{"a 503, and a rule against it", answer(503), []blame.Rule{status("pass", 5)}, false, false},
		{"a 504", answer(504), nil, false, false},
		{"a 504, and a rule for it", answer(504), []blame.Rule{status("retry", 504)}, true, true},
		{"a 500", answer(500), nil, false, false},
		{"another handler's error", testkit.Reply{Err: caddyhttp.Error(502, io.EOF)}, []blame.Rule{on("retry", "connect", "reset", "timeout")}, false, false},
	} {
		for _, own := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, upstreams of their own: %t", test.what, own), func(t *testing.T) {
				want := map[bool]bool{true: test.spread, false: test.one}[own]
				g := provision(t, 4, func(c *Config) {
					c.Rules = test.rules
					if own {
						spread(t, 2)(c)
					}
				})
				called := 0
				up := &sites{reply: func(string) testkit.Reply {
					if called++; called == 1 {
						return test.reply
					}
					return testkit.Fine
				}}
				w, err := testkit.Serve(g, up, testkit.Post("the body"))
				if moved := len(up.called) == 2; moved != want || moved && (err != nil || w.Body.String() != "fine" || up.bodies[1] != "the body") {
					t.Errorf("calls of %v with %q: %d %q, %v", up.called, up.bodies, w.Code, w.Body, err)
				}
				if own && want && up.called[0] == up.called[1] {
					t.Errorf("the next key is of the same address: %v", up.called)
				}
				if !want && (!errors.Is(err, test.reply.Err) || test.reply.Err == nil && w.Code != test.reply.Status) {
					t.Errorf("the client gets %d, %v", w.Code, err)
				}
				untouched(t, g)
			})
		}
	}
}

// Where all are out, the client gets the last error, and who comes after finds the body.
func TestAllAddressesAreOut(t *testing.T) {
	large := testkit.Reply{Status: 503, Body: strings.Repeat("x", 70<<10)}
	for _, test := range []struct {
		why    string
		reply  testkit.Reply
		err    error
		status int
		body   string
	}{
		{"connections", refused, refused.Err, 0, ""},
		{"answers", testkit.Reply{Status: 503, Body: "not now", Header: map[string]string{"Retry-After": "7"}}, nil, 503, "not now"},
		{"answers that are too long to be kept", large, upstream.ErrNoAnswer, 503, ""},
	} {
		t.Run(test.why, func(t *testing.T) {
			g := provision(t, 0, spread(t, 3))
			up := down(test.reply, "east-0", "east-1", "east-2")
			r := testkit.Post("the body").WithContext(t.Context()) // as a server's, it ends
			w, err := testkit.Serve(g, up, r)
			if slices.Sort(up.called); !slices.Equal(up.called, []string{"east-0", "east-1", "east-2"}) {
				t.Errorf("calls of %v", up.called)
			}
			if !errors.Is(err, test.err) || test.err == nil && (w.Code != test.status || w.Body.String() != test.body || w.Header().Get("Retry-After") != "7") {
				t.Errorf("%d %q %v, error %v", w.Code, w.Body, w.Header(), err)
			}
			var e caddyhttp.HandlerError
			if errors.As(err, &e) && test.status > 0 && e.StatusCode != test.status {
				t.Errorf("the error's status is %d", e.StatusCode)
			}
			if body, _ := io.ReadAll(r.Body); err != nil && string(body) != "the body" {
				t.Errorf("who comes after finds %q", body)
			}
			untouched(t, g)
			// They rest now, and are used all the same.
			if _, err := testkit.Serve(g, up, testkit.Post("x")); len(up.called) != 6 || !errors.Is(err, test.err) {
				t.Errorf("calls of %v, error %v", up.called, err)
			}
		})
	}
}

func TestAttemptsAfterAFaultAreBounded(t *testing.T) {
	g := provision(t, 0, func(c *Config) { spread(t, 5)(c); c.MaxAttempts = 3 })
	up := &sites{reply: func(string) testkit.Reply { return refused }}
	if _, err := testkit.Serve(g, up, testkit.Post("x")); len(up.called) != 3 || !errors.Is(err, refused.Err) {
		t.Errorf("calls of %v, error %v", up.called, err)
	}
	g = provision(t, 0, func(c *Config) { spread(t, 5)(c); c.Memory, c.Disk = 3, 0 })
	up = &sites{reply: func(string) testkit.Reply { return refused }}
	if _, err := testkit.Serve(g, up, testkit.Post("more than is kept")); len(up.called) != 1 || !errors.Is(err, refused.Err) {
		t.Errorf("a body that cannot be sent again: calls of %v, error %v", up.called, err)
	}
}

// A key's limit is not its address': both go on as they would alone.
func TestOneIsLimitedAndOneIsDown(t *testing.T) {
	g := provision(t, 0, spread(t, 3))
	up := &sites{reply: func(site string) testkit.Reply {
		return map[string]testkit.Reply{"east-0": testkit.Limited, "east-1": refused, "east-2": testkit.Fine}[site]
	}}
	for i := range 50 {
		if w, err := testkit.Serve(g, up, testkit.Post("x")); err != nil || w.Code != 200 {
			t.Fatalf("request %d: %d, %v; calls of %v", i, w.Code, err, up.called)
		}
	}
	if n := len(up.called); n > 50+3 {
		t.Errorf("%d calls for 50 requests, where two keys are limited and an address is down", n)
	}
	if c := g.roster.Load().Pool.Census(time.Now()); c.Ready != 4 {
		t.Errorf("%d keys are ready, want those of the others", c.Ready)
	}
}

// A hundred requests at a time: each is served, an address that is down is left alone, and
// one of them finds out when its rest is over.
func TestAHundredRequestsAndAnAddressThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		g := provision(t, 0, func(c *Config) { spread(t, 3)(c); c.Logger = zap.New(core) })
		isDown := true
		up := &sites{reply: func(site string) testkit.Reply {
			time.Sleep(time.Second)
			if site == "east-1" && isDown {
				return refused
			}
			return testkit.Fine
		}}
		calls := func() (n int) {
			up.called = nil
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					if w, err := testkit.Serve(g, up, testkit.Post("x")); err != nil || w.Code != 200 {
						t.Errorf("%d, %v", w.Code, err)
					}
				})
			}
			all.Wait()
			for _, site := range up.called {
				if site == "east-1" {
					n++
				}
			}
			return n
		}
		if n := calls(); n < 20 || n > 40 {
			t.Errorf("%d calls go to one of three, of which nothing is known", n)
		}
		// It rests for 10 seconds from the failures on, which came after one.
		for _, test := range []struct {
			wait time.Duration
			want int
		}{{0, 0}, {8 * time.Second, 1}, {18 * time.Second, 0}, {time.Second, 1}} {
			time.Sleep(test.wait)
			if n := calls(); n != test.want {
				t.Errorf("%d calls go there after %s, want %d", n, test.wait, test.want)
			}
		}
		isDown = false
		time.Sleep(40 * time.Second)
		if n := calls(); n != 1 {
			t.Errorf("%d calls find out that it is back", n)
		}
		if n := calls(); n < 20 || n > 50 {
			t.Errorf("%d of 100 calls go there when it is back", n)
		}
		untouched(t, g)
		told := logs.FilterMessage("upstream rests").All()
		var seconds []any
		for _, line := range told {
			seconds = append(seconds, line.ContextMap()["seconds"])
		}
		if len(told) != 3 || !slices.Equal(seconds, []any{10.0, 20.0, 40.0}) || told[0].ContextMap()["kind"] != "connect" || !strings.HasPrefix(fmt.Sprint(told[0].ContextMap()["upstream"]), "https://east-1.") {
			t.Errorf("the log says %v", told)
		}
		if n := logs.FilterMessage("upstream is back").Len(); n != 1 {
			t.Errorf("it says %d times that it is back", n)
		}
	})
}

// What one key has made is nowhere else: the answer is the client's, however long it is.
func TestAResourceKeepsToItsAddress(t *testing.T) {
	g := provision(t, 0, spread(t, 2))
	owned(t, g, 0, "file-abc123456789")
	long := testkit.Reply{Status: 503, Body: strings.Repeat("x", 70<<10)}
	for _, reply := range []testkit.Reply{refused, long} {
		up := down(reply, "east-0")
		r := httptest.NewRequest("GET", "/v1/files/file-abc123456789", http.NoBody)
		if w, err := testkit.Serve(g, up, r); !slices.Equal(up.called, []string{"east-0"}) || !errors.Is(err, reply.Err) || w.Body.String() != reply.Body {
			t.Errorf("calls of %v, error %v, %d bytes", up.called, err, w.Body.Len())
		}
	}
}

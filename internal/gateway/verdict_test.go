package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// timed is a limit that states a time, and proves nothing.
func timed(seconds int) testkit.Reply {
	return testkit.Reply{Status: 429, Header: map[string]string{"Retry-After": fmt.Sprint(seconds)}, Body: testkit.Limited.Body}
}

// unstated is one that states none.
var unstated = testkit.Reply{Status: 429, Body: testkit.Limited.Body}

// by is an upstream that answers by the number of the key, from 1 on; 0: all others.
func by(replies map[int]testkit.Reply) *testkit.Upstream {
	u := new(testkit.Upstream)
	u.Answer = func(n int, w http.ResponseWriter, _ *http.Request) error {
		key := 0
		fmt.Sscanf(u.Keys()[n], "sk-demo-%d", &key)
		if reply, ok := replies[key]; ok {
			return reply.Write(w)
		}
		return replies[0].Write(w)
	}
	return u
}

// suspects counts the keys that are suspects.
func suspects(h *Gateway) (n int) {
	pool := h.KeyPool()
	for s := range pool.Len() {
		if pool.Status(time.Now(), rotator.Slot(s)).Suspect != nil {
			n++
		}
	}
	return n
}

// Where every key refuses a request, its client gets what the upstream has said, of one
// attempt alone, without the key; and no key is convicted.
func TestTheUpstreamsOwnAnswer(t *testing.T) {
	for _, row := range []struct {
		sentence string
		status   int
		body     string // with the key in it
	}{
		{"a key that is not valid", 401, `{"error":{"message":"Incorrect API key provided: %s","code":"invalid_api_key"}}`},
		{"words that nobody knows", 401, `<html>%s: go away</html>`},
		{"a forbidden path", 403, `{"message":"%s may not"}`},
		{"no money", 402, `{"error":"%s"}`},
		{"a precondition", 412, `%s`},
		{"money under another status", 400, `{"error":{"message":"Your credit balance is too low (%s)"}}`},
	} {
		h := provision(t, 3, nil)
		u := new(testkit.Upstream)
		u.Answer = func(n int, w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Type", "text/x-own")
			w.Header().Set("X-Echo", "with "+u.Keys()[n])
			w.Header().Set(fmt.Sprint("X-Attempt-", n), "1")
			w.Header().Set("X-Request-Id", fmt.Sprint(n))
			w.WriteHeader(row.status)
			_, _ = fmt.Fprintf(w, row.body, u.Keys()[n])
			return nil
		}
		w := httptest.NewRecorder()
		w.Header().Set("Server", "base")
		if err := h.ServeHTTP(w, testkit.Post("x"), u); err != nil {
			t.Fatal(err)
		}
		header := w.Result().Header
		before, _, _ := strings.Cut(row.body, "%s")
		if w.Code != row.status || !strings.HasPrefix(w.Body.String(), before) || header.Get("Content-Type") != "text/x-own" || header.Get("Server") != "base" {
			t.Errorf("%s: the client got %d %v %s", row.sentence, w.Code, header, w.Body)
		}
		if text := fmt.Sprint(header, w.Body); strings.Contains(text, "sk-demo") {
			t.Errorf("%s: the client got a key: %s", row.sentence, text)
		}
		attempts := 0
		for n := range 3 {
			if header.Get(fmt.Sprint("X-Attempt-", n)) != "" {
				attempts++
			}
		}
		if attempts != 1 || len(header["X-Request-Id"]) != 1 {
			t.Errorf("%s: header of %d attempts: %v", row.sentence, attempts, header)
		}
		if len(u.Calls) != 3 || suspects(h) != 3 || h.KeyPool().Census(time.Now()).Usable != 3 {
			t.Errorf("%s: %d calls, %d suspects, %+v", row.sentence, len(u.Calls), suspects(h), h.KeyPool().Census(time.Now()))
		}
	}
}

// The client gets the answer that says most.
func TestWhichAnswerTheClientGets(t *testing.T) {
	own := func(r testkit.Reply) string { return fmt.Sprint(r.Status, " ", r.Body) }
	const pools = "429 Rate limit reached for every"
	for _, row := range []struct {
		sentence string
		answers  map[int]testkit.Reply
		want     string
	}{
		{"a refused key says more than limits", map[int]testkit.Reply{1: testkit.BadKey, 0: unstated}, own(testkit.BadKey)},
		{"so does a spent quota", map[int]testkit.Reply{1: testkit.Spent, 0: unstated}, own(testkit.Spent)},
		{"a refused key says more than a spent quota", map[int]testkit.Reply{1: testkit.BadKey, 0: testkit.Spent}, own(testkit.BadKey)},
		{"of limits the pool knows more", map[int]testkit.Reply{0: unstated}, pools},
		{"whether they are proven or not", map[int]testkit.Reply{1: unstated, 0: used}, pools},
		{"or all of them are", map[int]testkit.Reply{0: used}, pools},
	} {
		for range 5 { // in whatever order keys come
			h := provision(t, 3, nil)
			w, err := testkit.Serve(h, by(row.answers), testkit.Post("x"))
			got := fmt.Sprint(w.Code, " ", w.Body)
			if pool := strings.Contains(got, pools[4:]); err != nil || row.want == pools && !(pool && w.Code == 429) || row.want != pools && got != row.want {
				t.Errorf("%s: the client got %s, %v", row.sentence, got, err)
			}
		}
	}
}

// What broke off, or is more than is held back, is no answer to a client.
func TestHalfAnAnswerIsNone(t *testing.T) {
	for sentence, answer := range map[string]testkit.Reply{
		"it broke off":  {Status: 401, Header: map[string]string{"Content-Length": "1000"}, Body: "half", Panics: http.ErrAbortHandler},
		"it is endless": {Status: 401, Header: map[string]string{"Content-Length": "200000"}, Body: strings.Repeat("x", 200_000)},
	} {
		h := provision(t, 2, nil)
		w, err := testkit.Serve(h, testkit.Script(answer), testkit.Post("x"))
		if err != nil || w.Code != 429 || w.Header().Get("Content-Length") != fmt.Sprint(w.Body.Len()) {
			t.Errorf("%s: the client got %d %v, %d bytes, %v", sentence, w.Code, w.Header(), w.Body.Len(), err)
		}
	}
}

// To HEAD there is a header without a body, whose length is that of GET's.
func TestTheUpstreamsOwnAnswerToHEAD(t *testing.T) {
	h := provision(t, 2, nil)
	up := testkit.Script(testkit.Reply{Status: 403, Header: map[string]string{"Content-Length": "1000", "X-Own": "yes"}})
	w, err := testkit.Serve(h, up, httptest.NewRequest(http.MethodHead, "/v1/models", nil))
	if err != nil || w.Code != 403 || w.Header().Get("Content-Length") != "1000" || w.Header().Get("X-Own") != "yes" || w.Body.Len() > 0 {
		t.Errorf("the client got %d %v %q, %v", w.Code, w.Header(), w.Body, err)
	}
}

// Of limits the client gets the soonest time that is true.
func TestTheSoonestTimeThatIsTrue(t *testing.T) {
	for _, row := range []struct {
		sentence string
		answers  map[int]testkit.Reply
		want     string
	}{
		{"the first of those that are stated", map[int]testkit.Reply{1: timed(90), 2: timed(20), 0: timed(50)}, "20"},
		{"though proven", map[int]testkit.Reply{1: timed(90), 0: used}, "40"},
		{"below min: that is for lists", map[int]testkit.Reply{0: timed(3)}, "3"},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := provision(t, 3, nil)
			w, err := testkit.Serve(h, by(row.answers), testkit.Post("x"))
			if err != nil || w.Code != 429 || w.Header().Get("Retry-After") != row.want {
				t.Errorf("%s: the client got %d %v, %v", row.sentence, w.Code, w.Header(), err)
			}
		})
	}
}

// A rule of the config needs no comparison, nor does an answer that proves it.
func TestWhatConvictsAtOnce(t *testing.T) {
	for _, row := range []struct {
		sentence string
		rules    []blame.Rule
		answer   testkit.Reply
		rests    time.Duration
	}{
		{"a rule", []blame.Rule{{Status: []int{403}, Action: "cooldown", Duration: time.Hour}}, testkit.Reply{Status: 403, Body: "no"}, time.Hour},
		{"a rule for a class", []blame.Rule{{Class: "invalid_key", Action: "cooldown", Duration: time.Hour}}, testkit.BadKey, time.Hour},
		{"a rule for a text", []blame.Rule{{Status: []int{4}, Text: "suspended", Action: "cooldown", Duration: time.Hour}}, testkit.Reply{Status: 404, Body: "Suspended"}, time.Hour},
		{"nothing remains", nil, used, 40 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := provision(t, 1, func(c *Config) { c.Rules, c.Policy.Jitter = row.rules, 0 })
			testkit.Serve(h, testkit.Script(row.answer), testkit.Post("x"))
			if st := h.KeyPool().Status(time.Now(), 0); st.Condition != rotator.Cooling || st.Suspect != nil || st.Left != row.rests {
				t.Errorf("%s: %+v", row.sentence, st)
			}
			if h.pace.Active() {
				t.Errorf("%s: it says something about the pool", row.sentence)
			}
			time.Sleep(row.rests - 1)
			up := testkit.Script(testkit.Fine)
			if w, _ := testkit.Serve(h, up, testkit.Post("x")); w.Code != 429 || len(up.Calls) > 0 {
				t.Errorf("%s: before its time %d, %d calls", row.sentence, w.Code, len(up.Calls))
			}
			time.Sleep(1 * time.Nanosecond)
			if w, _ := testkit.Serve(h, up, testkit.Post("x")); w.Code != 200 {
				t.Errorf("%s: at its time %d", row.sentence, w.Code)
			}
		})
	}
}

// What says nothing of the key passes, and is held against nobody.
func TestWhatPassesLeavesNoSuspicion(t *testing.T) {
	for sentence, answer := range map[string]testkit.Reply{
		"overloaded": {Status: 503, Body: "overloaded"}, "too large": testkit.TooLarge, "413": {Status: 413}, "5xx": {Status: 500}, "404": {Status: 404},
	} {
		h := provision(t, 3, nil)
		up := testkit.Script(answer)
		w, err := testkit.Serve(h, up, testkit.Post("x"))
		if err != nil || w.Code != answer.Status || w.Body.String() != answer.Body || len(up.Calls) != 1 {
			t.Errorf("%s: %d %s after %d calls, %v", sentence, w.Code, w.Body, len(up.Calls), err)
		}
		if suspects(h) > 0 || readyKeys(h) != 3 || h.pace.Active() {
			t.Errorf("%s: %d suspects, %d keys ready", sentence, suspects(h), readyKeys(h))
		}
	}
}

// The request that another key serves convicts those that refused it: the next one leaves
// them alone, and finds out about them when they are spare.
func TestComparisonConvicts(t *testing.T) {
	for _, row := range []struct {
		sentence string
		answer   testkit.Reply
		spare    time.Duration // after the conviction, at first
	}{
		{"a refused key", testkit.BadKey, 30 * time.Second},
		{"words that nobody knows", testkit.Reply{Status: 403, Body: "no"}, 30 * time.Second},
		{"a spent quota", testkit.Spent, 30 * time.Second},
		{"a limit that states a long time", timed(600), 600 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := provision(t, 2, nil)
			answers := map[int]testkit.Reply{1: row.answer, 0: testkit.Fine}
			up := by(answers)
			asked := func() (n int) {
				for range 4 { // keys take turns
					before := len(up.Calls)
					if w, _ := testkit.Serve(h, up, testkit.Post("x")); w.Code != 200 {
						t.Errorf("%s: a client got %d", row.sentence, w.Code)
					}
					n += len(up.Calls) - before - 1
				}
				return n
			}
			if n := asked(); n != 1 {
				t.Errorf("%s: %d calls in vain at first", row.sentence, n)
			}
			time.Sleep(row.spare - 1)
			if n := asked(); n != 0 {
				t.Errorf("%s: %d calls in vain before it is spare", row.sentence, n)
			}
			time.Sleep(2 * time.Nanosecond)
			if n := asked(); n != 1 {
				t.Errorf("%s: %d calls in vain to find out", row.sentence, n)
			}
			answers[1] = testkit.Fine
			time.Sleep(2*row.spare + time.Second)
			asked()
			if readyKeys(h) != 2 || suspects(h) > 0 {
				t.Errorf("%s: %d keys ready, %d suspects", row.sentence, readyKeys(h), suspects(h))
			}
		})
	}
}

// A long cooldown that ends early is noticed, and how often it is asked for falls.
func TestALongCooldownThatEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := provision(t, 2, nil)
		answers := map[int]testkit.Reply{1: testkit.Spent, 0: testkit.Fine}
		up := by(answers)
		var tried []time.Duration
		for began := time.Now(); time.Since(began) < 20*time.Hour; time.Sleep(10 * time.Second) {
			before := len(up.Calls)
			if w, err := testkit.Serve(h, up, testkit.Post("x")); err != nil || w.Code != 200 {
				t.Fatalf("after %s: %d, %v", time.Since(began), w.Code, err)
			}
			if len(up.Calls) == before+2 {
				tried = append(tried, time.Since(began))
			}
		}
		if len(tried) < 10 || len(tried) > 12 {
			t.Fatalf("the spent key was tried at %v", tried)
		}
		for i := 2; i < len(tried); i++ { // each distance is twice the one before
			last, next := tried[i-1]-tried[i-2], tried[i]-tried[i-1]
			if next < 2*last-20*time.Second || next > 2*last+20*time.Second {
				t.Errorf("the spent key was tried at %v", tried)
				break
			}
		}
		answers[1] = testkit.Fine
		time.Sleep(17 * time.Hour)
		testkit.Serve(h, up, testkit.Post("x"))
		if readyKeys(h) != 2 {
			t.Error("nobody noticed that the quota is back")
		}
	})
}

// An exploration that ends in nothing convicts nobody, and another one follows.
func TestAnExplorationThatEndsInNothing(t *testing.T) {
	for sentence, answer := range map[string]testkit.Reply{
		"a 5xx": {Status: 500}, "an error of the proxy's": {Err: errors.New("reset")}, "an answer that breaks off": {Panics: http.ErrAbortHandler}, "the client left": {},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := provision(t, 2, nil)
			answers := map[int]testkit.Reply{1: testkit.Spent, 0: testkit.Fine}
			up := by(answers)
			for range 2 {
				testkit.Serve(h, up, testkit.Post("x"))
			}
			time.Sleep(31 * time.Second)
			explore := func(next *testkit.Upstream) string {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if sentence == "the client left" && next != up {
					next.Answer = func(int, http.ResponseWriter, *http.Request) error {
						cancel()
						return context.Canceled
					}
				}
				defer func() { _ = recover() }() // as net/http does
				_, _ = testkit.Serve(h, next, testkit.Post("x").WithContext(ctx))
				return next.Keys()[0]
			}
			broken := testkit.Script(answer)
			explore(broken)
			if broken.Keys()[0] != "sk-demo-1" {
				t.Fatalf("%s: nobody explored", sentence)
			}
			answers[1] = testkit.Fine
			if explore(up); readyKeys(h) != 2 {
				t.Errorf("%s: the next request did not explore", sentence)
			}
		})
	}
}

// Nobody finds out about a key at the cost of a request that cannot be sent again.
func TestWhoDoesNotExplore(t *testing.T) {
	plain := func() *http.Request { return testkit.Post("x") }
	for _, row := range []struct {
		sentence string
		change   func(*Config)
		request  func() *http.Request
		want     bool
	}{
		{"an ordinary request does", nil, plain, true},
		{"so does one without a body", nil, func() *http.Request { return httptest.NewRequest("GET", "/v1/models", nil) }, true},
		{"one attempt only", func(c *Config) { c.MaxAttempts = 1 }, plain, false},
		{"to the letter", func(c *Config) { c.ProbeOff = true }, plain, false},
		{"a body that is too large", func(c *Config) { c.Memory, c.Disk = 10, 0 }, func() *http.Request { return testkit.Post(strings.Repeat("x", 11)) }, false},
		{"a body of no stated length", nil, func() *http.Request {
			r := testkit.Upload(strings.NewReader("x"))
			r.ContentLength = -1
			return r
		}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := provision(t, 2, row.change)
			h.KeyPool().Cool(time.Now(), 0, rotator.Cooldown{For: 24 * time.Hour, Spare: time.Minute})
			time.Sleep(time.Minute)
			up := testkit.Script(testkit.Fine)
			testkit.Serve(h, up, row.request())
			if got := up.Keys()[0] == "sk-demo-1"; got != row.want {
				t.Errorf("%s: it explores: %t", row.sentence, got)
			}
		})
	}
}

// One answer makes suspects of all keys of a group, and one success elsewhere convicts them.
func TestAGroupIsSuspectAtOnce(t *testing.T) {
	for _, row := range []struct {
		sentence string
		answer   testkit.Reply
		suspects int
	}{
		{"a limit", unstated, 4}, {"a spent quota", testkit.Spent, 4}, {"what nobody understands", testkit.Reply{Status: 403}, 4},
		{"a refused key", testkit.BadKey, 4}, // each for itself
	} {
		synctest.Test(t, func(t *testing.T) {
			h := provision(t, 0, func(c *Config) {
				(*c.Keys.Groups)[0] = keyset.Group{Name: "acme", Rank: plainRank, Texts: testkit.DemoKeys(4)}
			})
			up := testkit.Script(row.answer)
			testkit.Serve(h, up, testkit.Post("x"))
			if n := suspects(h); n != row.suspects {
				t.Errorf("%s: %d suspects after %d calls", row.sentence, n, len(up.Calls))
			}
			if row.sentence == "a limit" && len(up.Calls) > 2 { // one, and one to a suspect
				t.Errorf("%s: %d calls", row.sentence, len(up.Calls))
			}
			time.Sleep(10 * time.Second)
			if w, _ := testkit.Serve(h, testkit.Script(testkit.Fine), testkit.Post("x")); w.Code != 200 {
				t.Errorf("%s: then a client got %d", row.sentence, w.Code)
			}
		})
	}
	h := provision(t, 0, func(c *Config) {
		(*c.Keys.Groups)[0] = keyset.Group{Name: "acme", Rank: plainRank, Texts: testkit.DemoKeys(4)}
		*c.Keys.Groups = append(*c.Keys.Groups, keyset.Group{Rank: plainRank, Texts: []string{"sk-other"}})
	})
	up := by(map[int]testkit.Reply{0: testkit.Fine, 1: testkit.Spent, 2: testkit.Spent, 3: testkit.Spent, 4: testkit.Spent})
	for range 5 {
		testkit.Serve(h, up, testkit.Post("x"))
	}
	if len(up.Calls) != 6 || readyKeys(h) != 1 {
		t.Fatalf("%d calls, %d keys ready: one conviction is that of all", len(up.Calls), readyKeys(h))
	}
}

// A request that waits does not ask the key again that has just refused it, wherever that
// stands in its group.
func TestWhichOfAGroupHasRefused(t *testing.T) {
	h := provision(t, 0, func(c *Config) {
		(*c.Keys.Groups)[0] = keyset.Group{Name: "acme", Rank: plainRank, Texts: testkit.DemoKeys(3)}
	})
	now := time.Now()
	x := exchange{g: h, r: testkit.Post("x"), roster: h.roster.Load(), latest: now, drawn: rotator.Drawn{Slot: 2}, report: new(observe.Report)}
	x.refuse(now, 429, blame.Verdict{Class: ttl.RateLimited, Action: blame.ActionCooldown, Cooldown: time.Minute})
	if x.forgive(now); !slices.Equal(x.want.Tried, []rotator.Slot{2}) {
		t.Errorf("tried are %v, want the one that was asked", x.want.Tried)
	}
	if x.forgive(now.Add(time.Second)); len(x.want.Tried) > 0 {
		t.Errorf("a second later %v", x.want.Tried)
	}
}

// A client that leaves has been served nothing, whatever status the next handler gives it: its
// request says nothing about a key that has refused it, nor about the one at work for it.
func TestWhoLeavesConvictsNobody(t *testing.T) {
	cooling := func(c *Config) { c.Rules = []blame.Rule{{Status: []int{statusClientGone}, Action: "cooldown"}} }
	for _, row := range []struct {
		sentence  string
		refusal   testkit.Reply
		configure func(*Config)
	}{
		{"a key that is not valid", testkit.BadKey, nil},
		{"a limit", unstated, nil},
		{"words that nobody knows", forbidden, nil},
		{"a rule for the status", forbidden, cooling},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			h := provision(t, 3, func(c *Config) {
				c.Pool = testkit.FreshPool("left")
				if row.configure != nil {
					row.configure(c)
				}
			})
			registry := prometheus.NewRegistry()
			if _, err := observe.NewMetrics(registry, h.seen); err != nil {
				t.Fatal(err)
			}
			ctx, leave := context.WithCancel(t.Context())
			w, err := testkit.Serve(h, attempts(
				func(w http.ResponseWriter, _ *http.Request) { row.refusal.Write(w) },
				func(w http.ResponseWriter, r *http.Request) {
					leave()
					w.WriteHeader(statusClientGone) // as reverse_proxy does
				},
			), testkit.Post("x").WithContext(ctx))
			if err != nil || w.Code != statusClientGone {
				t.Errorf("%d, %v", w.Code, err)
			}
			if c := h.KeyPool().Census(time.Now()); suspects(h) != 1 || c.Usable != 3 {
				t.Errorf("%d suspects, %+v", suspects(h), c)
			}
			got := gather(t, registry)
			for outcome, want := range map[string]float64{"failed": 1, "served": 0} {
				if n := got[`caddy_keycycler_attempts_total{outcome="`+outcome+`",pool="`+h.Pool+`"}`]; n != want {
					t.Errorf("%v attempts count as %s, want %v", n, outcome, want)
				}
			}
		})
	}
}

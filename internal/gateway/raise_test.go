package gateway

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/client"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// raising makes a request that no key serves an error.
func raising(c *Config) { c.Raises = true }

// Whatever it was for which no key served the request, handle_errors gets it as one of two
// statuses, and nothing was written before.
func TestARequestThatNoKeyServesIsRaised(t *testing.T) {
	overloaded := testkit.Reply{Status: 503, Body: "busy", Header: map[string]string{"Retry-After": "7", "X-Own": "yes"}}
	dated := testkit.Reply{Status: 401, Body: testkit.BadKey.Body, Header: map[string]string{"Retry-After": "Sat, 28 Nov 2026 19:00:00 GMT"}}
	retries := func(c *Config) { c.Rules = []blame.Rule{{Status: []int{503}, Action: "retry"}} }
	for _, row := range []struct {
		sentence  string
		answer    testkit.Reply
		configure func(*Config)
		prepare   func(*Gateway)
		status    int
		wait      string
	}{
		{sentence: "every key is at a limit that is proven", answer: used, status: 429, wait: "40"},
		{sentence: "every key is refused for a limit", answer: testkit.Limited, status: 429, wait: "40"},
		{sentence: "every key is refused as invalid", answer: testkit.BadKey, status: 429},
		{sentence: "every key is refused, until a date", answer: dated, status: 429},
		{sentence: "every quota is spent", answer: testkit.Spent, status: 429},
		{sentence: "every key met an upstream that is overloaded", answer: overloaded, configure: retries, status: 503, wait: "7"},
		{sentence: "every key is disabled", prepare: disableAll, status: 503},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			h := provision(t, 2, func(c *Config) {
				raising(c)
				if row.configure != nil {
					row.configure(c)
				}
			})
			if row.prepare != nil {
				row.prepare(h)
			}
			r := fromCaddy("x")
			w, err := testkit.Serve(h, testkit.Script(row.answer), r)
			var raised caddyhttp.HandlerError
			if !errors.As(err, &raised) || raised.StatusCode != row.status {
				t.Errorf("%v, want an error of status %d", err, row.status)
			}
			repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
			if got, _ := repl.GetString("http.keycycler.retry_after"); got != row.wait {
				t.Errorf("retry after %q, want %q", got, row.wait)
			}
			if w.Body.Len() > 0 || len(w.Header()) > 0 {
				t.Errorf("the client got %v, %q already", w.Header(), w.Body)
			}
		})
	}
}

func disableAll(h *Gateway) {
	for s := range rotator.Slot(h.KeyPool().Len()) {
		h.KeyPool().Disable(time.Now(), s)
	}
}

// What is no lack of keys is answered as ever.
func TestOnlyALackOfKeysIsRaised(t *testing.T) {
	h := provision(t, 2, raising)
	for _, test := range []struct {
		sentence string
		answer   testkit.Reply
		status   int
	}{
		{"a success", testkit.Fine, 200},
		{"what no other key cures", testkit.TooLarge, 429},
		{"an error of the upstream", testkit.Reply{Status: 500, Body: "oops"}, 500},
		{"a request that is wrong", testkit.Reply{Status: 404, Body: "gone"}, 404},
	} {
		w, err := testkit.Serve(h, testkit.Script(test.answer), testkit.Post("x"))
		if err != nil || w.Code != test.status || w.Body.String() != test.answer.Body {
			t.Errorf("%s: %d %q, %v", test.sentence, w.Code, w.Body, err)
		}
	}
}

// Who waits when the process stops is told so, and who is not let in likewise.
func TestAStopIsNotRaised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := patient(t, 1, time.Minute, raising)
		testkit.Serve(h, testkit.Script(used), testkit.Post("x"))
		time.AfterFunc(time.Second, h.room.Close)
		if w, err := testkit.Serve(h, testkit.Script(used), testkit.Post("x")); err != nil || w.Code != 503 || w.Body.Len() == 0 {
			t.Errorf("the client got %d %q, %v", w.Code, w.Body, err)
		}
	})
	h := provision(t, 1, func(c *Config) {
		raising(c)
		c.Tokens = &client.Source{From: &keyset.Inputs{Texts: []string{"ada:raise-token-0123456"}}, Log: c.Logger}
	})
	if w, err := testkit.Serve(h, testkit.Script(used), testkit.Post("x")); err != nil || w.Code != 401 {
		t.Errorf("the client got %d, %v", w.Code, err)
	}
}

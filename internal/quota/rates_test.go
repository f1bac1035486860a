package quota

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"testing"
	"time"
)

// Clients are told their own limits, in the place of an upstream's of that name.
func TestTell(t *testing.T) {
	b, p := newBook(10), planOf(sliding(Requests, 60, 32*time.Second), sliding(Tokens, 90_000, 32*time.Second), Limit{Concurrency, 5, Period{}})
	s, _ := enters(t, b, p, "ada", start, Need{})
	served(s, start, Need{1234, 0})
	header := http.Header{"X-Ratelimit-Limit-Requests": {"1", "2"}, "X-Ratelimit-Limit-Images": {"7"}}
	other, _ := enters(t, b, p, "ada", start+second/2, Need{Tokens: 1000})
	other.Tell(start+second/2, header)
	want := http.Header{
		"X-Ratelimit-Limit-Images":   {"7"},
		"X-Ratelimit-Limit-Requests": {"60"}, "X-Ratelimit-Remaining-Requests": {"58"}, "X-Ratelimit-Reset-Requests": {"32.5s"},
		"X-Ratelimit-Limit-Tokens": {"90000"}, "X-Ratelimit-Remaining-Tokens": {"87766"}, "X-Ratelimit-Reset-Tokens": {"32.5s"},
	}
	if !reflect.DeepEqual(header, want) {
		t.Errorf("%v, want %v", header, want)
	}
	again := http.Header{}
	served(other, start+second, Need{1_000_000, 0})
	other.Tell(start+second, again)
	if again.Get("X-Ratelimit-Remaining-Tokens") != "0" || !reflect.DeepEqual(header, want) {
		t.Errorf("told again: %v, and before: %v", again, header)
	}
	empty := http.Header{}
	(*Stay)(nil).Tell(start, empty)
	newBook(1).Enter(planOf(Limit{Concurrency, 1, Period{}}), "x", start, Need{}).Tell(start, empty)
	if len(empty) > 0 {
		t.Errorf("who has no such limits is told %v", empty)
	}
}

// A fresh client's limits are whole: nothing is to be waited for.
func TestTellOfNothingUsed(t *testing.T) {
	b, p := newBook(10), planOf(sliding(Tokens, 100, time.Minute))
	s, _ := enters(t, b, p, "ada", start, Need{})
	h := http.Header{}
	s.Tell(start, h)
	if h.Get("X-Ratelimit-Remaining-Tokens") != "100" || h.Get("X-Ratelimit-Reset-Tokens") != "0s" {
		t.Errorf("%v", h)
	}
}

// Durations are spelled as Go spells them, rounded up to milliseconds.
func TestAppendDuration(t *testing.T) {
	check := func(d time.Duration) {
		up := (d + time.Millisecond - 1).Truncate(time.Millisecond)
		if got := string(appendDuration([]byte("x"), d)); got != "x"+up.String() {
			t.Errorf("%s is %s", up, got)
		}
	}
	for _, d := range []time.Duration{0, 1, time.Millisecond, 999 * time.Millisecond, time.Second, 6 * time.Minute, time.Hour, 24 * time.Hour, 100 * time.Millisecond, 1010 * time.Millisecond} {
		check(d)
	}
	for range 1000 {
		check(time.Duration(rand.Int64N(int64(1) << (1 + rand.IntN(50)))))
	}
}

func TestWords(t *testing.T) {
	for want, over := range map[string]Over{
		"60 requests":              {Kind: Requests, Most: 60},
		"90000 tokens":             {Kind: Tokens, Most: 90_000},
		"4 requests at a time":     {Kind: Concurrency, Most: 4},
		"a budget of 7 tokens":     {Kind: TokenBudget, Most: 7},
		"a budget of 2.5 USD":      {Kind: USDBudget, Most: 2.5e9},
		"a budget of 0.000001 USD": {Kind: USDBudget, Most: 1000},
	} {
		if got := over.Words(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if names := fmt.Sprint(None, Requests, Tokens, Concurrency, TokenBudget, USDBudget, Models); names != " requests tokens concurrency budget budget models" {
		t.Error(names)
	}
}

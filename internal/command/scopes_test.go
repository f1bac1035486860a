package command

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/observe"
)

func TestTheCommandShowsScopes(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	lines := keyLines(now, &observe.KeyStatus{State: "ready", Scopes: []observe.ScopeStatus{{
		Scope: "gpt-a", Class: "rate_limited", Source: "retry-after", Remaining: 40, Until: now.Add(40 * time.Second),
	}}})
	if want := [2]string{"cools for", "gpt-a: rate_limited, retry-after, 40s left, until 2026-11-24 12:00:40 UTC"}; lines[1] != want {
		t.Errorf("%q, want %q", lines[1], want)
	}
}

// What the upstream has stated of a key's limits is shown, without what a terminal would obey.
func TestShowTellsAllowances(t *testing.T) {
	lines := keyLines(time.Now(), &observe.KeyStatus{State: "ready", Allowance: []observe.AllowanceStatus{
		{Of: "tokens", Limit: 90_000, Remaining: 812, Reset: 59.5}, {Of: "req\x1b[31m", Model: "gpt-a", Limit: 5, Remaining: 5, Reset: 1},
	}})
	for i, want := range []string{"812 of 90000 tokens left, all of it in 1m00s", "5 of 5 req?[31m left for gpt-a, all of it in 1s"} {
		if got := lines[1+i]; got[0] != "allowance" || got[1] != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Keys that are all ready say nothing about a model that none of them can serve.
func TestListNamesModelsThatNoKeyCanServe(t *testing.T) {
	models := []observe.ModelStatus{
		{Model: "*", Keys: 3, Cooling: 2, Disabled: 1, Classes: map[string]int{"rate_limited": 2}},
		{Model: "gpt-\x1b[31m", Keys: 3, Cooling: 3, Classes: map[string]int{"rate_limited": 2, "quota_exhausted": 1}, Remaining: 40.2},
	}
	a := new(fakeAdmin)
	a.addPool("main", fakeKey(1), fakeKey(2), fakeKey(3))
	a.addPool("spare", fakeKey(1))
	a.pools[0].Models = models
	ran := runCLI("", "list", "--address", a.start(t))
	want := "main: openai, 3 keys: 3 ready, 0 cooling, 0 disabled\n" +
		"no key is ready for further models: rate_limited 2, 1 disabled\n" +
		"no key is ready for gpt-?[31m: quota_exhausted 1, rate_limited 2, back in 41s\n" +
		"state: memory"
	if ran.code != 0 || !strings.Contains(ran.out, want) || strings.Count(ran.out, "no key is ready") != 2 {
		t.Errorf("%d %s\n%s", ran.code, ran.errors, ran.out)
	}
	var listed []poolKeys
	if ran := runCLI("", "list", "--json", "--address", a.start(t)); json.Unmarshal([]byte(ran.out), &listed) != nil || !reflect.DeepEqual(listed[0].Models, models) {
		t.Errorf("as JSON: %s %s", ran.out, ran.errors)
	}

	for i := range 3 * shownModels {
		a.pools[1].Models = append(a.pools[1].Models, observe.ModelStatus{Model: fmt.Sprint("gpt-", i)})
	}
	if ran := runCLI("", "list", "--pool", "spare", "--address", a.start(t)); strings.Count(ran.out, "no key is ready") != shownModels || !strings.Contains(ran.out, "… nor for 20 more: --json shows all") {
		t.Errorf("many: %s %s", ran.out, ran.errors)
	}
}

package command

import (
	"slices"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/observe"
)

// someCool is a pool of which keys cool for all requests, for models, and not at all.
func someCool() *fakeAdmin {
	a := new(fakeAdmin)
	keys := []observe.KeyStatus{fakeKey(1), fakeKey(2), fakeKey(3), fakeKey(4), fakeKey(5)}
	for i, seconds := range map[int]float64{0: 90, 2: 30} {
		keys[i].State, keys[i].Class, keys[i].Source, keys[i].Remaining = "cooling", "rate_limited", "default", seconds
	}
	keys[3].Scopes = []observe.ScopeStatus{{Scope: "gpt-a", Remaining: 500}, {Scope: "gpt-b", Remaining: 5}}
	keys[4].Scopes = []observe.ScopeStatus{{Scope: "gpt-a", Remaining: 9}}
	a.addPool("main", keys...)
	a.pools[0].Remaining = 29.5
	a.pools[0].Limited = []observe.ModelStatus{
		{Model: "gpt-\x1b[31m", Keys: 5, Cooling: 3, Classes: map[string]int{"rate_limited": 3}, Remaining: 4.2},
		{Model: "*", Keys: 5, Cooling: 4, Classes: map[string]int{"quota_exhausted": 1, "rate_limited": 3}},
	}
	return a
}

// The list tells when the next key is back, and what some keys cool for.
func TestListTellsWhatCools(t *testing.T) {
	want := "main: openai, 5 keys: 3 ready, 2 cooling, 0 disabled; next in 30s\n" +
		"4 of 5 keys cool for further models: quota_exhausted 1, rate_limited 3\n" +
		"3 of 5 keys cool for gpt-?[31m: rate_limited 3, next in 5s\n" +
		"state: memory"
	a := someCool()
	if got := runAt(t, a.start(t), "list"); !strings.HasPrefix(got, want) {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	for range 2 * shownModels {
		a.pools[0].Limited = append(a.pools[0].Limited, observe.ModelStatus{Model: "m", Keys: 5, Cooling: 1})
	}
	if got := runAt(t, a.start(t), "list"); strings.Count(got, "keys cool for") != shownModels || !strings.Contains(got, "… and for 12 models more: --json shows all\n") {
		t.Errorf("many: %s", got)
	}
}

// With --sort left, those come first that are back first: from all, then for a model, then
// the others by id.
func TestListSorts(t *testing.T) {
	address := someCool().start(t)
	ids := func(args ...string) (all []string) {
		for _, p := range decodeCLI[[]poolKeys](t, runAt(t, address, append([]string{"list", "--json"}, args...)...)) {
			for _, k := range p.Keys {
				all = append(all, strings.TrimLeft(k.ID, "0"))
			}
			all = append(all, p.Next)
		}
		return all
	}
	for args, want := range map[string][]string{
		"":                                  {"1", "2", "3", "4", "5", ""},
		"--sort id":                         {"1", "2", "3", "4", "5", ""},
		"--sort left":                       {"3", "1", "4", "5", "2", ""},
		"--sort left --limit 2":             {"3", "1", fakeID(1)},
		"--sort left --state ready":         {"4", "5", "2", ""},
		"--limit 2":                         {"1", "2", fakeID(2)},
		"--sort left --limit 5 --pool main": {"3", "1", "4", "5", "2", ""},
	} {
		if got := ids(strings.Fields(args)...); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
	if got := runAt(t, address, "list", "--sort", "left", "--limit", "1"); !strings.Contains(got, fakeID(3)) || !strings.Contains(got, "… and 4 more") {
		t.Errorf("as a table: %s", got)
	}
}

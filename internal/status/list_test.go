package status

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestList(t *testing.T) {
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	keys := []Key{
		{ID: "a10000000000", State: Ready, Attempts: 5, LastUsed: noon},
		{ID: "b20000000000", State: Cooling, Class: "rate_limited", Source: "retry-after", Remaining: time.Minute, Attempts: 9, Rejections: 2},
		{ID: "a30000000000", State: Disabled, Attempts: 5, LastUsed: noon.Add(time.Second)},
		{ID: "c40000000000", Group: "Crew-X", State: Cooling, Class: "operator", Source: "operator", Remaining: time.Second, InFlight: 1},
		{ID: "a50000000000", Name: "Acme-40", State: Disabled, Class: "rate_limited", Source: "default", Remaining: time.Hour},
	}
	for _, test := range []struct {
		name  string
		query string
		want  string // the ids' beginnings
	}{
		{"all, as they need somebody", "", "b2 c4 a5 a3 a1"},
		{"all, by id", "sort=id", "a1 a3 a5 b2 c4"},
		{"all, by id, the other way round", "sort=id&order=desc", "c4 b2 a5 a3 a1"},
		{"the ready", "state=ready", "a1"},
		{"the cooling", "state=cooling", "b2 c4"},
		{"the disabled", "state=disabled", "a5 a3"},
		{"a class, whatever the state", "class=rate_limited", "b2 a5"},
		{"a class and a state", "class=rate_limited&state=cooling", "b2"},
		{"a class that there is not", "class=overloaded", ""},
		{"a prefix", "q=a&sort=id", "a1 a3 a5"},
		{"a whole id", "q=c40000000000", "c4"},
		{"a prefix in the middle of an id, which is a part of a name", "q=40", "a5"},
		{"a prefix in the middle", "q=30", ""},
		{"a part of a name, whatever its case", "q=aCmE-", "a5"},
		{"what begins ids and stands in a name", "q=a&sort=id", "a1 a3 a5"},
		{"a part of a group", "q=rEW-", "c4"},
		{"a name that there is not", "q=beta", ""},
		{"by state, as they are worth", "sort=state", "a1 b2 c4 a3 a5"},
		{"by class", "sort=class&order=desc", "a5 b2 c4 a1 a3"},
		{"by source", "sort=source", "a1 a3 a5 c4 b2"},
		{"by what remains", "sort=remaining&order=desc", "a5 b2 c4 a1 a3"},
		{"what is alike is ordered by id", "sort=attempts", "a5 c4 a1 a3 b2"},
		{"and the other way round too", "sort=attempts&order=desc", "b2 a1 a3 a5 c4"},
		{"by rejections", "sort=rejections&order=desc", "b2 a1 a3 a5 c4"},
		{"by what is in flight", "sort=in_flight&order=desc", "c4 a1 a3 a5 b2"},
		{"by last use: never comes first", "sort=last_used", "a5 b2 c4 a1 a3"},
		{"a page too far is the last one", "sort=id&page=3", "a1 a3 a5 b2 c4"},
	} {
		t.Run(test.name, func(t *testing.T) {
			query, _ := url.ParseQuery(test.query)
			l := list(slices.Values(keys), parseView(query))
			var got []string
			for _, k := range l.keys {
				got = append(got, k.ID[:2])
			}
			if strings.Join(got, " ") != test.want || l.total != len(got) || l.page != 1 || l.pages != 1 {
				t.Errorf("keys %q of %d on page %d of %d, want %q", got, l.total, l.page, l.pages, test.want)
			}
		})
	}
}

// The numbers beside a filter's choices are what one gets by choosing them.
func TestListCounts(t *testing.T) {
	var keys []Key
	for i, state := range []string{Ready, Ready, Cooling, Cooling, Cooling, Disabled} {
		k := Key{ID: fmt.Sprintf("%x00000000000", i), State: state}
		if state == Cooling {
			k.Class = []string{"rate_limited", "invalid_key"}[i%2]
		}
		keys = append(keys, k)
	}
	l := list(slices.Values(keys), parseView(url.Values{"state": {Cooling}, "class": {"rate_limited"}}))
	if l.total != 2 || l.anyState != 2 || l.states[Cooling] != 2 || l.states[Ready] != 0 || l.classes["rate_limited"] != 2 || l.classes["invalid_key"] != 1 {
		t.Errorf("%d keys, %d in any state: %v, %v", l.total, l.anyState, l.states, l.classes)
	}
	if l = list(slices.Values(keys), parseView(url.Values{"q": {"5"}})); l.anyState != 1 || l.states[Disabled] != 1 || len(l.classes) != 0 {
		t.Errorf("%d in any state: %v, %v", l.anyState, l.states, l.classes)
	}
}

// The pages of any view, one after the other, are all its keys in order.
func TestListPages(t *testing.T) {
	keys := manyKeys(1234)
	for _, c := range columns {
		for _, order := range []string{"asc", "desc"} {
			v := parseView(url.Values{"sort": {c.name}, "order": {order}})
			want := slices.SortedFunc(slices.Values(keys), func(a, b Key) int { return v.compare(&a, &b) })
			var got []Key
			for page := 1; page <= 13; page++ {
				l := list(slices.Values(keys), v.withPage(page))
				if l.page != page || l.pages != 13 || l.total != len(keys) {
					t.Fatalf("%s: page %d of %d, %d keys", v.href(), l.page, l.pages, l.total)
				}
				got = append(got, values(l.keys)...)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: the pages are not the keys in order", v.href())
			}
			if last := list(slices.Values(keys), v.withPage(maxPage)); last.page != 13 || !slices.Equal(values(last.keys), want[1200:]) {
				t.Errorf("%s: page %d instead of the last", v.href(), last.page)
			}
		}
	}
}

func values(keys []*Key) []Key {
	all := make([]Key, len(keys))
	for i, k := range keys {
		all[i] = *k
	}
	return all
}

// manyKeys returns keys in all states, always the same ones. Many are alike in what
// they can be sorted by.
func manyKeys(n int) []Key {
	random := rand.New(rand.NewPCG(1, 2))
	keys := make([]Key, n)
	for i := range keys {
		k := Key{ID: fmt.Sprintf("%012x", random.Uint64()>>16), State: states[random.IntN(3)], Attempts: random.Uint64N(1000)}
		k.Rejections = k.Attempts / 20
		k.LastUsed = time.Unix(1_800_000_000+random.Int64N(600), 0)
		if k.State == Cooling {
			k.Class, k.Source, k.Remaining = tones[random.IntN(len(tones))], "retry-after", time.Duration(random.IntN(600))*time.Second
		}
		keys[i] = k
	}
	return keys
}

package status

import (
	"net/url"
	"strings"
	"testing"
)

func TestParseView(t *testing.T) {
	for _, test := range []struct {
		name  string
		query string
		want  string // the view's own query
	}{
		{"nothing", "", ""},
		{"all there is", "class=rate_limited&order=desc&page=3&pool=openai&q=3fa9&sort=attempts&state=cooling", "class=rate_limited&order=desc&page=3&pool=openai&q=3fa9&sort=attempts&state=cooling"},
		{"what is so by default is left out", "order=asc&page=1&sort=need&state=", ""},
		{"the order by default has no other way round", "order=desc", ""},
		{"a prefix as people paste it", "q=+3FA9+", "q=3fa9"},
		{"what is in no name", "q=x%2Fz", ""},
		{"a part of a name", "q=+Acme-East.1_x", "q=acme-east.1_x"},
		{"a text that is longer than a name", "q=" + strings.Repeat("n", 65), ""},
		{"an unknown state", "state=tired", ""},
		{"an unknown column", "sort=secret", ""},
		{"an unknown order", "order=random", ""},
		{"a page before the first", "page=0", ""},
		{"a page that is no number", "page=1e3", ""},
		{"a page that no pool has", "page=100001", ""},
		{"a page beyond integers", "page=99999999999999999999", ""},
		{"names without end", "pool=" + strings.Repeat("x", 257) + "&class=" + strings.Repeat("x", 257), ""},
		{"what was done before", "did=clear&to=all&changed=1", ""},
		{"names that need escaping", "pool=a%26b%3D%23", "pool=a%26b%3D%23"},
	} {
		t.Run(test.name, func(t *testing.T) {
			query, err := url.ParseQuery(test.query)
			if err != nil {
				t.Fatal(err)
			}
			v := parseView(query)
			if got := v.query().Encode(); got != test.want {
				t.Errorf("%q became %q, want %q", test.query, got, test.want)
			}
			if again := parseView(v.query()); again.href() != v.href() {
				t.Errorf("%s became %s", v.href(), again.href())
			}
		})
	}
}

func TestViewLinks(t *testing.T) {
	from := parseView(url.Values{"state": {"cooling"}, "q": {"3f"}, "sort": {"attempts"}, "order": {"desc"}, "page": {"7"}})
	for _, test := range []struct {
		name string
		to   view
		want string
	}{
		{"another state begins on its first page", from.withState(Ready), "?order=desc&q=3f&sort=attempts&state=ready#keys"},
		{"another page keeps the rest", from.withPage(8), "?order=desc&page=8&q=3f&sort=attempts&state=cooling#keys"},
		{"the same column is sorted the other way round", from.sortedBy(from.sort), "?q=3f&sort=attempts&state=cooling#keys"},
		{"numbers are sorted the largest first", from.sortedBy(columns[6]), "?order=desc&q=3f&sort=rejections&state=cooling#keys"},
		{"ids are sorted the smallest first", from.sortedBy(columns[0]), "?q=3f&sort=id&state=cooling#keys"},
		{"without a filter the order stays", from.unfiltered(), "?order=desc&sort=attempts#keys"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.to.href(); got != test.want {
				t.Errorf("leads to %s, want %s", got, test.want)
			}
		})
	}
}

func FuzzParseView(f *testing.F) {
	f.Add("pool=a&state=cooling&class=x&q=3f&sort=attempts&order=desc&page=3")
	f.Fuzz(func(t *testing.T, text string) {
		query, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		v := parseView(query)
		if again := parseView(v.query()); again.href() != v.href() {
			t.Errorf("%s became %s", v.href(), again.href())
		}
		if v.page < 1 || v.page > maxPage || len(v.prefix) > keyName || len(v.pool) > maxName {
			t.Errorf("%q is out of bounds: %+v", text, v.query())
		}
	})
}

package gateway

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/catalog"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/upstream"
	"github.com/keycycler/keycycler/rotator"
)

// placed makes the config's keys come from two files, which stand for two places.
func placed(first, second string, at, other *keyset.Place) func(*Config) {
	return func(c *Config) {
		c.Keys.Groups = &[]keyset.Group{
			{Rank: plainRank, Place: at, Files: []string{first}}, {Rank: plainRank, Place: other, Files: []string{second}},
		}
	}
}

func placeAt(host string) *keyset.Place {
	return &keyset.Place{Site: upstream.Site{Scheme: "https", Host: host, Dial: host + ":443"}}
}

// refuseOne sends a request that sk-moved alone refuses, and another key serves.
func refuseOne(t *testing.T, g *Gateway, refusal testkit.Reply) rotator.Status {
	t.Helper()
	for range 4 {
		next := handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			if r.Header.Get("Authorization") == "Bearer sk-moved" {
				return refusal.Write(w)
			}
			return testkit.Fine.Write(w)
		})
		if err := g.ServeHTTP(httptest.NewRecorder(), testkit.Post("x"), next); err != nil {
			t.Fatal(err)
		}
	}
	return standing(t, g, "sk-moved")
}

func standing(t *testing.T, g *Gateway, secret string) rotator.Status {
	t.Helper()
	key, err := rotator.NewKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := g.roster.Load().Find(key.ID())
	if !ok {
		t.Fatalf("no key %s", key)
	}
	return p.Status(time.Now())
}

// What a key was refused for at one upstream says nothing of it at another one. Its limits
// are its account's, wherever it is asked.
func TestAKeyThatComesToAnotherUpstream(t *testing.T) {
	east, west := placeAt("east.example.com"), placeAt("west.example.com")
	based, byProxy := *east, *east
	based.Site.Base = "/openai"
	byProxy.Site.Proxy = "http://proxy.example.com"
	picky := *east
	picky.Offer = &catalog.Offer{Models: []string{"*"}}
	for _, row := range []struct {
		sentence   string
		refusal    testkit.Reply
		from, to   *keyset.Place // of the config, before and after its reload
		moves      bool          // the key comes into the second file instead
		ready      bool
		keepsPaces bool
	}{
		{"the block has another upstream", testkit.BadKey, east, west, false, true, false},
		{"it has another base path", testkit.BadKey, east, &based, false, true, false},
		{"it has a proxy", testkit.BadKey, east, &byProxy, false, true, false},
		{"it has an upstream now", testkit.BadKey, nil, east, false, true, false},
		{"it has other models", testkit.BadKey, east, &picky, false, false, true},
		{"the same", testkit.BadKey, east, placeAt("east.example.com"), false, false, true},
		{"the block has another upstream, and the quota is spent", testkit.Spent, east, west, false, false, false},
		{"the key comes into another block", testkit.BadKey, east, nil, true, true, true},
		{"and the quota is spent", testkit.Spent, east, nil, true, false, true},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			dir := t.TempDir()
			first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
			writeKeys(t, first, "sk-moved", "sk-one")
			writeKeys(t, second, "sk-two")
			g := provision(t, 0, placed(first, second, row.from, placeAt("other.example.com")))
			if s := refuseOne(t, g, row.refusal); s.Condition == rotator.Ready {
				t.Fatalf("the key is ready: %+v", s)
			}
			next := g
			if row.moves {
				writeKeys(t, first, "sk-one")
				writeKeys(t, second, "sk-two", "sk-moved")
				if err := g.reloadKeys(); err != nil {
					t.Fatal(err)
				}
			} else {
				next = provision(t, 0, placed(first, second, row.to, placeAt("third.example.com")))
			}
			if s := standing(t, next, "sk-moved"); (s.Condition == rotator.Ready) != row.ready {
				t.Errorf("the key is ready: %t, %+v", (s.Condition == rotator.Ready), s)
			}
			if got := next.pace == g.pace; got != row.keepsPaces {
				t.Errorf("the pace is the same: %t", got)
			}
		})
	}
}

// Pools that ask at one upstream alike find out together, also if each has another one for
// other keys.
func TestWhoSharesThePaceOfAnUpstream(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	writeKeys(t, first, "sk-one")
	writeKeys(t, second, "sk-two")
	g := provision(t, 0, placed(first, second, placeAt("a.example.com"), placeAt("b.example.com")))
	next := provision(t, 0, placed(first, second, placeAt("c.example.com"), placeAt("b.example.com")))
	if next.pace != g.pace {
		t.Error("the pace of a key that is asked alike is not shared")
	}
}

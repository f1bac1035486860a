package sdk

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// many requests are so many that each of six ready keys is used by one of them: that
// one is not has a chance of 1 in 50,000.
const many = 60

// scene is a gateway, and its status page in a browser.
type scene struct {
	*testing.T
	g     *operators
	up    *upstream
	moods *moods
	page  *tab
	url   string
}

// eachPage runs the test with the page wherever it can be mounted, and without
// scripts: it must do the same everywhere.
func eachPage(t *testing.T, test func(s *scene)) {
	b := startBrowser(t)
	for _, row := range []struct {
		name string
		o    options
		url  func(g *operators) string
	}{
		{"admin endpoint", nil, func(g *operators) string { return g.admin + "/keycycler/" }},
		{"admin endpoint, no scripts", options{"javaScriptEnabled": false}, func(g *operators) string { return g.admin + "/keycycler/" }},
		{"site behind a password", options{"httpCredentials": credentials}, func(g *operators) string { return g.site + "/ops/keys" }},
	} {
		t.Run(row.name, func(t *testing.T) { test(openScene(t, b, row.o, row.url)) })
	}
}

func openScene(t *testing.T, b *browser, o options, url func(*operators) string) *scene {
	t.Helper()
	s := &scene{T: t, moods: new(moods)}
	s.up = startUpstream(t, s.moods.refuse)
	s.g = startOperators(t, s.up, true, mainPool)
	s.url = url(s.g)
	s.page = b.open(t, o)
	if got := s.page.visit(s.url); got.Status != http.StatusOK {
		t.Fatalf("status %d: %s", got.Status, got.Text)
	}
	t.Cleanup(s.page.checkClean)
	return s
}

// press presses a button in a key's row, and waits until the page says that this was
// done.
func (s *scene) press(key, button, done string) {
	s.Helper()
	id := idOf(key)
	s.page.do("click", "#k"+id+" button:has-text('"+button+"')")
	s.page.show("#notice:has-text('Key " + id + " " + done + ".')")
}

// expect sends many requests, and finds fault with the keys that they were not made
// with, or were.
func (s *scene) expect(used ...string) {
	s.Helper()
	before := len(s.up.seen())
	if status := s.g.send(s.T, mainPool.name, many); status != http.StatusOK {
		s.Fatalf("status %d", status)
	}
	got := usedBy(s.up.seen()[before:])
	slices.Sort(got)
	slices.Sort(used)
	if !slices.Equal(got, used) {
		s.Errorf("the upstream saw %v, want %v", got, used)
	}
}

// allBut returns the pool's keys without these.
func allBut(keys ...string) []string {
	var others []string
	for i := range mainPool.keys {
		if key := mainPool.key(i); !slices.Contains(keys, key) {
			others = append(others, key)
		}
	}
	return others
}

// expectState asks the admin API and returns what it says.
func (s *scene) expectState(key, state string) adminKey {
	s.Helper()
	k := s.g.status(s.T, mainPool.name, idOf(key))
	if k.State != state {
		s.Errorf("the admin API says of %s: %+v, want %s", key, k, state)
	}
	return k
}

// A key that was disabled in the page is used no more, until it was enabled there.
func TestPageDisables(t *testing.T) {
	eachPage(t, func(s *scene) {
		key := mainPool.key(2)
		s.expect(allBut()...)
		s.press(key, "Disable", "disabled")
		s.page.show("#k" + idOf(key) + ":has-text('disabled')")
		s.expectState(key, "disabled")
		s.expect(allBut(key)...)

		s.press(key, "Enable", "enabled")
		s.expectState(key, "ready")
		s.expect(allBut()...)
	})
}

// A key that an operator cools is not used, until it was cleared.
func TestPageCools(t *testing.T) {
	eachPage(t, func(s *scene) {
		key := mainPool.key(4)
		s.press(key, "Cool 10 min", "cooled for 10 min")
		if k := s.expectState(key, "cooling"); k.Class != "operator" || k.Remaining < 500 || k.Remaining > 600 {
			s.Errorf("the admin API says %+v", k)
		}
		s.expect(allBut(key)...)

		s.press(key, "Clear", "cleared")
		s.expectState(key, "ready")
		s.expect(allBut()...)
	})
}

// The page shows why a key cools and who said so, and an operator who knows better
// clears it.
func TestPageShowsCooldown(t *testing.T) {
	eachPage(t, func(s *scene) {
		key := mainPool.key(1)
		s.moods.set(key, rateLimited(500))
		s.g.send(s.T, mainPool.name, many)
		s.moods.set(key, nil)
		s.page.visit(s.url)
		i := slices.IndexFunc(s.page.rows(), func(r tableRow) bool { return r.ID == idOf(key) })
		if i < 0 {
			s.Fatal("the key is not there")
		}
		r := s.page.rows()[i]
		if r.State != "cooling" || r.Class != "rate_limited" || r.Source != "retry-after" || !strings.HasPrefix(r.Remaining, "8 min") || r.Rejections != 1 {
			s.Errorf("the page says %+v", r)
		}
		if k := s.expectState(key, "cooling"); k.Class != r.Class || k.Source != r.Source {
			s.Errorf("the page says %+v, the admin API %+v", r, k)
		}
		s.expect(allBut(key)...)

		s.press(key, "Clear", "cleared")
		s.expectState(key, "ready")
		s.expect(allBut()...)
	})
}

// What is done to all keys takes two steps. With every key disabled the gateway
// serves nobody.
func TestPageAll(t *testing.T) {
	eachPage(t, func(s *scene) {
		all := func(button, done string) {
			s.Helper()
			s.page.do("click", "#all summary")
			s.page.do("click", "#all button:has-text('"+button+"')")
			s.page.show("#notice:has-text('6 keys " + done + ".')")
		}
		s.expect(allBut()...)
		calls := len(s.up.seen())

		all("Disable all", "disabled")
		s.page.show(".alerts:has-text('has no ready key: all are disabled.')")
		s.expectState(mainPool.key(0), "disabled")
		if status := s.g.send(s.T, mainPool.name, 1); status != http.StatusServiceUnavailable {
			s.Errorf("status %d with every key disabled", status)
		}
		all("Enable all", "enabled")
		s.page.do("gone", ".alerts")

		s.page.do("click", "#all summary")
		s.page.do("select", "#all select", "3600")
		s.page.do("click", "#all summary")
		all("Cool all", "cooled for 1 h")
		if k := s.expectState(mainPool.key(3), "cooling"); k.Remaining < 3500 || k.Remaining > 3600 {
			s.Errorf("the admin API says %+v", k)
		}
		if status := s.g.send(s.T, mainPool.name, 1); status != http.StatusTooManyRequests {
			s.Errorf("status %d with every key cooling", status)
		}
		all("Clear all", "cleared")

		if n := len(s.up.seen()); n != calls {
			s.Errorf("the upstream was asked %d times without a key", n-calls)
		}
		s.expect(allBut()...)
	})
}

// The table shows what was asked for, in the order that was asked for.
func TestPageFinds(t *testing.T) {
	eachPage(t, func(s *scene) {
		disabled, cooling := mainPool.key(0), mainPool.key(5)
		s.g.send(s.T, mainPool.name, many)
		s.press(disabled, "Disable", "disabled")
		s.press(cooling, "Cool 10 min", "cooled for 10 min")
		ids := func() (ids []string) {
			for _, r := range s.page.rows() {
				ids = append(ids, r.ID)
			}
			return ids
		}
		only := func(what string, want ...string) {
			s.Helper()
			if got := ids(); !slices.Equal(got, want) {
				s.Errorf("%s: the page shows %v, want %v", what, got, want)
			}
		}
		if got := ids(); len(got) != mainPool.keys || got[0] != idOf(cooling) || got[1] != idOf(disabled) || !slices.IsSorted(got[2:]) {
			s.Errorf("the page shows %v, want those that need somebody first", got)
		}
		s.page.do("click", "thead a:has-text('Key')")
		s.page.show("th[aria-sort=ascending]:has-text('Key')")
		if got := ids(); len(got) != mainPool.keys || !slices.IsSorted(got) {
			s.Errorf("sorted by id: %v", got)
		}

		chip := func(title string) {
			s.Helper()
			s.page.do("click", "nav.chips a:has-text('"+title+"')")
			s.page.show("nav.chips a[aria-current]:has-text('" + title + "')")
		}
		chip("Disabled")
		only("disabled", idOf(disabled))
		chip("Cooling")
		only("cooling", idOf(cooling))
		chip("Ready")
		if n := len(ids()); n != mainPool.keys-2 {
			s.Errorf("%d ready keys", n)
		}
		chip("All")

		s.page.do("fill", "#q", strings.ToUpper(idOf(disabled)[:7]))
		s.page.do("click", "#filter button")
		s.page.show(".where:has-text('1 key ·')")
		only("by id", idOf(disabled))
		s.page.do("click", ".where a:has-text('show all')")
		s.page.show(".where:has-text('6 keys')")

		s.page.do("select", "#class", "operator")
		s.page.do("click", "#filter button")
		s.page.show(".where:has-text('1 key ·')")
		only("by class", idOf(cooling))
		s.page.do("click", ".where a:has-text('show all')")
		s.page.show(".where:has-text('6 keys')")

		s.page.do("click", "thead a:has-text('Attempts')")
		s.page.show("th[aria-sort=descending]:has-text('Attempts')")
		most := s.page.rows()
		if !slices.IsSortedFunc(most, func(a, b tableRow) int { return b.Attempts - a.Attempts }) || most[0].Attempts <= many/mainPool.keys/2 {
			s.Errorf("sorted by attempts: %+v", most)
		}
		s.page.do("click", "thead a:has-text('Attempts')")
		s.page.show("th[aria-sort=ascending]:has-text('Attempts')")
		if least := s.page.rows(); !slices.IsSortedFunc(least, func(a, b tableRow) int { return a.Attempts - b.Attempts }) {
			s.Errorf("sorted by attempts, the other way: %+v", least)
		}
	})
}

// adminScene is a scene at the admin endpoint, where scripts run.
func adminScene(t *testing.T) *scene {
	t.Helper()
	return openScene(t, startBrowser(t), nil, func(g *operators) string { return g.admin + "/keycycler/" })
}

// coolOne has a key turned down, and returns what its row will say.
func (s *scene) coolOne(key string) string {
	s.Helper()
	s.moods.set(key, rateLimited(500))
	s.g.send(s.T, mainPool.name, many)
	return "#k" + idOf(key) + ":has-text('rate_limited')"
}

// What happens upstream shows up by itself, and what the reader is at stays.
func TestPageRefreshes(t *testing.T) {
	s := adminScene(t)
	s.page.do("mark")
	s.page.do("click", "#all summary")
	s.page.show(s.coolOne(mainPool.key(1)))
	s.page.show(".legend:has-text('rate_limited 1')")
	s.page.show("#all[open] button")
	if !get[bool](s.page, "marked") {
		t.Error("the page was loaded anew")
	}
}

// Nobody is asked while nobody looks: in a hidden tab, and while the page is paused.
func TestPageRests(t *testing.T) {
	s := adminScene(t)
	s.page.do("clock")
	s.page.visit(s.url)
	rest := func(why string) {
		s.Helper()
		before := len(get[[]string](s.page, "requests"))
		s.page.do("pass", 600)
		if n := len(get[[]string](s.page, "requests")) - before; n != 0 {
			s.Errorf("%s: %d requests in ten minutes", why, n)
		}
	}
	s.page.do("hide", true)
	cooling := s.coolOne(mainPool.key(1))
	rest("hidden")
	s.page.do("hide", false)
	s.page.show(cooling)

	s.page.do("click", "#pause")
	s.page.show("#live:has-text('Paused')")
	cooling = s.coolOne(mainPool.key(2))
	rest("paused")
	s.page.do("click", "#pause")
	s.page.show(cooling)
}

// A page whose gateway has gone says so, instead of showing what was as if it were.
func TestPageTellsOutage(t *testing.T) {
	b := startBrowser(t)
	g := startOperators(t, startUpstream(t, never), true, mainPool)
	page := b.open(t, nil)
	page.visit(g.admin + "/keycycler/")
	page.show("#live:has-text('Updated')")
	g.stop(t)
	page.show("#live.down:has-text('Gateway not reachable since')")
	page.shoot("down", false)
}

// A filter applies while it is typed, unless the reader goes elsewhere meanwhile.
func TestPageFiltersWhileTyped(t *testing.T) {
	s := adminScene(t)
	id := idOf(mainPool.key(3))
	s.page.do("fill", "#q", id[:6])
	s.page.show(".where:has-text('1 key ·')")
	s.page.do("click", ".where a:has-text('show all')")
	s.page.show(".where:has-text('6 keys')")

	s.page.do("clock")
	s.page.visit(s.url)
	s.page.do("fill", "#q", id[:6])
	s.page.do("click", "thead a:has-text('Attempts')")
	s.page.show("th[aria-sort=descending]:has-text('Attempts')")
	before := len(get[[]string](s.page, "requests"))
	s.page.do("pass", 1) // a refresh comes later
	if after := get[[]string](s.page, "requests")[before:]; len(after) > 0 {
		t.Errorf("what was typed before came after what was asked for: %v", after)
	}
	s.page.show("th[aria-sort=descending]:has-text('Attempts')")
}

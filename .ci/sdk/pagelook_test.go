package sdk

import (
	"testing"
	"time"
)

// looks are how the page may be looked at.
var looks = []struct {
	name string
	o    options
}{
	{"light", options{"colorScheme": "light", "viewport": window(1280, 900)}},
	{"dark", options{"colorScheme": "dark", "viewport": window(1280, 900)}},
	{"1024 px", options{"colorScheme": "light", "viewport": window(1024, 768)}},
	{"390 px", options{"colorScheme": "dark", "viewport": window(390, 844), "isMobile": true, "hasTouch": true}},
	{"narrow light", options{"colorScheme": "light", "viewport": window(360, 740), "isMobile": true, "hasTouch": true}},
	{"narrow dark", options{"colorScheme": "dark", "viewport": window(360, 740), "isMobile": true, "hasTouch": true}},
	{"320 px", options{"colorScheme": "light", "viewport": window(320, 600)}},
}

func window(width, height int) map[string]int {
	return map[string]int{"width": width, "height": height}
}

// In all looks, and in all that the page can say, text is legible and the page is no
// wider than the window.
func TestPageLooks(t *testing.T) {
	b := startBrowser(t)
	moods := new(moods)
	down := pool{"a.pool_with-the-longest-name-that-there-can-be-of-64-characters0", 900, 4}
	fresh := pool{"fresh", 800, 2}
	g := startOperators(t, startUpstream(t, moods.refuse), true, mainPool, down, fresh)
	for i, r := range []*refusal{rateLimited(40), rateLimited(400), spentQuota(), invalidKey()} {
		moods.set(mainPool.key(i), r)
		moods.set(down.key(i), r)
	}
	g.send(t, mainPool.name, many)
	g.send(t, down.name, 2)

	for _, look := range looks {
		t.Run(look.name, func(t *testing.T) {
			page := b.open(t, look.o)
			check := func(what string) {
				t.Helper()
				page.check(what)
				page.shoot(look.name+" "+what, true)
			}
			page.visit(g.admin + "/keycycler/?pool=" + mainPool.name)
			page.show("#live:has-text('Updated')")
			check("pools")
			page.do("click", "#all summary")
			page.show("#all button")
			check("menu")
			page.do("click", "#all summary")
			page.do("click", "#add summary")
			page.do("fill", "#add-keys", "Bearer sk-demo-7\nsk-demo-8 name-of-a-key")
			check("add")
			page.do("click", "#add button")
			page.show("#notice.failed:has-text('No key was added: line 1')")
			page.do("forgive", "status of 422")
			check("not added")
			page.do("click", "#add summary")
			id := idOf(mainPool.key(5))
			page.do("click", "#k"+id+" button:has-text('Disable')")
			page.show("#notice:has-text('disabled.')")
			check("notice")
			page.do("click", "#k"+id+" button:has-text('Enable')")
			page.show("#notice:has-text('enabled.')")
			page.do("fill", "#q", "ffffffffffff")
			page.show(".empty")
			check("nothing found")
			page.do("click", "#usage a:has-text('Models')")
			page.show("#usage th:has-text('demo-model')")
			page.do("click", "#usage a:has-text('Last 30 days')")
			page.show("#usage a[aria-current]:has-text('Last 30 days')")
			check("usage")
			page.checkClean()
		})
	}
}

// check finds fault with what text is hard to read, and with a page that scrolls
// sideways.
func (p *tab) check(what string) {
	p.t.Helper()
	contrast := get[struct {
		Looked int
		Poor   []string
	}](p, "contrast")
	if contrast.Looked < 50 {
		p.t.Errorf("%s: only %d texts were looked at", what, contrast.Looked)
	}
	for _, poor := range contrast.Poor {
		p.t.Errorf("%s: too little contrast, %s", what, poor)
	}
	for _, wide := range get[[]string](p, "overflow") {
		p.t.Errorf("%s: the page scrolls sideways: %s", what, wide)
	}
}

// With 10,000 keys the page is as usable as with six.
func TestPageManyKeys(t *testing.T) {
	b := startBrowser(t)
	moods := new(moods)
	large := pool{"large", 1000, 10_000}
	g := startOperators(t, startUpstream(t, moods.refuse), true, large, pool{"small", 1, 3})
	for i := range large.keys {
		if i%3 == 0 {
			moods.set(large.key(i), rateLimited(30+i))
		}
	}
	g.send(t, large.name, 300)

	page := b.open(t, options{"viewport": window(1280, 900)})
	start := time.Now()
	page.visit(g.admin + "/keycycler/")
	page.show("#live:has-text('Updated')")
	t.Logf("the page was there after %v", time.Since(start))
	page.show(".where:has-text('1–100 of 10,000')")
	page.check("many keys")
	page.shoot("10000 keys", true)

	id := idOf(large.key(7777))
	start = time.Now()
	page.do("fill", "#q", id)
	page.show(".where:has-text('1 key ·')")
	t.Logf("it was filtered after %v, of which it waits 250 ms for another digit", time.Since(start))
	if rows := page.rows(); len(rows) != 1 || rows[0].ID != id {
		t.Errorf("the page shows %v", rows)
	}
	page.do("click", ".where a:has-text('show all')")
	page.show(".where:has-text('1–100 of 10,000')")

	start = time.Now()
	page.do("click", "nav.chips a:has-text('Cooling')")
	page.show("nav.chips a[aria-current]:has-text('Cooling')")
	t.Logf("the cooling keys were there after %v", time.Since(start))
	for _, row := range page.rows() {
		if row.State != "cooling" || row.Class != "rate_limited" {
			t.Errorf("among those that cool: %+v", row)
		}
	}
	page.do("click", "nav.chips a:has-text('All')")
	page.show(".where:has-text('1–100 of 10,000')")
	page.do("click", ".pager a:has-text('Last')")
	page.show(".where:has-text('9,901–10,000 of 10,000')")

	start = time.Now()
	page.do("click", "#all summary")
	page.do("click", "#all button:has-text('Disable all')")
	page.show("#notice:has-text('10,000 keys disabled.')")
	t.Logf("all were disabled after %v", time.Since(start))
	page.checkClean()
}

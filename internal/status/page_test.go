package status

import (
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fake is a source that notes what it is told to do.
type fake struct {
	pools []Pool
	keys  map[string][]Key
	usage map[string]*Usage
	err   error // of do
	found Found // by a test

	mu   sync.Mutex
	done []string
}

func (f *fake) Pools() []Pool { return f.pools }

func (f *fake) Keys(pool string) iter.Seq[Key] { return slices.Values(f.keys[pool]) }

func (f *fake) Usage(pool, by string, hour bool) *Usage {
	return f.usage[fmt.Sprint(pool, " ", by, " ", hour)]
}

func (f *fake) Do(pool, id string, a Action) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	if id != "" && !slices.ContainsFunc(f.keys[pool], func(k Key) bool { return k.ID == id }) {
		return 0, fmt.Errorf("key: %w", ErrNotFound)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, strings.TrimSpace(fmt.Sprintf("%s %s %s %v", pool, id, a.Verb, a.For)))
	if id == "" {
		return len(f.keys[pool]), nil
	}
	return 1, nil
}

// Add notes what it was told. It has the keys on the second line of three.
func (f *fake) Add(pool, file, text string) (Added, error) {
	if f.err != nil {
		return Added{}, f.err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, fmt.Sprintf("%s %s add %q", pool, file, text))
	return Added{Keys: 2, Skipped: []int{2}}, nil
}

func (f *fake) Remove(pool, id string) error {
	_, err := f.Do(pool, id, Action{Verb: Remove})
	return err
}

func (f *fake) Test(_ *http.Request, pool, id string) (Found, error) {
	if f.err != nil {
		return "", f.err
	}
	if !slices.ContainsFunc(f.keys[pool], func(k Key) bool { return k.ID == id }) {
		return "", fmt.Errorf("key: %w", ErrNotFound)
	}
	return f.found, nil
}

const (
	readyID    = "0aaaaaaaaaaa"
	coolingID  = "1bbbbbbbbbbb"
	disabledID = "2ccccccccccc"
)

// newFake returns two pools, the second of which is down.
func newFake() *fake {
	return &fake{
		pools: []Pool{
			{Name: "openai", Provider: "openai", Keys: 3, Ready: 1, Cooling: 1, Disabled: 1, Soonest: 42 * time.Second, Backend: "memory", Healthy: true},
			{Name: "gemini", Provider: "gemini", Keys: 1, Cooling: 1, Soonest: 200 * time.Second, Backend: "redis", Err: "connection refused",
				Minutes: []Minute{{Rejections: map[string]int{"rate_limited": 2}, Served: 7}}},
		},
		keys: map[string][]Key{
			"openai": {
				{ID: readyID, State: Ready, Attempts: 1200},
				{ID: coolingID, State: Cooling, Class: "rate_limited", Source: "retry-after", Scope: "model:large", Remaining: 42 * time.Second},
				{ID: disabledID, State: Disabled},
			},
			"gemini": {{ID: coolingID, State: Cooling, Class: "operator", Source: "operator", Scope: "key", Remaining: 200 * time.Second}},
		},
	}
}

const prefix = "/keycycler/"

func ask(src Source, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	New(src, prefix).ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w
}

// get returns the page at that query.
func get(t *testing.T, src Source, query string) string {
	t.Helper()
	w := ask(src, http.MethodGet, prefix+query)
	if w.Code != http.StatusOK {
		t.Fatalf("%s answers %d: %s", query, w.Code, w.Body)
	}
	return w.Body.String()
}

// within returns what stands between the first begin and the end that follows.
func within(t *testing.T, page, begin, end string) string {
	t.Helper()
	_, after, ok := strings.Cut(page, begin)
	text, _, closed := strings.Cut(after, end)
	if !ok || !closed {
		t.Fatalf("there is no %s…%s", begin, end)
	}
	return text
}

func TestMethods(t *testing.T) {
	for _, test := range []struct {
		name   string
		method string
		path   string
		status int
	}{
		{"the page", http.MethodGet, prefix, http.StatusOK},
		{"its head", http.MethodHead, prefix, http.StatusOK},
		{"a method that it has not", http.MethodPut, prefix, http.StatusMethodNotAllowed},
		{"nor this one", http.MethodOptions, prefix, http.StatusMethodNotAllowed},
		{"a path below it", http.MethodGet, prefix + "favicon.ico", http.StatusNotFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := ask(newFake(), test.method, test.path)
			if w.Code != test.status {
				t.Errorf("status %d, want %d", w.Code, test.status)
			}
			if allow := w.Header().Get("Allow"); (allow == "GET, HEAD, POST") != (test.status == http.StatusMethodNotAllowed) {
				t.Errorf("Allow %q", allow)
			}
			if test.method == http.MethodHead && (w.Body.Len() > 0 || w.Header().Get("Content-Length") == "") {
				t.Errorf("a body of %d bytes, Content-Length %q", w.Body.Len(), w.Header().Get("Content-Length"))
			}
		})
	}
}

func TestHeader(t *testing.T) {
	h := ask(newFake(), http.MethodGet, prefix).Header()
	for name, want := range map[string]string{
		"Content-Type":           "text/html; charset=utf-8",
		"Cache-Control":          "no-store",
		"Referrer-Policy":        "same-origin",
		"X-Content-Type-Options": "nosniff",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// The policy's hashes are those of what the page holds, to the byte: otherwise a
// browser would show it without style and script.
func TestPolicy(t *testing.T) {
	w := ask(newFake(), http.MethodGet, prefix)
	page := w.Body.String()
	want := "default-src 'none'; style-src '" + hashOf(within(t, page, "<style>", "</style>")) + "'; script-src '" +
		hashOf(within(t, page, "<script>", "</script>")) + "'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; img-src data:"
	if got := w.Header().Get("Content-Security-Policy"); got != want {
		t.Errorf("policy %q, want %q", got, want)
	}
	if strings.Count(page, "<style") != 1 || strings.Count(page, "<script") != 1 {
		t.Error("there are styles or scripts that the policy does not know")
	}
}

// Nothing in the page is loaded from anywhere, or needs more than the policy allows.
func TestSelfContained(t *testing.T) {
	src := newFake()
	src.pools[1].Err = ""
	page := get(t, src, "?did=clear&to=all&changed=3")
	for what, pattern := range map[string]string{
		"an address of another site": `https?://|src=|\burl\(|@import`,
		"an attribute with style":    `<[^>]*\sstyle=`,
		"an attribute with script":   `<[^>]*\son[a-z]+=`,
		"a link with script":         `javascript:`,
	} {
		if found := regexp.MustCompile(pattern).FindString(page); found != "" {
			t.Errorf("there is %s: %.80q", what, found)
		}
	}
}

func TestEscaping(t *testing.T) {
	const evil = `"'><script>alert(1)</script>`
	src := newFake()
	src.pools[0].Name, src.pools[0].Provider, src.pools[0].Backend = evil, evil, evil
	src.pools[1].Err = evil
	src.pools[1].Minutes[0].Rejections = map[string]int{evil: 1}
	src.pools[0].Models = []Model{{Name: evil}}
	src.keys[evil] = []Key{{ID: evil, State: evil, Class: evil, Source: evil, Scope: evil}}
	for _, query := range []string{"", "?class=%22%3E%3Cscript%3E&q=%3Cscript%3E&pool=%3Cscript%3E&sort=%3Cscript%3E&did=%3Cscript%3E"} {
		page := get(t, src, query)
		if strings.Count(page, "<script") != 1 || strings.Contains(page, evil) {
			t.Errorf("%q: the page holds a script that is not its own", query)
		}
		if !strings.Contains(page, "&lt;script&gt;alert(1)") {
			t.Errorf("%q: the page does not show what is called so", query)
		}
	}
}

func TestPage(t *testing.T) {
	src := newFake()
	for _, test := range []struct {
		name  string
		query string
		has   []string
		not   []string
	}{
		{"the pool that needs somebody most is shown", "?", []string{"Keys of gemini"}, []string{"Keys of openai"}},
		{"a pool", "", []string{"Keys of openai", `id="k` + readyID, `aria-label="1 ready, 1 cooling, 1 disabled"`, "1,200", "never"}, []string{"Keys of gemini"}},
		{"or the one that is asked for", "?pool=gemini", []string{"Keys of gemini"}, []string{"Keys of openai"}},
		{"an unknown pool is that one", "?pool=nobody", []string{"Keys of gemini"}, nil},
		{"a pool that is down", "", []string{"⚠ 2 pools, 1 of 4 keys ready", ">gemini</a> has no ready key. The first is back in 3 min 20 s.", "Redis is away: connection refused."}, nil},
		{"what was rejected", "", []string{"This minute: 2 rate_limited; 7 served", "All quiet"}, nil},
		{"seconds count down", "", []string{`<span data-seconds="42">42 s</span>`}, []string{`data-seconds="200"`}},
		{"what cools but the key itself", "", []string{"<small>model:large</small>"}, nil},
		{"what cools is the key", "?pool=gemini", nil, []string{"<small>key</small>"}},
		{"a ready key's actions", "?state=ready", []string{`value="cool" formaction="?id=` + readyID, `value="disable" formaction="?id=` + readyID}, []string{`formaction="?id=` + coolingID}},
		{"a cooling key's actions", "?state=cooling", []string{`value="clear" formaction="?id=` + coolingID, `value="disable" formaction="?id=` + coolingID}, []string{`value="cool" formaction`}},
		{"a disabled key's actions", "?state=disabled", []string{`value="enable" formaction="?id=` + disabledID}, []string{`value="disable" formaction`}},
		{"how it is sorted", "?sort=attempts&order=desc", []string{`aria-sort="descending"><a href="?pool=openai&amp;sort=attempts#keys"`}, []string{`aria-sort="ascending"><a`}},
		{"no key matches", "?q=fff", []string{"No key matches the filter."}, []string{"<table>"}},
		{"a class that is gone is still chosen", "?class=overloaded", []string{`<option value="overloaded" selected>overloaded (0)`}, nil},
		{"a filter stays when it is refined", "?state=cooling&sort=attempts&order=desc", []string{`name="state" value="cooling"`, `name="sort" value="attempts"`, `name="order" value="desc"`}, nil},
		{"what was done to a key", "?did=cool&to=" + readyID + "&changed=1&seconds=600", []string{"Key " + readyID + " cooled for 10 min."}, nil},
		{"what was done to all", "?did=disable&to=all&changed=3", []string{"3 keys disabled."}, nil},
		{"what was done to no avail", "?did=clear&to=" + readyID + "&changed=0", []string{"Key " + readyID + ": nothing to change."}, nil},
		{"what nobody can have done", "?did=sell&to=all&changed=3", nil, []string{"Dismiss"}},
		{"a page that is not reloaded says how to", "", []string{"<noscript>"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			query := test.query
			if !strings.Contains(query, "pool=") && query != "?" {
				query = "?pool=openai&" + strings.TrimPrefix(query, "?")
			}
			page := get(t, src, query)
			for _, text := range test.has {
				if !strings.Contains(page, text) {
					t.Errorf("the page lacks %q", text)
				}
			}
			for _, text := range test.not {
				if strings.Contains(page, text) {
					t.Errorf("the page has %q", text)
				}
			}
		})
	}
}

// A pool whose keys are all ready, but for some models.
func TestPageOfAPoolWithoutKeysForModels(t *testing.T) {
	models := func(n int) (all []Model) {
		for i := range n {
			all = append(all, Model{Name: fmt.Sprint("gpt-", i), Back: time.Duration(200-60*i) * time.Second})
		}
		return all
	}
	for _, test := range []struct {
		name   string
		models []Model
		has    []string
		not    []string
	}{
		{"none", nil, []string{"<title>1 pool, 3 of 3 keys ready – keycycler"}, []string{"⚠ 1 pool", `class="alerts"`, `class="out"`, "No key for"}},
		{"one", models(1), []string{"<title>⚠ 1 pool, 3 of 3 keys ready, none for 1 model", ">openai</a> has no ready key for gpt-0. The first is back in 3 min 20 s.",
			"No key for <b>gpt-0</b>: back in 3 min 20 s", "No key cools for all models"}, []string{"<li>None", "No key is cooling"}},
		{"several: the soonest of them", models(3), []string{"none for 3 models", "has no ready key for gpt-0 and 2 more models. The first is back in 1 min 20 s.",
			"No key for <b>gpt-2</b>: back in 1 min 20 s"}, []string{"<li>None"}},
		{"seconds count down", []Model{{"gpt-a", 42 * time.Second}}, []string{`No key for <b>gpt-a</b>: back in <span data-seconds="42">42 s</span>`}, nil},
		{"nobody knows when", []Model{{"gpt-a", 0}}, []string{"has no ready key for gpt-a.</p>", "<li>No key for <b>gpt-a</b></li>"}, nil},
		{"more than a card names", append(models(3), models(3)...), []string{"none for 6 models", "and 5 more models", "<li>None for 1 more model</li>"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			page := get(t, &fake{pools: []Pool{{Name: "openai", Keys: 3, Ready: 3, Backend: "memory", Healthy: true, Models: test.models}}}, "")
			for _, text := range test.has {
				if !strings.Contains(page, text) {
					t.Errorf("the page lacks %q", text)
				}
			}
			for _, text := range test.not {
				if strings.Contains(page, text) {
					t.Errorf("the page has %q", text)
				}
			}
		})
	}
}

func TestPageWithoutPools(t *testing.T) {
	page := get(t, new(fake), "?pool=openai")
	if !strings.Contains(page, "No pools are configured.") || strings.Contains(page, "<table>") {
		t.Error("the page does not say that there are no pools")
	}
}

func TestPageOfAPoolWithoutKeys(t *testing.T) {
	page := get(t, &fake{pools: []Pool{{Name: "empty", Backend: "memory", Healthy: true}}}, "")
	if !strings.Contains(page, "This pool has no keys.") || !strings.Contains(page, ">empty</a> has no keys.") {
		t.Error("the page does not say that there are no keys")
	}
}

func TestPager(t *testing.T) {
	src := &fake{pools: []Pool{{Name: "large", Keys: 1234, Ready: 1234}}, keys: map[string][]Key{"large": manyKeys(1234)}}
	for _, test := range []struct {
		name  string
		query string
		text  string
		links int // of the four, above and below the table
	}{
		{"the first page", "", "1–100 of 1,234", 4},
		{"one in the middle", "?page=2", "101–200 of 1,234", 8},
		{"the last one", "?page=13", "1,201–1,234 of 1,234", 4},
		{"one too far is the last", "?page=99", "1,201–1,234 of 1,234", 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			page := get(t, src, test.query)
			if !strings.Contains(page, test.text) {
				t.Errorf("the page lacks %q", test.text)
			}
			if links := len(regexp.MustCompile(`<a href="[^"]*"[^>]*>(« First|‹ Prev|Next ›|Last »)`).FindAllString(page, -1)); links != test.links {
				t.Errorf("%d links, want %d", links, test.links)
			}
		})
	}
}

// The page says how long ago things were, by the clock of the moment.
func TestPageKnowsTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake()
		src.keys["openai"][0].LastUsed = time.Now()
		time.Sleep(12 * time.Second) // of the bubble
		if !strings.Contains(get(t, src, "?pool=openai"), "12 s ago") {
			t.Error("the page does not say 12 s ago")
		}
	})
}

// words are a text.
type words string

func (w words) String() string { return string(w) }

func (w words) Managed() string { return "" }

// Names stand beside ids; all that is known of a key is in a title, as what is too long for
// the column.
func TestPageShowsNames(t *testing.T) {
	src := newFake()
	keys := src.keys["openai"]
	keys[0].Name, keys[0].About = "east-1", words("east-1, openai.keys:17")
	keys[1].Name, keys[1].About = strings.Repeat("n", 64), words(strings.Repeat("n", 64)+", <acme>")
	keys[0].Group = "acme"
	page := get(t, src, "?pool=openai")
	for _, want := range []string{
		`<th scope="row" title="east-1, openai.keys:17">` + readyID + ` <span class="name">east-1</span> <small class="group">acme</small></th>`,
		`<th scope="row" title="` + strings.Repeat("n", 64) + `, &lt;acme&gt;">` + coolingID + ` <span class="name">` + strings.Repeat("n", 64) + `</span></th>`,
		`<th scope="row">` + disabledID + `</th>`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

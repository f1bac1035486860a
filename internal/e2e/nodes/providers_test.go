//go:build unix

package nodes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
	"github.com/keycycler/keycycler/rotator"
)

// corpusCase is a line of ttl/testdata/cases.jsonl: an answer that was seen, or could
// be, and what it means.
type corpusCase struct {
	ID       string
	Provider string
	Status   int
	Headers  map[string]fieldLines
	Body     string
	Now      time.Time
	Want     struct {
		Class  string
		ResetS *float64 `json:"reset_s"`
		Source string
	}
}

// fieldLines are a header's lines: a string or a list of them.
type fieldLines []string

func (l *fieldLines) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*l = fieldLines{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

func readCorpus(t *testing.T) (cases []corpusCase) {
	t.Helper()
	text, err := os.ReadFile("../../../ttl/testdata/cases.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var c corpusCase
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatalf("line %d: %v", len(cases)+1, err)
		}
		cases = append(cases, c)
	}
	return cases
}

var testedPresets = []string{"openai", "anthropic", "gemini", "azure", "cohere", "github"}

// presets returns those that the answer is judged by: its provider's; OpenAI's for
// those that copy its API; and all of them for what no provider has a hand in.
func (c *corpusCase) presets() []string {
	nobody := []string{"spec", "constructed", "nginx", "syntage", "whoop", "novu", "ionos", "litellm"}
	switch {
	case slices.Contains(nobody, c.Provider):
		return testedPresets
	case slices.Contains(testedPresets, c.Provider):
		return []string{c.Provider}
	case c.Provider == "azure-openai":
		return []string{"azure"}
	default:
		return []string{"openai"}
	}
}

// class returns the class that the answer has in the admin API, "" if none.
func (c *corpusCase) class() string {
	switch c.Want.Class {
	case "ok", "client_error", "forbidden", "server_error", "pass":
		return ""
	}
	return c.Want.Class
}

// term is a cooldown as the admin API shows it.
type term struct {
	class, source string
	least, most   float64 // seconds
}

// spentTerms are the successes of the corpus that leave nothing of the key's
// allowance.
var spentTerms = map[string]term{
	"draft-10-on-200-r0":       {"spent", "ratelimit", 30, 30},
	"together-200-remaining-0": {"spent", "x-ratelimit-reset", 1, 1},
	"trap-200-remaining-0":     {"spent", "x-ratelimit-reset-requests", 59.9, 59.9},
}

// term returns how the key cools in a pool with these bounds, and whether it does.
func (c *corpusCase) term(b bounds) (term, bool) {
	if spent, ok := spentTerms[c.ID]; ok {
		return spent, true
	}
	const longest = 24 * 3600
	t, seconds := term{class: c.class(), source: "default"}, float64(longest)
	stated := c.Want.ResetS
	switch t.class {
	case "rate_limited":
		seconds = 60
	case "quota_exhausted", "invalid_key", "unknown":
	default:
		return term{}, false
	}
	if c.ID == "cloudflare-429-neurons" { // lasts until midnight, whenever it is met
		midnight := 86400 - float64(time.Now().Unix()%86400)
		stated = &midnight
	}
	if stated != nil {
		seconds, t.source = *stated, c.Want.Source
	}
	t.least = min(max(seconds, b.min), longest)
	t.most = t.least * (1 + b.jitter)
	return t, true
}

// instants are the forms in which answers name a point in time.
var instants = []struct {
	pattern *regexp.Regexp
	layout  string
}{
	{regexp.MustCompile(`[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d`), "Mon, 02 Jan 2006 15:04:05"},
	{regexp.MustCompile(`[A-Z][a-z]+day, \d\d-[A-Z][a-z]{2}-\d\d \d\d:\d\d:\d\d`), "Monday, 02-Jan-06 15:04:05"},
	{regexp.MustCompile(`[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}`), time.ANSIC},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d`), "2006-01-02T15:04:05"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dt\d\d:\d\d:\d\d`), "2006-01-02t15:04:05"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`), time.DateTime},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d at \d\d:\d\d`), "2006-01-02 at 15:04"},
}

// sinceEpoch are numbers that may be seconds or milliseconds since 1970.
var sinceEpoch = regexp.MustCompile(`\b\d{10}(\d{3})?\b`)

// shifted returns text with all points in time in it moved, so that the case happens
// now.
func (c *corpusCase) shifted(text string, by time.Duration) string {
	for _, form := range instants {
		text = form.pattern.ReplaceAllStringFunc(text, func(s string) string {
			at, err := time.Parse(form.layout, s)
			if err != nil {
				return s
			}
			return at.Add(by).Format(form.layout)
		})
	}
	return sinceEpoch.ReplaceAllStringFunc(text, func(s string) string {
		n, _ := strconv.ParseInt(s, 10, 64)
		unit := time.Second
		if len(s) == 13 {
			unit = time.Millisecond
		}
		const month = 31 * 24 * time.Hour
		if off := time.Duration(n-c.Now.UnixNano()/int64(unit)) * unit; off < -month || off > month {
			return s // some other number
		}
		return strconv.FormatInt(n+int64(by/unit), 10)
	})
}

// answer is what an upstream sends.
type answer struct {
	status int
	header http.Header
	body   string
	wire   []byte // all of it
}

// answer returns the case's answer as it would be now. Its length is written anew,
// since the corpus has shortened some bodies.
func (c *corpusCase) answer(now time.Time) *answer {
	by := now.Truncate(time.Second).Sub(c.Now)
	a := &answer{status: c.Status, header: make(http.Header), body: c.shifted(c.Body, by)}
	var wire bytes.Buffer
	fmt.Fprintf(&wire, "HTTP/1.1 %d %s\r\n", c.Status, http.StatusText(c.Status))
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		if strings.EqualFold(name, "Content-Length") {
			continue
		}
		for _, value := range c.Headers[name] {
			value = c.shifted(value, by)
			fmt.Fprintf(&wire, "%s: %s\r\n", name, value)
			a.header.Add(name, strings.TrimSpace(value))
		}
	}
	fmt.Fprintf(&wire, "Content-Length: %d\r\nConnection: close\r\n\r\n%s", len(a.body), a.body)
	a.wire = wire.Bytes()
	return a
}

// answerer is an upstream that gives one answer, byte for byte, and then serves.
type answerer struct {
	*httptest.Server
	mu   sync.Mutex
	next *answer
	keys []string // that it was called with
}

func startAnswerer(t *testing.T) *answerer {
	t.Helper()
	u := new(answerer)
	u.Server = httptest.NewServer(u)
	t.Cleanup(func() { live.CloseServer(t, u.Server) })
	return u
}

// arm makes a the next answer.
func (u *answerer) arm(a *answer) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.next, u.keys = a, nil
}

// called returns the keys that came since then.
func (u *answerer) called() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.keys
}

func (u *answerer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	sent := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	for _, name := range []string{"X-Api-Key", "X-Goog-Api-Key", "Api-Key"} {
		sent += r.Header.Get(name)
	}
	u.mu.Lock()
	a := u.next
	u.next, u.keys = nil, append(u.keys, sent)
	u.mu.Unlock()
	if a == nil {
		_, _ = io.WriteString(w, servedBody)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	_, _ = conn.Write(a.wire)
}

const servedBody = `{"object":"chat.completion"}`

// bounds are a pool's option cooldown.
type bounds struct {
	name        string
	options     string
	min, jitter float64 // seconds, and a part of 1
}

var testedBounds = []bounds{
	{"usual", "", 30, 0.1},
	{"exact", "cooldown {\n min 0s\n jitter 0\n}", 0, 0},
}

const keysPerPool = 3

// startPresets starts a node with a pool for each preset and bounds.
func startPresets(t *testing.T, upstream string) *node {
	t.Helper()
	var site strings.Builder
	var env []string
	for _, b := range testedBounds {
		for _, preset := range testedPresets {
			fmt.Fprintf(&site, "handle /%s/%s {\nkeycycler %[1]s-%[2]s {\nprovider %[2]s\nkeys", b.name, preset)
			for range keysPerPool {
				fmt.Fprintf(&site, " {env.KEY_%d}", len(env))
				env = append(env, fmt.Sprintf("KEY_%d=%s", len(env), key(len(env))))
			}
			fmt.Fprintf(&site, "\n%s\n}\nreverse_proxy %s\n}\n", b.options, upstream)
		}
	}
	n := startNode(t, nodeConfig{name: "a", state: "memory", level: "ERROR", env: env})
	n.post(strings.Replace(n.caddyfile(n.config), "handle /ready {", site.String()+"handle /ready {", 1))
	return n
}

// keysOf asks for the state of the pool's keys, by id.
func (n *node) keysOf(pool string) map[string]adminKey {
	n.t.Helper()
	var page struct{ Keys []adminKey }
	n.api("GET", "pools/"+pool+"/keys", "", &page)
	byID := make(map[string]adminKey)
	for _, k := range page.Keys {
		byID[k.ID] = k
	}
	return byID
}

// visit sends the case's answer to the first key of a request, and returns what is
// wrong with what becomes of it.
func (c *corpusCase) visit(n *node, client *http.Client, upstream *answerer, preset string, b bounds) (complaints []string) {
	complain := func(format string, args ...any) { complaints = append(complaints, fmt.Sprintf(format, args...)) }
	pool := b.name + "-" + preset
	before := n.keysOf(pool)
	began := time.Now()
	a := c.answer(began)
	upstream.arm(a)
	res, body := live.Do(n.t, client, live.Request(n.t, "POST", n.url+"/"+b.name+"/"+preset, `{"model":"m","messages":[]}`))
	after := n.keysOf(pool)
	took := time.Since(began).Seconds()
	calls := upstream.called()
	if len(calls) == 0 {
		return []string{fmt.Sprintf("the upstream was not called: the client got %d %q", res.StatusCode, body)}
	}

	want, cools := c.term(b)
	if moves := cools && want.class != "spent"; moves {
		if len(calls) != 2 || calls[0] == calls[1] {
			complain("the upstream was called with %d keys", len(calls))
		}
		a.checkGone(res, string(body), complain)
	} else {
		if len(calls) != 1 {
			complain("the upstream was called %d times", len(calls))
		}
		a.checkPassed(res, string(body), complain)
	}
	if len(after) != keysPerPool {
		complain("the pool has %d keys", len(after))
	}
	for id, k := range after {
		isFirst := id == rotator.IDOf(calls[0]).String()
		counted := make(map[string]int)
		if class := c.class(); isFirst && class != "" {
			counted[class]++
		}
		for class, count := range before[id].Rejections {
			counted[class] += count
		}
		if !maps.Equal(k.Rejections, counted) {
			complain("rejections %v, want %v", k.Rejections, counted)
		}
		if isFirst && cools {
			want.check(k, took, complain)
		} else if k.State != "ready" {
			complain("another key is %+v", k)
		}
	}
	var cleared struct{ Keys, Changed int }
	n.api("POST", "pools/"+pool+"/keys/clear", "", &cleared)
	return complaints
}

// check holds a key against its cooldown. What is stated as a point in time is up to
// a second old, since most are whole seconds.
func (t term) check(k adminKey, took float64, complain func(string, ...any)) {
	least := t.least - took - 1
	if least <= 0 && k.State == "ready" {
		return // is over
	}
	if k.State != "cooling" || k.Class != t.class || k.Source != t.source || k.Remaining < least || k.Remaining > t.most {
		complain("the key is %s (%s, %s) for %.3fs, want cooling (%s, %s) for %.3fs to %.3fs",
			k.State, k.Class, k.Source, k.Remaining, t.class, t.source, least, t.most)
	}
}

// checkPassed wants that the client has the answer as it came.
func (a *answer) checkPassed(res *http.Response, body string, complain func(string, ...any)) {
	if res.StatusCode != a.status || body != a.body {
		complain("the client got %d %q, want %d %q", res.StatusCode, body, a.status, a.body)
	}
	for name, values := range a.header {
		if !slices.Equal(res.Header[name], values) {
			complain("the client got %s: %q, want %q", name, res.Header[name], values)
		}
	}
}

// checkGone wants that the client was served, and has seen nothing of the answer.
func (a *answer) checkGone(res *http.Response, body string, complain func(string, ...any)) {
	if res.StatusCode != http.StatusOK || body != servedBody {
		complain("the client got %d %q", res.StatusCode, body)
	}
	for name := range a.header {
		if values, ok := res.Header[name]; ok && !slices.Contains([]string{"Content-Type", "Date", "Server"}, name) {
			complain("the client got %s: %q of the rejection", name, values)
		}
	}
}

// Every answer of the corpus means to a running gateway what the corpus says. The
// upstream gives it to the first key of a request, as it was sent, but with its
// points in time moved to now. The admin API tells what the gateway has made of it:
// for how long the key rests, why, and where that was stated.
func TestProvidersAreUnderstood(t *testing.T) {
	t.Parallel()
	upstream := startAnswerer(t)
	n := startPresets(t, upstream.URL)
	client := live.Patient(&http.Transport{DisableCompression: true})
	defer client.CloseIdleConnections()
	began, cases, visits := time.Now(), readCorpus(t), 0
	seen := make(map[string]int)
	for _, c := range cases {
		seen[c.class()]++
		for _, preset := range c.presets() {
			seen[preset]++
			for _, b := range testedBounds {
				visits++
				for _, complaint := range c.visit(n, client, upstream, preset, b) {
					t.Errorf("%s, %s %s: %s", c.ID, b.name, preset, complaint)
				}
			}
		}
	}
	classes := []string{"", "rate_limited", "quota_exhausted", "invalid_key", "request_too_large", "overloaded", "unknown"}
	for _, name := range append(classes, testedPresets...) {
		if seen[name] == 0 {
			t.Errorf("no case for %q", name)
		}
	}
	t.Logf("%d cases, %d requests in %s: %v", len(cases), visits, time.Since(began).Round(time.Millisecond), seen)
}

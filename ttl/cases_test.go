package ttl

import (
	"bufio"
	"encoding/json"
	"math"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// testCase is a line of testdata/cases.jsonl: an answer and what it means.
type testCase struct {
	ID       string
	Provider string
	Status   int
	Headers  map[string]lines
	Body     *string
	Now      time.Time
	Want     struct {
		Class  string
		ResetS *float64 `json:"reset_s"`
		Source string
	}
}

// lines are a header's field lines: a string or a list of them.
type lines []string

func (l *lines) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*l = lines{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

func (c *testCase) response() Response {
	r := Response{Status: c.Status, Now: c.Now, Header: map[string][]string{}}
	for name, values := range c.Headers {
		r.Header[textproto.CanonicalMIMEHeaderKey(name)] = values
	}
	if c.Body != nil {
		r.Body = []byte(*c.Body)
	}
	return r
}

func loadCases(t testing.TB) []testCase {
	t.Helper()
	f, err := os.Open("testdata/cases.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var cases []testCase
	for s := bufio.NewScanner(f); s.Scan(); {
		var c testCase
		if err := json.Unmarshal(s.Bytes(), &c); err != nil {
			t.Fatalf("line %d: %v", len(cases)+1, err)
		}
		cases = append(cases, c)
	}
	return cases
}

// wantClass is the class that stands behind a case's word for it.
func (c *testCase) wantClass() Class {
	switch class, ok := ParseClass(c.Want.Class); {
	case ok:
		return class
	default: // ok, client_error, forbidden, server_error, pass
		return OK
	}
}

func near(a, b float64) bool {
	return math.Abs(a-b) <= 1e-6+1e-12*math.Abs(b)
}

// dialects are all there are, by the name of their preset.
var dialects = map[string]*Dialect{
	"openai":    OpenAI,
	"anthropic": Anthropic,
	"gemini":    Gemini,
	"azure":     Azure,
	"cohere":    Cohere,
	"github":    GitHub,
	"generic":   Generic,
}

// dialect is the one for the case's provider: its own where it has one, and
// otherwise OpenAI, whose API the others copy. What no provider has sent but a
// specification or a trap puts there ("spec", "constructed", "nginx") goes
// through OpenAI as well, and through all the others in a test of its own.
func (c *testCase) dialect() *Dialect {
	switch c.Provider {
	case "azure-openai":
		return Azure
	case "volcengine":
		return Volcengine // OpenAI but for the clock
	}
	if d, ok := dialects[c.Provider]; ok {
		return d
	}
	return OpenAI
}

func (c *testCase) want() Verdict {
	v := Verdict{Class: c.wantClass(), Stated: c.Want.ResetS != nil, Source: c.Want.Source}
	if v.Stated {
		v.Seconds = *c.Want.ResetS
	}
	return v
}

// judge judges the answer, and where it is a stream the events in it.
func (c *testCase) judge(d *Dialect) Verdict {
	r := c.response()
	if r.Status != 200 || c.Body == nil {
		return d.Judge(r)
	}
	if v := d.JudgeEvent(r.Body, c.Now); v.Class != OK {
		return v
	}
	for line := range strings.Lines(*c.Body) {
		if data, ok := strings.CutPrefix(line, "data:"); ok {
			if v := d.JudgeEvent([]byte(data), c.Now); v.Class != OK {
				return v
			}
		}
	}
	return Verdict{}
}

// cools tells whether the corpus says what an answer of this class states. It
// leaves that out where nothing is cooled unless an operator says so.
func cools(c Class) bool { return c == RateLimited || c == QuotaExhausted || c == InvalidKey }

func sameStatement(a, b Verdict) bool {
	return a.Stated == b.Stated && a.Source == b.Source && near(a.Seconds, b.Seconds)
}

func agree(got, want Verdict) bool {
	return got.Class == want.Class && (!cools(want.Class) || sameStatement(got, want))
}

func TestCases(t *testing.T) {
	cases := loadCases(t)
	for _, c := range cases {
		if got, want := c.judge(c.dialect()), c.want(); !agree(got, want) {
			t.Errorf("%s: got %+v, want %+v", c.ID, got, want)
		}
	}
	// Counted, so that a case cannot drop out unnoticed.
	if len(cases) != 396 {
		t.Errorf("ran %d cases", len(cases))
	}
}

// What comes from a specification or is made up does not depend on who sends
// it: every dialect answers alike.
func TestCasesOfNobodyInEveryDialect(t *testing.T) {
	nobody, ran := []string{"spec", "constructed", "nginx", "syntage", "whoop", "novu", "ionos", "litellm"}, 0
	for _, c := range loadCases(t) {
		if !slices.Contains(nobody, c.Provider) {
			continue
		}
		ran++
		for name, d := range dialects {
			if got, want := c.judge(d), c.want(); d != Generic && !agree(got, want) {
				t.Errorf("%s, %s: got %+v, want %+v", name, c.ID, got, want)
			}
		}
	}
	if ran != 44 {
		t.Errorf("ran %d cases", ran)
	}
}

// Generic calls every 429 a rate limit, reads the wait as the others do, and
// judges nothing else, whatever the corpus calls it.
func TestGenericOnCases(t *testing.T) {
	limited := 0
	for _, c := range loadCases(t) {
		got, want := Generic.Judge(c.response()), c.want()
		if c.Status != 429 {
			if got != (Verdict{}) {
				t.Errorf("%s: got %+v for status %d", c.ID, got, c.Status)
			}
			continue
		}
		limited++
		if got.Class != RateLimited || cools(want.Class) && !sameStatement(got, want) {
			t.Errorf("%s: got %+v, want %+v", c.ID, got, want)
		}
	}
	if limited != 216 {
		t.Errorf("ran %d cases with status 429", limited)
	}
}

// Gateways put the headers of one provider into the answers of another: what is
// stated does not depend on the dialect either, as long as the class is one
// that cools.
func TestStatementsInEveryDialect(t *testing.T) {
	for _, c := range loadCases(t) {
		want := c.want()
		for name, d := range dialects {
			got := c.judge(d)
			if cools(got.Class) && cools(want.Class) && !sameStatement(got, want) {
				t.Errorf("%s, %s: got %+v, want %+v", name, c.ID, got, want)
			}
		}
	}
}

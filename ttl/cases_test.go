package ttl

import (
	"bufio"
	"encoding/json"
	"math"
	"net/textproto"
	"os"
	"slices"
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
	default: // ok, client_error, forbidden, server_error
		return OK
	}
}

func near(a, b float64) bool {
	return math.Abs(a-b) <= 1e-6+1e-12*math.Abs(b)
}

// leftOut names the providers that speak in ways of their own, which no
// dialect here knows yet. A provider comes off this list with its dialect.
var leftOut = []string{"anthropic", "bedrock", "gemini", "github", "openai-codex", "openrouter"}

// differs names the cases that are judged otherwise than the corpus has it,
// and what they are judged as.
var differs = map[string]Verdict{
	// An error inside the stream of a 200: a status that is never judged.
	"openai-200-stream-insufficient-quota": {},
}

func (c *testCase) want() Verdict {
	if v, ok := differs[c.ID]; ok {
		return v
	}
	v := Verdict{Class: c.wantClass(), Stated: c.Want.ResetS != nil, Source: c.Want.Source}
	if v.Stated {
		v.Seconds = *c.Want.ResetS
	}
	return v
}

// cools tells whether the corpus says what an answer of this class states. It
// leaves that out where nothing is cooled unless an operator says so.
func cools(c Class) bool { return c == RateLimited || c == QuotaExhausted || c == InvalidKey }

func sameStatement(a, b Verdict) bool {
	return a.Stated == b.Stated && a.Source == b.Source && near(a.Seconds, b.Seconds)
}

func TestOpenAIOnCases(t *testing.T) {
	ran, differing := 0, 0
	for _, c := range loadCases(t) {
		if slices.Contains(leftOut, c.Provider) {
			continue
		}
		ran++
		if _, ok := differs[c.ID]; ok {
			differing++
		}
		got, want := OpenAI.Judge(c.response()), c.want()
		if got.Class != want.Class || cools(want.Class) && !sameStatement(got, want) {
			t.Errorf("%s: got %+v, want %+v", c.ID, got, want)
		}
	}
	// Counted, so that a case cannot drop out unnoticed.
	if ran != 158 || differing != len(differs) {
		t.Errorf("ran %d cases, %d of them with a verdict of their own", ran, differing)
	}
}

// Generic calls every 429 a rate limit, reads the wait as OpenAI does, and
// judges nothing else, whatever the corpus calls it.
func TestGenericOnCases(t *testing.T) {
	ran, limited := 0, 0
	for _, c := range loadCases(t) {
		if slices.Contains(leftOut, c.Provider) {
			continue
		}
		ran++
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
	if ran != 158 || limited != 102 {
		t.Errorf("ran %d cases, %d of them with status 429", ran, limited)
	}
}

// What is left out is left out for a reason: once a dialect here answers all
// the cases of a provider, the provider has to come off the list.
func TestLeftOutCasesNeedADialect(t *testing.T) {
	failed := map[string]bool{}
	for _, c := range loadCases(t) {
		got, want := OpenAI.Judge(c.response()), c.want()
		if got.Class != want.Class || cools(want.Class) && !sameStatement(got, want) {
			failed[c.Provider] = true
		}
	}
	for _, provider := range leftOut {
		if !failed[provider] {
			t.Errorf("OpenAI answers every case of %s, which is left out", provider)
		}
	}
}

package live

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// The fault matrix: what goes wrong, and what comes of it for the client, the
// upstream and the keys. The tables of docs/faults.md are made of its cases.

// Fault is one of them, as the page shows it.
type Fault struct {
	What   string // goes wrong
	Client Result // what the client gets
	Calls  int    // what the upstream sees
	Body   string // likewise, of each call's body; nothing if it is whole
	Cools  int    // keys
	Lasts  bool   // whether another request is sent meanwhile, and the config reloaded
}

// InThePage holds the faults against a table of docs/faults.md.
func InThePage(t testing.TB, faults []Fault) {
	t.Helper()
	page := ReadFile(t, "docs/faults.md")
	var table strings.Builder
	table.WriteString("| what goes wrong | the client gets | the upstream sees | what cools |\n|---|---|---|---|\n")
	for _, f := range faults {
		if strings.Count(page, "\n| "+f.name()+" |") > 1 {
			t.Errorf("%q stands twice", f.What)
		}
		table.WriteString(f.row())
	}
	if !strings.Contains(page, "\n\n"+table.String()+"\n") {
		t.Errorf("the table of faults.md is another than:\n%s", &table)
	}
}

func (f Fault) name() string {
	if f.Lasts {
		return f.What + " ↻"
	}
	return f.What
}

// row is the fault's line of the table.
func (f Fault) row() string {
	cools := "nothing"
	if f.Cools > 0 {
		cools = "the rejected key"
	}
	return fmt.Sprintf("| %s | %s | %s | %s |\n", f.name(), f.Client, f.sees(), cools)
}

func (f Fault) sees() string {
	switch {
	case f.Calls == 0:
		return "nothing"
	case f.Calls == 1:
		return "a call" + f.Body
	case f.Cools > 0:
		return fmt.Sprintf("%d calls with different keys%s", f.Calls, f.Body)
	case f.Calls == 2:
		return fmt.Sprintf("%d calls with one key%s", f.Calls, f.Body)
	}
	return fmt.Sprintf("%d calls%s", f.Calls, f.Body)
}

// Result is what a client gets of a fault, in the words of docs/faults.md.
type Result string

// The results.
const (
	Served    Result = "its answer"
	CutOff    Result = "what came of the answer, cut off"
	CutOff400 Result = "what came of the 400, cut off"
	PassedOn  Result = "the upstream's 429"
	BadGate   Result = "502"
	TimedOut  Result = "504"
	HasLeft   Result = "nothing: it has left"
	TurnedOff Result = "no connection"
)

// What clients ask of the matrix's upstreams, and what they answer.
const (
	Question  = `{"model":"demo"}`
	TheAnswer = "the answer"
)

// ResultOf reads an answer; want is the body of one that is whole.
func ResultOf(res *http.Response, want string) Result {
	body, err := io.ReadAll(res.Body)
	switch {
	case res.StatusCode == 200 && err == nil && string(body) == want:
		return Served
	case res.StatusCode == 200 && err != nil && len(body) > 0 && strings.HasPrefix(want, string(body)):
		return CutOff
	case res.StatusCode == 400 && err != nil && len(body) > 0 && strings.HasPrefix(want, string(body)):
		return CutOff400
	case res.StatusCode == 429 && err == nil && string(body) == RateLimitBody && res.Header.Get("Retry-After") == "40":
		return PassedOn
	case res.StatusCode >= 500 && len(body) == 0 && err == nil:
		return Result(fmt.Sprint(res.StatusCode))
	}
	return Result(fmt.Sprintf("%s, %d bytes that begin with %.50q, %v", res.Status, len(body), body, err))
}

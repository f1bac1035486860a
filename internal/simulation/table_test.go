package simulation

import (
	"cmp"
	"flag"
	"fmt"
	"go/format"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	all    = flag.Bool("all", false, "play every case of the table, instead of a sample")
	only   = flag.String("case", "", "play the cases alone whose name this regular expression matches")
	record = flag.Bool("record", false, "write what was measured into today_test.go")
)

// row is a line of the table: a situation, what must hold in it, and the cases in which
// it is tried.
type row struct {
	number    int
	situation string
	hold      string
	cases     func() []instance
}

// instance is a case of a row.
type instance struct {
	variant string
	sample  bool // it is played without -all, too
	scenario
	check func(*verdict)
}

// verdict is what is said of a result.
type verdict struct {
	*result
	measured, wrong []string
}

// note adds what was measured.
func (v *verdict) note(format string, args ...any) {
	v.measured = append(v.measured, fmt.Sprintf(format, args...))
}

// sums are what is counted in every row: of the ordinary requests how many failed, the
// calls and how many of them were refused, and key-seconds in which keys cooled wrongly.
func (r *result) sums() string {
	return fmt.Sprintf("%.0f/%.0f failed, %.0f/%d calls refused, %.0f key-s wrongly",
		r.failed(0, forever), r.ordinaries(), r.refusedCalls(r.keys+1, 0, forever), len(r.calls), r.wrongly)
}

// must notes what was measured, and complains of what is more than is allowed.
func (v *verdict) must(what string, got, most float64) {
	text := fmt.Sprintf("%s %s", what, short(got))
	if v.measured = append(v.measured, text); got > most {
		v.wrong = append(v.wrong, fmt.Sprintf("%s, at most %s", text, short(most)))
	}
}

// least is must for what is less than is wanted.
func (v *verdict) least(what string, got, least float64) {
	text := fmt.Sprintf("%s %s", what, short(got))
	if v.measured = append(v.measured, text); got < least {
		v.wrong = append(v.wrong, fmt.Sprintf("%s, at least %s", text, short(least)))
	}
}

func short(x float64) string {
	if x == never {
		return "never"
	}
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", x), "0"), ".")
}

// name is how a case is known from run to run.
func (c *instance) name(row int) string {
	state, come := "fresh", "regular"
	if c.warm {
		state = "warm"
	}
	if c.poisson {
		come = "poisson"
	}
	text := fmt.Sprintf("%d N=%d %s, %s, %s, %s", row, c.keys, c.variant, state, come, c.speed.name)
	if c.twist.name != "" {
		text += ", " + c.twist.name
	}
	return text
}

// factor is how many nodes there are that call.
func (r *result) factor() float64 { return float64(max(r.twist.nodes, 1)) }

// table is the rows in order. What a pick costs, row 16, package rotator measures.
func table() []row {
	return []row{
		oddRequests, oneDead, mostDead, allDead, allStating, allLimited, oneAtATime, addressThrottled,
		organisation, quotaWords, oneModel, brokenExploration, twisted, wronglyAsked, letterOfTheSeed, slowPool,
	}
}

// Whose fault a refusal is: in each situation of the table no request fails, no key cools
// and no call is made that need not be.
func TestNobodyIsBlamed(t *testing.T) {
	found, rows := make(measurements), table()
	texts := make([]string, len(rows))
	t.Run("rows", func(t *testing.T) {
		for i, r := range rows {
			t.Run(fmt.Sprint("row ", r.number), func(t *testing.T) {
				t.Parallel()
				texts[i] = r.play(t, found)
			})
		}
	})
	t.Logf("N is how many keys there are.\n%s", strings.Join(texts, ""))
	if *record {
		found.write(t)
	}
}

// play plays the row's cases and returns what came of them, as text: each of the sample's, and of
// the others those that are wrong.
func (r row) play(t *testing.T, found measurements) string {
	began := time.Now()
	chosen := regexp.MustCompile(*only)
	var out strings.Builder
	fmt.Fprintf(&out, "\nrow %d: %s\nmust hold: %s\n", r.number, r.situation, r.hold)
	played, wrong := 0, 0
	for _, c := range r.cases() {
		name := c.name(r.number)
		if !*all && !c.sample && *only == "" || !chosen.MatchString(name) {
			continue
		}
		v := &verdict{result: c.scenario.play(t)}
		c.check(v)
		measured := strings.Join(v.measured, ", ") + "; " + v.sums()
		if played++; c.sample || *only != "" || len(v.wrong) > 0 {
			v.print(&out, name, measured)
		}
		if c.sample {
			found.note(name, measured)
		}
		if len(v.wrong) > 0 {
			wrong++
		}
	}
	fmt.Fprintf(&out, "%d cases, %d wrong, in %s\n", played, wrong, time.Since(began).Round(10*time.Millisecond))
	if wrong > 0 || played == 0 && *only == "" {
		t.Errorf("row %d: %d of %d cases are wrong", r.number, wrong, played)
	}
	return out.String()
}

// print writes a case's line, with today's numbers below, and what is wrong.
func (v *verdict) print(out io.Writer, name, measured string) {
	mark := "ok"
	if len(v.wrong) > 0 {
		mark = "WRONG"
	}
	fmt.Fprintf(out, "%-6s%-76s %s\n", mark, name, measured)
	if before, ok := today[name]; ok {
		fmt.Fprintf(out, "%82s %s\n", "today:", before)
	}
	if len(v.wrong) > 0 {
		fmt.Fprintf(out, "%82s %s\n", "wrong:", strings.Join(v.wrong, "; "))
	}
}

// measurements are what was measured, by the names of the cases.
type measurements map[string]string

var noting sync.Mutex

func (m measurements) note(name, measured string) {
	noting.Lock()
	defer noting.Unlock()
	m[name] = measured
}

// write makes them those of today.
func (m measurements) write(t *testing.T) {
	var out strings.Builder
	out.WriteString("package simulation\n\n// today is what was measured before comparison, suspects and the pace, by the names of the\n// cases: -record writes it.\nvar today = map[string]string{\n")
	for _, name := range sorted(m) {
		fmt.Fprintf(&out, "\t%q: %q,\n", name, m[name])
	}
	out.WriteString("}\n")
	text, err := format.Source([]byte(out.String()))
	if err == nil {
		err = os.WriteFile("today_test.go", text, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

// sorted orders the cases by row and number of keys.
func sorted(m measurements) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	place := func(name string) (row, keys int) {
		fmt.Sscanf(name, "%d N=%d", &row, &keys)
		return row, keys
	}
	slices.SortFunc(names, func(a, b string) int {
		rowA, keysA := place(a)
		rowB, keysB := place(b)
		return cmp.Or(cmp.Compare(rowA, rowB), cmp.Compare(keysA, keysB), strings.Compare(a, b))
	})
	return names
}

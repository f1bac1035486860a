//go:build unix

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The page's table is made of the cases: what stands there is what is tested.
func TestFaultMatrixStandsInThePage(t *testing.T) {
	cases := slices.Concat(upstreamFaults, http2Faults, clientFaults)
	for _, f := range nodeFaults {
		cases = append(cases, f.faultCase)
	}
	var table strings.Builder
	table.WriteString("| what goes wrong | the client gets | the upstream sees | what cools |\n|---|---|---|---|\n")
	names := make(map[string]bool)
	for _, c := range cases {
		if names[c.fault] {
			t.Errorf("%q stands twice", c.fault)
		}
		names[c.fault] = true
		table.WriteString(c.row())
	}
	page, err := os.ReadFile("../../docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "\n\n"+table.String()+"\n") {
		t.Errorf("the table of faults.md is another than:\n%s", &table)
	}
}

// The page's second table names tests, each of which there is.
func TestWhatElseGoesWrongIsTested(t *testing.T) {
	page, err := os.ReadFile("../../docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n| what else goes wrong |")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(strings.TrimSpace(table), "\n")[2:]
	for _, row := range rows {
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		named := 0
		for shown := range strings.SplitSeq(cells[len(cells)-1], ";") {
			for _, test := range regexp.MustCompile("`(Test|Fuzz)\\w+`").FindAllString(shown, -1) {
				named++
				if name := strings.Trim(test, "`"); !declares(t, packageOf(shown), name) {
					t.Errorf("there is no %s: %s", name, row)
				}
			}
		}
		if len(cells) != 3 || named == 0 {
			t.Errorf("no test is named: %s", row)
		}
	}
	if len(rows) < 2 {
		t.Errorf("this test looks at nothing: %q", table)
	}
}

// packageOf returns the directory of the package that is named after the tests.
func packageOf(shown string) string {
	_, dir, named := strings.Cut(shown, " of `")
	if !named {
		return "."
	}
	return filepath.Join("../..", strings.Trim(dir, "`"))
}

// declares reports whether a test file of the directory has a test of this name.
func declares(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(source), "\nfunc "+name+"(")
	})
}

// row is the case's line of the table.
func (c *faultCase) row() string {
	fault, cools := c.fault, "nothing"
	if c.lasts {
		fault += " ↻"
	}
	if c.cools > 0 {
		cools = "the rejected key"
	}
	return fmt.Sprintf("| %s | %s | %s | %s |\n", fault, c.client, c.sees(), cools)
}

func (c *faultCase) sees() string {
	switch {
	case c.calls == 0:
		return "nothing"
	case c.calls == 1:
		return "a call" + string(c.body)
	case c.cools > 0:
		return fmt.Sprintf("%d calls with different keys%s", c.calls, c.body)
	case c.calls == 2:
		return fmt.Sprintf("%d calls with one key%s", c.calls, c.body)
	}
	return fmt.Sprintf("%d calls%s", c.calls, c.body)
}

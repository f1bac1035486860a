//go:build unix

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// The page's table is made of the cases: what stands there is what is tested.
func TestFaultMatrixStandsInThePage(t *testing.T) {
	var faults []live.Fault
	for _, c := range slices.Concat(upstreamFaults, http2Faults, clientFaults) {
		faults = append(faults, live.Fault{What: c.fault, Client: c.client, Calls: c.calls, Body: string(c.body), Cools: c.cools, Lasts: c.lasts})
	}
	live.InThePage(t, faults)
}

// The page's last table names tests, each of which there is.
func TestWhatElseGoesWrongIsTested(t *testing.T) {
	_, table, _ := strings.Cut(live.ReadFile(t, "docs/faults.md"), "\n| what else goes wrong |")
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

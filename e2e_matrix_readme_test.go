//go:build unix

package keycycler_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// The README's table is made of the cases: what stands there is what is tested.
func TestFaultMatrixStandsInTheREADME(t *testing.T) {
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
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "\n\n"+table.String()+"\n") {
		t.Errorf("the README's table is another than:\n%s", &table)
	}
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

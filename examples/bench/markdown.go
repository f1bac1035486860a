package main

import (
	"fmt"
	"io"
	"strings"
)

// markdown writes the report as it may stand in a README.
func (r *report) markdown(out io.Writer) error {
	var text strings.Builder
	if len(r.Rows) > 0 {
		writeTable(&text, header, r.lines())
	}
	if len(r.Footprints) > 0 {
		lines := make([][]string, 0, len(r.Footprints))
		for _, f := range r.Footprints {
			lines = append(lines, f.line())
		}
		writeTable(&text, footprintHeader, lines)
	}
	fmt.Fprintln(&text, r.how())
	_, err := io.WriteString(out, text.String())
	return err
}

func writeTable(text *strings.Builder, header []string, lines [][]string) {
	fmt.Fprintf(text, "| %s |\n|%s\n", strings.Join(header, " | "), strings.Repeat("---|", len(header)))
	for _, line := range lines {
		fmt.Fprintf(text, "| %s |\n", strings.Join(line, " | "))
	}
	text.WriteString("\n")
}

package main

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// measured returns what a scenario came to in which keycycler costs 110 where bare
// Caddy costs 100, and a rejected attempt as much again.
func measured() result {
	s := scenario{name: "demo", about: "a demo", rejected: true, chunks: 50}
	r := result{scenario: s, subjects: s.subjects(), starts: 1}
	for _, cpu := range []float64{100_000, 100_000, 110_000, 220_000} {
		one := sample{CPU: cpu, Cost: cpu / 100_000, Rate: 1e9 / cpu, P50: cpu, P99: 2 * cpu, Requests: 10, Chunks: 50, Writes: cpu / 50_000}
		r.samples = append(r.samples, []sample{one, one, one})
		r.memory = append(r.memory, []allocation{{Objects: cpu / 1000, Bytes: cpu / 10}})
	}
	return r
}

func reportOf(results ...result) *report {
	r := &report{Machine: "a machine", Counters: "none"}
	for _, result := range results {
		r.add(result, rand.New(rand.NewPCG(1, 1)))
	}
	return r
}

func TestReportComparesEachWithItsOwnBase(t *testing.T) {
	r := reportOf(measured())
	if len(r.Rows) != 2 {
		t.Fatalf("%d rows", len(r.Rows))
	}
	for i, test := range []struct {
		what, subject, to string
		base, cpu, rate   float64
	}{
		{"keycycler with bare Caddy", cyclerName, bareName, 100_000, 1.1, 1 / 1.1},
		{"one rejection with none", rejectedName, cyclerName, 110_000, 2, 0.5},
	} {
		row := r.Rows[i]
		near := func(a, b float64) bool { return a > b*0.999 && a < b*1.001 }
		if row.Subject != test.subject || row.To != test.to || row.Base != test.base || !near(row.CPU.Value, test.cpu) || !near(row.Rate.Value, test.rate) || row.Noise.Value != 1 {
			t.Errorf("%s: %+v", test.what, row)
		}
		if row.Instructions != nil {
			t.Errorf("%s: instructions that nobody has counted: %v", test.what, row.Instructions)
		}
	}
}

func TestReportAsText(t *testing.T) {
	r := reportOf(measured(), result{scenario: scenario{about: "with Redis"}, skipped: "redis-server is not installed"})
	r.Footprints = []footprintRow{{What: "a key", Unit: "bytes", Keycycler: 205}}
	for _, format := range []struct {
		name  string
		write func(*strings.Builder) error
	}{
		{"text", func(b *strings.Builder) error { return r.text(b) }},
		{"markdown", func(b *strings.Builder) error { return r.markdown(b) }},
	} {
		var text strings.Builder
		if err := format.write(&text); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"a demo (bare: 2.0 µs each)", "100.0 µs", "10.0 µs", "1.100 [1.100, 1.100]", "2.0 +0.2", "100 +10", "10000 +1000", "keycycler, one rejection, to keycycler without",
			"skipped: redis-server is not installed", "205.00", "a machine",
		} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("%s: no %q in\n%s", format.name, want, text.String())
			}
		}
	}
}

func TestMarkdownTablesAreWhole(t *testing.T) {
	var text strings.Builder
	if err := reportOf(measured(), result{skipped: "why"}).markdown(&text); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text.String()) {
		if strings.HasPrefix(line, "|") && strings.Count(line, "|") != len(header)+1 {
			t.Errorf("another number of columns: %s", line)
		}
	}
}

func TestReportAsJSONHasEverySample(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.json")
	var out strings.Builder
	if err := reportOf(measured()).print(&out, options{json: path, format: "markdown"}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var read report
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if got := read.Rows[0].Samples[rejectedName]; len(got) != 3 || got[0].CPU != 220_000 {
		t.Errorf("samples of %s: %+v", rejectedName, got)
	}
	if !strings.HasPrefix(out.String(), "| scenario") {
		t.Errorf("printed as %s", out.String())
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int]string{0: "0", 20: "20", 999: "999", 1000: "1,000", 100_000: "100,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is written %s", n, got)
		}
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// report is everything that was measured, and how.
type report struct {
	Machine    string         `json:"machine"`
	Cores      string         `json:"cores"`
	Go         string         `json:"go"`
	Counters   string         `json:"counters"` // whether instructions are counted
	Rounds     int            `json:"rounds"`
	Starts     int            `json:"starts"`
	Slice      time.Duration  `json:"slice_ns"`
	Seed       uint64         `json:"seed"`
	Rows       []row          `json:"scenarios"`
	Footprints []footprintRow `json:"footprints,omitempty"`
}

// row is what one subject of a scenario, compared with another, came to. Ratios are of
// medians over the rounds.
type row struct {
	Scenario string `json:"scenario"`
	About    string `json:"about"`
	Skipped  string `json:"skipped,omitempty"`
	Subject  string `json:"subject,omitempty"`
	To       string `json:"to,omitempty"` // what it is compared with

	Base         float64   `json:"base_cpu_ns,omitempty"` // of what it is compared with, for each request
	CPU          interval  `json:"cpu,omitzero"`
	Noise        interval  `json:"noise,omitzero"` // bare Caddy, to itself in another process
	Rate         interval  `json:"rate,omitzero"`
	P50          interval  `json:"p50,omitzero"`
	P99          interval  `json:"p99,omitzero"`
	P99Noise     interval  `json:"p99_noise,omitzero"` // likewise
	Instructions *interval `json:"instructions,omitempty"`
	Chunks       float64   `json:"chunks,omitempty"`

	// For each request, of the subject and of what it is compared with.
	Writes     float64    `json:"writes,omitempty"`
	BaseWrites float64    `json:"base_writes,omitempty"`
	Memory     allocation `json:"memory,omitzero"`
	BaseMemory allocation `json:"base_memory,omitzero"`

	Samples map[string][]sample `json:"samples,omitempty"` // by subject
}

func newReport(o options, l *lab) *report {
	counters := "instructions of the gateway outside of the kernel"
	if c, err := count(os.Getpid(), instructions); err != nil {
		counters = "instructions are not counted here: " + err.Error()
		l.printf("%s", counters)
	} else {
		c.stop() //nolint:errcheck // it was a trial
	}
	cores := "nothing is pinned"
	if len(l.gatewayCores) > 0 {
		cores = fmt.Sprintf("gateways on core %v, load and upstream on %v", l.gatewayCores, l.loadCores)
	}
	return &report{
		Machine: machineName(), Cores: cores, Go: runtime.Version(), Counters: counters,
		Rounds: o.rounds, Starts: o.starts, Slice: o.slice, Seed: o.seed,
	}
}

// add works out a scenario's rows.
func (r *report) add(result result, random *rand.Rand) {
	s := result.scenario
	if result.skipped != "" {
		r.Rows = append(r.Rows, row{Scenario: s.name, About: s.about, Skipped: result.skipped})
		return
	}
	first := result.compare(cyclerName, random, againName, bareName)
	first.Samples = make(map[string][]sample)
	for i, subject := range result.subjects {
		first.Samples[subject.name] = result.samples[i]
	}
	r.Rows = append(r.Rows, first)
	if s.rejected {
		r.Rows = append(r.Rows, result.compare(rejectedName, random, cyclerName))
	}
}

// compare works out how a subject compares with others, which are alike.
func (r *result) compare(name string, random *rand.Rand, to ...string) row {
	ratios := func(of func(sample) float64) interval {
		others := make([][]float64, len(to))
		for i, other := range to {
			others[i] = r.values(other, of)
		}
		return ratio(r.values(name, of), others, r.starts, random)
	}
	noise := func(of func(sample) float64) interval {
		return ratio(r.values(againName, of), [][]float64{r.values(bareName, of)}, r.starts, random)
	}
	base := to[len(to)-1]
	row := row{
		Scenario: r.scenario.name, About: r.scenario.about, Subject: name, To: base,
		CPU: ratios(costOf), Rate: ratios(rateOf), P50: ratios(p50Of), P99: ratios(p99Of),
		Noise: noise(cpuOf), P99Noise: noise(p99Of),
		Base:   median(r.values(base, cpuOf)),
		Writes: median(r.values(name, writesOf)), BaseWrites: median(r.values(base, writesOf)),
		Memory: r.memoryOf(name), BaseMemory: r.memoryOf(base),
	}
	if r.scenario.chunks > 0 {
		row.Chunks = median(r.values(name, chunksOf))
	}
	if median(r.values(name, instructionsOf)) > 0 {
		i := ratios(instructionsOf)
		row.Instructions = &i
	}
	return row
}

// print writes the report as the options say.
func (r *report) print(out io.Writer, o options) error {
	if o.json != "" {
		text, err := json.MarshalIndent(r, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.json, append(text, '\n'), 0o600); err != nil {
			return err
		}
	}
	if o.format == "markdown" {
		return r.markdown(out)
	}
	return r.text(out)
}

// text writes the report for a terminal.
func (r *report) text(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	rows := append([][]string{header}, r.lines()...)
	for i, f := range r.Footprints {
		if i == 0 {
			rows = append(rows, nil, footprintHeader)
		}
		rows = append(rows, f.line())
	}
	for _, cells := range append(rows, nil, []string{r.how()}) {
		if _, err := fmt.Fprintln(table, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return table.Flush()
}

// how tells how it was measured.
func (r *report) how() string {
	return fmt.Sprintf("%s, %s; %s; %d starts of %d rounds, slices of %s, seed %d; %s.\n"+
		"Ratios are medians of the rounds', in brackets where they lie with 95 %% confidence. \"A/A\" is bare Caddy, or what else is the base, to the same in another process:\n"+
		"a difference means something only where it is larger than that. CPU is from slices in which all are driven at the same time. What comes\n"+
		"after a + is what keycycler adds, for a request.",
		r.Machine, r.Go, r.Cores, r.Starts, r.Rounds, r.Slice, r.Seed, r.Counters)
}

var (
	header          = []string{"scenario", "base, CPU", "keycycler adds", "CPU, ratio", "A/A", "requests/s", "p50", "p99", "A/A", "write calls", "objects", "bytes allocated", "instructions"}
	footprintHeader = []string{"", "bare", "keycycler", "adds", "unit"}
)

// lines returns the table's cells.
func (r *report) lines() (lines [][]string) {
	for _, row := range r.Rows {
		lines = append(lines, row.line())
	}
	return lines
}

func (r *row) line() []string {
	if r.Skipped != "" {
		return []string{r.About, "skipped: " + r.Skipped, "", "", "", "", "", "", "", "", "", "", ""}
	}
	instructions := "-"
	if r.Instructions != nil {
		instructions = r.Instructions.String()
	}
	return []string{
		r.title(), micros(r.Base), micros(r.Base * (r.CPU.Value - 1)), r.CPU.String(), r.Noise.String(),
		fixed(r.Rate.Value), fixed(r.P50.Value), fixed(r.P99.Value), fixed(r.P99Noise.Value),
		added(r.BaseWrites, r.Writes, 1), added(r.BaseMemory.Objects, r.Memory.Objects, 0), added(r.BaseMemory.Bytes, r.Memory.Bytes, 0),
		instructions,
	}
}

// title says what the row compares.
func (r *row) title() string {
	title := r.About
	if r.To != bareName {
		title = r.Subject + ", to " + r.To + " without"
	}
	if r.Chunks > 0 {
		title += fmt.Sprintf(" (bare: %s each)", micros(r.Base/r.Chunks))
	}
	return title
}

func (f *footprintRow) line() []string {
	return []string{f.What, fixed(f.Bare), fixed(f.Keycycler), fixed(f.Keycycler - f.Bare), f.Unit}
}

// String writes the value, and in brackets where it lies.
func (i interval) String() string {
	return fmt.Sprintf("%.3f [%.3f, %.3f]", i.Value, i.Low, i.High)
}

func micros(nanoseconds float64) string {
	return strconv.FormatFloat(nanoseconds/1000, 'f', 1, 64) + " µs"
}

// added writes what there is without keycycler, and what that adds.
func added(base, all float64, digits int) string {
	return fmt.Sprintf("%.*f %+.*f", digits, base, digits, all-base)
}

func fixed(value float64) string { return strconv.FormatFloat(value, 'f', 2, 64) }

// grouped writes n with commas between thousands.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

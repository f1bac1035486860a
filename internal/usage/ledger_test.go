package usage

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keycycler/keycycler/rotator"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func used(input, output int64) *Tokens { return &Tokens{input, 0, Unknown, output, 0} }

// sums adds up what a line has used in the last hour and in the last 30 days.
func sums(l Line) (hour, month Counts) {
	for _, b := range l.Minutes {
		hour.Add(b.Counts)
	}
	for _, b := range l.Days {
		month.Add(b.Counts)
	}
	return hour, month
}

func names(lines []Line) (all []string) {
	for _, l := range lines {
		all = append(all, l.Name)
	}
	return all
}

func by(t *testing.T, l *Ledger, what string, now time.Time) []Line {
	t.Helper()
	lines, ok := l.By(what, now)
	if !ok {
		t.Fatalf("nothing is told by %s", what)
	}
	return lines
}

// TestLedger counts by client, by model and by key, and tells what does not say.
func TestLedger(t *testing.T) {
	l := newLedger("demo")
	l.Note(noon, Use{Client: "ada", Model: "m", Key: rotator.ID{1}, Tokens: used(10, 5)})
	l.Note(noon.Add(time.Second), Use{Client: "ada", Model: "n", Key: rotator.ID{2}, Tokens: used(1, 2)})
	l.Note(noon.Add(2*time.Second), Use{Client: "bob", Model: "m", Key: rotator.ID{1}})
	for what, want := range map[string][]string{"client": {"ada", "bob"}, "model": {"m", "n"}, "key": {"010000000000", "020000000000"}} {
		lines := by(t, l, what, noon)
		if got := names(lines); !slices.Equal(got, want) {
			t.Errorf("by %s: %v", what, got)
		}
		var all Counts
		for _, line := range lines {
			hour, month := sums(line)
			if all.Add(hour); hour != month {
				t.Errorf("by %s: %v in the hour, %v in the month", what, hour, month)
			}
		}
		if want := (Counts{Answers: 3, Unknown: 1, Tokens: [types]int64{11, 0, 0, 7, 0}}); all != want {
			t.Errorf("by %s: %+v, want %+v", what, all, want)
		}
	}
	if _, ok := l.By("colour", noon); ok {
		t.Error("it is told by colour")
	}
}

// TestLedgerForgets tells what a minute and a day hold, and for how long.
func TestLedgerForgets(t *testing.T) {
	l := newLedger("demo")
	note := func(now time.Time, client string, n int64) {
		l.Note(now, Use{Client: client, Model: "m", Key: rotator.ID{byte(n)}, Tokens: used(n, 0)})
	}
	note(noon, "ada", 1)
	for i := range 59 {
		note(noon.Add(time.Duration(i)*time.Minute), "bob", 2)
	}
	note(noon.Add(-time.Hour), "bob", 4) // a clock that was set back reopens nothing
	for _, row := range []struct {
		sentence          string
		now               time.Time
		hour, month, days int64
	}{
		{"at once", noon.Add(58 * time.Minute), 1 + 59*2 + 4, 1 + 59*2 + 4, 2},
		{"when the first minute is an hour old", noon.Add(60 * time.Minute), 58*2 + 4, 1 + 59*2 + 4, 2},
		{"on the next day", noon.AddDate(0, 0, 1), 0, 1 + 59*2 + 4, 2},
		{"on the last of 30 days", noon.AddDate(0, 0, 29), 0, 1 + 59*2 + 4, 2},
		{"after that", noon.AddDate(0, 0, 30), 0, 0, 0},
	} {
		var hour, month Counts
		lines := by(t, l, "client", row.now)
		for _, line := range lines {
			h, m := sums(line)
			hour.Add(h)
			month.Add(m)
		}
		if hour.Tokens[Input] != row.hour || month.Tokens[Input] != row.month || int64(len(lines)) != row.days {
			t.Errorf("%s: %d in the hour, %d in the month of %d clients", row.sentence, hour.Tokens[Input], month.Tokens[Input], len(lines))
		}
	}
	note(noon.AddDate(0, 0, 30), "eve", 8)
	l.settle()
	if len(l.clients) != 1 || len(l.keys) != 1 {
		t.Errorf("%d clients and %d keys are kept, of which all but one are forgotten", len(l.clients), len(l.keys))
	}
}

// TestSeriesAreBounded notes for a year, in each minute of an hour a day.
func TestSeriesAreBounded(t *testing.T) {
	var s series
	one := oneAnswer(used(1, 1), NotPriced)
	for d := range 365 {
		for m := range 90 {
			minute, _ := numbers(noon.AddDate(0, 0, d).Add(time.Duration(m) * time.Minute))
			s.add(minute, &one)
		}
	}
	if len(s.minutes) != minutes || len(s.days) != days || cap(s.minutes) > 4*minutes || cap(s.days) > 4*days {
		t.Errorf("%d minutes (%d), %d days (%d)", len(s.minutes), cap(s.minutes), len(s.days), cap(s.days))
	}
}

// TestHostileModels names a million models: those of the config are told apart all the same.
func TestHostileModels(t *testing.T) {
	l := newLedger("demo")
	for i := range 100_000 {
		l.Note(noon, Use{Model: fmt.Sprint("junk-", i), Tokens: used(1, 1)})
	}
	l.Know([]string{"gpt-demo"})
	l.Note(noon, Use{Model: "gpt-demo", Tokens: used(1, 1)})
	l.Note(noon, Use{Model: "", Tokens: used(1, 1)})
	l.Note(noon, Use{Model: "a\xff", Tokens: used(1, 1)})
	lines := by(t, l, "model", noon)
	if len(lines) != MaxModels+3 || !slices.Contains(names(lines), "gpt-demo") || !slices.Contains(names(lines), Other) {
		t.Errorf("%d models: %v", len(lines), names(lines))
	}
	if len(l.totals) != MaxModels+3 {
		t.Errorf("%d series of metrics", len(l.totals))
	}
	var all Counts
	for _, line := range lines {
		hour, _ := sums(line)
		all.Add(hour)
	}
	if all.Answers != 100_003 {
		t.Errorf("%d answers", all.Answers)
	}
}

// Names that are no UTF-8 do not break a scrape.
func TestMetrics(t *testing.T) {
	l := newLedger("usage-metrics")
	l.Know([]string{"gpt-demo"})
	l.Note(noon, Use{Client: "ada", Model: "gpt-demo", Tokens: &Tokens{10, 4, 2, 5, 3}, Cost: 1_500_000_000})
	l.Note(noon, Use{Client: "ada", Model: "gpt-demo"})
	l.Note(noon, Use{Client: "ada", Model: "a\xff\xfe", Tokens: used(1, 1)})
	registry := prometheus.NewRegistry()
	registry.MustRegister(CollectorsOf(l)...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, pair := range m.GetLabel() {
				name += " " + pair.GetValue()
			}
			got[name] = m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"tokens_total ada gpt-demo usage-metrics input": 10, "tokens_total ada gpt-demo usage-metrics cached": 4,
		"tokens_total ada gpt-demo usage-metrics cache_write": 2, "tokens_total ada gpt-demo usage-metrics output": 5,
		"tokens_total ada gpt-demo usage-metrics reasoning": 3, "tokens_total ada a\uFFFD usage-metrics input": 1,
		"cost_usd_total ada gpt-demo usage-metrics":             1.5,
		"usage_answers_total ada gpt-demo usage-metrics stated": 1, "usage_answers_total ada gpt-demo usage-metrics unknown": 1,
	} {
		if n, ok := got["caddy_keycycler_"+name]; !ok || n != want {
			t.Errorf("%s is %v, want %v, of %v", name, n, want, got)
		}
	}
}

// All may note at a time.
func TestLedgerTogether(t *testing.T) {
	l := newLedger("demo")
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for i := range 1000 {
				l.Note(noon, Use{Client: "ada", Model: fmt.Sprint(i % 3), Tokens: used(1, 0)})
				l.By("client", noon)
			}
		})
	}
	wait.Wait()
	if hour, _ := sums(by(t, l, "client", noon)[0]); hour.Tokens[Input] != 8000 {
		t.Errorf("%+v", hour)
	}
}

// Counting again in the same minute allocates nothing.
func TestLedgerAllocations(t *testing.T) {
	l, u := newLedger("demo"), Use{Client: "ada", Model: "m", Tokens: used(1, 1)}
	if got := testing.AllocsPerRun(100, func() { l.Note(noon, u) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkNote(b *testing.B) {
	l, u := newLedger("demo"), Use{Client: "ada", Model: "m", Tokens: used(1, 1)}
	for b.Loop() {
		l.Note(noon, u)
	}
}

// Numbers that no upstream should state never make a sum smaller.
func TestSumsDoNotOverflow(t *testing.T) {
	const most = 1 << 50 // that is read of an answer
	var c, all Counts
	for range 1 << 14 {
		c.Add(oneAnswer(used(most, most), NotPriced))
	}
	all.Add(c)
	all.Add(c)
	if c.Tokens[Input] != math.MaxInt64 || all.Tokens[Output] != math.MaxInt64 || all.All() != math.MaxInt64 {
		t.Errorf("%v and %v, %d in all", c.Tokens, all.Tokens, all.All())
	}
}

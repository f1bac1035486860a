package observe

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/keycycler/keycycler/internal/usage"
	"github.com/keycycler/keycycler/rotator"
)

// UsageStatus is what one client, model or key has used, as the admin API says it.
type UsageStatus struct {
	Name    string        `json:"name"`          // the client's, the model's, or the key's id; "" for requests without one
	Key     string        `json:"key,omitempty"` // the key's name for people
	Hour    UsageCounts   `json:"hour"`          // the last 60 minutes
	Month   UsageCounts   `json:"month"`         // the last 30 days, today among them
	Minutes []UsageMinute `json:"minutes"`       // of the last hour, those in which there was something
	Days    []UsageDay    `json:"days"`          // of the month, likewise; by UTC
}

// UsageCounts is what answers have used, in tokens, and what they have cost.
type UsageCounts struct {
	Answers    int64 `json:"answers"`
	Unknown    int64 `json:"unknown"` // of them, that do not say
	Input      int64 `json:"input"`
	Cached     int64 `json:"cached"`
	CacheWrite int64 `json:"cache_write"`
	Output     int64 `json:"output"`
	Reasoning  int64 `json:"reasoning"` // of the output

	Cost     *usage.USD `json:"cost_usd,omitempty"` // nil: nobody has said what answers cost
	Unpriced int64      `json:"unpriced,omitempty"` // answers of models that have no price, and cost nothing here
}

// UsageMinute is what was used in a minute.
type UsageMinute struct {
	Minute time.Time `json:"minute"`
	UsageCounts
}

// UsageDay is what was used on a day.
type UsageDay struct {
	Day string `json:"day"` // as in 2006-01-31
	UsageCounts
}

// UsageBy is what usage is told by.
var UsageBy = []string{"client", "model", "key"}

// Gather brings what other nodes have counted of the pool's usage. It waits for that, for at
// most that long: where it does not come, what came before is told.
func (v *View) Gather(patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, p := range v.Pools {
		if p.Gather != nil {
			p.Gather(ctx)
		}
	}
}

// Usage returns what the pool's answers have used by one of UsageBy, ordered by name.
func (v *View) Usage(by string, now time.Time) (all []UsageStatus, ok bool) {
	lines, ok := v.Pools[0].Ledger.By(by, now)
	all = make([]UsageStatus, 0, len(lines))
	counts := v.counts()
	for _, line := range lines {
		s := counts.status(line)
		if by == "key" {
			s.Key = v.nameOf(line.Name)
		}
		all = append(all, s)
	}
	return all, ok
}

// TopUsage returns, of those that have used something by one of UsageBy, the n that have used
// most: within the last hour, or else in the month. What it cost comes before how many tokens
// it was. It also returns how many the others are, and what they have used.
func (v *View) TopUsage(by string, hour bool, n int, now time.Time) (top []NamedUsage, others int, rest UsageCounts) {
	sums := v.sums(by, hour, now)
	n = min(n, len(sums))
	var sum usage.Counts
	for _, s := range sums[n:] {
		sum.Add(s.Counts)
	}
	told := v.counts()
	for _, s := range sums[:n] {
		if by == "key" {
			s.name = cmp.Or(v.nameOf(s.name), s.name)
		}
		top = append(top, NamedUsage{s.name, told.counts(s.Counts)})
	}
	return top, len(sums) - n, told.counts(sum)
}

// named is what one client, model or key has used.
type named struct {
	name string
	usage.Counts
}

// sums returns who has used something, those that used most first.
func (v *View) sums(by string, hour bool, now time.Time) (all []named) {
	sums, _ := v.Pools[0].Ledger.Sums(by, now)
	for _, s := range sums {
		n := named{s.Name, s.Month}
		if hour {
			n.Counts = s.Hour
		}
		if n.Answers > 0 {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b named) int {
		return cmp.Or(cmp.Compare(b.Cost, a.Cost), cmp.Compare(b.All(), a.All()), cmp.Compare(b.Answers, a.Answers), strings.Compare(a.name, b.name))
	})
	return all
}

// NamedUsage is what one client, model or key has used, by its name for people.
type NamedUsage struct {
	Name string
	UsageCounts
}

// Priced tells whether anybody has said what the pool's answers cost.
func (v *View) Priced() bool {
	return slices.ContainsFunc(v.Pools, func(p *Pool) bool { return p.Priced })
}

// Counted tells whether it is counted what the pool's answers use.
func (v *View) Counted() bool {
	return slices.ContainsFunc(v.Pools, func(p *Pool) bool { return p.Usage })
}

// nameOf returns the name of the key with this id, "" for none.
func (v *View) nameOf(text string) string {
	id, _ := rotator.ParseID(text)
	p, _ := v.Find(id)
	return p.Name()
}

// counting is how counts are told: with what they cost, or without.
type counting struct{ priced bool }

func (v *View) counts() counting { return counting{v.Priced()} }

func (c counting) status(line usage.Line) UsageStatus {
	var hour, month usage.Counts
	s := UsageStatus{Name: line.Name, Minutes: []UsageMinute{}, Days: []UsageDay{}}
	for _, b := range line.Minutes {
		hour.Add(b.Counts)
		s.Minutes = append(s.Minutes, UsageMinute{b.Minute(), c.counts(b.Counts)})
	}
	for _, b := range line.Days {
		month.Add(b.Counts)
		s.Days = append(s.Days, UsageDay{b.Day().Format(time.DateOnly), c.counts(b.Counts)})
	}
	s.Hour, s.Month = c.counts(hour), c.counts(month)
	return s
}

func (c counting) counts(n usage.Counts) UsageCounts {
	t := n.Tokens
	u := UsageCounts{
		Answers: n.Answers, Unknown: n.Unknown,
		Input: t[usage.Input], Cached: t[usage.Cached], CacheWrite: t[usage.CacheWrite], Output: t[usage.Output], Reasoning: t[usage.Reasoning],
	}
	if c.priced {
		u.Cost, u.Unpriced = &n.Cost, n.Unpriced
	}
	return u
}

// Usage notes on the request's span what the answer has used, by OpenTelemetry's names, whose
// input has all that was read. What it costs has no name there: it gets one of ours. It may get
// nil.
func (t Tracer) Usage(bill *usage.Bill) {
	if bill == nil || !t.span.IsRecording() {
		return
	}
	used := bill.Tokens
	if bill.Cost >= 0 {
		t.span.SetAttributes(attribute.Float64("keycycler.usage.cost_usd", bill.Cost.Float()))
	}
	for _, a := range []struct {
		name string
		n    int64
	}{
		{"gen_ai.usage.input_tokens", used.AllInput()},
		{"gen_ai.usage.output_tokens", used[usage.Output]},
		{"gen_ai.usage.cache_read.input_tokens", used[usage.Cached]},
		{"gen_ai.usage.cache_creation.input_tokens", used[usage.CacheWrite]},
	} {
		if a.n != usage.Unknown {
			t.span.SetAttributes(attribute.Int64(a.name, a.n))
		}
	}
}

package observe

import (
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

// UsageCounts is what answers have used, in tokens.
type UsageCounts struct {
	Answers    int64 `json:"answers"`
	Unknown    int64 `json:"unknown"` // of them, that do not say
	Input      int64 `json:"input"`
	Cached     int64 `json:"cached"`
	CacheWrite int64 `json:"cache_write"`
	Output     int64 `json:"output"`
	Reasoning  int64 `json:"reasoning"` // of the output
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

// Usage returns what the pool's answers have used by one of UsageBy, ordered by name.
func (v *View) Usage(by string, now time.Time) (all []UsageStatus, ok bool) {
	lines, ok := v.Pools[0].Ledger.By(by, now)
	all = make([]UsageStatus, 0, len(lines))
	for _, line := range lines {
		s := usageStatus(line)
		if by == "key" {
			s.Key = v.nameOf(line.Name)
		}
		all = append(all, s)
	}
	return all, ok
}

// nameOf returns the name of the key with this id, "" for none.
func (v *View) nameOf(text string) string {
	id, _ := rotator.ParseID(text)
	p, _ := v.Find(id)
	return p.Name()
}

func usageStatus(line usage.Line) UsageStatus {
	var hour, month usage.Counts
	s := UsageStatus{Name: line.Name, Minutes: []UsageMinute{}, Days: []UsageDay{}}
	for _, b := range line.Minutes {
		hour.Add(b.Counts)
		s.Minutes = append(s.Minutes, UsageMinute{b.Minute(), usageCounts(b.Counts)})
	}
	for _, b := range line.Days {
		month.Add(b.Counts)
		s.Days = append(s.Days, UsageDay{b.Day().Format(time.DateOnly), usageCounts(b.Counts)})
	}
	s.Hour, s.Month = usageCounts(hour), usageCounts(month)
	return s
}

func usageCounts(c usage.Counts) UsageCounts {
	t := c.Tokens
	return UsageCounts{c.Answers, c.Unknown, t[usage.Input], t[usage.Cached], t[usage.CacheWrite], t[usage.Output], t[usage.Reasoning]}
}

// Usage notes on the request's span what the answer has used, by OpenTelemetry's names, whose
// input has all that was read. It may get nil.
func (t Tracer) Usage(used *usage.Tokens) {
	if used == nil || !t.span.IsRecording() {
		return
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

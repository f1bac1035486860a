package observe

import (
	"fmt"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/usage"
)

// Those that cost most come first, then those that used most; the others are one.
func TestTopUsage(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	l := usage.LedgerOf("top-usage")
	note := func(at time.Time, client string, tokens int64, cost usage.USD) {
		l.Note(at, usage.Use{Client: client, Model: "m", Tokens: &usage.Tokens{tokens}, Cost: cost})
	}
	note(now.AddDate(0, 0, -2), "past", 1000, 99)
	note(now, "cheap", 500, 1)
	note(now, "dear", 1, 50)
	note(now, "free", 900, 0)
	note(now, "unpriced", 800, usage.NoPrice)
	note(now, "b", 7, 0)
	note(now, "a", 7, 0)
	v := &View{Pools: []*Pool{{Name: "top-usage", Ledger: l, Priced: true}}}
	for _, row := range []struct {
		sentence string
		hour     bool
		n        int
		want     string
	}{
		{"the hour", true, 10, "dear cheap free unpriced a b, 0 others of 0 tokens, 0 USD"},
		{"the month", false, 10, "past dear cheap free unpriced a b, 0 others of 0 tokens, 0 USD"},
		{"the first two", true, 2, "dear cheap, 4 others of 1714 tokens, 0 USD"},
		{"the first", false, 1, "past, 6 others of 2215 tokens, 0.000000051 USD"},
		{"none", true, 0, ", 6 others of 2215 tokens, 0.000000051 USD"},
	} {
		top, others, rest := v.TopUsage("client", row.hour, row.n, now)
		got := ""
		for i, u := range top {
			if i > 0 {
				got += " "
			}
			got += u.Name
		}
		if got += fmt.Sprintf(", %d others of %d tokens, %s USD", others, rest.Input, rest.Cost); got != row.want {
			t.Errorf("%s: %s, want %s", row.sentence, got, row.want)
		}
	}
	v.Pools[0].Priced = false
	if top, _, rest := v.TopUsage("client", true, 10, now); top[0].Cost != nil || rest.Cost != nil || top[3].Unpriced != 0 {
		t.Errorf("without prices there are costs: %+v", top)
	}
	if top, others, _ := v.TopUsage("colour", true, 10, now); top != nil || others != 0 {
		t.Errorf("by colour: %v", top)
	}
}

package client

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/quota"
)

func TestBoundsOfLimits(t *testing.T) {
	day := caddy.Duration(24 * time.Hour)
	rate := func(most int64, per time.Duration) *Rate { return &Rate{most, caddy.Duration(per)} }
	budget := func(b ...Budget) *Limit { return &Limit{Budgets: b} }
	many := make([]string, maxPatterns+1)
	for i := range many {
		many[i] = fmt.Sprint("m", i)
	}
	for _, row := range []struct {
		what  string
		name  string
		limit *Limit
		err   string // "": it is within the bounds
	}{
		{"nothing at all", "ada", nil, "clients 'ada': there is nothing in it"},
		{"nothing in it", "ada", &Limit{}, "clients 'ada': requests, tokens, concurrency, a budget, models or a weight is needed"},
		{"the largest", "ada", &Limit{Requests: rate(1_000_000, time.Second), Tokens: rate(1e12, 24*time.Hour), Concurrency: 100_000, Weight: 100, Models: many[1:]}, ""},
		{"the smallest", "*", &Limit{Requests: rate(1, time.Second), Tokens: rate(1, time.Second), Concurrency: 1, Weight: 1}, ""},
		{"no requests", "ada", &Limit{Requests: rate(0, time.Second)}, "clients 'ada': requests: 0 is out of range: 1 to 1000000"},
		{"a short time", "ada", &Limit{Tokens: rate(1, time.Second-1)}, "clients 'ada': tokens: 999.999999ms is out of range: 1s to 24h0m0s"},
		{"a long one", "ada", &Limit{Tokens: rate(1, 24*time.Hour+1)}, "clients 'ada': tokens: 24h0m0.000000001s is out of range"},
		{"a negative number", "ada", &Limit{Concurrency: -1}, "clients 'ada': concurrency: -1 is out of range: 1 to 100000"},
		{"a negative weight", "ada", &Limit{Weight: -1}, "clients 'ada': weight: -1 is out of range: 1 to 100"},
		{"too many models", "ada", &Limit{Models: many}, "clients 'ada': models: 1001 are too many: at most 1000"},
		{"no model", "ada", &Limit{Models: []string{""}}, "clients 'ada': models: '' must be 1 to 256 bytes of printable characters"},
		{"as many budgets as there may be", "ada", budget(slicesOf(8, Budget{Most: 1, Unit: "tokens", Per: day})...), ""},
		{"one more", "ada", budget(slicesOf(9, Budget{Most: 1, Unit: "tokens", Per: day})...), "clients 'ada': budget: 9 are too many: at most 8"},
		{"the least of dollars", "ada", budget(Budget{Most: 0.000001, Unit: "usd", Calendar: "day"}), ""},
		{"less", "ada", budget(Budget{Most: 0.0000005, Unit: "usd", Calendar: "day"}), "clients 'ada': budget: 5e-07 usd are out of range: 0.000001 to 100000000"},
		{"the most of tokens", "ada", budget(Budget{Most: 1e15, Unit: "tokens", Calendar: "day"}), ""},
		{"more", "ada", budget(Budget{Most: 1e15 + 1, Unit: "tokens", Calendar: "day"}), "is no number of tokens"},
		{"no time", "ada", budget(Budget{Most: 1, Unit: "tokens"}), "clients 'ada': budget: 0s is out of range: 1m0s to 8784h0m0s"},
		{"two", "ada", budget(Budget{Most: 1, Unit: "tokens", Calendar: "day", Per: day}), "clients 'ada': budget: either a duration or a day or a month"},
		{"a zone of none", "ada", budget(Budget{Most: 1, Unit: "tokens", Per: day, Zone: "UTC"}), "clients 'ada': budget: a zone goes with day and month"},
		{"the machine's zone, whatever that is", "ada", budget(Budget{Most: 1, Unit: "tokens", Calendar: "day", Zone: "Local"}), "clients 'ada': budget: unknown time zone 'Local'"},
		{"no unit", "ada", budget(Budget{Most: 1, Calendar: "day"}), "clients 'ada': budget: unknown unit '': tokens or usd"},
		{"no name", "", &Limit{Weight: 1}, "clients: the name '' must be 1 to 256 bytes of printable characters"},
		{"a long name", strings.Repeat("x", 256), &Limit{Weight: 1}, ""},
		{"a longer one", strings.Repeat("x", 257), &Limit{Weight: 1}, "clients: the name (not shown: it could be a key) must be"},
	} {
		c := &Limits{Limits: map[string]*Limit{row.name: row.limit}}
		if err := c.Check(); row.err == "" && err != nil || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) {
			t.Errorf("%s: %v, want %s", row.what, err, row.err)
		}
	}
}

func slicesOf(n int, b Budget) (all []Budget) {
	for range n {
		all = append(all, b)
	}
	return all
}

// The plan has what the block says.
func TestPlanOfABlock(t *testing.T) {
	d := caddyfile.NewTestDispenser(`clients {
		ada {
			requests 60 1m
			tokens 90k 10s
			concurrency 4
			budget 2.5 usd month America/New_York
			budget 1.5m tokens 24h
			models gpt-4o*
			weight 7
		}
		* {
			tokens 1k 1m
		}
	}`)
	d.Next()
	c := new(Limits)
	if err := c.Parse(d); err != nil {
		t.Fatal(err)
	}
	p := c.Plan()
	ada, rest := p.Terms("ada"), p.Terms("grace")
	want := []string{"requests 60 1m0s 0", "tokens 90000 10s 0", "concurrency 4 0s 0", "budget 2500000000 0s 2 America/New_York", "budget 1500000 24h0m0s 0"}
	for i, l := range ada.Limits {
		got := fmt.Sprint(l.Kind, " ", l.Most, " ", l.Period.Per, " ", l.Period.Calendar)
		if l.Period.Zone != nil {
			got += " " + l.Period.Zone.String()
		}
		if got != want[i] {
			t.Errorf("limit %d is %s, want %s", i, got, want[i])
		}
	}
	if ada.Weight != 7 || !ada.Serves("gpt-4o-mini") || ada.Serves("o3") || ada.Limits[3].Kind != quota.USDBudget || len(rest.Limits) != 1 || rest.Limits[0].Most != 1000 {
		t.Errorf("%+v, %+v", ada, rest)
	}
	if c.CheckPriced(true) != nil || c.CheckPriced(false) == nil || (*Limits)(nil).CheckPriced(false) != nil {
		t.Error("a budget of dollars needs prices, and nothing else does")
	}
	if (*Limits)(nil).Plan() != nil || (*Limits)(nil).Name() != "" || c.Name() != UserPlaceholder || (&Limits{Placeholder: "{a.b}"}).Name() != "a.b" {
		t.Error("clients are named by something else")
	}
}

func TestNumbers(t *testing.T) {
	for text, want := range map[string]float64{"1": 1, "90k": 90_000, "1.1k": 1100, "1.5M": 1_500_000, "2.50": 2.5, "0.000001": 0.000001, "100000000": 1e8, "999999999999": 999999999999} {
		if got, ok := directive.Number(text); !ok || got != want {
			t.Errorf("%s is %v, %t", text, got, ok)
		}
	}
	for _, text := range []string{"", "k", "-1", "+1", "1e3", "1_000", "0x10", "NaN", "Inf", "1.2.3", "1g", "1 k", "."} {
		if got, ok := directive.Number(text); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
}

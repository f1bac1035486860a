package usage

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keycycler/keycycler/rotator"
)

func TestUSD(t *testing.T) {
	for _, row := range []struct {
		amount       USD
		exact, brief string
	}{
		{0, "0", "0"},
		{1, "0.000000001", "<0.0001"},
		{99_999, "0.000099999", "<0.0001"},
		{100_000, "0.0001", "0.0001"},
		{12_345_678, "0.012345678", "0.0123"},
		{999_900_000, "0.9999", "0.9999"},
		{999_999_999, "0.999999999", "1.00"},
		{nano, "1", "1.00"},
		{12_340_000_001, "12.340000001", "12.34"},
		{100_000*nano - 1, "99999.999999999", "100000.00"},
		{123_456 * nano, "123456", "123456"},
		{math.MaxInt64, "9223372036.854775807", "9223372037"},
	} {
		if row.amount.String() != row.exact || row.amount.Shown() != row.exact || row.amount.Brief() != row.brief {
			t.Errorf("%d: %s, %s, want %s, %s", int64(row.amount), row.amount, row.amount.Brief(), row.exact, row.brief)
		}
		text, err := json.Marshal(row.amount)
		var again USD
		if err != nil || string(text) != row.exact || json.Unmarshal(text, &again) != nil || again != row.amount {
			t.Errorf("%d in JSON: %s, %v, %d", int64(row.amount), text, err, int64(again))
		}
	}
	if NotPriced.Shown() != "" || NoPrice.Shown() != "" {
		t.Error("what nobody knows is shown")
	}
	for text, want := range map[string]USD{"1.5": 1_500_000_000, "0.0000000019": 1, "3": 3 * nano} {
		var u USD
		if err := json.Unmarshal([]byte(text), &u); err != nil || u != want {
			t.Errorf("%s is read as %d, %v", text, int64(u), err)
		}
	}
	for _, text := range []string{`"1.5"`, "{}", "1e3", "99999999999"} {
		if json.Unmarshal([]byte(text), new(USD)) == nil {
			t.Errorf("%s is an amount", text)
		}
	}
}

// Sums are exact, and the same however they are made: by client, by model, by key, and of the
// metrics.
func TestCostDoesNotDrift(t *testing.T) {
	l := newLedger("demo")
	var want USD
	for n := range 100_000 {
		cost := USD(rand.Int64N(1000))
		want += cost
		l.Note(noon, Use{Client: []string{"ada", "bob"}[n%2], Model: []string{"m", "n", "o"}[n%3], Key: rotator.ID{byte(n % 7)}, Tokens: used(1, 1), Cost: cost})
	}
	for _, by := range []string{"client", "model", "key"} {
		var got USD
		sums, _ := l.Sums(by, noon)
		for _, s := range sums {
			if got += s.Hour.Cost; s.Hour != s.Month {
				t.Errorf("by %s: %+v", by, s)
			}
		}
		if got != want {
			t.Errorf("by %s: %d nano-USD, want %d", by, got, want)
		}
	}
	var total USD
	for _, c := range l.copyTotals() {
		total += c.Cost
	}
	if total != want {
		t.Errorf("in all %d nano-USD, want %d", total, want)
	}
}

// What has no price costs nothing, and is told apart from what nobody has priced.
func TestCostsInTheLedger(t *testing.T) {
	l := newLedger("demo")
	note := func(model string, t *Tokens, cost USD) { l.Note(noon, Use{Model: model, Tokens: t, Cost: cost}) }
	note("off", used(1, 1), NotPriced)
	note("none", used(1, 1), NoPrice)
	note("none", nil, NotPriced)
	note("some", used(1, 1), 5)
	note("some", used(1, 1), 6)
	note("much", used(1, 1), math.MaxInt64)
	note("much", used(1, 1), math.MaxInt64)
	want := map[string]Counts{"off": {Answers: 1}, "none": {Answers: 2, Unknown: 1, Unpriced: 1}, "some": {Answers: 2, Cost: 11}, "much": {Answers: 2, Cost: math.MaxInt64}}
	sums, _ := l.Sums("model", noon)
	for _, s := range sums {
		s.Hour.Tokens = [types]int64{}
		if s.Hour != want[s.Name] {
			t.Errorf("%s: %+v, want %+v", s.Name, s.Hour, want[s.Name])
		}
	}
	if len(sums) != len(want) {
		t.Errorf("%d models", len(sums))
	}
	sent := make(chan prometheus.Metric, 1000)
	told := CollectorsOf(l)[0].(collector)
	told.Collect(sent)
	close(sent)
	var cost []string
	for m := range sent {
		if m.Desc() == told.cost {
			cost = append(cost, m.Desc().String())
		}
	}
	if len(cost) != 2 {
		t.Errorf("%d series of costs, want those of the two models that have one", len(cost))
	}
}

// Hostile names of clients are cut, and so many at most are told apart in metrics; all that
// they have used is counted all the same.
func TestHostileClients(t *testing.T) {
	l := newLedger("demo")
	l.Know([]string{"m"})
	junk := func(n int) string {
		return strings.Repeat("x", n%300) + string(rune(0x202e)) + strings.Repeat("\xff\x00", n%7) + strings.Repeat("y", n%3) + USD(n).String()
	}
	const answers = 3 * MaxPairs
	l.Note(noon, Use{Client: strings.Repeat("z", 10_000), Model: "m", Tokens: used(1, 0), Cost: 1})
	for n := range answers - 1 {
		l.Note(noon, Use{Client: junk(n), Model: "m", Tokens: used(1, 0), Cost: 1})
	}
	l.Note(noon, Use{Client: "c", Model: strings.Repeat("w", 10_000), Tokens: used(0, 0)})
	totals := l.copyTotals()
	if len(totals) > MaxPairs+2 {
		t.Errorf("%d series of metrics", len(totals))
	}
	var all Counts
	for p, c := range totals {
		if all.Add(c); max(len(p.client), len(p.model)) > 2*maxLength || strings.ToValidUTF8(p.client, "") != p.client {
			t.Errorf("a label is %.100q or %.100q", p.client, p.model)
		}
	}
	if all.Answers != answers+1 || all.Cost != answers || totals[pair{Other, "m"}].Answers == 0 {
		t.Errorf("%+v, of them %+v of others", all, totals[pair{Other, "m"}])
	}
	sums, _ := l.Sums("client", noon)
	var told Counts
	for _, s := range sums {
		told.Add(s.Month)
	}
	if told != all {
		t.Errorf("by client %+v, in all %+v", told, all)
	}
	// Again: nothing grows.
	for n := range answers {
		l.Note(noon, Use{Client: junk(n), Model: "m", Tokens: used(1, 0), Cost: 1})
	}
	if again := l.copyTotals(); len(again) != len(totals) {
		t.Errorf("%d series, then %d", len(totals), len(again))
	}
}

// So many clients and no more are told apart; the rest is one.
func TestTooManyClients(t *testing.T) {
	l := newLedger("demo")
	for n := range maxNames + 1000 {
		l.Note(noon, Use{Client: USD(n).String(), Model: "m", Tokens: used(1, 0)})
	}
	sums, _ := l.Sums("client", noon)
	if i := slices.IndexFunc(sums, func(s Sum) bool { return s.Name == Other }); len(sums) != maxNames+1 || i < 0 || sums[i].Hour.Answers != 1000 {
		t.Errorf("%d clients, of the others %v", len(sums), i)
	}
}

package command

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/observe"
	tokens "github.com/keycycler/keycycler/internal/usage"
)

// usageAdmin plays an admin API whose pools have used something.
func usageAdmin(t *testing.T, asked *[]string) string {
	used := func(n int64) observe.UsageCounts {
		return observe.UsageCounts{Answers: n, Unknown: 1, Input: 1000 * n, Cached: 5 * n, CacheWrite: 2, Output: 1_234_567 * n, Reasoning: n}
	}
	today := time.Now().UTC().Format(time.DateOnly)
	all := []observe.UsageStatus{
		{Name: "", Hour: used(1), Month: used(4), Days: []observe.UsageDay{{Day: "2001-01-01", UsageCounts: used(2)}}},
		{Name: "ada-\x1b[31m-whose-name-is-long", Hour: used(2), Month: used(5), Days: []observe.UsageDay{{Day: today, UsageCounts: used(3)}}},
		{Name: "010000000000", Key: "acme-east", Month: used(6), Days: []observe.UsageDay{}},
	}
	a := new(fakeAdmin)
	a.addPool("main", fakeKey(1))
	a.addPool("spare", fakeKey(1))
	a.addPool("off", fakeKey(1))
	a.pools[2].UsageOff = true
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/usage") {
			a.ServeHTTP(w, r)
			return
		}
		if *asked = append(*asked, r.URL.RequestURI()); !strings.Contains(r.URL.Path, "main") {
			answerJSON(w, []observe.UsageStatus{})
			return
		}
		answerJSON(w, all)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// What usage prints fits into 80 columns, and a terminal obeys nothing of it.
func TestUsageIsPrinted(t *testing.T) {
	for _, row := range []struct {
		args, asked, want string
	}{
		{"", "by=client", `main, last hour:
CLIENT              ANSWERS  INPUT  CACHED  WRITTEN  OUTPUT  REASONING  UNKNOWN
-                         1   1000       5        2    1.2M          1        1
ada-?[31m-whose-n…        2   2000      10        2    2.5M          2        1

spare, last hour:
nothing was used

off, last hour:
nobody counts: the pool has 'usage off'
`},
		{"--by model --last today --pool main", "by=model", `main, today:
MODEL               ANSWERS  INPUT  CACHED  WRITTEN  OUTPUT  REASONING  UNKNOWN
ada-?[31m-whose-n…        3   3000      15        2    3.7M          3        1
`},
		{"--by key --last month --pool main", "by=key", `main, last 30 days:
KEY                 ANSWERS  INPUT  CACHED  WRITTEN  OUTPUT  REASONING  UNKNOWN
-                         4   4000      20        2    4.9M          4        1
ada-?[31m-whose-n…        5   5000      25        2    6.2M          5        1
acme-east                 6   6000      30        2    7.4M          6        1
`},
	} {
		var asked []string
		args := append([]string{"usage", "--address", usageAdmin(t, &asked)}, strings.Fields(row.args)...)
		ran := runCLI("", args...)
		if ran.code != 0 || ran.out != row.want {
			t.Errorf("usage %s: %d %s\n%s\nwant\n%s", row.args, ran.code, ran.errors, ran.out, row.want)
		}
		if len(asked) == 0 || asked[0] != "/keycycler/pools/main/usage?"+row.asked {
			t.Errorf("usage %s asks for %v", row.args, asked)
		}
		for line := range strings.Lines(ran.out) {
			if len([]rune(strings.TrimRight(line, "\n"))) > tableWidth {
				t.Errorf("usage %s: a line is too long: %q", row.args, line)
			}
		}
		var told []poolUsage
		if ran := runCLI("", append(args, "--json")...); json.Unmarshal([]byte(ran.out), &told) != nil || len(told[0].Usage) != 3 || told[0].Pool != "main" {
			t.Errorf("usage %s as JSON: %s %s", row.args, ran.out, ran.errors)
		}
	}
}

// Wrong usage is told before anybody is asked.
func TestUsageOfTheCommand(t *testing.T) {
	for args, want := range map[string]string{
		"usage --by colour":   "--by: 'colour' is none of client, model, key",
		"usage --last year":   "--last: 'year' is none of hour, today, month",
		"usage ada":           "usage takes no arguments",
		"usage --by sk-demo1": "--by: (not shown: it could be a key) is none of",
	} {
		if ran := runCLI("", strings.Fields(args)...); ran.code != 2 || !strings.Contains(ran.errors, want) {
			t.Errorf("%s: %d %s, want %s", args, ran.code, ran.errors, want)
		}
	}
}

// pricedAdmin plays an admin API whose pool has prices.
func pricedAdmin(t *testing.T, unpriced int) string {
	used := func(cost tokens.USD, unpriced int64) observe.UsageCounts {
		return observe.UsageCounts{Answers: 2, Input: 91_220, Cached: 310_400, CacheWrite: 1_234_567, Output: 88_012, Reasoning: 12_004, Cost: &cost, Unpriced: unpriced}
	}
	status := func(name string, c observe.UsageCounts) observe.UsageStatus {
		return observe.UsageStatus{Name: name, Hour: c, Month: c}
	}
	all := map[string][]observe.UsageStatus{
		"client": {status("ada-whose-name-is-long", used(99_999_990_000_000, 1)), status("bob", used(12_345_678, 0)), status("ci", used(0, int64(unpriced)))},
		"model":  {status("gpt-4o", used(12_345_678, 0))},
	}
	for n := range unpriced {
		all["model"] = append(all["model"], status(fmt.Sprintf("junk-%d-\x1b[31m", n), used(0, 1)))
	}
	a := new(fakeAdmin)
	a.addPool("main", fakeKey(1))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/usage") {
			a.ServeHTTP(w, r)
			return
		}
		answerJSON(w, all[r.URL.Query().Get("by")])
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// With prices there is what answers cost, and which models have none.
func TestCostsArePrinted(t *testing.T) {
	const clients = `main, last hour:
CLIENT              ANSWERS  INPUT  CACHED  WRITTEN  OUTPUT  UNKNOWN       USD
ada-whose-name-is…        2  91220  310400     1.2M   88012        0  99999.99
bob                       2  91220  310400     1.2M   88012        0    0.0123
ci                        2  91220  310400     1.2M   88012        0         -
no price, counted as 0:
`
	for _, row := range []struct {
		args     string
		unpriced int
		want     string
	}{
		{"", 2, clients + "  junk-0-?[31m\n  junk-1-?[31m\n"},
		{"", 12, clients + strings.Repeat("  junk-?-?[31m\n", 10) + "  and 2 more: --by model --json\n"},
		{"--by model", 1, `main, last hour:
MODEL         ANSWERS  INPUT  CACHED  WRITTEN  OUTPUT  UNKNOWN     USD
gpt-4o              2  91220  310400     1.2M   88012        0  0.0123
junk-0-?[31m        2  91220  310400     1.2M   88012        0       -
no price, counted as 0:
  junk-0-?[31m
`},
	} {
		address := pricedAdmin(t, row.unpriced)
		ran := runCLI("", append([]string{"usage", "--address", address}, strings.Fields(row.args)...)...)
		if row.unpriced == 12 {
			ran.out = regexp.MustCompile(`junk-\d-`).ReplaceAllString(ran.out, "junk-?-")
		}
		if ran.code != 0 || ran.out != row.want {
			t.Errorf("usage %s: %d %s\n%s\nwant\n%s", row.args, ran.code, ran.errors, ran.out, row.want)
		}
		for line := range strings.Lines(ran.out) {
			if len([]rune(strings.TrimRight(line, "\n"))) > tableWidth {
				t.Errorf("usage %s: a line is too long: %q", row.args, line)
			}
		}
		var told []poolUsage
		ran = runCLI("", append([]string{"usage", "--json", "--address", address}, strings.Fields(row.args)...)...)
		if err := json.Unmarshal([]byte(ran.out), &told); err != nil || len(told) != 1 || len(told[0].Unpriced) != row.unpriced || told[0].Usage[0].Hour.Cost == nil {
			t.Errorf("usage %s as JSON: %v: %s", row.args, err, ran.out)
		}
	}
}

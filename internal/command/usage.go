package command

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/observe"
)

func usageCommand() *cobra.Command {
	cmd := apiCommand("usage", "Shows how many tokens answers have used, and what they cost", usageHelp, usage)
	cmd.Example = `  $ caddy keycycler usage
  $ caddy keycycler usage --by model --last month --pool main`
	cmd.Flags().String("by", observe.UsageBy[0], "by client, model or key")
	cmd.Flags().String("last", usageTimes[0], "of the last hour, of today (UTC), or of the last month (30 days)")
	return cmd
}

const usageHelp = `Shows what the answers of each pool have used, in tokens, as the providers state
it, by client, by model or by key:

  ANSWERS    that have come, of requests that ask a model
  INPUT      tokens that were read anew
  CACHED     tokens that were read from a provider's cache
  WRITTEN    tokens that were read anew and written to a cache
  OUTPUT     tokens that were written, with those of reasoning
  REASONING  of the output
  UNKNOWN    answers that do not say what they used
  USD        what the answers cost, in a pool that has prices; REASONING makes room
             for it. What models are called that have no price, and so cost nothing
             here, stands below

Clients are called by the names of their tokens, keys by their names, or else by
their ids. With state redis it is what all nodes have used; otherwise, what the
node that is asked has since its start. A name of "-" is that of requests without
one; "other" stands for names beyond the bound.

With --json it prints one array, of an object for each pool: "pool", and "usage",
what the admin API says, with each minute of the hour and each day of the month;
"unpriced" are the models of the month that have no price. Of a pool with 'usage off'
"usage_off" is true.
` + exitCodes

// usageTimes are the values of --last.
var usageTimes = []string{"hour", "today", "month"}

// poolUsage is what a pool's answers have used.
type poolUsage struct {
	Pool  string                `json:"pool"`
	Usage []observe.UsageStatus `json:"usage"`

	Unpriced []string `json:"unpriced,omitempty"`  // models that have no price
	Off      bool     `json:"usage_off,omitempty"` // nobody counts
}

// usage prints what the pools' answers have used.
func usage(cmd *cobra.Command, args []string) error {
	if err := noArguments(cmd, args); err != nil {
		return err
	}
	by, err := oneOf(cmd, "by", observe.UsageBy)
	if err != nil {
		return err
	}
	last, err := oneOf(cmd, "last", usageTimes)
	if err != nil {
		return err
	}
	g, pools, err := askPools(cmd)
	if err != nil {
		return err
	}
	all, err := g.usage(pools, by)
	switch {
	case err != nil:
		return err
	case wantsJSON(cmd):
		return printJSON(cmd.OutOrStdout(), all)
	case len(all) == 0:
		fmt.Fprintf(cmd.OutOrStdout(), "%s\n", g.noPool())
	}
	printUsage(cmd.OutOrStdout(), all, by, last, time.Now())
	return nil
}

// oneOf returns the flag's value, which is one of these.
func oneOf(cmd *cobra.Command, flag string, values []string) (string, error) {
	value := cmd.Flag(flag).Value.String()
	if !slices.Contains(values, value) {
		return "", wrongf("--%s: %s is none of %s", flag, directive.Shown(value), strings.Join(values, ", "))
	}
	return value, nil
}

// usage returns what the pools' answers have used.
func (g endpoint) usage(pools []observe.PoolStatus, by string) ([]poolUsage, error) {
	all := []poolUsage{} // no pool is [], not null
	for _, p := range pools {
		u := poolUsage{Pool: p.Pool, Off: p.UsageOff}
		var err error
		if u.Usage, err = g.usageBy(p.Pool, by); err != nil {
			return nil, err
		}
		if u.Unpriced, err = g.unpriced(u, by); err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

func (g endpoint) usageBy(pool, by string) (all []observe.UsageStatus, err error) {
	err = g.ask(http.MethodGet, apiPath+"/"+url.PathEscape(pool)+"/usage?by="+by, nil, &all)
	return all, err
}

// unpriced returns the models that have no price, if the pool's usage says that there are any.
func (g endpoint) unpriced(u poolUsage, by string) (models []string, err error) {
	priced := func(s observe.UsageStatus) bool { return s.Month.Unpriced == 0 }
	all := slices.DeleteFunc(slices.Clone(u.Usage), priced)
	if by != "model" && len(all) > 0 {
		if all, err = g.usageBy(u.Pool, "model"); err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, priced)
	}
	for _, s := range all {
		models = append(models, s.Name)
	}
	return models, nil
}

// printUsage prints the pools, each with a table.
func printUsage(w io.Writer, pools []poolUsage, by, last string, now time.Time) {
	for i, p := range pools {
		if i > 0 {
			fmt.Fprint(w, "\n")
		}
		fmt.Fprintf(w, "%s, %s:\n", clean(p.Pool), map[string]string{"hour": "last hour", "today": "today", "month": "last 30 days"}[last])
		priced := slices.ContainsFunc(p.Usage, func(s observe.UsageStatus) bool { return s.Month.Cost != nil })
		rows := [][]string{usageTitles(by, priced)}
		for _, s := range p.Usage {
			if c := countsOf(s, last, now); c.Answers > 0 {
				rows = append(rows, usageRow(cmp.Or(s.Key, s.Name, "-"), c, priced))
			}
		}
		switch {
		case len(rows) > 1:
			printUsageTable(w, rows)
		case p.Off:
			fmt.Fprint(w, "nobody counts: the pool has 'usage off'\n")
		default:
			fmt.Fprint(w, "nothing was used\n")
		}
		printUnpriced(w, p.Unpriced)
	}
}

// printUnpriced names the models that have no price.
func printUnpriced(w io.Writer, models []string) {
	const few = 10
	if len(models) == 0 {
		return
	}
	fmt.Fprint(w, "no price, counted as 0:\n")
	for _, name := range models[:min(len(models), few)] {
		fmt.Fprintf(w, "  %s\n", cut(clean(cmp.Or(name, "-")), tableWidth-2))
	}
	if more := len(models) - few; more > 0 {
		fmt.Fprintf(w, "  and %d more: --by model --json\n", more)
	}
}

func usageTitles(by string, priced bool) []string {
	titles := []string{strings.ToUpper(by), "ANSWERS", "INPUT", "CACHED", "WRITTEN", "OUTPUT"}
	if priced {
		return append(titles, "UNKNOWN", "USD")
	}
	return append(titles, "REASONING", "UNKNOWN")
}

// countsOf returns what was used in that time.
func countsOf(s observe.UsageStatus, last string, now time.Time) observe.UsageCounts {
	switch last {
	case "hour":
		return s.Hour
	case "month":
		return s.Month
	}
	today := now.UTC().Format(time.DateOnly)
	if i := slices.IndexFunc(s.Days, func(d observe.UsageDay) bool { return d.Day == today }); i >= 0 {
		return s.Days[i].UsageCounts
	}
	return observe.UsageCounts{}
}

func usageRow(name string, c observe.UsageCounts, priced bool) []string {
	const most = 18 // so that the table fits
	row := []string{cut(clean(name), most)}
	numbers := []int64{c.Answers, c.Input, c.Cached, c.CacheWrite, c.Output, c.Reasoning, c.Unknown}
	if priced {
		numbers = slices.Delete(numbers, 5, 6)
	}
	for _, n := range numbers {
		row = append(row, brief(uint64(max(n, 0))))
	}
	if priced {
		row = append(row, usd(c))
	}
	return row
}

// usd is what the answers have cost: "-" where none of them has a price.
func usd(c observe.UsageCounts) string {
	if c.Cost == nil || *c.Cost == 0 && c.Unpriced > 0 {
		return "-"
	}
	return c.Cost.Brief()
}

// printUsageTable prints rows, of which the first is the titles'.
func printUsageTable(w io.Writer, rows [][]string) {
	t := table{columns: make([]column, len(rows[0]))}
	widths := make([]int, len(rows[0]))
	for i := range widths {
		t.columns[i].right = i > 0
		for _, row := range rows {
			widths[i] = max(widths[i], len([]rune(row[i])))
		}
	}
	for _, row := range rows {
		t.printRow(w, row, widths)
	}
}

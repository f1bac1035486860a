package command

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/reason"
)

// What a shell completes, by the scripts of `caddy completion`.

// completionTime is how long a shell waits for a gateway.
const completionTime = 3 * time.Second

// completer tells how a flag or an argument may go on.
type completer = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective)

// completeAll gives the subcommands their completions, by what they take.
func completeAll(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		for name, values := range map[string]completer{
			"pool": completePools, "state": oneOfThese("ready", "cooling", "disabled"), "class": oneOfThese(reason.Names...),
			"by": oneOfThese(observe.UsageBy...), "last": oneOfThese(usageTimes...), "provider": oneOfThese(presetNames()...),
			"sort": oneOfThese(listOrders...), "adapter": oneOfThese("caddyfile", "json"),
			"address": oneOfThese(), "limit": oneOfThese(), "for": oneOfThese("1m", "10m", "1h", "1d"),
		} {
			if sub.Flag(name) != nil {
				_ = sub.RegisterFlagCompletionFunc(name, values) // it fails for flags that there are not
			}
		}
		switch {
		case strings.Contains(sub.Use, "<id"):
			sub.ValidArgsFunction = completeKeys
		case !strings.Contains(sub.Use, "<file>"):
			sub.ValidArgsFunction = oneOfThese()
		}
	}
}

// oneOfThese completes fixed words, and never to files' names.
func oneOfThese(words ...string) completer {
	return func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return withPrefix(words, begun), cobra.ShellCompDirectiveNoFileComp
	}
}

func withPrefix(words []string, prefix string) (all []string) {
	for _, w := range words {
		if strings.HasPrefix(w, prefix) {
			all = append(all, w)
		}
	}
	return all
}

// completePools asks the gateway for the names of its pools.
func completePools(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	return inTime(func() (names []string) {
		g, err := addressOf(cmd)
		if err != nil {
			return nil
		}
		pools, _ := g.pools() // a shell has no place for what is wrong
		for _, p := range pools {
			names = append(names, clean(p.Pool))
		}
		return withPrefix(names, begun)
	}), cobra.ShellCompDirectiveNoFileComp
}

// completeKeys asks the gateway for ids and names of keys, of each pool as many as one answer
// has.
func completeKeys(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	none := cmd.Name() == "show" && len(args) > 0 || cmd.Flag("all") != nil && cmd.Flag("all").Changed
	if none {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return inTime(func() (words []string) {
		g, pools, err := askPools(cmd)
		for _, p := range pools {
			if err == nil {
				words = append(words, g.completeIn(p.Pool, args, begun)...)
			}
		}
		return words
	}), cobra.ShellCompDirectiveNoFileComp
}

// completeIn returns ids and names of the pool's keys that begin so and are not there yet,
// with what is known of them behind a tab.
func (g endpoint) completeIn(pool string, args []string, begun string) (words []string) {
	there := slices.Clone(args)
	for _, k := range g.begunSo(pool, strings.ToLower(begun)) {
		about := "\t" + cmp.Or(clean(k.Name), "key") + " of " + clean(pool) + ", " + condition(&k)
		for _, word := range append(withPrefix([]string{k.ID}, strings.ToLower(begun)), withPrefix([]string{k.Name}, begun)...) {
			if word != "" && !slices.Contains(there, word) {
				words, there = append(words, word+about), append(there, word)
			}
		}
	}
	return words
}

// begunSo returns the pool's first keys, one of which may have a name that begins so, and the
// first of those whose ids do.
func (g endpoint) begunSo(pool, begun string) (keys []observe.KeyStatus) {
	const digits = 12
	pages := []string{""}
	if isHex := strings.Trim(begun, "0123456789abcdef") == ""; isHex && begun != "" && len(begun) < digits {
		pages = append(pages, begun+strings.Repeat("0", digits-len(begun)))
	}
	for _, after := range pages {
		var page observe.KeysPage
		query := url.Values{"limit": {strconv.Itoa(observe.MaxLimit)}, "after": {after}}
		if g.ask(http.MethodGet, keysPath(pool)+"?"+query.Encode(), nil, &page) == nil {
			keys = append(keys, page.Keys...)
		}
	}
	return keys
}

// inTime returns what find finds, or nothing where that takes too long.
func inTime(find func() []string) []string {
	found := make(chan []string, 1)
	go func() { found <- find() }()
	select {
	case words := <-found:
		return words
	case <-time.After(completionTime):
		return nil
	}
}

package command

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/observe"
)

// poolKeys is a pool with its keys, or some of them. Its keys stand where their
// number stands in a PoolStatus.
type poolKeys struct {
	observe.PoolStatus
	Keys []observe.KeyStatus `json:"keys"`
	Next string              `json:"next,omitempty"`
}

// list prints the pools and their keys.
func list(cmd *cobra.Command, args []string) error {
	if err := noArguments(cmd, args); err != nil {
		return err
	}
	query, err := cliFilter(cmd)
	if err != nil {
		return err
	}
	limit, err := listLimit(cmd)
	if err != nil {
		return err
	}
	by, err := oneOf(cmd, "sort", listOrders)
	if err != nil {
		return err
	}
	g, pools, err := askPools(cmd)
	if err != nil {
		return err
	}
	lists, err := g.listed(pools, query, limit, by)
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), lists)
	}
	if len(lists) == 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "%s\n", g.noPool())
	}
	printPools(cmd.OutOrStdout(), time.Now(), lists, query)
	return nil
}

// listOrders are the values of --sort.
var listOrders = []string{"id", "left"}

// listed returns the pools with their keys, at most limit of each, or all if that is 0.
func (g endpoint) listed(pools []observe.PoolStatus, query url.Values, limit int, by string) ([]poolKeys, error) {
	lists := []poolKeys{} // no pool is [], not null
	ask, sorts := limit, by != listOrders[0]
	if sorts {
		ask = 0 // the API orders by id alone
	}
	for _, p := range pools {
		keys, err := g.keys(p.Pool, query, ask)
		if err != nil {
			return nil, err
		}
		if sorts {
			sortByLeft(&keys, limit)
		}
		lists = append(lists, poolKeys{p, keys.Keys, keys.Next})
	}
	return lists, nil
}

// sortByLeft puts those keys first that come back first: for all requests, then for some; and
// those last of which nothing is to be waited for. It keeps so many of them, or all if that is
// 0.
func sortByLeft(page *observe.KeysPage, limit int) {
	slices.SortStableFunc(page.Keys, func(a, b observe.KeyStatus) int {
		return cmp.Or(cmp.Compare(waits(&a), waits(&b)), cmp.Compare(soonest(&a), soonest(&b)))
	})
	if limit > 0 && len(page.Keys) > limit {
		page.Keys = page.Keys[:limit]
		page.Next = page.Keys[limit-1].ID
	}
}

// waits ranks a key by what it cools for: 0 for all requests, 1 for some, 2 for none.
func waits(k *observe.KeyStatus) int {
	switch {
	case k.Remaining > 0:
		return 0
	case len(k.Scopes) > 0:
		return 1
	default:
		return 2
	}
}

// soonest is how long the key cools, or else for the model that it serves again first.
func soonest(k *observe.KeyStatus) float64 {
	if k.Remaining > 0 || len(k.Scopes) == 0 {
		return k.Remaining
	}
	return slices.MinFunc(k.Scopes, func(a, b observe.ScopeStatus) int { return cmp.Compare(a.Remaining, b.Remaining) }).Remaining
}

// listLimit returns how many keys of a pool to list, 0 for all. A script would not
// notice that some are left out: it gets all, unless it wants less.
func listLimit(cmd *cobra.Command) (int, error) {
	limit, err := cmd.Flags().GetInt("limit")
	switch {
	case err != nil:
		return 0, err
	case limit < 0:
		return 0, wrongf("--limit: %d is out of range: 0, for all, or more", limit)
	case wantsJSON(cmd) && !cmd.Flag("limit").Changed:
		return 0, nil
	}
	return limit, nil
}

// poolKey is a key and a pool that holds it.
type poolKey struct {
	Pool string `json:"pool"`
	observe.KeyStatus
}

// show prints what is known about a key.
func show(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return wrongf("show takes one id or name")
	}
	if err := parseIDs(args); err != nil {
		return err
	}
	g, pools, err := askPools(cmd)
	if err != nil {
		return err
	}
	ids, err := g.identify(pools, args)
	if err != nil {
		return err
	}
	found, err := g.find(pools, ids[0])
	switch {
	case err != nil:
		return err
	case len(found) == 0:
		return g.unknown(pools, ids)
	case wantsJSON(cmd):
		return printJSON(cmd.OutOrStdout(), found)
	}
	printKeys(cmd.OutOrStdout(), time.Now(), found)
	return nil
}

// order is what one of the verbs is to do.
type order struct {
	verb   string
	cool   *observe.CoolRequest // of the verb cool
	ids    []string             // or names
	all    bool
	filter url.Values // with all
}

// change carries out one of the verbs.
func change(cmd *cobra.Command, args []string) error {
	o, err := parseOrder(cmd, args)
	if err != nil {
		return err
	}
	g, pools, err := askPools(cmd)
	if err != nil {
		return err
	}
	if o.all {
		return o.changeAll(cmd, g, pools)
	}
	return o.changeKeys(cmd, g, pools)
}

func parseOrder(cmd *cobra.Command, args []string) (order, error) {
	o := order{verb: cmd.Name(), ids: args, all: cmd.Flag("all").Value.String() == "true"}
	var err error
	if o.filter, err = cliFilter(cmd); err != nil {
		return o, err
	}
	switch {
	case o.all && len(args) > 0:
		return o, wrongf("%s takes ids or --all, not both", o.verb)
	case !o.all && len(args) == 0:
		return o, wrongf("%s takes ids or names of keys, or --all", o.verb)
	case !o.all && len(o.filter) > 0:
		return o, wrongf("--state and --class narrow --all: ids need no narrowing")
	}
	if o.verb == "cool" {
		if o.cool, err = parseFor(cmd.Flag("for").Value.String()); err != nil {
			return o, err
		}
	}
	return o, parseIDs(args)
}

// parseFor reads the value of --for.
func parseFor(text string) (*observe.CoolRequest, error) {
	if text == "" {
		return nil, wrongf("cool needs --for <duration>, as in --for 10m")
	}
	d, err := caddy.ParseDuration(text)
	switch {
	case err != nil:
		return nil, wrongf("--for: %s is no duration, as in 90s, 10m, 1h30m, 2d", directive.Shown(text))
	case d <= 0 || d > observe.MaxCool:
		return nil, wrongf("--for: %s is out of range: above 0, at most 365d", directive.Shown(text))
	}
	return &observe.CoolRequest{Seconds: d.Seconds()}, nil
}

// changeKeys changes keys one by one, when all of them are found.
func (o order) changeKeys(cmd *cobra.Command, g endpoint, pools []observe.PoolStatus) error {
	ids, err := g.identify(pools, o.ids)
	if err != nil {
		return fmt.Errorf("%w: nothing was changed", err)
	}
	keys, err := g.findAll(pools, ids)
	if err != nil {
		return err
	}
	done := []poolKey{}
	for _, before := range keys {
		after := poolKey{Pool: before.Pool}
		if err = g.ask(http.MethodPost, keysPath(before.Pool)+"/"+before.ID+"/"+o.verb, o.cool, &after.KeyStatus); err != nil {
			err = fmt.Errorf("key %s in pool %s: %w", before.ID, before.Pool, err)
			break
		}
		done = append(done, after)
		if !wantsJSON(cmd) {
			printChange(cmd.OutOrStdout(), before, after)
		}
	}
	if wantsJSON(cmd) { // even if some could not be changed: others were
		return errors.Join(printJSON(cmd.OutOrStdout(), done), err)
	}
	return err
}

// changeAll changes all keys of one pool at once.
func (o order) changeAll(cmd *cobra.Command, g endpoint, pools []observe.PoolStatus) error {
	if err := g.only(pools); err != nil {
		return err
	}
	path := keysPath(pools[0].Pool) + "/" + o.verb
	if len(o.filter) > 0 {
		path += "?" + o.filter.Encode()
	}
	var done struct {
		Pool string `json:"pool"`
		observe.Changed
	}
	if err := g.ask(http.MethodPost, path, o.cool, &done.Changed); err != nil {
		return err
	}
	done.Pool = pools[0].Pool
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), done)
	}
	printChanges(cmd.OutOrStdout(), o.verb, done.Pool, done.Changed)
	return nil
}

// only checks that there is one pool, which --all can mean.
func (g endpoint) only(pools []observe.PoolStatus) error {
	switch len(pools) {
	case 0:
		return g.noPool()
	case 1:
		return nil
	}
	return wrongf("--all needs --pool, since there are %d pools: %s", len(pools), poolNames(pools))
}

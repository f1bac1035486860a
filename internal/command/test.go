package command

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/keycycler/keycycler/internal/observe"
)

func testCommand() *cobra.Command {
	cmd := apiCommand("test <id|name...>|--all", "Asks the provider whether keys are good", testHelp, testKeys)
	cmd.Example = `  $ caddy keycycler test 0123456789ab
  $ caddy keycycler test --all --pool main --class invalid_key`
	cmd.Flags().Bool("all", false, "all keys of one pool, instead of ids or names")
	filterFlags(cmd, "with --all: only keys")
	return cmd
}

const testHelp = `Asks the provider about keys, one after the other, at a path that costs nothing:
mostly for the list of its models. The question goes the way of a request: by
reverse_proxy, with the address, the proxy and the TLS that requests have.

  good          the provider knows the key: what it was suspected of or cooled
                for as invalid, or in unknown words, is over; a limit is not
  refused       it refuses the key, which is suspect then, or cools, as after a
                request; another key is asked to find out which
  inconclusive  the answer says nothing of the key: the path does not exist, or
                is answered without a key, too
  failed        there was no answer, or one of 5xx

A disabled key is asked about, too, and stays disabled. Where the pool's provider
is generic, its config must name a path: check { uri <path> }.

It prints a line for each key. With --json it prints one array, of an object for
each key: what the admin API says of the test, and "pool".
` + exitCodes

// tested is a key that was asked about, and in which pool.
type tested struct {
	Pool string `json:"pool"`
	observe.CheckStatus
}

// testKeys asks about keys, when all of them are found.
func testKeys(cmd *cobra.Command, args []string) error {
	o, err := parseOrder(cmd, args)
	if err != nil {
		return err
	}
	g, pools, err := askPools(cmd)
	if err != nil {
		return err
	}
	keys, err := o.targets(g, pools)
	if err != nil {
		return err
	}
	done := []tested{} // none is [], not null
	for _, k := range keys {
		t := tested{Pool: k.Pool}
		if err = g.ask(http.MethodPost, keysPath(k.Pool)+"/"+k.ID+"/test", nil, &t.CheckStatus); err != nil {
			err = fmt.Errorf("key %s in pool %s: %w", k.ID, k.Pool, err)
			break
		}
		if done = append(done, t); !wantsJSON(cmd) {
			printTested(cmd.OutOrStdout(), &t)
		}
	}
	if wantsJSON(cmd) { // even if some could not be asked about: others were
		return errors.Join(printJSON(cmd.OutOrStdout(), done), err)
	}
	return err
}

// targets returns the keys that the order is for.
func (o order) targets(g endpoint, pools []observe.PoolStatus) ([]poolKey, error) {
	if o.all {
		return o.allOf(g, pools)
	}
	ids, err := g.identify(pools, o.ids)
	if err != nil {
		return nil, err
	}
	return g.findAll(pools, ids)
}

// allOf returns all keys of the only pool that the filter takes.
func (o order) allOf(g endpoint, pools []observe.PoolStatus) ([]poolKey, error) {
	if err := g.only(pools); err != nil {
		return nil, err
	}
	page, err := g.keys(pools[0].Pool, o.filter, 0)
	if err != nil {
		return nil, err
	}
	keys := make([]poolKey, 0, len(page.Keys))
	for _, k := range page.Keys {
		keys = append(keys, poolKey{pools[0].Pool, k})
	}
	return keys, nil
}

// printTested prints what was found out about a key.
func printTested(w io.Writer, t *tested) {
	k := observe.KeyStatus{ID: t.ID, Name: t.Name}
	fmt.Fprintf(w, "%s in %s: %s%s\n", called(&k), clean(t.Pool), clean(t.Result), details(&t.CheckStatus))
}

// details says why, and what has followed.
func details(s *observe.CheckStatus) (text string) {
	if s.Class != "" {
		text += " (" + clean(s.Class) + ")"
	}
	if s.Status != 0 {
		text += fmt.Sprintf(", status %d", s.Status)
	}
	text += fmt.Sprintf(" after %d ms", s.Milliseconds)
	switch s.Did {
	case observe.CheckFreed:
		text += ": what was held against it is over"
	case observe.CheckCools:
		text += ": it cools for " + left(s.Seconds)
	case observe.CheckSuspected:
		text += ": it is suspect"
	}
	if s.Error != "" {
		text += ": " + clean(s.Error)
	}
	if s.State == "disabled" {
		text += "; it stays disabled"
	}
	return text
}

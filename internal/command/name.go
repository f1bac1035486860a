package command

import (
	"fmt"
	"net/url"
	"slices"

	"github.com/keycycler/keycycler/internal/observe"
)

// identify returns the ids of keys that are given by ids or names. Names are looked for
// here, and not sent: one that is none may be a key, and Caddy logs what it is asked for.
// Errors repeat none, for the same reason.
func (g endpoint) identify(pools []observe.PoolStatus, args []string) ([]string, error) {
	if !slices.ContainsFunc(args, func(arg string) bool { return !isID(arg) }) {
		return args, nil
	}
	known, err := g.named(pools)
	if err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(args))
	for i, arg := range args {
		found := known[arg]
		switch {
		case isID(arg):
			found = []string{arg}
		case len(found) == 0:
			return nil, fmt.Errorf("no key has the name that argument %d is: 'caddy keycycler list' shows names", i+1)
		case len(found) > 1:
			return nil, fmt.Errorf("%d keys have the name that argument %d is: use an id, or narrow by --pool", len(found), i+1)
		}
		ids = append(ids, found[0])
	}
	return ids, nil
}

// named returns the ids of the pools' keys that have names, by these.
func (g endpoint) named(pools []observe.PoolStatus) (map[string][]string, error) {
	known := make(map[string][]string)
	for _, p := range pools {
		page, err := g.keys(p.Pool, make(url.Values), 0)
		if err != nil {
			return nil, err
		}
		for _, k := range page.Keys {
			if k.Name != "" && !slices.Contains(known[k.Name], k.ID) {
				known[k.Name] = append(known[k.Name], k.ID)
			}
		}
	}
	return known, nil
}

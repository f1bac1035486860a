package keycycler

import (
	"fmt"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/keycycler/keycycler/rotator"
)

// Group is a set of keys that have something in common: the limits that they share,
// or how they are preferred. It has a name, a weight or a tier.
type Group struct {
	// The name of keys that share their limits: 1 to 64 letters, digits, dots, dashes
	// and underscores. Groups of the same name share theirs. Default: none, each key
	// has limits of its own.
	Name string `json:"name,omitempty"`

	// Each of the keys is used in proportion to it, among those of its tier that are
	// ready: 1 to 100. Default: 1.
	Weight int `json:"weight,omitempty"`

	// Keys of a higher tier are used only while no key of a lower one is ready for the
	// request: 1 to 100. Default: 1. Tiers and weights make at most 100 different
	// pairs.
	Tier int `json:"tier,omitempty"`

	// As the handler's own `keys`.
	Keys []string `json:"keys,omitempty"`

	// As the handler's own `keys_files`.
	KeysFiles []string `json:"keys_files,omitempty"`
}

// rank is how the engine prefers the group's keys.
func (g Group) rank() rotator.Rank {
	return rotator.Rank{Tier: uint8(max(g.Tier, 1)), Weight: uint8(max(g.Weight, 1))}
}

// plain tells whether the group is none: its keys are as those of no group.
func (g Group) plain() bool { return g.Name == "" && g.Weight == 0 && g.Tier == 0 }

func (g Group) check() error {
	switch {
	case g.plain():
		return fmt.Errorf("group: a name, a weight or a tier is needed")
	case !isName(g.Name):
		return fmt.Errorf("group: the name %s must be 1 to %d letters, digits, dots, dashes or underscores", shown(g.Name), maxName)
	case g.Weight < 0 || g.Weight > rotator.MaxRank:
		return fmt.Errorf("weight: %d is out of range: 1 to %d", g.Weight, rotator.MaxRank)
	case g.Tier < 0 || g.Tier > rotator.MaxRank:
		return fmt.Errorf("tier: %d is out of range: 1 to %d", g.Tier, rotator.MaxRank)
	}
	return nil
}

func (h *Handler) checkGroups() error {
	ranks := make(map[rotator.Rank]struct{})
	for _, g := range h.allGroups() {
		if !g.plain() || len(g.Keys)+len(g.KeysFiles) > 0 {
			ranks[g.rank()] = struct{}{}
		}
	}
	for _, g := range h.Groups {
		if err := g.check(); err != nil {
			return err
		}
	}
	if len(ranks) > rotator.MaxRanks {
		return fmt.Errorf("group: %d different pairs of tier and weight are too many: at most %d", len(ranks), rotator.MaxRanks)
	}
	return nil
}

// allGroups returns the handler's own keys as a group, and then its groups.
func (h *Handler) allGroups() []Group {
	return append([]Group{{Keys: h.Keys, KeysFiles: h.KeysFiles}}, h.Groups...)
}

// keySource is where the pool's keys come from.
func (h *Handler) keySource() *keySource {
	var groups []keyGroup
	for _, g := range h.allGroups() {
		groups = append(groups, keyGroup{g.Name, g.rank(), g.Keys, g.KeysFiles})
	}
	return &keySource{&groups, h.logger}
}

// addGroup parses the block that may follow keys, and adds them: to the handler's own
// or, with a block, as a group.
func (h *Handler) addGroup(d *caddyfile.Dispenser, block string, keys, files []string) error {
	g := Group{Keys: keys, KeysFiles: files}
	line := *d
	number := func(field *int) option {
		return option{parse: func(d *caddyfile.Dispenser) error { return g.parseNumber(d, block, field) }}
	}
	_, err := parseBlock(d, block, map[string]option{
		"group": {parse: func(d *caddyfile.Dispenser) (err error) {
			if g.Name, err = value(d, block+" group", "<name>"); err != nil {
				return err
			}
			if g.Name == "" {
				return d.Errf("group: the name is empty")
			}
			return wrap(d, g.check())
		}},
		"weight": number(&g.Weight),
		"tier":   number(&g.Tier),
	})
	switch {
	case err != nil:
		return err
	case g.plain():
		h.Keys, h.KeysFiles = append(h.Keys, keys...), append(h.KeysFiles, files...)
		return nil
	}
	h.Groups = append(h.Groups, g)
	return wrap(&line, h.checkGroups())
}

// parseNumber parses a weight or a tier.
func (g *Group) parseNumber(d *caddyfile.Dispenser, block string, field *int) error {
	name := d.Val()
	s, err := value(d, block+" "+name, "<n>")
	if err != nil {
		return err
	}
	// 0 stands for the default in JSON; here somebody wrote it.
	if *field, err = strconv.Atoi(s); err != nil || *field == 0 {
		return d.Errf("%s: %s is out of range: 1 to %d", name, shown(s), rotator.MaxRank)
	}
	return wrap(d, g.check())
}

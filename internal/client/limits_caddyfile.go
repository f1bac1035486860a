package client

import (
	"math"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/keycycler/keycycler/internal/directive"
)

// Parse parses the block of `<name>|* { … }`, a client each.
func (c *Limits) Parse(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("clients: surplus argument after the placeholder: names of clients stand in the block")
	}
	c.Limits = make(map[string]*Limit)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if err := checkLimited(name); err != nil {
			return d.Errf("clients: %v", err)
		}
		if _, twice := c.Limits[name]; twice {
			return d.Errf("clients: %s stands twice", directive.Shown(name))
		}
		l := new(Limit)
		if _, isOption := l.options()[name]; isOption && hasMore(*d) {
			return d.Errf("clients: '%s' is an option of a client: it stands in the block of the client's name, or of *", name)
		}
		if err := directive.ParseSubBlock(d, "clients "+directive.Shown(name), l.options()); err != nil {
			return err
		}
		c.Limits[name] = l
	}
	return nil
}

// hasMore tells whether an argument follows.
func hasMore(d caddyfile.Dispenser) bool { return d.NextArg() }

// options are those of a client.
func (l *Limit) options() map[string]directive.Option {
	return map[string]directive.Option{
		"requests":    l.option(func(d *caddyfile.Dispenser) error { return parseRate(d, &l.Requests, maxClientRequests) }),
		"tokens":      l.option(func(d *caddyfile.Dispenser) error { return parseRate(d, &l.Tokens, maxClientTokens) }),
		"concurrency": l.option(func(d *caddyfile.Dispenser) error { return parseCount(d, &l.Concurrency, mostConcurrency) }),
		"weight":      l.option(func(d *caddyfile.Dispenser) error { return parseCount(d, &l.Weight, maxWeight) }),
		"budget":      {Many: true, Parse: l.option(l.parseBudget).Parse},
		"models": l.option(func(d *caddyfile.Dispenser) (err error) {
			l.Models, err = directive.Values(d, "clients models", "<pattern...>")
			return err
		}),
	}
}

// option is one after which the limit is checked, so that an error names the line.
func (l *Limit) option(parse func(*caddyfile.Dispenser) error) directive.Option {
	return directive.Option{Parse: func(d *caddyfile.Dispenser) error {
		if err := parse(d); err != nil {
			return err
		}
		if err := l.check(); err != nil {
			return d.Errf("clients: %v", err)
		}
		return nil
	}}
}

// parseCount parses `<n>`.
func parseCount(d *caddyfile.Dispenser, field *int, most int64) error {
	n, err := parseMost(d, "clients "+d.Val(), most)
	*field = int(n)
	return err
}

// parseRate parses `<n> <duration>`.
func parseRate(d *caddyfile.Dispenser, field **Rate, most int64) error {
	name := "clients " + d.Val()
	n, err := parseMost(d, name, most)
	if err != nil {
		return err
	}
	per, err := directive.DurationValue(d, name)
	*field = &Rate{n, caddy.Duration(per)}
	return err
}

// parseMost parses a number, which may end in k or m for thousands and millions.
func parseMost(d *caddyfile.Dispenser, name string, most int64) (int64, error) {
	s, err := directive.Value(d, name, "<n>")
	if err != nil {
		return 0, err
	}
	n, ok := directive.Number(s)
	if !ok || n < 1 || n > float64(most) || n != math.Trunc(n) {
		return 0, d.Errf("%s: %s is out of range: 1 to %d%s", name, directive.Shown(s), most, directive.AsRate(s))
	}
	return int64(n), nil
}

// parseBudget parses `<n> tokens|usd <duration>`, or `day [<zone>]` or `month [<zone>]` in the
// place of a duration.
func (l *Limit) parseBudget(d *caddyfile.Dispenser) error {
	const name = "clients budget"
	args, err := directive.Values(d, name, wantedBudget)
	if err != nil {
		return err
	}
	if len(args) < 3 {
		return d.Errf("%s: %s is needed, as in 5 usd month", name, wantedBudget)
	}
	n, ok := directive.Number(args[0])
	if !ok {
		return d.Errf("%s: %s is no number", name, directive.Shown(args[0]))
	}
	b := Budget{Most: n, Unit: args[1]}
	if _, dated := calendars[args[2]]; dated {
		b.Calendar = args[2]
		if len(args) > 3 {
			b.Zone, args = args[3], args[1:]
		}
	} else if err := b.parsePer(d, args[2]); err != nil {
		return err
	}
	if len(args) > 3 {
		return d.Errf("%s: surplus argument", name)
	}
	l.Budgets = append(l.Budgets, b)
	return nil
}

func (b *Budget) parsePer(d *caddyfile.Dispenser, s string) error {
	per, err := caddy.ParseDuration(s)
	if err != nil {
		return d.Errf("clients budget: %s is neither day nor month nor a duration such as 24h or 7d", directive.Shown(s))
	}
	b.Per = caddy.Duration(per)
	return nil
}

package keycycler

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/client"
	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// parseClientTokens parses `client_tokens <token...>`.
func (h *Handler) parseClientTokens(d *caddyfile.Dispenser) error {
	tokens, err := directive.Values(d, "client_tokens", "<token...>", directive.OrUnset)
	if err != nil {
		return err
	}
	h.ClientTokens = append(h.ClientTokens, tokens...)
	return directive.Wrap(d, client.CheckTokens(h.ClientTokens))
}

// parseClientTokensFile parses `client_tokens_file <path>`.
func (h *Handler) parseClientTokensFile(d *caddyfile.Dispenser) error {
	path, err := directive.Value(d, "client_tokens_file", "<path>", directive.OrUnset)
	if err != nil {
		return err
	}
	h.ClientTokensFiles = append(h.ClientTokensFiles, path)
	return directive.Wrap(d, client.CheckTokensFiles(h.ClientTokensFiles))
}

// parseClients parses `clients [<placeholder>] { <name>|* { … } }`.
func (h *Handler) parseClients(d *caddyfile.Dispenser) error {
	h.Clients = new(client.Limits)
	line := *d
	if d.NextArg() {
		h.Clients.Placeholder = d.Val()
		if !isPlaceholder(d.Val()) {
			return d.Errf("clients: one placeholder is needed, such as {http.request.header.X-Team}, or none: names of clients stand in the block")
		}
		if err := checkPlaceholder("clients", d.Val()); err != nil {
			return d.WrapErr(err)
		}
	}
	if err := h.Clients.Parse(d); err != nil {
		return err
	}
	return directive.Wrap(&line, h.Clients.Check())
}

// parseLimit parses the block of `concurrency <n>`, `requests <n> <per>`, `tokens <n> <per>`,
// `scope key | model` and `shared`.
func (h *Handler) parseLimit(d *caddyfile.Dispenser) error {
	l, block := new(Limit), *d
	h.Limit = l
	err := directive.ParseSubBlock(d, "limit", map[string]directive.Option{
		"shared": {Parse: func(*caddyfile.Dispenser) error { l.Shared = true; return nil }},
		"concurrency": {Parse: func(d *caddyfile.Dispenser) error {
			return l.parseNumber(d, &l.Concurrency, maxConcurrency)
		}},
		"requests": {Parse: func(d *caddyfile.Dispenser) error {
			if err := l.parseNumber(d, &l.Requests, maxRequests); err != nil {
				return err
			}
			return l.parsePer(d, "requests", &l.Per)
		}},
		"tokens": {Parse: l.parseTokens},
		"scope": {Parse: func(d *caddyfile.Dispenser) (err error) {
			if l.Scope, err = directive.Value(d, "limit scope", "key or model"); err != nil {
				return err
			}
			if l.Scope == "" {
				return d.Errf("limit scope: '' is neither key nor model")
			}
			return directive.Wrap(d, l.checkScope())
		}},
	})
	if err != nil {
		return err
	}
	return directive.Wrap(&block, l.check())
}

// parseTokens parses `tokens <n> <per>`: <n> may end in k or m, for thousands and millions.
func (l *Limit) parseTokens(d *caddyfile.Dispenser) error {
	s, err := directive.Value(d, "limit tokens", "<n>")
	if err != nil {
		return err
	}
	n, ok := directive.Number(s)
	if !ok || n < 1 || n > maxTokens || n != math.Trunc(n) {
		return d.Errf("limit tokens: %s is out of range: 1 to %d, as in 90000, 90k, 2m%s", directive.Shown(s), int64(maxTokens), directive.AsRate(s))
	}
	l.Tokens = int64(n)
	return l.parsePer(d, "tokens", &l.TokensPer)
}

// parsePer parses the length of a window.
func (l *Limit) parsePer(d *caddyfile.Dispenser, of string, to *caddy.Duration) error {
	per, err := directive.DurationValue(d, "limit "+of)
	*to = caddy.Duration(per)
	if err != nil {
		return err
	}
	return directive.Wrap(d, l.checkWindows())
}

func (l *Limit) parseNumber(d *caddyfile.Dispenser, field *int, most int) error {
	name := "limit " + d.Val()
	s, err := directive.Value(d, name, "<n>")
	if err != nil {
		return err
	}
	if *field, err = strconv.Atoi(s); err != nil || *field < 1 || *field > most {
		return d.Errf("%s: %s is out of range: 1 to %d%s", name, directive.Shown(s), most, directive.AsRate(s))
	}
	return nil
}

// parseSelect parses `select even | random | first | hash <placeholder> | session`.
func (h *Handler) parseSelect(d *caddyfile.Dispenser) (err error) {
	s := new(Select)
	h.Select = s
	if s.Policy, err = directive.Value(d, "select", "even, random, first, hash <placeholder> or session"); err != nil {
		return err
	}
	if s.Policy == "" {
		return d.Errf("select: unknown policy '': %s", policies)
	}
	if s.Policy == selectHash {
		if s.Value, err = directive.Value(d, "select hash", "<placeholder>"); err != nil {
			return err
		}
	}
	return directive.Wrap(d, s.check())
}

// parseExhausted parses `exhausted respond | error`.
func (h *Handler) parseExhausted(d *caddyfile.Dispenser) (err error) {
	if h.Exhausted, err = directive.Value(d, "exhausted", "respond or error"); err != nil {
		return err
	}
	if h.Exhausted == "" {
		return d.Errf("exhausted: it is empty: %s or %s", exhaustedRespond, exhaustedError)
	}
	return directive.Wrap(d, h.checkExhausted())
}

// addGroup parses the block that may follow keys, and adds them: to the handler's own
// or, with a block, as a group.
func (h *Handler) addGroup(d *caddyfile.Dispenser, block string, keys, files []string) error {
	g := Group{Keys: keys, KeysFiles: files}
	line := *d
	_, err := directive.ParseBlock(d, block, g.options(block))
	switch {
	case err != nil:
		return err
	case g.plain():
		h.Keys, h.KeysFiles = append(h.Keys, keys...), append(h.KeysFiles, files...)
		return nil
	}
	h.Groups = append(h.Groups, g)
	return directive.Wrap(&line, h.checkGroups())
}

// options are those of the block.
func (g *Group) options(block string) map[string]directive.Option {
	number := func(field *int) directive.Option {
		return directive.Option{Parse: func(d *caddyfile.Dispenser) error { return g.parseNumber(d, block, field) }}
	}
	return map[string]directive.Option{
		"group": {Parse: func(d *caddyfile.Dispenser) (err error) {
			if g.Name, err = directive.Value(d, block+" group", "<name>"); err != nil {
				return err
			}
			if g.Name == "" {
				return d.Errf("group: the name is empty")
			}
			return directive.Wrap(d, g.check())
		}},
		"managed": {Parse: func(d *caddyfile.Dispenser) error {
			g.Managed = true
			return directive.Wrap(d, g.check())
		}},
		"weight":   number(&g.Weight),
		"tier":     number(&g.Tier),
		"upstream": g.text(block+" upstream", "<url>", &g.Upstream),
		"proxy":    g.text(block+" proxy", "<url>", &g.Proxy),
		"name":     g.text(block+" name", "<label>", &g.Label),
		"models": {Parse: func(d *caddyfile.Dispenser) (err error) {
			if g.Models, err = directive.Values(d, block+" models", "<pattern...>"); err != nil {
				return err
			}
			return directive.Wrap(d, g.check())
		}},
		"model": {Many: true, Parse: func(d *caddyfile.Dispenser) error { return g.parseModel(d, block+" model") }},
	}
}

// text is an option that is one word.
func (g *Group) text(name, want string, field *string) directive.Option {
	return directive.Option{Parse: func(d *caddyfile.Dispenser) (err error) {
		if *field, err = directive.Value(d, name, want); err != nil {
			return err
		}
		if *field == "" {
			return d.Errf("%s: it is empty", name)
		}
		return directive.Wrap(d, g.check())
	}}
}

// parseModel parses `model <from> <to>`.
func (g *Group) parseModel(d *caddyfile.Dispenser, name string) error {
	names, err := directive.Values(d, name, "<from> <to>")
	switch {
	case err != nil:
		return err
	case len(names) != 2:
		return d.Errf("%s: two names are needed: <from> <to>", name)
	}
	g.Renames = append(g.Renames, Rename{names[0], names[1]})
	return directive.Wrap(d, g.check())
}

// parseNumber parses a weight or a tier.
func (g *Group) parseNumber(d *caddyfile.Dispenser, block string, field *int) error {
	name := d.Val()
	s, err := directive.Value(d, block+" "+name, "<n>")
	if err != nil {
		return err
	}
	// 0 stands for the default in JSON; here somebody wrote it.
	if *field, err = strconv.Atoi(s); err != nil || *field == 0 {
		return d.Errf("%s: %s is out of range: 1 to %d", name, directive.Shown(s), rotator.MaxRank)
	}
	return directive.Wrap(d, g.check())
}

// parseOnAt returns parseOn, which notes where each rule stands.
func (h *Handler) parseOnAt(rules *[]caddyfile.Dispenser) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		*rules = append(*rules, *d)
		return h.parseOn(d)
	}
}

// parseOn parses `on <status...>|<class> ["<text>"] cooldown [<duration>] | retry | pass`,
// or with errors of the connection as subjects.
func (h *Handler) parseOn(d *caddyfile.Dispenser) error {
	var r Rule
	first := *d
	args := r.takeText(d)
	if first.NextArg() && first.Token().Quoted() {
		return d.Errf("on: a text stands behind a status or a class, as in: on 4xx \"billing\" cooldown 1h")
	}
	if len(args) == 0 {
		return d.Errf("on: <status...> or <class> is missing")
	}
	for len(args) > 0 && blame.Actions[args[0]] == blame.ActionNone {
		if err := r.addSubject(args[0]); err != nil {
			return d.WrapErr(err)
		}
		args = args[1:]
	}
	if len(args) == 0 {
		return d.Errf("on: an action is missing: %s", blame.ActionNames)
	}
	r.Action = args[0]
	if err := r.addDuration(args[1:]); err != nil {
		return d.WrapErr(err)
	}
	h.On = append(h.On, r)
	return nil
}

// addDuration adds what stands behind the action.
func (r *Rule) addDuration(args []string) error {
	if len(args) == 0 {
		return nil
	}
	dur, err := caddy.ParseDuration(args[0])
	switch {
	case err != nil && r.Action != "cooldown":
		return fmt.Errorf("on: surplus argument behind %s, which takes none: how many keys a request tries stands in 'max_attempts', not in a rule", r.Action)
	case err != nil || dur <= 0:
		return fmt.Errorf("on: %s is no duration above zero, such as 30s, 5m or 1d%s", directive.Shown(args[0]), directive.AsDuration(args[0]))
	case len(args) > 1:
		return errors.New("on: surplus argument after the duration")
	}
	r.Duration = caddy.Duration(dur)
	return nil
}

// takeText takes the rule's text from the arguments, and returns the others: what stands
// in quotes behind what the rule is about, and before what happens.
func (r *Rule) takeText(d *caddyfile.Dispenser) (args []string) {
	acts := false
	for d.NextArg() {
		if r.Text == "" && len(args) > 0 && !acts && d.Token().Quoted() {
			r.Text = d.Val()
			continue
		}
		acts = acts || blame.Actions[d.Val()] != blame.ActionNone
		args = append(args, d.Val())
	}
	return args
}

// addSubject adds a status (429, 5xx) or sets the class.
func (r *Rule) addSubject(s string) error {
	if s != "" && strings.Trim(s[:1], "+-0123456789") == "" {
		status, ok := parseStatus(s)
		switch {
		case !ok:
			return fmt.Errorf("on: status %s is out of range: %s%s", directive.Shown(s), statusRange, statusHint(s))
		case r.Class != "" || len(r.Fault) > 0:
			return errMixedRule
		}
		r.Status = append(r.Status, status)
		return nil
	}
	if slices.Contains(blame.Faults, s) {
		return r.addFault(s)
	}
	_, isClass := ttl.ParseClass(s)
	switch {
	case isClass && len(r.subjects()) > 0:
		return errMixedRule
	case !isClass && len(r.subjects()) == 0:
		if instead := directive.Instead(s, append(strings.Split(classNames(), ", "), blame.Faults...), ""); instead != "" {
			return fmt.Errorf("on: %s is no class: %s", directive.Shown(s), instead)
		}
		return fmt.Errorf("on: %s is neither a status (%s) nor a class (%s) nor an error of the connection (%s)", directive.Shown(s), statusRange, classNames(), strings.Join(blame.Faults, ", "))
	case !isClass:
		return fmt.Errorf("on: %s is no action: %s", directive.Shown(s), directive.Instead(s, []string{"cooldown", "retry", "pass"}, blame.ActionNames))
	}
	r.Class = s
	return nil
}

// statusHint says what to write for several statuses in one word, and for 5XX.
func statusHint(s string) string {
	lower := strings.ToLower(s)
	if _, ok := parseStatus(lower); ok {
		return ": did you mean '" + lower + "'?"
	}
	if strings.ContainsAny(s[1:], ",;-") {
		return ": write several apart, with spaces between them"
	}
	return ""
}

// addFault adds an error of the connection.
func (r *Rule) addFault(s string) error {
	if r.Class != "" || len(r.Status) > 0 {
		return errMixedRule
	}
	r.Fault = append(r.Fault, s)
	return nil
}

var errMixedRule = errors.New("on: a rule is about statuses, one class or errors of the connection, not two of these: write two")

// parseStatus reads 429, or 4xx as 4.
func parseStatus(s string) (int, bool) {
	digits, group := strings.CutSuffix(s, "xx")
	status, err := strconv.Atoi(digits)
	ok := err == nil && digits == strconv.Itoa(status) && validStatus(status) && group == (status < 10)
	return status, ok
}

// checkNoDuration finds a duration that stands where a block belongs.
func checkNoDuration(d caddyfile.Dispenser) error {
	if !d.NextArg() {
		return nil
	}
	if _, err := caddy.ParseDuration(d.Val()); err == nil {
		return d.Errf("cooldown: %s stands alone: open a block, with 'default %[1]s' on a line of its own for limits that state no time, or min or max", d.Val())
	}
	return nil // ParseSubBlock tells what it is not
}

func (h *Handler) parseCooldown(d *caddyfile.Dispenser) error {
	if err := checkNoDuration(*d); err != nil {
		return err
	}
	c := new(Cooldown)
	h.Cooldown = c
	at := make(map[string]caddyfile.Dispenser) // where each option stands: the bounds are checked together
	durationOption := func(field **caddy.Duration) directive.Option {
		return directive.Option{Parse: func(d *caddyfile.Dispenser) error {
			name := d.Val()
			at[name] = *d
			dur, err := directive.DurationValue(d, "cooldown "+name)
			*field = duration(dur)
			return err
		}}
	}
	err := directive.ParseSubBlock(d, "cooldown", map[string]directive.Option{
		"default": durationOption(&c.Default),
		"min":     durationOption(&c.Min),
		"max":     durationOption(&c.Max),
		"jitter": {Parse: func(d *caddyfile.Dispenser) error {
			at[d.Val()] = *d
			return c.parseJitter(d)
		}},
		"ahead": {Parse: onOffOption("cooldown ahead", &c.Ahead)},
		"probe": {Parse: onOffOption("cooldown probe", &c.Probe)},
		"scope": {Parse: func(d *caddyfile.Dispenser) (err error) {
			at[d.Val()] = *d
			c.Scope, err = directive.Value(d, "cooldown scope", "key or model")
			return err
		}},
	})
	if err != nil {
		return err
	}
	if name, err := c.checkOptions(); err != nil {
		where := at[name]
		return where.WrapErr(err)
	}
	return nil
}

func (c *Cooldown) parseJitter(d *caddyfile.Dispenser) error {
	s, err := directive.Value(d, "cooldown jitter", "<percent>")
	if err != nil {
		return err
	}
	percent, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil {
		return d.Errf("cooldown jitter: %s is no percentage such as 10%%", directive.Shown(s))
	}
	if few := percent > 0 && percent < 1; few && !strings.HasSuffix(s, "%") {
		return d.Errf("cooldown jitter: %s is less than one percent: did you mean '%g%%'? (%[1]s%%, if not)", s, percent*100)
	}
	c.Jitter = &percent
	return nil
}

func onOffOption(name string, field **bool) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) (err error) {
		*field, err = directive.OnOff(d, name)
		return err
	}
}

// parseSize reads a size. A few bytes without a unit are a slip: a size of that kind is of
// use to nobody.
func parseSize(s string) (uint64, error) {
	const few = 1024
	size, err := humanize.ParseBytes(s)
	switch {
	case err != nil || size > maxReplayDisk:
		return 0, fmt.Errorf("%s is no size such as 512KiB or 64MiB, of at most 1TiB", directive.Shown(s))
	case size > 0 && size < few && strings.Trim(s, "0123456789.") == "":
		return 0, fmt.Errorf("'%s' is a number of bytes: did you mean '%[1]sMiB'? (%[1]sB, if not)", s)
	}
	return size, nil
}

func (h *Handler) parseReplay(d *caddyfile.Dispenser) error {
	r := new(Replay)
	h.Replay = r
	sizeOption := func(field **int64) directive.Option {
		return directive.Option{Parse: func(d *caddyfile.Dispenser) error {
			name := "replay " + d.Val()
			s, err := directive.Value(d, name, "<size>")
			if err != nil {
				return err
			}
			size, err := parseSize(s)
			if err != nil {
				return d.Errf("%s: %v", name, err)
			}
			n := int64(size)
			*field = &n
			return directive.Wrap(d, r.check())
		}}
	}
	return directive.ParseSubBlock(d, "replay", map[string]directive.Option{
		"memory": sizeOption(&r.Memory),
		"total":  sizeOption(&r.Total),
		"disk":   sizeOption(&r.Disk),
	})
}

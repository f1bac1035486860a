package keycycler

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/dustin/go-humanize"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("keycycler", parseCaddyfile)
	httpcaddyfile.RegisterDirectiveOrder("keycycler", httpcaddyfile.Before, "reverse_proxy")
}

func parseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	keycycler [<matcher>] [<pool>] {
//	    keys         <key...>
//	    keys_file    <path>
//	    provider     openai|generic
//	    auth         bearer | header <name> [<prefix>] | query <parameter>
//	    max_attempts <n>
//	    try_duration <duration>
//	    on           <status...>|<class> cooldown [<duration>] | retry | pass
//	    cooldown {
//	        default  <duration>
//	        min      <duration>
//	        max      <duration>
//	        jitter   <percent>
//	    }
//	    replay {
//	        memory   <size>
//	        disk     <size>
//	    }
//	    state        memory
//	    keep_headers <name...>
//	}
//
// `keys`, `keys_file` and `on` may stand more than once. A status is 400 to 599,
// `4xx` or `5xx`; a class is one of `rate_limited`, `quota_exhausted`,
// `invalid_key`, `request_too_large` and `overloaded`.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the directive's name
	if d.NextArg() {
		h.Pool = d.Val()
		if err := h.checkPool(); err != nil {
			return d.WrapErr(err)
		}
	}
	if d.NextArg() {
		return d.Errf("keycycler: surplus argument after the pool's name")
	}
	var rules []caddyfile.Dispenser // where each rule stands, for the check that needs the cooldown's max
	err := parseBlock(d, "keycycler", map[string]option{
		"keys":         {parse: h.parseKeys, many: true},
		"keys_file":    {parse: h.parseKeysFile, many: true},
		"provider":     {parse: h.parseProvider},
		"auth":         {parse: h.parseAuth},
		"max_attempts": {parse: h.parseMaxAttempts},
		"try_duration": {parse: h.parseTryDuration},
		"on": {many: true, parse: func(d *caddyfile.Dispenser) error {
			rules = append(rules, *d)
			return h.parseOn(d)
		}},
		"cooldown":     {parse: h.parseCooldown},
		"replay":       {parse: h.parseReplay},
		"state":        {parse: h.parseState},
		"keep_headers": {parse: h.parseKeepHeaders},
	})
	if err != nil {
		return err
	}
	if i, err := h.checkRules(); err != nil {
		return rules[i].WrapErr(err)
	}
	if len(h.Keys) == 0 && len(h.KeysFiles) == 0 {
		return d.Errf("keycycler: no keys: add 'keys <key...>' or 'keys_file <path>'")
	}
	return nil
}

// option is one line of a block, or a block within it.
type option struct {
	parse func(*caddyfile.Dispenser) error // called with the option's name as the current token
	many  bool                             // may stand more than once
}

// parseBlock hands each option of the block that opens here to its parser. An
// unknown option and one that stands twice are errors; so are arguments that a
// parser left.
func parseBlock(d *caddyfile.Dispenser, block string, options map[string]option) error {
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		o, known := options[name]
		switch {
		case !known:
			return d.Errf("%s: unknown option%s", block, printable(name))
		case seen[name] && !o.many:
			return d.Errf("%s: option '%s' stands twice", block, name)
		}
		seen[name] = true
		if err := o.parse(d); err != nil {
			return err
		}
		if d.NextArg() {
			return d.Errf("%s: surplus argument after '%s'", block, name)
		}
	}
	return nil
}

// printable quotes what could be an option's name, and nothing that could be a
// key that has slipped onto a line of its own.
func printable(name string) string {
	if len(name) > 24 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return " (not shown: it looks like no option; a key belongs behind 'keys')"
	}
	return " '" + name + "'"
}

// value returns the option's first argument, which must be there.
func value(d *caddyfile.Dispenser) (string, error) {
	name := d.Val()
	if !d.NextArg() {
		return "", d.Errf("%s: needs a value", name)
	}
	return d.Val(), nil
}

// values returns all arguments of the option, of which there must be one.
func values(d *caddyfile.Dispenser) ([]string, error) {
	name := d.Val()
	args := d.RemainingArgs()
	if len(args) == 0 {
		return nil, d.Errf("%s: needs a value", name)
	}
	return args, nil
}

func durationValue(d *caddyfile.Dispenser) (time.Duration, error) {
	name := d.Val()
	s, err := value(d)
	if err != nil {
		return 0, err
	}
	dur, err := caddy.ParseDuration(s)
	if err != nil {
		return 0, d.Errf("%s: '%s' is no duration such as 30s, 5m or 1d", name, s)
	}
	return dur, nil
}

func (h *Handler) parseKeys(d *caddyfile.Dispenser) error {
	keys, err := values(d)
	h.Keys = append(h.Keys, keys...)
	return err
}

func (h *Handler) parseKeysFile(d *caddyfile.Dispenser) error {
	path, err := value(d)
	h.KeysFiles = append(h.KeysFiles, path)
	return err
}

func (h *Handler) parseProvider(d *caddyfile.Dispenser) (err error) {
	if h.Provider, err = value(d); err != nil {
		return err
	}
	return wrap(d, h.checkProvider())
}

func (h *Handler) parseAuth(d *caddyfile.Dispenser) error {
	way, err := value(d)
	if err != nil {
		return err
	}
	h.Auth = new(Auth)
	switch way {
	case "bearer":
		h.Auth.Bearer = true
	case "header":
		if h.Auth.Header, err = value(d); err != nil {
			return err
		}
		if d.NextArg() {
			h.Auth.Prefix = d.Val()
		}
	case "query":
		if h.Auth.Query, err = value(d); err != nil {
			return err
		}
	default:
		return d.Errf("auth: unknown way '%s': bearer, header or query", way)
	}
	return wrap(d, h.Auth.check())
}

func (h *Handler) parseMaxAttempts(d *caddyfile.Dispenser) error {
	s, err := value(d)
	if err != nil {
		return err
	}
	// 0 stands for the default in JSON; here somebody wrote it.
	if h.MaxAttempts, err = strconv.Atoi(s); err != nil || h.MaxAttempts == 0 {
		return d.Errf("max_attempts: '%s' is out of range: 1 to %d", s, maxMaxAttempts)
	}
	return wrap(d, h.checkMaxAttempts())
}

func (h *Handler) parseTryDuration(d *caddyfile.Dispenser) error {
	dur, err := durationValue(d)
	if err != nil {
		return err
	}
	h.TryDuration = caddy.Duration(dur)
	return wrap(d, h.checkTryDuration())
}

func (h *Handler) parseState(d *caddyfile.Dispenser) error {
	backend, err := value(d)
	if err != nil {
		return err
	}
	mod, err := caddyfile.UnmarshalModule(d, "http.keycycler.state."+backend)
	if err != nil {
		return err
	}
	h.StateRaw = caddyconfig.JSONModuleObject(mod, "backend", backend, nil)
	return nil
}

func (h *Handler) parseKeepHeaders(d *caddyfile.Dispenser) (err error) {
	if h.KeepHeaders, err = values(d); err != nil {
		return err
	}
	return wrap(d, h.checkKeepHeaders())
}

// parseOn parses `on <status...>|<class> cooldown [<duration>] | retry | pass`.
func (h *Handler) parseOn(d *caddyfile.Dispenser) error {
	args, err := values(d)
	if err != nil {
		return err
	}
	var r Rule
	for len(args) > 0 && actions[args[0]] == actionNone {
		if err := r.addSubject(args[0]); err != nil {
			return d.WrapErr(err)
		}
		args = args[1:]
	}
	if len(args) == 0 {
		return d.Errf("on: an action is missing: cooldown, retry or pass")
	}
	r.Action = args[0]
	if len(args) > 1 {
		dur, err := caddy.ParseDuration(args[1])
		if err != nil || dur <= 0 {
			return d.Errf("on: '%s' is no duration such as 30s, 5m or 1d", args[1])
		}
		r.Duration = caddy.Duration(dur)
	}
	if len(args) > 2 {
		return d.Errf("on: surplus argument after the duration")
	}
	h.On = append(h.On, r)
	return nil
}

// addSubject adds a status (429, 5xx) or sets the class.
func (r *Rule) addSubject(s string) error {
	status, err := strconv.Atoi(strings.TrimSuffix(s, "xx"))
	switch {
	case err == nil && r.Class == "":
		r.Status = append(r.Status, status)
	case err != nil && r.Class == "" && len(r.Status) == 0:
		r.Class = s
	default:
		return fmt.Errorf("on: '%s': a rule is about statuses or about one class", s)
	}
	return nil
}

func (h *Handler) parseCooldown(d *caddyfile.Dispenser) error {
	c := new(Cooldown)
	h.Cooldown = c
	at := make(map[string]caddyfile.Dispenser) // where each option stands: the bounds are checked together
	durationOption := func(field **caddy.Duration) option {
		return option{parse: func(d *caddyfile.Dispenser) error {
			at[d.Val()] = *d
			dur, err := durationValue(d)
			*field = duration(dur)
			return err
		}}
	}
	err := parseBlock(d, "cooldown", map[string]option{
		"default": durationOption(&c.Default),
		"min":     durationOption(&c.Min),
		"max":     durationOption(&c.Max),
		"jitter": {parse: func(d *caddyfile.Dispenser) error {
			at[d.Val()] = *d
			return c.parseJitter(d)
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
	s, err := value(d)
	if err != nil {
		return err
	}
	percent, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil {
		return d.Errf("jitter: '%s' is no percentage such as 10%%", s)
	}
	c.Jitter = &percent
	return nil
}

func (h *Handler) parseReplay(d *caddyfile.Dispenser) error {
	r := new(Replay)
	h.Replay = r
	sizeOption := func(field **int64) option {
		return option{parse: func(d *caddyfile.Dispenser) error {
			name := d.Val()
			s, err := value(d)
			if err != nil {
				return err
			}
			size, err := humanize.ParseBytes(s)
			if err != nil || size > maxReplayDisk {
				return d.Errf("%s: '%s' is no size such as 512KiB or 64MiB, of at most 1TiB", name, s)
			}
			n := int64(size)
			*field = &n
			return wrap(d, r.check())
		}}
	}
	return parseBlock(d, "replay", map[string]option{
		"memory": sizeOption(&r.Memory),
		"disk":   sizeOption(&r.Disk),
	})
}

// wrap adds file and line to an error; nil stays nil.
func wrap(d *caddyfile.Dispenser, err error) error {
	if err == nil {
		return nil
	}
	return d.WrapErr(err)
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)

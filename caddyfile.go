package keycycler

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/dustin/go-humanize"

	"github.com/keycycler/keycycler/ttl"
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
//	    keys         <key...> [{ ... }]
//	    keys_file    <path> [{ ... }]
//	    provider     openai|anthropic|gemini|azure|cohere|github|generic
//	    auth         bearer | header <name> [<prefix>] | query <parameter>
//	    limit {
//	        concurrency <n>
//	        requests <n> <duration>
//	    }
//	    max_attempts <n>
//	    try_duration <duration>
//	    max_wait     <duration>
//	    max_waiting  <n>
//	    on           <status...>|<class> cooldown [<duration>] | retry | pass
//	    cooldown {
//	        default  <duration>
//	        min      <duration>
//	        max      <duration>
//	        jitter   <percent>
//	        ahead    on | off
//	        scope    key | model
//	    }
//	    replay {
//	        memory   <size>
//	        total    <size>
//	        disk     <size>
//	    }
//	    select       random | hash <placeholder>
//	    resources    on | off
//	    state        memory | redis <address...> { ... }
//	    keep_headers <name...>
//	    client_tokens      <token...>
//	    client_tokens_file <path>
//	}
//
// `keys`, `keys_file`, `client_tokens`, `client_tokens_file` and `on` may stand more than once. The block behind `keys` and
// `keys_file` holds `group <name>`, `weight <n>` and `tier <n>`. A status is 400 to 599,
// `4xx` or `5xx`; a class is one of `rate_limited`, `quota_exhausted`,
// `invalid_key`, `request_too_large` and `overloaded`.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the directive's name
	directive := *d
	if d.NextArg() {
		h.Pool = d.Val()
		if err := h.checkPool(); err != nil {
			return d.WrapErr(err)
		}
	}
	if d.NextArg() {
		return d.Errf("keycycler: surplus argument after the pool's name: keys belong behind 'keys', within the block")
	}
	var rules []caddyfile.Dispenser // where each rule stands, for the check that needs the cooldown's max
	_, err := parseBlock(d, "keycycler", map[string]option{
		"keys":         {parse: h.parseKeys, many: true},
		"keys_file":    {parse: h.parseKeysFile, many: true},
		"provider":     {parse: h.parseProvider},
		"auth":         {parse: h.parseAuth},
		"limit":        {parse: h.parseLimit},
		"max_attempts": {parse: h.parseMaxAttempts},
		"try_duration": {parse: h.parseTryDuration},
		"max_wait":     {parse: h.parseMaxWait},
		"max_waiting":  {parse: h.parseMaxWaiting},
		"on": {many: true, parse: func(d *caddyfile.Dispenser) error {
			rules = append(rules, *d)
			return h.parseOn(d)
		}},
		"cooldown":     {parse: h.parseCooldown},
		"replay":       {parse: h.parseReplay},
		"select":       {parse: h.parseSelect},
		"resources":    {parse: h.parseResources},
		"state":        {parse: h.parseState},
		"keep_headers": {parse: h.parseKeepHeaders},

		"client_tokens":      {parse: h.parseClientTokens, many: true},
		"client_tokens_file": {parse: h.parseClientTokensFile, many: true},
	})
	if err != nil {
		return err
	}
	if i, err := h.checkRules(); err != nil {
		return rules[i].WrapErr(err)
	}
	if len(h.Keys) == 0 && len(h.KeysFiles) == 0 && len(h.Groups) == 0 {
		return directive.Errf("keycycler: no keys: add 'keys <key...>' or 'keys_file <path>'")
	}
	return nil
}

func (h *Handler) parseKeys(d *caddyfile.Dispenser) error {
	keys, err := values(d, "keys", "<key...>")
	if err != nil {
		return err
	}
	return h.addGroup(d, "keys", keys, nil)
}

func (h *Handler) parseKeysFile(d *caddyfile.Dispenser) error {
	path, err := value(d, "keys_file", "<path>")
	if err != nil {
		return err
	}
	line := *d
	if d.NextArg() {
		return d.Errf("keys_file: surplus argument")
	}
	if err := h.addGroup(d, "keys_file", nil, []string{path}); err != nil {
		return err
	}
	return wrap(&line, h.checkKeysFiles())
}

func (h *Handler) parseProvider(d *caddyfile.Dispenser) (err error) {
	if h.Provider, err = value(d, "provider", "one of "+names(providers)); err != nil {
		return err
	}
	return wrap(d, h.checkProvider())
}

func (h *Handler) parseAuth(d *caddyfile.Dispenser) error {
	const ways = "bearer, header or query"
	way, err := value(d, "auth", ways)
	if err != nil {
		return err
	}
	h.Auth = new(Auth)
	switch way {
	case "bearer":
		h.Auth.Bearer = true
	case "header":
		if h.Auth.Header, err = value(d, "auth header", "<name>"); err != nil {
			return err
		}
		if d.NextArg() {
			h.Auth.Prefix = d.Val()
		}
	case "query":
		if h.Auth.Query, err = value(d, "auth query", "<parameter>"); err != nil {
			return err
		}
	default:
		return d.Errf("auth: unknown way %s: %s", shown(way), ways)
	}
	return wrap(d, h.Auth.check())
}

func (h *Handler) parseMaxAttempts(d *caddyfile.Dispenser) error {
	s, err := value(d, "max_attempts", "<n>")
	if err != nil {
		return err
	}
	// 0 stands for the default in JSON; here somebody wrote it.
	if h.MaxAttempts, err = strconv.Atoi(s); err != nil || h.MaxAttempts == 0 {
		return d.Errf("max_attempts: %s is out of range: 1 to %d", shown(s), maxMaxAttempts)
	}
	return wrap(d, h.checkMaxAttempts())
}

func (h *Handler) parseTryDuration(d *caddyfile.Dispenser) error {
	dur, err := durationValue(d, "try_duration")
	if err != nil {
		return err
	}
	h.TryDuration = caddy.Duration(dur)
	return wrap(d, h.checkTryDuration())
}

func (h *Handler) parseMaxWait(d *caddyfile.Dispenser) error {
	dur, err := durationValue(d, "max_wait")
	if err != nil {
		return err
	}
	h.MaxWait = caddy.Duration(dur)
	return wrap(d, h.checkMaxWait())
}

func (h *Handler) parseMaxWaiting(d *caddyfile.Dispenser) error {
	s, err := value(d, "max_waiting", "<n>")
	if err != nil {
		return err
	}
	if h.MaxWaiting, err = strconv.Atoi(s); err != nil || h.MaxWaiting == 0 {
		return d.Errf("max_waiting: %s is out of range: 1 to %d", shown(s), maxMaxWaiting)
	}
	return wrap(d, h.checkMaxWaiting())
}

func (h *Handler) parseState(d *caddyfile.Dispenser) error {
	backend, err := value(d, "state", "one of "+stateBackends())
	if err != nil {
		return err
	}
	id := stateNamespace + "." + backend
	if _, err := caddy.GetModule(id); err != nil {
		return d.Errf("state: unknown backend %s: one of %s", shown(backend), stateBackends())
	}
	mod, err := caddyfile.UnmarshalModule(d, id)
	if err != nil {
		return err
	}
	h.StateRaw = caddyconfig.JSONModuleObject(mod, "backend", backend, nil)
	return nil
}

func (h *Handler) parseResources(d *caddyfile.Dispenser) (err error) {
	h.Resources, err = onOff(d, "resources")
	return err
}

func (h *Handler) parseKeepHeaders(d *caddyfile.Dispenser) (err error) {
	if h.KeepHeaders, err = values(d, "keep_headers", "<name...>"); err != nil {
		return err
	}
	return wrap(d, h.checkKeepHeaders())
}

// parseOn parses `on <status...>|<class> cooldown [<duration>] | retry | pass`.
func (h *Handler) parseOn(d *caddyfile.Dispenser) error {
	args, err := values(d, "on", "<status...> or <class>")
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
		return d.Errf("on: an action is missing: %s", actionNames)
	}
	r.Action = args[0]
	if len(args) > 1 {
		dur, err := caddy.ParseDuration(args[1])
		if err != nil || dur <= 0 {
			return d.Errf("on: %s is no duration above zero, such as 30s, 5m or 1d", shown(args[1]))
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
	if s != "" && strings.Trim(s[:1], "+-0123456789") == "" {
		status, ok := parseStatus(s)
		switch {
		case !ok:
			return fmt.Errorf("on: status %s is out of range: %s", shown(s), statusRange)
		case r.Class != "":
			return errMixedRule
		}
		r.Status = append(r.Status, status)
		return nil
	}
	_, isClass := ttl.ParseClass(s)
	switch {
	case isClass && (r.Class != "" || len(r.Status) > 0):
		return errMixedRule
	case !isClass && r.Class == "" && len(r.Status) == 0:
		return fmt.Errorf("on: %s is neither a status (%s) nor a class (%s)", shown(s), statusRange, classNames())
	case !isClass:
		return fmt.Errorf("on: %s is no action: %s", shown(s), actionNames)
	}
	r.Class = s
	return nil
}

var errMixedRule = errors.New("on: a rule is about statuses or about one class, not both: write two")

// parseStatus reads 429, or 4xx as 4.
func parseStatus(s string) (int, bool) {
	digits, group := strings.CutSuffix(s, "xx")
	status, err := strconv.Atoi(digits)
	ok := err == nil && digits == strconv.Itoa(status) && validStatus(status) && group == (status < 10)
	return status, ok
}

func (h *Handler) parseCooldown(d *caddyfile.Dispenser) error {
	c := new(Cooldown)
	h.Cooldown = c
	at := make(map[string]caddyfile.Dispenser) // where each option stands: the bounds are checked together
	durationOption := func(field **caddy.Duration) option {
		return option{parse: func(d *caddyfile.Dispenser) error {
			name := d.Val()
			at[name] = *d
			dur, err := durationValue(d, "cooldown "+name)
			*field = duration(dur)
			return err
		}}
	}
	err := parseSubBlock(d, "cooldown", map[string]option{
		"default": durationOption(&c.Default),
		"min":     durationOption(&c.Min),
		"max":     durationOption(&c.Max),
		"jitter": {parse: func(d *caddyfile.Dispenser) error {
			at[d.Val()] = *d
			return c.parseJitter(d)
		}},
		"ahead": {parse: c.parseAhead},
		"scope": {parse: func(d *caddyfile.Dispenser) (err error) {
			at[d.Val()] = *d
			c.Scope, err = value(d, "cooldown scope", "key or model")
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
	s, err := value(d, "cooldown jitter", "<percent>")
	if err != nil {
		return err
	}
	percent, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil {
		return d.Errf("cooldown jitter: %s is no percentage such as 10%%", shown(s))
	}
	c.Jitter = &percent
	return nil
}

func (c *Cooldown) parseAhead(d *caddyfile.Dispenser) (err error) {
	c.Ahead, err = onOff(d, "cooldown ahead")
	return err
}

func (h *Handler) parseReplay(d *caddyfile.Dispenser) error {
	r := new(Replay)
	h.Replay = r
	sizeOption := func(field **int64) option {
		return option{parse: func(d *caddyfile.Dispenser) error {
			name := "replay " + d.Val()
			s, err := value(d, name, "<size>")
			if err != nil {
				return err
			}
			size, err := humanize.ParseBytes(s)
			if err != nil || size > maxReplayDisk {
				return d.Errf("%s: %s is no size such as 512KiB or 64MiB, of at most 1TiB", name, shown(s))
			}
			n := int64(size)
			*field = &n
			return wrap(d, r.check())
		}}
	}
	return parseSubBlock(d, "replay", map[string]option{
		"memory": sizeOption(&r.Memory),
		"total":  sizeOption(&r.Total),
		"disk":   sizeOption(&r.Disk),
	})
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)

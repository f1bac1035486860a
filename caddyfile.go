package keycycler

import (
	"cmp"
	"fmt"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/backend"
	"github.com/keycycler/keycycler/internal/check"
	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/provider"
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
//	    upstream     <url>
//	    provider     openai|anthropic|gemini|azure|cohere|github|volcengine|generic
//	    auth         bearer | header <name> [<prefix>] | query <parameter>
//	    limit {
//	        concurrency <n>
//	        requests <n> <duration>
//	        tokens   <n> <duration>
//	        scope    key | model
//	        shared
//	    }
//	    max_attempts <n>
//	    try_duration <duration>
//	    first_byte   <duration>
//	    max_wait     <duration>
//	    max_waiting  <n>
//	    keepalive    <duration>
//	    on           <status...>|<class> ["<text>"] cooldown [<duration>] | retry | pass
//	    on           connect|timeout|reset retry | pass
//	    cooldown {
//	        default  <duration>
//	        min      <duration>
//	        max      <duration>
//	        jitter   <percent>
//	        ahead    on | off
//	        scope    key | model
//	        probe    on | off
//	    }
//	    replay {
//	        memory   <size>
//	        total    <size>
//	        disk     <size>
//	    }
//	    select       even | random | first | hash <placeholder> | session
//	    exhausted    respond | error
//	    resources    on | off
//	    models_endpoint on | off
//	    usage        on | off
//	    prices       <path>
//	    check {
//	        uri      <path>
//	        interval <duration>
//	        on_start
//	    }
//	    metrics      per_key
//	    state        memory | file [<path>] | redis <address...> { ... }
//	    keep_headers <name...>
//	    client_tokens      <token...>
//	    client_tokens_file <path>
//	    clients [<placeholder>] {
//	        <name>|* {
//	            requests    <n> <duration>
//	            tokens      <n> <duration>
//	            concurrency <n>
//	            budget      <n> tokens|usd <duration> | day [<zone>] | month [<zone>]
//	            models      <pattern...>
//	            weight      <n>
//	        }
//	    }
//	}
//
// `keys`, `keys_file`, `client_tokens`, `client_tokens_file` and `on` may stand more than once. The block behind `keys` and
// `keys_file` holds `group <name>`, `weight <n>`, `tier <n>`, `upstream <url>`, `proxy <url>`,
// `models <pattern...>`, `model <from> <to>` (more than once), `name <label>` and, of `keys_file`, `managed`. `check` needs no
// block. A status is 400 to 599,
// `4xx` or `5xx`; a class is one of `rate_limited`, `quota_exhausted`,
// `invalid_key`, `request_too_large`, `overloaded` and `unknown`.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the directive's name
	line := *d
	if err := h.parsePool(d); err != nil {
		return err
	}
	var rules []caddyfile.Dispenser // where each rule stands, for the check that needs the cooldown's max
	if _, err := directive.ParseBlock(d, "keycycler", h.options(&rules)); err != nil {
		return err
	}
	if i, err := h.checkRules(); err != nil {
		return rules[i].WrapErr(err)
	}
	return h.checkWhole(&line)
}

// options are those of the block.
func (h *Handler) options(rules *[]caddyfile.Dispenser) map[string]directive.Option {
	return map[string]directive.Option{
		"keys":         {Parse: h.parseKeys, Many: true},
		"keys_file":    {Parse: h.parseKeysFile, Many: true},
		"upstream":     {Parse: h.parseUpstream},
		"provider":     {Parse: h.parseProvider},
		"auth":         {Parse: h.parseAuth},
		"limit":        {Parse: h.parseLimit},
		"max_attempts": {Parse: h.parseMaxAttempts},
		"try_duration": {Parse: h.parseTryDuration},
		"first_byte":   {Parse: h.parseFirstByte},
		"max_wait":     {Parse: h.parseMaxWait},
		"max_waiting":  {Parse: h.parseMaxWaiting},
		"keepalive":    {Parse: h.parseKeepalive},
		"on":           {Parse: h.parseOnAt(rules), Many: true},
		"cooldown":     {Parse: h.parseCooldown},
		"replay":       {Parse: h.parseReplay},
		"select":       {Parse: h.parseSelect},
		"exhausted":    {Parse: h.parseExhausted},
		"resources":    {Parse: h.parseResources},
		"state":        {Parse: h.parseState},
		"keep_headers": {Parse: h.parseKeepHeaders},

		"client_tokens":      {Parse: h.parseClientTokens, Many: true},
		"client_tokens_file": {Parse: h.parseClientTokensFile, Many: true},
		"clients":            {Parse: h.parseClients},
		"models_endpoint":    {Parse: h.parseModelsEndpoint},
		"usage":              {Parse: h.parseUsage},
		"prices":             {Parse: h.parsePrices},
		"check":              {Parse: h.parseCheck},
		"metrics":            {Parse: h.parseMetrics},
	}
}

// parsePool parses the pool's name, if there is one.
func (h *Handler) parsePool(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		h.Pool = d.Val()
		if err := h.checkPool(); err != nil {
			return d.WrapErr(err)
		}
	}
	if d.NextArg() {
		return d.Errf("keycycler: surplus argument after the pool's name: keys belong behind 'keys', within the block")
	}
	return nil
}

// checkWhole checks what can be checked once all options are there.
func (h *Handler) checkWhole(line *caddyfile.Dispenser) error {
	if len(h.Keys) == 0 && len(h.KeysFiles) == 0 && len(h.Groups) == 0 {
		return line.Errf("keycycler: no keys: add 'keys <key...>' or 'keys_file <path>'")
	}
	return directive.Wrap(line, cmp.Or(h.checkModelsEndpoint(), h.checkCosts(), h.checkChecks(), h.Clients.CheckPriced(h.priced())))
}

func (h *Handler) parseKeys(d *caddyfile.Dispenser) error {
	keys, err := directive.Values(d, "keys", "<key...>", directive.OrUnset)
	if err != nil {
		return err
	}
	if err := checkKeys(keys); err != nil {
		return d.WrapErr(err)
	}
	return h.addGroup(d, "keys", keys, nil)
}

// checkKeys finds what is no key before the config is loaded, so that the error names the
// line.
func checkKeys(keys []string) error {
	for i, text := range keys {
		err := keyset.CheckText(text)
		if _, isOption := new(Group).options("keys")[text]; isOption {
			err = fmt.Errorf("'%s' is an option and no key: options stand in a block behind the keys, each on a line of its own", text)
		}
		if err != nil {
			return fmt.Errorf("keys: key %d of the line: %w", i+1, err)
		}
	}
	return nil
}

func (h *Handler) parseKeysFile(d *caddyfile.Dispenser) error {
	path, err := directive.Value(d, "keys_file", "<path>", directive.OrUnset)
	if err != nil {
		return err
	}
	line := *d
	if d.NextArg() {
		return d.Errf("keys_file: surplus argument: it takes one path: write it once for each file")
	}
	if err := h.addGroup(d, "keys_file", nil, []string{path}); err != nil {
		return err
	}
	return directive.Wrap(&line, h.checkKeysFiles())
}

func (h *Handler) parseUpstream(d *caddyfile.Dispenser) (err error) {
	if h.Upstream, err = directive.Value(d, "upstream", "<url>"); err != nil {
		return err
	}
	return directive.Wrap(d, checkUpstream(h.Upstream))
}

func (h *Handler) parseProvider(d *caddyfile.Dispenser) (err error) {
	if h.Provider, err = directive.Value(d, "provider", "one of "+directive.Names(provider.Presets)); err != nil {
		return err
	}
	return directive.Wrap(d, h.checkProvider())
}

func (h *Handler) parseAuth(d *caddyfile.Dispenser) error {
	const ways = "bearer, header or query"
	way, err := directive.Value(d, "auth", ways)
	if err != nil {
		return err
	}
	h.Auth = new(Auth)
	switch way {
	case "bearer":
		h.Auth.Bearer = true
	case "header":
		if h.Auth.Header, err = directive.Value(d, "auth header", "<name>"); err != nil {
			return err
		}
		if d.NextArg() {
			h.Auth.Prefix = d.Val()
		}
	case "query":
		if h.Auth.Query, err = directive.Value(d, "auth query", "<parameter>"); err != nil {
			return err
		}
	default:
		return d.Errf("auth: unknown way %s: %s", directive.Shown(way), directive.Instead(way, []string{"bearer", "header", "query"}, ways))
	}
	return directive.Wrap(d, h.Auth.check())
}

func (h *Handler) parseMaxAttempts(d *caddyfile.Dispenser) error {
	s, err := directive.Value(d, "max_attempts", "<n>")
	if err != nil {
		return err
	}
	// 0 stands for the default in JSON; here somebody wrote it.
	if h.MaxAttempts, err = strconv.Atoi(s); err != nil || h.MaxAttempts == 0 {
		return d.Errf("max_attempts: %s is out of range: 1 to %d", directive.Shown(s), maxMaxAttempts)
	}
	return directive.Wrap(d, h.checkMaxAttempts())
}

func (h *Handler) parseTryDuration(d *caddyfile.Dispenser) error {
	dur, err := directive.DurationValue(d, "try_duration")
	if err != nil {
		return err
	}
	h.TryDuration = caddy.Duration(dur)
	return directive.Wrap(d, h.checkTryDuration())
}

func (h *Handler) parseFirstByte(d *caddyfile.Dispenser) error {
	dur, err := directive.DurationValue(d, "first_byte")
	if err != nil {
		return err
	}
	h.FirstByte = caddy.Duration(dur)
	return directive.Wrap(d, h.checkFirstByte())
}

func (h *Handler) parseMaxWait(d *caddyfile.Dispenser) error {
	dur, err := directive.DurationValue(d, "max_wait")
	if err != nil {
		return err
	}
	h.MaxWait = caddy.Duration(dur)
	return directive.Wrap(d, h.checkMaxWait())
}

func (h *Handler) parseKeepalive(d *caddyfile.Dispenser) error {
	dur, err := directive.DurationValue(d, "keepalive")
	if err != nil {
		return err
	}
	h.Keepalive = caddy.Duration(dur)
	return directive.Wrap(d, h.checkKeepalive())
}

func (h *Handler) parseMaxWaiting(d *caddyfile.Dispenser) error {
	s, err := directive.Value(d, "max_waiting", "<n>")
	if err != nil {
		return err
	}
	if h.MaxWaiting, err = strconv.Atoi(s); err != nil || h.MaxWaiting == 0 {
		return d.Errf("max_waiting: %s is out of range: 1 to %d", directive.Shown(s), maxMaxWaiting)
	}
	return directive.Wrap(d, h.checkMaxWaiting())
}

func (h *Handler) parseState(d *caddyfile.Dispenser) error {
	module, err := directive.Value(d, "state", "one of "+backend.StateBackends())
	if err != nil {
		return err
	}
	if err := checkBackend(module); err != nil {
		return d.WrapErr(err)
	}
	mod, err := caddyfile.UnmarshalModule(d, backend.StateNamespace+"."+module)
	if err != nil {
		return err
	}
	h.StateRaw = caddyconfig.JSONModuleObject(mod, "backend", module, nil)
	return nil
}

func (h *Handler) parseResources(d *caddyfile.Dispenser) (err error) {
	h.Resources, err = directive.OnOff(d, "resources")
	return err
}

func (h *Handler) parseModelsEndpoint(d *caddyfile.Dispenser) (err error) {
	h.ModelsEndpoint, err = directive.OnOff(d, "models_endpoint")
	return err
}

func (h *Handler) parseUsage(d *caddyfile.Dispenser) (err error) {
	h.Usage, err = directive.OnOff(d, "usage")
	return err
}

func (h *Handler) parsePrices(d *caddyfile.Dispenser) (err error) {
	if h.Prices, err = directive.Value(d, "prices", "<path>", directive.OrUnset); err != nil {
		return err
	}
	if h.Prices == "" {
		return d.Errf("prices: the path is empty")
	}
	return directive.Wrap(d, h.checkPrices())
}

func (h *Handler) parseCheck(d *caddyfile.Dispenser) error {
	h.Check = new(check.Config)
	return h.Check.Parse(d)
}

func (h *Handler) parseMetrics(d *caddyfile.Dispenser) error {
	const perKey = "per_key"
	s, err := directive.Value(d, "metrics", perKey)
	if err != nil {
		return err
	}
	if s != perKey {
		return d.Errf("metrics: %s is not %s", directive.Shown(s), perKey)
	}
	h.Metrics = &Metrics{PerKey: true}
	return nil
}

func (h *Handler) parseKeepHeaders(d *caddyfile.Dispenser) (err error) {
	if h.KeepHeaders, err = directive.Values(d, "keep_headers", "<name...>"); err != nil {
		return err
	}
	return directive.Wrap(d, h.checkKeepHeaders())
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)

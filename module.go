// Package keycycler is a Caddy HTTP handler that turns a pool of upstream API
// keys into one endpoint. It stands before reverse_proxy: a request goes out with
// one of many keys; a key that meets its rate limit cools for as long as the
// provider says; the request is replayed with the next key, and the client
// notices nothing.
//
// It is the Caddy module: the config ([Handler]), its bounds (config.go, options.go), the
// directive (caddyfile.go, caddyfile_options.go) and Caddy's life cycle. From a checked
// config it makes a gateway (internal/gateway), which serves the requests. The rooms under
// internal/ have one job each; docs/architecture.md shows them all, which may import which,
// and how a request, a cooldown and an option walk through them.
//
// The engine that picks and cools keys is package rotator, the reading of limits is
// package ttl.
//
// An option goes here: a field with a comment, its bounds, its line of the parser.
package keycycler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	_ "github.com/keycycler/keycycler/internal/admin" // registers the admin API and the status page
	"github.com/keycycler/keycycler/internal/backend"
	"github.com/keycycler/keycycler/internal/check"
	"github.com/keycycler/keycycler/internal/client"
	_ "github.com/keycycler/keycycler/internal/command" // registers caddy keycycler
	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/gateway"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/misuse"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/rotator/shared"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler sends each request with one of many API keys, and sends it again with
// another key when the upstream rejects the one it used. It must stand before
// `reverse_proxy` (or another handler that calls the upstream), which is where
// the Caddyfile directive `keycycler` puts it.
//
// It keeps nothing back from the client but rejections: every other response
// streams straight through.
type Handler struct {
	// The pool's name, for people: it stands in logs. 1 to 64 letters, digits,
	// dots, dashes and underscores; it does not begin with `sk-`, as keys do.
	// Default: `default`. What is known about a key
	// belongs to the key, not to the pool: pools that hold the same key share it.
	Pool string `json:"pool,omitempty"`

	// API keys, each of visible ASCII. Placeholders such as
	// `{env.OPENAI_API_KEY}` and `{file./run/secrets/key}` are replaced when the
	// config is loaded; an empty or unknown one is an error. A key that is written
	// here in plain text can be read by whoever can read the config, and also
	// through Caddy's admin API.
	Keys []string `json:"keys,omitempty"`

	// Files with one key a line. Blank lines and lines that begin with `#` are
	// skipped; white space around a key, a byte order mark and CRLF line ends are
	// allowed. Global placeholders in the path are replaced. The files are watched:
	// keys that are added join within a second, keys that are removed leave without
	// cutting requests under way, and cooldowns stay. While a file is absent, empty
	// or bad, the last good keys stay in use, and the log says so once. A key that
	// stands twice is kept once, with a warning. Keys from `{file.…}` placeholders
	// are watched likewise.
	KeysFiles []string `json:"keys_files,omitempty"`

	// Further keys, with what each group's have in common. Those with a group's name
	// share their limits: they are of one account, organisation or project. What one
	// of them learns about the account (a rate limit, a spent quota) cools all of its
	// group, so that the others need not meet it too. A refusal of the key itself
	// cools that key alone. Weights and tiers say which keys are preferred.
	Groups []Group `json:"groups,omitempty"`

	// Where keys work whose group names no `upstream` of its own; see there. Default: none,
	// `reverse_proxy` says where requests go.
	Upstream string `json:"upstream,omitempty"`

	// How the upstream wants the key, and what its errors look like, those of other
	// keys and those that a client gets when no key is ready: `openai` (default;
	// also what speaks its dialect), `anthropic`, `gemini`, `azure` (Azure OpenAI),
	// `cohere`, `github` (GitHub Models), `volcengine` or `generic`, which does as `openai` does
	// and judges nothing but the status 429. `openai`, `cohere`, `github` and
	// `generic` send the key as `Authorization: Bearer`, `anthropic` as
	// `x-api-key`, `gemini` as `x-goog-api-key` and `azure` as `api-key`. Where
	// `anthropic` and `gemini` imitate OpenAI's API (paths that begin with
	// `/v1/chat/completions` and `/v1beta/openai/`), they are sent a bearer token.
	// The path that counts is the one that reaches this handler.
	Provider string `json:"provider,omitempty"`

	// How the key is sent, where that is not as the provider's preset says.
	Auth *Auth `json:"auth,omitempty"`

	// How many times one client request may call the upstream, each time with
	// another key: 1 to 1000. 0 means the default: 15.
	MaxAttempts int `json:"max_attempts,omitempty"`

	// No new attempt starts when a request has taken this long. It does not cut
	// off an attempt that runs. Default: 0, no limit.
	TryDuration caddy.Duration `json:"try_duration,omitempty"`

	// How long an attempt may take until a header of a response comes: 100ms to 1h. Then
	// it ends, and counts as a `timeout` of the rules in `on`. The time begins when the
	// attempt does, and again with each piece of the request's body that goes upstream;
	// while the client sends nothing, it stands still. Informational responses (1xx) do
	// not count, and streams and websockets that have begun are not cut. Default: 0, no
	// limit.
	FirstByte caddy.Duration `json:"first_byte,omitempty"`

	// How long a request may wait for a key when none is ready, all attempts together:
	// 0 to 1h. Clients are served in turn, and each client's requests first come, first
	// served. One that could only wait in vain does not wait. Default: 0, it is answered
	// at once.
	MaxWait caddy.Duration `json:"max_wait,omitempty"`

	// How many requests may wait at a time, 1 to 1000000; further ones are answered at
	// once, unless another client has so many waiting that the newest of those is
	// answered instead. 0 means the default: 1000.
	MaxWaiting int `json:"max_waiting,omitempty"`

	// After how long of silence a stream (`text/event-stream`) whose head has been sent
	// gets a comment, which clients skip: so what stands between takes no connection for
	// dead. 1s to 1h; never inside an event. Default: 0, off.
	Keepalive caddy.Duration `json:"keepalive,omitempty"`

	// What responses mean for the key, where that shall not be as the provider's
	// preset says. A rule for a class comes before a rule for a status, an exact
	// status before `4` or `5` (all of 4xx or 5xx).
	On []Rule `json:"on,omitempty"`

	// How long a key cools.
	Cooldown *Cooldown `json:"cooldown,omitempty"`

	// How much of a request's body is kept so that it can be sent again.
	Replay *Replay `json:"replay,omitempty"`

	// How much goes out with each key, from this node or from all. Default: no limit.
	Limit *Limit `json:"limit,omitempty"`

	// How a request's key is chosen among those that are ready. Default: keys take turns.
	Select *Select `json:"select,omitempty"`

	// Where the state of the keys lives. Default: `{"backend": "memory"}`, in this
	// process: it outlives config reloads, not the process. `file` outlives that, and
	// `redis` shares it between nodes.
	StateRaw json.RawMessage `json:"state,omitempty" caddy:"namespace=http.keycycler.state inline_key=backend"`

	// What becomes of a request that no key serves. With `respond` the client gets the
	// pool's own 429 or 503, or the answer of the upstream that says most. With `error` a
	// Caddy error is raised instead, also where every key refused the request in whatever
	// words: 503 where all keys are disabled or the upstream said 5xx, and otherwise 429.
	// `handle_errors` can then go to another provider, with the whole body;
	// `{http.keycycler.retry_after}` is how many seconds the client would have been told to
	// wait. Without `handle_errors` clients get that status and an empty body. Default:
	// `respond`.
	Exhausted string `json:"exhausted,omitempty"`

	// Whether requests that name what was made with a key (a file, a batch, a stored
	// response, …) go out with that key, or with another of its group: no other could
	// use it. The ids are read from the upstream's answers. When none of these keys is
	// ready, the request is answered as if the pool had none. Default: true.
	Resources *bool `json:"resources,omitempty"`

	// Whether it is counted what answers say that they have used, in tokens: by client, by
	// model and by key, in metrics, in `{http.keycycler.usage.…}` and at the admin API. It is
	// read while an answer streams by, of JSON and event streams that answer a POST with 2xx,
	// compressed or not; nothing is held back, and nothing is guessed. Default: true.
	Usage *bool `json:"usage,omitempty"`

	// A file that says what models cost, in JSON: an object that has a member for each model,
	// by its name or by a pattern, in which `*` stands for any text, also none:
	// `{"gpt-4o*": {"input": 2.5, "cached": 1.25, "output": 10}}`. A price is in USD per
	// million tokens: 0 to 100000, with at most six decimals. `cached` and `cache_write` cost
	// what `input` does where they are left out, and `reasoning`, which is a part of the
	// output, what `output` does; `input` and `output` cost nothing where they are left out.
	// Of several patterns the most specific one is a model's: its name, and else the pattern
	// that has more characters besides its `*`, and of two such ones that with fewer `*`, and
	// then the first in the alphabet. Models are called as clients call them. Those that fit
	// none cost nothing, and are listed. A member `comment` may hold a text. The file has at
	// most 1 MiB, 10000 models, and of these 1000 with a `*`. Global placeholders in the path
	// are replaced. The file is watched: new prices hold within a second, for answers from
	// then on; one that is absent or bad changes nothing, and the log says so once. Costs are
	// in metrics, in `{http.keycycler.usage.cost}`, at the admin API and on the status page.
	// Default: none, nothing is said of costs.
	Prices string `json:"prices,omitempty"`

	// What is counted besides. Default: nothing.
	Metrics *Metrics `json:"metrics,omitempty"`

	// Whether GET and HEAD of `/v1/models`, of the provider's own path of the kind, and of one
	// model below it are answered here, in the provider's form, without a call to the
	// upstream: from the names without `*` in `models` and those that `renames` replace. A
	// name that fits a pattern is found, too. Clients must have their token. Default: false,
	// they go to the upstream as all requests do.
	ModelsEndpoint *bool `json:"models_endpoint,omitempty"`

	// Whether and how the upstream is asked about keys that nobody uses, and those that were
	// refused. Default: only when an operator tests a key.
	Check *check.Config `json:"check,omitempty"`

	// Client headers that would be taken off the request and shall pass, of
	// `OpenAI-Organization`, `OpenAI-Project`, `anthropic-workspace-id` and
	// `X-Goog-User-Project`. All other headers that are taken off carry credentials,
	// and credentials never pass.
	KeepHeaders []string `json:"keep_headers,omitempty"`

	// Tokens of which a client must present one; without any, and without files of
	// them, whoever reaches the site may use the keys. Each is `<token>`,
	// `<name>:<token>`, `sha256:<64 hex digits>` or `<name>:sha256:<64 hex digits>`:
	// the digits are the SHA-256 of the token, so that the config need not hold it. A
	// name is 1 to 64 letters, digits, dots, dashes and underscores; it stands in
	// `{http.keycycler.client}`, and in `{http.auth.user.id}` and access logs unless an
	// authentication handler has set that. A token is 1 to 4096 bytes of visible ASCII;
	// one of less than 16 is warned of. Placeholders such as `{env.TOKEN}` and
	// `{file./run/secrets/token}` are replaced when the config is loaded. An empty list
	// is an error.
	//
	// A token may come wherever keycycler takes a client's credentials off: as bearer
	// token, in `x-api-key`, `api-key`, `x-goog-api-key` or
	// `Ocp-Apim-Subscription-Key`, as websocket sub-protocol
	// `openai-insecure-api-key.<token>`, or in the query (`key`, `$key`, `api-key`,
	// `subscription-key`, `access_token`, `oauth_token`). A request may present
	// several, of which the first 16 are looked at: one that is valid is enough. Others
	// get a 401 in the provider's form, and the upstream is not called.
	ClientTokens []string `json:"client_tokens,omitempty"`

	// Files with one client token a line, in the forms of `client_tokens`. Blank lines
	// and lines that begin with `#` are skipped. Global placeholders in the path are
	// replaced. The files are watched as those of keys are: tokens that are added work
	// within a second, and those that are removed no longer do. While a file is absent
	// or bad, the last good tokens stay in use, and the log says so once; from one that
	// is emptied all tokens are gone, and where none is left, nobody is let in.
	ClientTokensFiles []string `json:"client_tokens_files,omitempty"`

	// What clients may use. What they have used is counted by this process, by the pool's name
	// and the client's: it outlives reloads, and changed numbers count at once. Of handlers
	// whose pools have the same name, the one that was loaded last says what a client may use.
	// Default: no limits.
	Clients *client.Limits `json:"clients,omitempty"`

	logger  *zap.Logger
	gateway *gateway.Gateway // what runs
}

// Auth says how the key travels: exactly one of its fields is set, or Bearer.
type Auth struct {
	// Send `Authorization: Bearer <key>`.
	Bearer bool `json:"bearer,omitempty"`

	// Send the key in the header of this name. Caddy redacts only `Authorization`
	// in its own logs: see docs/security.md, "Logs", before you use another.
	Header string `json:"header,omitempty"`

	// A word that stands before the key in the header, with a space between, such
	// as `Token`. Only with `header`.
	Prefix string `json:"prefix,omitempty"`

	// Send the key in the query parameter of this name. A parameter of the same
	// name that the client sent is replaced.
	Query string `json:"query,omitempty"`
}

// Rule says what one kind of response means for the key that met it.
type Rule struct {
	// Response statuses, 400 to 599; 4 and 5 stand for all of 4xx and 5xx.
	// Exactly one of `status`, `class` and `fault` is set.
	Status []int `json:"status,omitempty"`

	// What the response means: `rate_limited`, `quota_exhausted`, `invalid_key`,
	// `request_too_large`, `overloaded` or `unknown`.
	Class string `json:"class,omitempty"`

	// Errors of the connection, where no response came: `connect`, where the upstream was
	// not reached (no address, no connection, no TLS); `timeout`, where no header of a
	// response came within `first_byte` or a time that the transport sets; `reset`, where
	// the connection broke before one came. After the last two the request may have been
	// carried out, and billed: with `retry` it may be so twice. The action is `retry` or
	// `pass`: no key is to blame. Default: with an `upstream` of their own, a key of another
	// address is tried after `connect` (and after a 502 or 503), and nothing else.
	Fault []string `json:"fault,omitempty"`

	// With a text, the rule is for responses whose body contains it, in upper or lower
	// case, up to 200 bytes. Such rules come before all others, and the first of them
	// that fits decides. Default: none, any body.
	Text string `json:"text,omitempty"`

	// `cooldown` cools the key and tries the next one; `retry` tries the next one
	// and leaves the key as it is; `pass` gives the response to the client.
	Action string `json:"action,omitempty"`

	// With `cooldown`: the key cools for just this long (and the jitter), whatever
	// the response states, and whatever the minimum. At most the cooldown's `max`.
	// Default: 0, what the response states.
	Duration caddy.Duration `json:"duration,omitempty"`
}

// Cooldown bounds how long a key cools that is proven to be refused for its own sake:
// the answer says so, a rule does, or another key has served the request that it refused.
type Cooldown struct {
	// Where a rate limit states nothing. Within min and max. Default: 60s.
	Default *caddy.Duration `json:"default,omitempty"`

	// The least, whatever the response states. 0 to 24h. Default: 30s.
	Min *caddy.Duration `json:"min,omitempty"`

	// The most, whatever the response states, and how long a key cools whose quota is
	// used up, or that was refused as invalid or in unknown words, where nothing is
	// stated. 1s to 8760h (a year). Default: 24h.
	Max *caddy.Duration `json:"max,omitempty"`

	// What is added on top, so that keys do not all come back at once: uniform
	// between 0 and this many percent, 0 to 100. Default: 10.
	Jitter *float64 `json:"jitter,omitempty"`

	// Whether a success that says that nothing of the key's allowance is left, and
	// when there is some again, keeps the key out of use until then: the request that
	// would meet the limit goes out with another key at once. For just that time,
	// whatever `min` and `jitter` are; at most `max`. Default: true.
	Ahead *bool `json:"ahead,omitempty"`

	// What a rate limit cools: `key`, which keeps the key out of use for all requests,
	// or `model`, which keeps it out for requests that name the same model: providers
	// mostly limit per model. The model is that of the JSON body's or the form's field
	// `model`, or of the path; a body of more than 64 KiB is read until it has named
	// one, but no further than that, before the first attempt. A spent quota cools the
	// key for all, unless the refusal names the request's model; a refused key cools for
	// all. At most 64 models are told apart at a time; further ones share one scope.
	// Default: `key`.
	Scope string `json:"scope,omitempty"`

	// Whether a cooling key may be asked before its time: when the answer's own time has
	// come, else 1s after a rate limit and 30s after other refusals, twice as long after
	// each further one. Only requests that another key can serve find out, or those for
	// which no other key is left. With `false` the cooldowns hold to the letter: each
	// refusal cools its key at once, also one that is the request's fault, no key is used
	// before its time, and nothing paces a pool that refuses everything. Default: true.
	Probe *bool `json:"probe,omitempty"`
}

// Replay bounds the copy of a request's body that allows to send it again.
type Replay struct {
	// Bytes kept in memory per request, 0 to 1 GiB. Default: 16 MiB.
	Memory *int64 `json:"memory,omitempty"`

	// Bytes kept in memory of all requests of the process together, 0 to 1 TiB.
	// Requests that come when so much is kept by others go on to the disk at once.
	// Each pool holds what the whole process keeps against its own number. Default:
	// 256 MiB.
	Total *int64 `json:"total,omitempty"`

	// Bytes kept beyond the memory in an unlinked temporary file per request, 0 to
	// 1 TiB. Default: 64 MiB. A request whose body is larger than memory and disk
	// together goes out once: a rejection of it is passed to the client.
	Disk *int64 `json:"disk,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.keycycler",
		New: func() caddy.Module { return new(Handler) },
	}
}

// UnmarshalJSON reads the config. Its errors name the option, and show no value.
func (h *Handler) UnmarshalJSON(data []byte) error {
	type plain Handler
	return directive.Decode(data, (*plain)(h))
}

// Provision makes the gateway: it reads the keys and joins the shared state. It calls no
// upstream.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.setDefaults()
	h.logger = ctx.Logger().With(zap.String("pool", h.Pool))
	err := h.provision(ctx)
	if err == nil {
		return nil
	}
	if h.checkPool() != nil {
		h.logger = ctx.Logger() // the name may be a key
	}
	// Caddy tells it, too, behind all the places that it came through.
	h.logger.Error("pool cannot start", zap.Error(err))
	return err
}

func (h *Handler) provision(ctx caddy.Context) (err error) {
	if err := h.check(); err != nil {
		return err
	}
	config := h.config(ctx)
	if err := h.settle(config.Keys); err != nil {
		return err
	}
	if err := h.loadState(ctx, &config); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if h.gateway, err = gateway.New(config); err != nil {
		return err
	}
	return h.lookAhead(ctx)
}

// lookAhead has it found out, once the config runs, whether requests come here at all, and
// whether checks can.
func (h *Handler) lookAhead(ctx caddy.Context) error {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return nil
	}
	app, err := ctx.AppIfConfigured("events") // the http app has loaded it by now
	if err != nil {
		return nil //nolint:nilerr // nobody tells when the config runs
	}
	return app.(*caddyevents.App).On("started", started(func() {
		h.tellUnreached(server)
		h.tellUnchecked(server)
	}))
}

// started is what is to be done when the config runs.
type started func()

// Handle implements caddyevents.Handler.
func (do started) Handle(context.Context, caddy.Event) error {
	do()
	return nil
}

// tellUnreached warns of a handler that no request comes to.
func (h *Handler) tellUnreached(server *caddyhttp.Server) {
	if misuse.Unreached(server.Routes, h) {
		h.logger.Warn("no request comes to keycycler: a handler before it answers them all: put keycycler before it")
	}
}

// tellUnchecked warns of checks that will not be made.
func (h *Handler) tellUnchecked(server *caddyhttp.Server) {
	if h.Check != nil && !check.Finds(server, h) {
		h.logger.Warn("no key is checked: keycycler stands within a handler of another module, so the way to the upstream is not known: take 'check' out, or put keycycler into a route")
	}
}

// config is what the gateway is made from, but for the state.
func (h *Handler) config(ctx caddy.Context) gateway.Config {
	c := gateway.Config{
		Pool: h.Pool, Provider: provider.Presets[h.Provider],
		Auth: (*provider.Auth)(h.Auth), KeepHeaders: h.KeepHeaders, Keys: h.keySource(),
		MaxAttempts: h.MaxAttempts, MaxWaiting: h.MaxWaiting,
		TryDuration: time.Duration(h.TryDuration), MaxWait: time.Duration(h.MaxWait), Keepalive: time.Duration(h.Keepalive),
		FirstByte: time.Duration(h.FirstByte),
		Rules:     h.rules(), Policy: h.Cooldown.policy(), Ahead: h.Cooldown.looksAhead(), ByModel: h.Cooldown.byModel(),
		ProbeOff: !h.Cooldown.probes(), Random: h.Select.is(selectRandom), Hash: h.Select.placeholder(),
		First: h.Select.is(selectFirst), Sessions: h.Select.is(selectSession),
		Raises: h.Exhausted == exhaustedError, Limit: h.Limit.limit(), Resources: h.Resources == nil || *h.Resources,
		Usage:          h.counts(),
		Prices:         h.Prices,
		Desk:           client.NewDesk(h.Pool, h.Clients.Plan(), h.Clients.Name()),
		ModelsEndpoint: h.ModelsEndpoint != nil && *h.ModelsEndpoint,
		Check:          h.Check,
		Self:           h,
		MetricsPerKey:  h.Metrics != nil && h.Metrics.PerKey,
		Logger:         h.logger, Events: ctx, Registry: ctx.GetMetricsRegistry(),
	}
	c.Memory, c.Total, c.Disk = h.Replay.limits()
	if h.ClientTokens != nil || h.ClientTokensFiles != nil {
		c.Tokens = &client.Source{From: &keyset.Inputs{Paths: h.ClientTokensFiles, Texts: h.ClientTokens}, Log: h.logger, Limited: h.Clients.Names()}
	}
	return c
}

// loadState adds where the state of the keys lives.
func (h *Handler) loadState(ctx caddy.Context, c *gateway.Config) error {
	mod, err := ctx.LoadModule(h, "StateRaw")
	if err != nil {
		return err
	}
	module, ok := mod.(StateBackend)
	if !ok {
		return fmt.Errorf("module %T is no state backend", mod)
	}
	c.State, c.Journal, c.Backend = module.State(), module.Journal(), mod.(caddy.Module).CaddyModule().ID.Name()
	c.Health, c.Keeper = healthOf(module), backend.KeeperOf(module)
	c.Desk.Share(h.Pool, backend.LenderOf(module))
	c.Desk.Keep(h.Pool, backend.AccountsOf(module))
	return h.Limit.share(c.Limit, backend.SharesOf(module))
}

// healthOf asks how the state fares, and tells whether it is shared at all: otherwise it
// is always healthy.
func healthOf(module backend.StateBackend) func() (shared.Health, bool) {
	tells, isShared := module.(interface{ Health() shared.Health })
	return func() (shared.Health, bool) {
		if isShared {
			return tells.Health(), true
		}
		return shared.Health{Healthy: true}, false
	}
}

// StateBackend is what a module in the namespace http.keycycler.state provides.
type StateBackend = backend.StateBackend

// Validate checks what Provision left.
func (h *Handler) Validate() error {
	if h.gateway == nil || h.gateway.KeyPool().Len() == 0 && !h.keySource().Manages() {
		return errors.New("no keys")
	}
	return nil
}

// ServeHTTP sends the request with one key after the other until a response is the
// client's.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return h.gateway.ServeHTTP(w, r, next)
}

// Cleanup takes the pool out of the shared state; what is known about its keys
// stays there. It may be called after a failed Provision, and twice.
func (h *Handler) Cleanup() error {
	if h.gateway != nil {
		h.gateway.Close()
	}
	return nil
}

// Format writes which handler this is, whatever the verb: its config may hold keys
// in plain text.
func (h *Handler) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "keycycler pool %q", h.Pool) }

// Interface guards
var (
	_ fmt.Formatter               = (*Handler)(nil)
	_ caddy.Module                = (*Handler)(nil)
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

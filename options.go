package keycycler

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/keycycler/keycycler/internal/catalog"
	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/internal/upstream"
	"github.com/keycycler/keycycler/rotator"
)

// Group is a set of keys that have something in common: the limits that they share, how
// they are preferred, where they work, or what they serve.
type Group struct {
	// The name of keys that share their limits: 1 to 64 letters, digits, dots, dashes
	// and underscores. Groups of the same name share theirs. Default: none, each key
	// has limits of its own.
	Name string `json:"name,omitempty"`

	// Each of the keys is used in proportion to it, among those of its tier that are
	// ready: 1 to 100. Default: 1.
	Weight int `json:"weight,omitempty"`

	// Keys of a higher tier are used only while no key of a lower one is ready for the
	// request: 1 to 100. Default: 1. There are at most 1000 different combinations of tier,
	// weight, `upstream`, `proxy`, `models` and `model`.
	Tier int `json:"tier,omitempty"`

	// Where these keys work: scheme, host, port and a base path that stands before the
	// path of each request, such as `https://east.example.com/base`. Global placeholders
	// such as `{env.AZURE_EAST}` are replaced when the config is loaded. It needs `dynamic
	// keycycler` in `reverse_proxy`. Default: the pool's `upstream`.
	Upstream string `json:"upstream,omitempty"`

	// The outbound proxy for requests with these keys: an `http`, `https` or `socks5` URL.
	// It needs `transport keycycler` in `reverse_proxy`. Global placeholders are replaced.
	// Default: what the transport is told.
	Proxy string `json:"proxy,omitempty"`

	// Patterns of the only models that these keys may be used for, such as `gpt-4o*`: a
	// `*` stands for any text. For a request that names no model in its path or the first
	// 64 KiB of its body, any key may be used. Default: all models.
	Models []string `json:"models,omitempty"`

	// What models are called where these keys work, at most 1000 of them. The request's model
	// is replaced in its path, in a JSON body (the member `model` of the object) and in a
	// form (the field `model`), and in the query of a path that ends in `/realtime`. The
	// answer is left as it is, and so is what keycycler tells of the request. The first one
	// that fits decides. It restricts nothing.
	//
	// A body must name its model within its first 64 KiB. Headers that vouch for the body's
	// bytes (`Content-MD5`, `Digest`, `Content-Digest`, `Repr-Digest`,
	// `X-Amz-Content-Sha256`) are taken off where the name is another; a signature over the
	// body does not hold any more. A compressed body of at most 64 KiB is sent without its
	// compression then, if that is at most 1 MiB; a larger one goes out as it is. Default:
	// models keep their names.
	Renames []Rename `json:"renames,omitempty"`

	// The key's name, for people, where the group has one key: 1 to 64 letters, digits,
	// dots, dashes and underscores. In files, it stands behind the key.
	Label string `json:"label,omitempty"`

	// As the handler's own `keys`.
	Keys []string `json:"keys,omitempty"`

	// As the handler's own `keys_files`.
	KeysFiles []string `json:"keys_files,omitempty"`

	// Whether keycycler may write the files, so that operators add and remove keys at run
	// time: through the admin API, the command or the status page. Such a file need not exist,
	// nor hold a key: it is made when the first one is added, and requests get a 503 until the
	// pool has one. It is written whole, by a new file that takes its name, and readable by
	// its owner alone afterwards: the process must be allowed to make files in its folder.
	// Comments and the order of lines stay. Default: false.
	Managed bool `json:"managed,omitempty"`
}

// Rename says what a model is called where keys work.
type Rename struct {
	// The model's name as clients have it, or a pattern as in `models`: 1 to 256 bytes of
	// printable characters, each pattern once in a group. For names with `models/` before
	// them, as Google's APIs have them, it is what follows.
	From string `json:"from,omitempty"`

	// Its name there: 1 to 256 bytes of printable characters, without a `*`.
	To string `json:"to,omitempty"`
}

// rank is how the engine prefers the group's keys.
func (g Group) rank() rotator.Rank {
	return rotator.Rank{Tier: uint8(max(g.Tier, 1)), Weight: uint8(max(g.Weight, 1))}
}

// plain tells whether the group is none: its keys are as those of no group.
func (g Group) plain() bool {
	return g.Name == "" && g.Weight == 0 && g.Tier == 0 && g.Label == "" && g.Upstream == "" && g.Proxy == "" &&
		len(g.Models)+len(g.Renames) == 0 && !g.Managed
}

func (g Group) check() error {
	switch {
	case g.plain():
		return fmt.Errorf("group: a name, a weight, a tier, an upstream, models or a label is needed")
	case !directive.IsName(g.Name):
		return fmt.Errorf("group: the name %s must be 1 to %d letters, digits, dots, dashes or underscores", directive.Shown(g.Name), directive.MaxName)
	case directive.HasKeyPrefix(g.Name):
		return errors.New("group: the name (not shown) begins as keys do: keys belong behind 'keys'")
	case g.Weight < 0 || g.Weight > rotator.MaxRank:
		return fmt.Errorf("weight: %d is out of range: 1 to %d", g.Weight, rotator.MaxRank)
	case g.Tier < 0 || g.Tier > rotator.MaxRank:
		return fmt.Errorf("tier: %d is out of range: 1 to %d", g.Tier, rotator.MaxRank)
	}
	return cmp.Or(g.checkLabel(), g.checkManaged(), g.checkModels(), checkUpstream(g.Upstream), checkProxy(g.Proxy))
}

func (g Group) checkManaged() error {
	if g.Managed && len(g.KeysFiles) == 0 {
		return errors.New("managed: it goes with keys_file: keycycler writes no config")
	}
	return nil
}

// checkProxy checks the URL of a proxy likewise.
func checkProxy(text string) error {
	if text == "" || strings.Contains(text, "{") {
		return nil
	}
	_, err := proxyOf(text)
	return err
}

// proxyOf reads the URL of a proxy, which may be a placeholder.
func proxyOf(text string) (upstream.Proxy, error) {
	text, err := keyset.Expand(caddy.NewReplacer(), text)
	if err != nil {
		return "", fmt.Errorf("proxy: %w", err)
	}
	proxy, err := upstream.ParseProxy(text)
	if err != nil {
		return "", fmt.Errorf("proxy: %w", err)
	}
	return proxy, nil
}

// maxPatterns bounds how many models a group's keys serve, and have other names for.
const maxPatterns = 1000

// checkModels checks what the keys serve, and what is renamed for them.
func (g Group) checkModels() error {
	block := "keys"
	if len(g.Keys) == 0 {
		block = "keys_file"
	}
	if err := checkPatterns(g.Models); err != nil {
		return fmt.Errorf("%s models: %w", block, err)
	}
	from := make([]string, 0, len(g.Renames))
	for _, r := range g.Renames {
		if err := r.check(); err != nil {
			return fmt.Errorf("%s model: %w", block, err)
		}
		from = append(from, r.From)
	}
	if err := checkPatterns(from); err != nil {
		return fmt.Errorf("%s model: <from>: %w", block, err)
	}
	return nil
}

func checkPatterns(patterns []string) error {
	if len(patterns) > maxPatterns {
		return fmt.Errorf("%d are too many: at most %d", len(patterns), maxPatterns)
	}
	seen := make(map[string]struct{}, len(patterns))
	for _, p := range patterns {
		if err := catalog.CheckPattern(p); err != nil {
			return fmt.Errorf("%s %w", directive.Shown(p), err)
		}
		if _, twice := seen[p]; twice {
			return fmt.Errorf("%s stands twice", directive.Shown(p))
		}
		seen[p] = struct{}{}
	}
	return nil
}

func (r Rename) check() error {
	switch {
	case directive.HasKeyPrefix(r.To):
		return errors.New("<to>: it looks like a key (not shown): keys belong behind 'keys'")
	case !catalog.IsName(r.To):
		return fmt.Errorf("<to>: %s must be 1 to %d bytes of printable characters", directive.Shown(r.To), catalog.MaxName)
	case strings.Contains(r.To, "*"):
		return fmt.Errorf("<to>: %s must be a name, and no pattern", directive.Shown(r.To))
	}
	return nil
}

// checkModelsEndpoint finds a list of models with nothing in it.
func (h *Handler) checkModelsEndpoint() error {
	if h.ModelsEndpoint == nil || !*h.ModelsEndpoint {
		return nil
	}
	var offers []*catalog.Offer
	for _, g := range h.Groups {
		offers = append(offers, g.offer())
	}
	if len(catalog.Names(offers)) == 0 {
		return errors.New("models_endpoint: there is no model to list: name some without * in `models` or `model` of a block of keys, or turn it off")
	}
	return nil
}

func (g Group) checkLabel() error {
	switch {
	case g.Label == "":
		return nil
	case len(g.KeysFiles) > 0:
		return errors.New("name: in a file, a key's name stands behind the key: <key> <name>")
	case len(g.Keys) > 1:
		return fmt.Errorf("name: the block has %d keys, and a name is for one: give each key a block of its own", len(g.Keys))
	}
	if err := keyset.CheckName(g.Label); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	return nil
}

// checkUpstream checks the URL where that can be: placeholders are replaced later.
func checkUpstream(text string) error {
	if text == "" || strings.Contains(text, "{") {
		return nil
	}
	_, err := siteOf(text)
	return err
}

func (h *Handler) checkGroups() error {
	for _, g := range h.Groups {
		if err := g.check(); err != nil {
			return err
		}
	}
	if n := h.combinations(); n > rotator.MaxRanks {
		return fmt.Errorf("group: %d different combinations of tier, weight, upstream, proxy, models and model are too many: at most %d; "+
			"let more blocks of keys have the same", n, rotator.MaxRanks)
	}
	return nil
}

// combinations counts what tells the groups' keys apart where one is drawn, if that may be
// too much.
func (h *Handler) combinations() int {
	all := h.allGroups()
	if len(all) <= rotator.MaxRanks {
		return 0
	}
	seen := make(map[string]struct{})
	for _, g := range all {
		if !g.plain() || len(g.Keys)+len(g.KeysFiles) > 0 {
			seen[fmt.Sprintf("%v %q %q %q %q", g.rank(), g.Upstream, g.Proxy, g.Models, g.Renames)] = struct{}{}
		}
	}
	return len(seen)
}

// allGroups returns the handler's own keys as a group, and then its groups.
func (h *Handler) allGroups() []Group {
	return append([]Group{{Keys: h.Keys, KeysFiles: h.KeysFiles}}, h.Groups...)
}

// Source is where the pool's keys come from.
func (h *Handler) keySource() *keyset.Source {
	all := h.allGroups()
	groups := make([]keyset.Group, 0, len(all))
	for _, g := range all {
		groups = append(groups, keyset.Group{Name: g.Name, Rank: g.rank(), Label: g.Label, Texts: g.Keys, Files: g.KeysFiles, Managed: g.Managed})
	}
	return &keyset.Source{Groups: &groups, Log: h.logger}
}

// settle finds out where the keys of the source, which is the config's, work.
func (h *Handler) settle(source *keyset.Source) error {
	var known []*keyset.Place
	for i, g := range h.allGroups() {
		place, err := h.place(g)
		if err != nil {
			return err
		}
		if place == (keyset.Place{}) {
			continue
		}
		j := slices.IndexFunc(known, func(k *keyset.Place) bool { return k.Site == place.Site && k.Offer.Equal(place.Offer) })
		if j < 0 {
			j, known = len(known), append(known, &place)
		}
		(*source.Groups)[i].Place = known[j]
	}
	return nil
}

// place returns where the group's keys work, and what they serve there.
func (h *Handler) place(g Group) (p keyset.Place, err error) {
	if text := cmp.Or(g.Upstream, h.Upstream); text != "" {
		if p.Site, err = siteOf(text); err != nil {
			return p, err
		}
	}
	if g.Proxy != "" {
		if p.Site.Proxy, err = proxyOf(g.Proxy); err != nil {
			return p, err
		}
	}
	p.Offer = g.offer()
	return p, nil
}

// offer returns what the group's keys serve, nil where nothing is said of that.
func (g Group) offer() *catalog.Offer {
	if len(g.Models)+len(g.Renames) == 0 {
		return nil
	}
	o := &catalog.Offer{Models: g.Models}
	for _, r := range g.Renames {
		o.Renames = append(o.Renames, catalog.Rename(r))
	}
	return o
}

// siteOf reads an upstream, which may be a placeholder.
func siteOf(text string) (upstream.Site, error) {
	text, err := keyset.Expand(caddy.NewReplacer(), text)
	if err != nil {
		return upstream.Site{}, fmt.Errorf("upstream: %w", err)
	}
	site, err := upstream.ParseSite(text)
	if err != nil {
		return site, fmt.Errorf("upstream: %w", err)
	}
	return site, nil
}

// Limit bounds what goes out with each key from this node, so that no key is driven
// into the upstream's own limit. A key at its limit is as one that cools. What is
// counted belongs to the key: it outlives reloads, and pools of one node that hold the
// same key count together, each against its own limit. Several nodes do so with `shared`;
// without it, divide by their number.
type Limit struct {
	// Requests under way with a key at a time, those whose response still streams and
	// websockets included: 1 to 100000. Default: any number.
	Concurrency int `json:"concurrency,omitempty"`

	// Requests in any window of the length `per`, wherever it begins: 1 to 1000000. A
	// 32nd of the window is how much later than it could be a key is ready again, at
	// the most. Default: any number.
	Requests int `json:"requests,omitempty"`

	// With `requests`: 1s to 24h.
	Per caddy.Duration `json:"per,omitempty"`

	// Tokens in any window of the length `tokens_per`: 1 to 1000000000. A request goes out
	// with a key that has room for what it will use, about: a fourth of its bytes, and the
	// most that it lets the answer have. What the answer says that it has used counts
	// instead when it has ended; an answer that does not say so has used what was
	// estimated. A key of which nothing is used or held takes one request of any size.
	// What answers have used is read for this also where `usage` is off. Default: any number.
	Tokens int64 `json:"tokens,omitempty"`

	// With `tokens`: 1s to 24h.
	TokensPer caddy.Duration `json:"tokens_per,omitempty"`

	// What the numbers are of: `key`, or `model`, for each model of a key by itself, by the
	// client's own name. At most 32 models of a key are told apart at a time; further ones
	// count together. Default: `key`.
	Scope string `json:"scope,omitempty"`

	// Whether `requests` and `tokens` are of all nodes together that share the state, which
	// must be `redis`. Each node has a part of them, which others get when it does not use it:
	// no request waits for Redis. It goes with the scope `key`. `concurrency` is each node's
	// own. Default: false.
	Shared bool `json:"shared,omitempty"`
}

// Bounds of the limit.
const (
	maxConcurrency = 100_000
	maxRequests    = 1_000_000
	maxTokens      = 1_000_000_000
	minPer         = time.Second
	maxPer         = 24 * time.Hour
)

// limit is what the engine heeds. l may be nil.
func (l *Limit) limit() *rotator.Limit {
	if l == nil {
		return nil
	}
	return &rotator.Limit{
		Concurrency: l.Concurrency, Requests: l.Requests, Per: time.Duration(l.Per),
		Tokens: l.Tokens, TokensPer: time.Duration(l.TokensPer), ByModel: l.Scope == reason.ScopeModel,
		Reason: reason.Limit, Source: reason.SourceConfig,
	}
}

// share makes the engine's limit one of all nodes, if it is to be. l may be nil.
func (l *Limit) share(of *rotator.Limit, shares rotator.Shares) error {
	if l == nil || !l.Shared {
		return nil
	}
	if shares == nil {
		return errors.New("limit shared needs one that other nodes see: add 'state redis <address...>', or leave 'shared' out")
	}
	of.Shares = shares
	return nil
}

func (l *Limit) check() error {
	if l == nil {
		return nil
	}
	switch {
	case l.Concurrency == 0 && l.Requests == 0 && l.Tokens == 0:
		return errors.New("limit: concurrency, requests or tokens is needed")
	case l.Concurrency < 0 || l.Concurrency > maxConcurrency:
		return fmt.Errorf("limit concurrency: %d is out of range: 1 to %d", l.Concurrency, maxConcurrency)
	}
	return cmp.Or(l.checkWindows(), l.checkScope(), l.checkShared())
}

func (l *Limit) checkWindows() error {
	if err := checkWindow("requests", int64(l.Requests), maxRequests, time.Duration(l.Per)); err != nil {
		return err
	}
	return checkWindow("tokens", l.Tokens, maxTokens, time.Duration(l.TokensPer))
}

// checkWindow checks a number of something in a window; 0: any number.
func checkWindow(of string, n, most int64, per time.Duration) error {
	switch {
	case n < 0 || n > most:
		return fmt.Errorf("limit %s: %d is out of range: 1 to %d", of, n, most)
	case n == 0 && per != 0:
		return fmt.Errorf("limit %s: a duration goes with a number of %s", of, of)
	case n > 0 && (per < minPer || per > maxPer):
		return fmt.Errorf("limit %s: %s is out of range: %s to %s", of, per, minPer, maxPer)
	}
	return nil
}

func (l *Limit) checkScope() error {
	if l.Scope == "" || l.Scope == reason.ScopeKey || l.Scope == reason.ScopeModel {
		return nil
	}
	return fmt.Errorf("limit scope: %s is neither %s nor %s", directive.Shown(l.Scope), reason.ScopeKey, reason.ScopeModel)
}

// checkShared checks that what is shared can be: requests and tokens of keys.
func (l *Limit) checkShared() error {
	switch {
	case l.Shared && l.Requests == 0 && l.Tokens == 0:
		return errors.New("limit shared: it goes with requests or tokens: concurrency is each node's own")
	case l.Shared && l.Scope == reason.ScopeModel:
		return errors.New("limit shared: it goes with scope key: limits of models are each node's own")
	}
	return nil
}

// Metrics says what is counted besides.
type Metrics struct {
	// Whether calls to the upstream and cooldowns are counted for each key, by a label
	// `key_id` on `caddy_keycycler_attempts_total` and `caddy_keycycler_cooldowns_total`. It
	// makes as many series as keys times what has happened to them: Prometheus bears
	// thousands of keys, and not hundreds of thousands. Keys that have left the pool leave
	// the metrics, too. Default: false.
	PerKey bool `json:"per_key,omitempty"`
}

func (h *Handler) checkClients() error {
	if h.Clients == nil {
		return nil
	}
	if h.Clients.Placeholder != "" {
		if err := checkPlaceholder("clients", h.Clients.Placeholder); err != nil {
			return err
		}
	}
	return cmp.Or(h.Clients.Check(), h.Clients.CheckPriced(h.priced()))
}

// priced tells whether the config says what models cost.
func (h *Handler) priced() bool { return h.Prices != "" }

// Select says how a request's key is chosen among those that are ready.
type Select struct {
	// `even`, by which keys take turns: the one with the fewest requests under way from
	// this node, and of these the one that was not used for longest. `random`, which
	// draws one, whatever the others have to do. `first`, which uses one key until it is
	// not ready any more, and then the next, in the order of the config; weights do not
	// count. `hash`, which prefers the same key for the same value, so that what the
	// upstream caches of prompts is met again. Each value has its own order of the keys,
	// the same on every node: where its first key cools or has been tried the next one
	// serves, and the first again when it is ready. Or `session`, which is the same for
	// conversations, as `{http.keycycler.session}` tells them apart, but that one stays
	// with the key that has served it last, for as long as it is among the last 100,000 of
	// the process; nodes agree on its first key alone. Tiers come before all of that; with
	// `hash` and `session`, weights are how many values prefer a key. Default: `even`.
	Policy string `json:"policy,omitempty"`

	// With `hash`: the placeholder whose value counts, such as
	// `{http.request.header.X-Session}` or `{http.auth.user.id}`. It is evaluated once
	// per request, before the first attempt. Where it is unknown or empty, keys take
	// turns. Clients who choose the value can keep to one key, but not choose which.
	Value string `json:"value,omitempty"`
}

// The policies.
const (
	selectEven    = "even"
	selectRandom  = "random"
	selectFirst   = "first"
	selectHash    = "hash"
	selectSession = "session"

	policies = selectEven + ", " + selectRandom + ", " + selectFirst + ", " + selectHash + " or " + selectSession
)

var everyPolicy = []string{selectEven, selectRandom, selectFirst, selectHash, selectSession}

// lateValues are placeholders that a request's key cannot be chosen by, and why.
var lateValues = []struct{ prefix, why string }{
	{"http.request.body", "would take the request's body away from the upstream"},
	{"http.response.", "is not known before the upstream has answered"},
	{"http.reverse_proxy.", "is not known before the key is chosen"},
	{observe.PlaceholderPrefix + "key_id", "is not known before the key is chosen"},
	{observe.PlaceholderPrefix + "upstream", "is not known before the key is chosen"},
	{observe.PlaceholderPrefix + "key_name", "is not known before the key is chosen"},
	{observe.PlaceholderPrefix + "group", "is not known before the key is chosen"},
	{observe.PlaceholderPrefix + "attempts", "is not known before the key is chosen"},
	{observe.PlaceholderPrefix + "outcome", "is not known before the upstream has answered"},
	{observe.PlaceholderPrefix + "retry_after", "is not known before the upstream has answered"},
}

// is tells whether the policy is this one, which is not the default. s may be nil.
func (s *Select) is(policy string) bool { return s != nil && s.Policy == policy }

// hashes tells whether requests have values. s may be nil.
func (s *Select) hashes() bool { return s.is(selectHash) }

// placeholder returns the name of the placeholder whose value counts, "" where none does.
// s may be nil.
func (s *Select) placeholder() string {
	if !s.hashes() {
		return ""
	}
	return s.name()
}

// name returns the placeholder's name.
func (s *Select) name() string { return placeholderName(s.Value) }

func placeholderName(text string) string {
	return strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}")
}

func (s *Select) check() error {
	switch {
	case s == nil:
		return nil
	case s.Policy != "" && !slices.Contains(everyPolicy, s.Policy):
		return fmt.Errorf("select: unknown policy %s: %s", directive.Shown(s.Policy), directive.Instead(s.Policy, everyPolicy, policies))
	case !s.hashes() && s.Value != "":
		return fmt.Errorf("select: a placeholder goes with %s", selectHash)
	case s.hashes():
		return s.checkValue()
	}
	return nil
}

func (s *Select) checkValue() error {
	if !isPlaceholder(s.Value) {
		return errors.New("select hash: one placeholder is needed, such as {http.request.header.X-Session}: the same text for all requests would give all of them one key")
	}
	return checkPlaceholder("select hash", s.Value)
}

func isPlaceholder(text string) bool {
	name := placeholderName(text)
	return text == "{"+name+"}" && name != "" && !strings.ContainsAny(name, `{}\`)
}

// checkPlaceholder finds one that is not known in time.
func checkPlaceholder(option, text string) error {
	if !isPlaceholder(text) {
		return fmt.Errorf("%s: one placeholder is needed, such as {http.request.header.X-Team}", option)
	}
	for _, late := range lateValues {
		if strings.HasPrefix(placeholderName(text), late.prefix) {
			return fmt.Errorf("%s: {%s} %s", option, late.prefix, late.why)
		}
	}
	return nil
}

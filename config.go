package keycycler

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/net/http/httpguts"

	"github.com/keycycler/keycycler/internal/backend"
	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/client"
	"github.com/keycycler/keycycler/internal/credential"
	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/ttl"
)

// Defaults and bounds of the options. The table of docs/reference.md says the same.
const (
	defaultPool        = "default"
	defaultProvider    = "openai"
	defaultMaxAttempts = 15
	maxMaxAttempts     = 1000

	maxMaxWait        = time.Hour
	defaultMaxWaiting = 1000
	maxMaxWaiting     = 1_000_000

	minFirstByte = 100 * time.Millisecond
	maxFirstByte = time.Hour

	minKeepalive = time.Second
	maxKeepalive = time.Hour

	maxCooldownMin = 24 * time.Hour
	minCooldownMax = time.Second
	maxCooldownMax = 365 * 24 * time.Hour

	defaultReplayMemory = 16 << 20
	maxReplayMemory     = 1 << 30
	defaultReplayTotal  = 256 << 20
	maxReplayTotal      = 1 << 40
	defaultReplayDisk   = 64 << 20
	maxReplayDisk       = 1 << 40
)

// setDefaults fills in what the config leaves open.
func (h *Handler) setDefaults() {
	if h.Pool == "" {
		h.Pool = defaultPool
	}
	if h.Provider == "" {
		h.Provider = defaultProvider
	}
	if h.MaxAttempts == 0 {
		h.MaxAttempts = defaultMaxAttempts
	}
	if h.MaxWaiting == 0 {
		h.MaxWaiting = defaultMaxWaiting
	}
	if h.StateRaw == nil {
		h.StateRaw = []byte(`{"backend":"memory"}`)
	}
}

// check holds every option against its bounds. Its errors name the option. It
// works with and without defaults: the Caddyfile parser calls it option by
// option, so that an error names the line too.
func (h *Handler) check() error {
	for _, check := range []func() error{
		h.checkPool, h.checkState, h.checkUnits, func() error { return checkUpstream(h.Upstream) }, h.checkKeysFiles, h.checkGroups, h.checkProvider, h.Auth.check, h.checkMaxAttempts, h.checkTryDuration,
		h.checkFirstByte, h.checkMaxWait, h.checkMaxWaiting, h.checkKeepalive, h.checkModelsEndpoint, h.checkExhausted,
		h.Cooldown.check, h.checkOn, h.Replay.check, h.Select.check, h.Limit.check, h.checkKeepHeaders, h.checkPrices, h.checkCosts,
		h.Check.Check, h.checkChecks,
		h.checkClients,
		func() error { return client.CheckTokens(h.ClientTokens) }, func() error { return client.CheckTokensFiles(h.ClientTokensFiles) },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) checkPool() error {
	switch {
	case !directive.IsName(h.Pool):
		return fmt.Errorf("pool: the name %s must be 1 to %d letters, digits, dots, dashes or underscores", directive.Shown(h.Pool), directive.MaxName)
	case strings.HasPrefix(h.Pool, "sk-"):
		return errors.New("pool: the name begins with sk-, as keys do: keys belong behind 'keys'")
	}
	return nil
}

// checkState finds out that no backend is named: Caddy's own error would show all of the
// state's config, with the password.
func (h *Handler) checkState() error {
	if h.StateRaw == nil {
		return nil
	}
	var members map[string]any
	if json.Unmarshal(h.StateRaw, &members) != nil {
		return errors.New(`state: an object is needed, such as {"backend": "memory"}`)
	}
	name, _ := members["backend"].(string)
	if name == "" {
		return fmt.Errorf(`state: "backend" is missing, the name of a backend: one of %s`, backend.StateBackends())
	}
	return checkBackend(name)
}

func checkBackend(name string) error {
	if _, err := caddy.GetModule(backend.StateNamespace + "." + name); err == nil {
		return nil
	}
	all := backend.StateBackends()
	return fmt.Errorf("state: unknown backend %s: %s", directive.Shown(name), directive.Instead(name, strings.Split(all, ", "), "one of "+all))
}

// checkUnits finds durations that somebody meant to be of seconds.
func (h *Handler) checkUnits() error {
	type named struct {
		name string
		of   *caddy.Duration
	}
	all := []named{{"try_duration", &h.TryDuration}, {"first_byte", &h.FirstByte}, {"max_wait", &h.MaxWait}, {"keepalive", &h.Keepalive}}
	if c := h.Cooldown; c != nil {
		all = append(all, named{"cooldown default", c.Default}, named{"cooldown min", c.Min}, named{"cooldown max", c.Max})
	}
	if l := h.Limit; l != nil {
		all = append(all, named{"limit requests", &l.Per}, named{"limit tokens", &l.TokensPer})
	}
	if h.Check != nil {
		all = append(all, named{"check interval", h.Check.Interval})
	}
	for i := range h.On {
		all = append(all, named{"on", &h.On[i].Duration})
	}
	for _, d := range all {
		if d.of == nil {
			continue
		}
		if err := directive.CheckUnit(d.name, time.Duration(*d.of)); err != nil {
			return err
		}
	}
	return nil
}

// checkKeysFiles finds a key that stands where a path belongs, before it shows in
// the error of a file that does not exist.
func (h *Handler) checkKeysFiles() error {
	for path := range h.keySource().Files() {
		if strings.HasPrefix(path, "sk-") && !strings.ContainsAny(path, `./\`) {
			return errors.New("keys_file: the path begins with sk-, as keys do: keys belong behind 'keys' (write ./sk-… for a file)")
		}
	}
	return nil
}

// checkPrices finds a key that stands where a path belongs, likewise.
func (h *Handler) checkPrices() error {
	if strings.HasPrefix(h.Prices, "sk-") && !strings.ContainsAny(h.Prices, `./\`) {
		return errors.New("prices: the path begins with sk-, as keys do: keys belong behind 'keys' (write ./sk-… for a file)")
	}
	return nil
}

// counts tells whether it is counted what answers have used.
func (h *Handler) counts() bool { return h.Usage == nil || *h.Usage }

// checkCosts finds prices of what is not counted.
func (h *Handler) checkCosts() error {
	if h.Prices != "" && !h.counts() {
		return errors.New("prices: nothing has a cost where usage is off: turn it on, or leave the prices out")
	}
	return nil
}

// checkChecks finds checks of keys that have nothing to ask for.
func (h *Handler) checkChecks() error {
	name := cmp.Or(h.Provider, defaultProvider)
	if preset, ok := provider.Presets[name]; ok {
		return h.Check.CheckProvider(name, preset.Check.URI)
	}
	return nil
}

func (h *Handler) checkProvider() error {
	if _, ok := provider.Presets[h.Provider]; h.Provider != "" && !ok {
		return fmt.Errorf("provider: unknown provider %s: %s", directive.Shown(h.Provider), directive.Known(h.Provider, provider.Presets))
	}
	return nil
}

func (h *Handler) checkMaxAttempts() error {
	if h.MaxAttempts < 0 || h.MaxAttempts > maxMaxAttempts {
		return fmt.Errorf("max_attempts: %d is out of range: 1 to %d", h.MaxAttempts, maxMaxAttempts)
	}
	return nil
}

func (h *Handler) checkTryDuration() error {
	if h.TryDuration < 0 {
		return fmt.Errorf("try_duration: %s is negative: 0 means no limit", time.Duration(h.TryDuration))
	}
	return nil
}

func (h *Handler) checkFirstByte() error {
	if d := time.Duration(h.FirstByte); d != 0 && (d < minFirstByte || d > maxFirstByte) {
		return fmt.Errorf("first_byte: %s is out of range: 0s, or %s to %s", d, minFirstByte, maxFirstByte)
	}
	return nil
}

func (h *Handler) checkMaxWait() error {
	if h.MaxWait < 0 || time.Duration(h.MaxWait) > maxMaxWait {
		return fmt.Errorf("max_wait: %s is out of range: 0s to %s", time.Duration(h.MaxWait), maxMaxWait)
	}
	return nil
}

func (h *Handler) checkMaxWaiting() error {
	if h.MaxWaiting < 0 || h.MaxWaiting > maxMaxWaiting {
		return fmt.Errorf("max_waiting: %d is out of range: 1 to %d", h.MaxWaiting, maxMaxWaiting)
	}
	return nil
}

func (h *Handler) checkKeepalive() error {
	if d := time.Duration(h.Keepalive); d != 0 && (d < minKeepalive || d > maxKeepalive) {
		return fmt.Errorf("keepalive: %s is out of range: 0s, or %s to %s", d, minKeepalive, maxKeepalive)
	}
	return nil
}

// What becomes of requests that no key serves.
const (
	exhaustedRespond = "respond"
	exhaustedError   = "error"
)

func (h *Handler) checkExhausted() error {
	if !slices.Contains([]string{"", exhaustedRespond, exhaustedError}, h.Exhausted) {
		return fmt.Errorf("exhausted: %s is neither %s nor %s", directive.Shown(h.Exhausted), exhaustedRespond, exhaustedError)
	}
	return nil
}

func (h *Handler) checkKeepHeaders() error {
	for _, name := range h.KeepHeaders {
		if !slices.Contains(provider.AccountHeaders, textproto.CanonicalMIMEHeaderKey(name)) {
			return fmt.Errorf("keep_headers: %s is not one of the headers that can be kept: %s", directive.Shown(name), strings.Join(provider.AccountHeaders, ", "))
		}
	}
	return nil
}

// rules returns the config's rules.
func (h *Handler) rules() []blame.Rule {
	rules := make([]blame.Rule, len(h.On))
	for i, r := range h.On {
		rules[i] = blame.Rule{Status: r.Status, Class: r.Class, Fault: r.Fault, Text: r.Text, Action: r.Action, Duration: time.Duration(r.Duration)}
	}
	return rules
}

func (h *Handler) checkOn() error {
	_, err := h.checkRules()
	return err
}

// checkRules returns the index of the first rule that is wrong, and why.
func (h *Handler) checkRules() (int, error) {
	seen := make(map[string]bool)
	longest := h.Cooldown.policy().Max
	for i, r := range h.On {
		if err := r.check(longest); err != nil {
			return i, fmt.Errorf("on: %w", err)
		}
		for _, subject := range r.subjects() {
			if seen[subject] {
				return i, fmt.Errorf("on: two rules for %s", subject)
			}
			seen[subject] = true
		}
	}
	return 0, nil
}

// subjects returns what the rule is about, one name each.
func (r Rule) subjects() []string {
	about := r.about()
	if r.Text != "" {
		for i := range about {
			about[i] += " and " + directive.Shown(strings.ToLower(r.Text))
		}
	}
	return about
}

func (r Rule) about() []string {
	if r.Class != "" {
		return []string{r.Class}
	}
	if len(r.Fault) > 0 {
		return slices.Clone(r.Fault)
	}
	subjects := make([]string, len(r.Status))
	for i, s := range r.Status {
		subjects[i] = fmt.Sprint(s)
		if s < 10 {
			subjects[i] += "xx"
		}
	}
	return subjects
}

// maxRuleText bounds the text of a rule, in bytes.
const maxRuleText = 200

const statusRange = "400 to 599, 4xx or 5xx"

// validStatus tells whether a rule may be about s: 4 and 5 stand for 4xx and 5xx.
func validStatus(s int) bool { return s == 4 || s == 5 || s >= 400 && s <= 599 }

func (r Rule) check(longest time.Duration) error {
	switch {
	case len(r.Fault) > 0:
		return r.checkFault()
	case (len(r.Status) == 0) == (r.Class == ""):
		return errors.New("a rule needs either statuses, a class or errors of the connection")
	}
	for _, s := range r.Status {
		if !validStatus(s) {
			return fmt.Errorf("status %d is out of range: %s", s, statusRange)
		}
	}
	if _, ok := ttl.ParseClass(r.Class); r.Class != "" && !ok {
		return fmt.Errorf("unknown class %s: one of %s", directive.Shown(r.Class), classNames())
	}
	if _, ok := blame.Actions[r.Action]; !ok {
		return fmt.Errorf("unknown action %s: %s", directive.Shown(r.Action), blame.ActionNames)
	}
	d := time.Duration(r.Duration)
	switch {
	case r.Text != "" && (len(r.Text) > maxRuleText || strings.TrimSpace(r.Text) == ""):
		return fmt.Errorf("a text is of 1 to %d bytes, and not space alone", maxRuleText)
	case d != 0 && r.Action != "cooldown":
		return fmt.Errorf("a duration goes with cooldown, not with %s", r.Action)
	case d < 0:
		return fmt.Errorf("cooldown %s is negative", d)
	case d > longest:
		return fmt.Errorf("cooldown %s is longer than the cooldown's max, %s", d, longest)
	}
	return nil
}

// checkFault checks a rule about errors of the connection.
func (r Rule) checkFault() error {
	for _, f := range r.Fault {
		if !slices.Contains(blame.Faults, f) {
			return fmt.Errorf("unknown error of the connection %s: one of %s", directive.Shown(f), strings.Join(blame.Faults, ", "))
		}
	}
	switch {
	case r.Class != "" || len(r.Status) > 0:
		return errors.New("a rule needs either statuses, a class or errors of the connection")
	case r.Text != "":
		return fmt.Errorf("a text goes with statuses and classes: %s has no body", r.Fault[0])
	case r.Action != "retry" && r.Action != "pass":
		return fmt.Errorf("%s is retry or pass: it is no key's fault", r.Fault[0])
	case r.Duration != 0:
		return fmt.Errorf("a duration goes with cooldown, not with %s", r.Action)
	}
	return nil
}

func classNames() string {
	names := make([]string, 0, ttl.Unknown)
	for c := ttl.RateLimited; c <= ttl.Unknown; c++ {
		names = append(names, c.String())
	}
	return strings.Join(names, ", ")
}

// policy returns the bounds with their defaults. c may be nil.
func (c *Cooldown) policy() blame.Policy {
	p := blame.DefaultPolicy
	if c == nil {
		return p
	}
	if c.Max != nil {
		p.Max = time.Duration(*c.Max)
	}
	// A bound that the operator moved moves what he left alone.
	p.Min = min(p.Min, p.Max)
	if c.Min != nil {
		p.Min = time.Duration(*c.Min)
	}
	p.Default = min(max(p.Default, p.Min), p.Max)
	if c.Jitter != nil {
		p.Jitter = *c.Jitter
	}
	if c.Default != nil {
		p.Default = time.Duration(*c.Default)
	}
	return p
}

func (c *Cooldown) byModel() bool { return c != nil && c.Scope == reason.ScopeModel }

func (c *Cooldown) looksAhead() bool { return c == nil || c.Ahead == nil || *c.Ahead }

func (c *Cooldown) probes() bool { return c == nil || c.Probe == nil || *c.Probe }

func (c *Cooldown) check() error {
	_, err := c.checkOptions()
	return err
}

// checkOptions returns the name of the first option that is wrong, and why.
func (c *Cooldown) checkOptions() (string, error) {
	p := c.policy()
	switch {
	// The maximum first: where it is wrong, so are the defaults that follow it.
	case p.Max < minCooldownMax || p.Max > maxCooldownMax:
		return "max", fmt.Errorf("cooldown max: %s is out of range: %s to %s", p.Max, minCooldownMax, maxCooldownMax)
	case p.Min < 0 || p.Min > maxCooldownMin:
		return "min", fmt.Errorf("cooldown min: %s is out of range: 0s to %s", p.Min, maxCooldownMin)
	case p.Min > p.Max:
		return "min", fmt.Errorf("cooldown min: %s is more than max, %s", p.Min, p.Max)
	case p.Default < p.Min || p.Default > p.Max:
		return "default", fmt.Errorf("cooldown default: %s is out of range: min, %s, to max, %s", p.Default, p.Min, p.Max)
	case c != nil && c.Scope != "" && c.Scope != reason.ScopeKey && c.Scope != reason.ScopeModel:
		return "scope", fmt.Errorf("cooldown scope: %s is neither %s nor %s", directive.Shown(c.Scope), reason.ScopeKey, reason.ScopeModel)
	case math.IsNaN(p.Jitter) || p.Jitter < 0 || p.Jitter > 100:
		return "jitter", fmt.Errorf("cooldown jitter: %v%% is out of range: 0%% to 100%%", p.Jitter)
	}
	return "", nil
}

// limits returns the bounds with their defaults. r may be nil.
func (r *Replay) limits() (memory, total, disk int64) {
	memory, total, disk = defaultReplayMemory, defaultReplayTotal, defaultReplayDisk
	if r != nil && r.Memory != nil {
		memory = *r.Memory
	}
	if r != nil && r.Total != nil {
		total = *r.Total
	}
	if r != nil && r.Disk != nil {
		disk = *r.Disk
	}
	return memory, total, disk
}

func (r *Replay) check() error {
	memory, total, disk := r.limits()
	if memory < 0 || memory > maxReplayMemory {
		return fmt.Errorf("replay memory: %d bytes are out of range: 0 to %d", memory, maxReplayMemory)
	}
	if total < 0 || total > maxReplayTotal {
		return fmt.Errorf("replay total: %d bytes are out of range: 0 to %d", total, int64(maxReplayTotal))
	}
	if disk < 0 || disk > maxReplayDisk {
		return fmt.Errorf("replay disk: %d bytes are out of range: 0 to %d", disk, int64(maxReplayDisk))
	}
	return nil
}

// unfitHeaders frame the message, name its target, or are taken off or written by
// reverse_proxy: they cannot carry a key.
var unfitHeaders = []string{
	"Host", "Content-Length", "Transfer-Encoding", "Trailer", "Connection", "Upgrade", "Te", "Expect",
	"Keep-Alive", "Proxy-Connection", "Content-Type", "Content-Encoding",
	"Proxy-Authorization", "Proxy-Authenticate", "Alt-Svc", "Via",
	"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", credential.ProtocolHeader,
}

func (a *Auth) check() error {
	if a == nil {
		return nil
	}
	ways := 0
	for _, used := range []bool{a.Bearer, a.Header != "", a.Query != ""} {
		if used {
			ways++
		}
	}
	switch {
	case ways != 1:
		return fmt.Errorf("auth: exactly one of bearer, header <name> and query <parameter> is needed")
	case a.Prefix != "" && a.Header == "":
		return fmt.Errorf("auth: a prefix goes with header")
	case a.Header != "" && !httpguts.ValidHeaderFieldName(a.Header):
		return fmt.Errorf("auth header: %s is no header name", directive.Shown(a.Header))
	case slices.Contains(unfitHeaders, textproto.CanonicalMIMEHeaderKey(a.Header)):
		return fmt.Errorf("auth header: %s cannot carry a key: reverse_proxy or the protocol needs it", directive.Shown(a.Header))
	case strings.ContainsFunc(a.Prefix, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("auth header: %s is no prefix: it is one word of visible ASCII, without white space", directive.Shown(a.Prefix))
	}
	return nil
}

// duration is a pointer to d, for options whose zero is not their default.
func duration(d time.Duration) *caddy.Duration {
	cd := caddy.Duration(d)
	return &cd
}

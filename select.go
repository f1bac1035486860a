package keycycler

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Select says how a request's key is chosen among those that are ready.
type Select struct {
	// `random`, which draws one, or `hash`, which prefers the same key for the same
	// value, so that what the upstream caches of prompts is met again. Each value has
	// its own order of the keys, the same on every node: where its first key cools or
	// has been tried the next one serves, and the first again when it is ready. Tiers
	// come before that; weights are how many values prefer a key. Default: `random`.
	Policy string `json:"policy,omitempty"`

	// With `hash`: the placeholder whose value counts, such as
	// `{http.request.header.X-Session}` or `{http.auth.user.id}`. It is evaluated once
	// per request, before the first attempt. Where it is unknown or empty, the key is
	// drawn. Clients who choose the value can keep to one key, but not choose which.
	Value string `json:"value,omitempty"`
}

// The policies.
const (
	selectRandom = "random"
	selectHash   = "hash"
)

// lateValues are placeholders that a request's key cannot be chosen by, and why.
var lateValues = []struct{ prefix, why string }{
	{"http.request.body", "would take the request's body away from the upstream"},
	{"http.response.", "is not known before the upstream has answered"},
	{"http.reverse_proxy.", "is not known before the key is chosen"},
	{placeholderPrefix + "key_id", "is not known before the key is chosen"},
	{placeholderPrefix + "attempts", "is not known before the key is chosen"},
	{placeholderPrefix + "outcome", "is not known before the upstream has answered"},
}

// hashes tells whether requests have values. s may be nil.
func (s *Select) hashes() bool { return s != nil && s.Policy == selectHash }

// placeholder returns the name of the placeholder whose value counts, "" where keys are
// drawn. s may be nil.
func (s *Select) placeholder() string {
	if !s.hashes() {
		return ""
	}
	return s.name()
}

// name returns the placeholder's name.
func (s *Select) name() string { return strings.TrimSuffix(strings.TrimPrefix(s.Value, "{"), "}") }

func (s *Select) check() error {
	switch {
	case s == nil:
		return nil
	case !slices.Contains([]string{"", selectRandom, selectHash}, s.Policy):
		return fmt.Errorf("select: unknown policy %s: %s or %s", shown(s.Policy), selectRandom, selectHash)
	case !s.hashes() && s.Value != "":
		return fmt.Errorf("select: a placeholder goes with %s", selectHash)
	case s.hashes():
		return s.checkValue()
	}
	return nil
}

func (s *Select) checkValue() error {
	name := s.name()
	if s.Value != "{"+name+"}" || name == "" || strings.ContainsAny(name, `{}\`) {
		return errors.New("select hash: one placeholder is needed, such as {http.request.header.X-Session}: the same text for all requests would give all of them one key")
	}
	for _, late := range lateValues {
		if strings.HasPrefix(name, late.prefix) {
			return fmt.Errorf("select hash: {%s} %s", late.prefix, late.why)
		}
	}
	return nil
}

// parseSelect parses `select random | hash <placeholder>`.
func (h *Handler) parseSelect(d *caddyfile.Dispenser) (err error) {
	s := new(Select)
	h.Select = s
	if s.Policy, err = value(d, "select", "random or hash <placeholder>"); err != nil {
		return err
	}
	if s.Policy == "" {
		return d.Errf("select: unknown policy '': %s or %s", selectRandom, selectHash)
	}
	if s.Policy == selectHash {
		if s.Value, err = value(d, "select hash", "<placeholder>"); err != nil {
			return err
		}
	}
	return wrap(d, s.check())
}

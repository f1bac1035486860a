package check

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/keycycler/keycycler/internal/directive"
)

// Bounds of the options.
const (
	defaultInterval = time.Hour
	minInterval     = 10 * time.Second
	maxInterval     = 7 * 24 * time.Hour
	maxURI          = 1024 // bytes
)

// Config says how the upstream is asked about keys.
type Config struct {
	// The path, with a query if it needs one, at which the upstream is asked by GET: one that
	// costs nothing, and that is answered for good keys alone. It is the path as clients write
	// it where it reaches keycycler: what handlers behind it change, and the base path of an
	// `upstream`, come later. Default: the provider's list of models; `generic` has none.
	URI string `json:"uri,omitempty"`

	// How often the upstream is asked about each key that is idle, or that cools since it was
	// refused as invalid or in unknown words: 0, never, or 10s to 168h. The keys are spread
	// over the interval, at most five a second and one at a time. Default: 1h.
	Interval *caddy.Duration `json:"interval,omitempty"`

	// Whether the upstream is asked about all keys as soon as the config runs, at most five a
	// second. Keys that were in use, or asked about, within half an interval are left out, so
	// a reload does not ask again. Default: false.
	OnStart bool `json:"on_start,omitempty"`
}

// plan is when keys are checked. c may be nil: only when somebody wants it.
func (c *Config) plan() Plan {
	if c == nil {
		return Plan{}
	}
	p := Plan{Interval: defaultInterval, OnStart: c.OnStart}
	if c.Interval != nil {
		p.Interval = time.Duration(*c.Interval)
	}
	return p
}

// uri returns what is asked for, where the provider's own is another. c may be nil.
func (c *Config) uri(provider string) string {
	if c == nil || c.URI == "" {
		return provider
	}
	return c.URI
}

// Check holds the options against their bounds. c may be nil.
func (c *Config) Check() error {
	if c == nil {
		return nil
	}
	if d := c.plan().Interval; d != 0 && (d < minInterval || d > maxInterval) {
		return fmt.Errorf("check interval: %s is out of range: 0s, or %s to %s", d, minInterval, maxInterval)
	}
	return checkURI(c.URI)
}

func checkURI(uri string) error {
	if uri == "" {
		return nil
	}
	_, err := url.ParseRequestURI(uri)
	switch {
	case directive.HasKeyPrefix(uri):
		return errors.New("check uri: it looks like a key (not shown): keys belong behind 'keys'")
	case err != nil || !strings.HasPrefix(uri, "/") || strings.HasPrefix(uri, "//") || strings.ContainsAny(uri, "# ") || len(uri) > maxURI:
		return fmt.Errorf("check uri: it must be a path, maybe with a query, such as /v1/models, of at most %d bytes", maxURI)
	}
	return nil
}

// CheckProvider finds a pool that has nothing to ask for. own is the provider's path, "" for
// none. c may be nil.
func (c *Config) CheckProvider(name, own string) error {
	if c == nil || c.uri(own) != "" {
		return nil
	}
	return fmt.Errorf("check: provider %s has no path that is known to cost nothing: add 'uri <path>'", name)
}

// Parse parses `check [{ uri <path>; interval <duration>; on_start }]`.
func (c *Config) Parse(d *caddyfile.Dispenser) error {
	_, err := directive.ParseBlock(d, "check", map[string]directive.Option{
		"uri":      {Parse: c.parseURI},
		"interval": {Parse: c.parseInterval},
		"on_start": {Parse: func(*caddyfile.Dispenser) error { c.OnStart = true; return nil }},
	})
	return err
}

func (c *Config) parseURI(d *caddyfile.Dispenser) (err error) {
	if c.URI, err = directive.Value(d, "check uri", "<path>"); err != nil {
		return err
	}
	if c.URI == "" {
		return d.Errf("check uri: it is empty")
	}
	return directive.Wrap(d, checkURI(c.URI))
}

func (c *Config) parseInterval(d *caddyfile.Dispenser) error {
	dur, err := directive.DurationValue(d, "check interval")
	if err != nil {
		return err
	}
	c.Interval = new(caddy.Duration(dur))
	return directive.Wrap(d, c.Check())
}

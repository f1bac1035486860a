package keycycler

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/keycycler/keycycler/rotator"
)

// Limit bounds what goes out with each key from this node, so that no key is driven
// into the upstream's own limit. A key at its limit is as one that cools. What is
// counted belongs to the key: it outlives reloads, and pools of one node that hold the
// same key count together, each against its own limit. Several nodes do not: divide by
// their number.
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
}

// Bounds of the limit.
const (
	maxConcurrency = 100_000
	maxRequests    = 1_000_000
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
		Reason: reasonLimit, Source: sourceConfig,
	}
}

func (l *Limit) check() error {
	if l == nil {
		return nil
	}
	per := time.Duration(l.Per)
	switch {
	case l.Concurrency == 0 && l.Requests == 0:
		return errors.New("limit: concurrency or requests is needed")
	case l.Concurrency < 0 || l.Concurrency > maxConcurrency:
		return fmt.Errorf("limit concurrency: %d is out of range: 1 to %d", l.Concurrency, maxConcurrency)
	case l.Requests < 0 || l.Requests > maxRequests:
		return fmt.Errorf("limit requests: %d is out of range: 1 to %d", l.Requests, maxRequests)
	case l.Requests == 0 && per != 0:
		return errors.New("limit requests: a duration goes with a number of requests")
	case l.Requests > 0 && (per < minPer || per > maxPer):
		return fmt.Errorf("limit requests: %s is out of range: %s to %s", per, minPer, maxPer)
	}
	return nil
}

// parseLimit parses the block of `concurrency <n>` and `requests <n> <per>`.
func (h *Handler) parseLimit(d *caddyfile.Dispenser) error {
	l := new(Limit)
	h.Limit = l
	return parseSubBlock(d, "limit", map[string]option{
		"concurrency": {parse: func(d *caddyfile.Dispenser) error {
			return l.parseNumber(d, &l.Concurrency, maxConcurrency)
		}},
		"requests": {parse: func(d *caddyfile.Dispenser) error {
			if err := l.parseNumber(d, &l.Requests, maxRequests); err != nil {
				return err
			}
			per, err := durationValue(d, "limit requests")
			l.Per = caddy.Duration(per)
			if err != nil {
				return err
			}
			return wrap(d, l.check())
		}},
	})
}

func (l *Limit) parseNumber(d *caddyfile.Dispenser, field *int, most int) error {
	name := "limit " + d.Val()
	s, err := value(d, name, "<n>")
	if err != nil {
		return err
	}
	if *field, err = strconv.Atoi(s); err != nil || *field < 1 || *field > most {
		return d.Errf("%s: %s is out of range: 1 to %d", name, shown(s), most)
	}
	return nil
}

// Package directive reads blocks of a Caddyfile and objects of a JSON config, and says what
// errors may show: never what could be a key.
//
// It knows Caddy's tokens and nothing of what the options mean. A helper that two
// directives share goes here; the parser of one option stands beside its field.
package directive

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Option is one line of a block, or a block within it.
type Option struct {
	Parse func(*caddyfile.Dispenser) error // called with the option's name as the current token
	Many  bool                             // may stand more than once
}

// ParseBlock hands each option of the block that opens here to its parser. An
// unknown option and one that stands twice are errors; so are arguments and
// blocks that a parser left. It returns the options that were there.
func ParseBlock(d *caddyfile.Dispenser, block string, options map[string]Option) (map[string]bool, error) {
	seen := make(map[string]bool)
	last := block
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		o, known := options[name]
		switch {
		case name == "{":
			return nil, d.Errf("%s: takes no block", last)
		case !known:
			return nil, d.Errf("%s: %s", block, unknownOption(name, options))
		case seen[name] && !o.Many:
			return nil, d.Errf("%s: option '%s' stands twice", block, name)
		}
		seen[name] = true
		if err := o.Parse(d); err != nil {
			return nil, err
		}
		if err := noMore(d, optionName(block, name), name); err != nil {
			return nil, err
		}
		last = optionName(block, name)
	}
	return seen, nil
}

// noMore finds an argument that a parser left.
func noMore(d *caddyfile.Dispenser, option, name string) error {
	tookNone := d.Val() == name
	switch {
	case !d.NextArg():
		return nil
	case tookNone && (d.Val() == "off" || d.Val() == "false" || d.Val() == "no"):
		return d.Errf("%s: surplus argument: it takes none, and is off where it is left out", option)
	case tookNone:
		return d.Errf("%s: surplus argument: it takes none", option)
	default:
		return d.Errf("%s: surplus argument", option)
	}
}

// unknownOption says what to write in the place of an option that there is not.
func unknownOption(name string, options map[string]Option) string {
	names := slices.Sorted(maps.Keys(options))
	shown := ShownName(name)
	if strings.HasPrefix(name, "//") {
		return "unknown option " + shown + ": a comment begins with #"
	}
	if left, _, found := strings.Cut(name, "="); found && Near(left, names) != "" {
		return "unknown option " + shown + ": did you mean '" + Near(left, names) + "'? Its value follows after a space, without ="
	}
	if Near(name, names) != "" {
		shown = Shown(name) // also one with a dash
	}
	return "unknown option " + shown + ": " + Instead(name, names, "the options are "+strings.Join(names, ", "))
}

// ParseSubBlock is ParseBlock for an option that is nothing but a block.
func ParseSubBlock(d *caddyfile.Dispenser, block string, options map[string]Option) error {
	if d.NextArg() {
		return d.Errf("%s: surplus argument: it takes a block of %s", block, Names(options))
	}
	start := *d
	seen, err := ParseBlock(d, block, options)
	if err == nil && len(seen) == 0 {
		return start.Errf("%s: needs a block of %s", block, Names(options))
	}
	return err
}

// optionName is how errors call an option of this block.
func optionName(block, name string) string {
	return strings.TrimPrefix(block+" "+name, "keycycler ")
}

// OrUnset is a hint for options whose argument may be a {$VARIABLE}: Caddy replaces it by
// nothing where the variable is not set.
const OrUnset = ": if it is a {$VARIABLE}, is the variable set?"

// Value returns the option's only or first argument, which must be there: want
// says what it is, and the hints what may have become of it.
func Value(d *caddyfile.Dispenser, option, want string, hints ...string) (string, error) {
	if !d.NextArg() {
		return "", d.Errf("%s: %s is missing%s", option, want, strings.Join(hints, ""))
	}
	return d.Val(), noSign(d, option)
}

// noSign finds a sign between an option and its value, as other languages have it.
func noSign(d *caddyfile.Dispenser, option string) error {
	if d.Val() == "=" || d.Val() == ":" || d.Val() == ":=" {
		return d.Errf("%s: '%s' is too much: the value follows the option after a space", option, d.Val())
	}
	return nil
}

// Values returns all arguments of the option, of which there must be one.
func Values(d *caddyfile.Dispenser, option, want string, hints ...string) ([]string, error) {
	first, err := Value(d, option, want, hints...)
	if err != nil {
		return nil, err
	}
	return append([]string{first}, d.RemainingArgs()...), nil
}

// OnOff returns the option's argument, which is on or off.
func OnOff(d *caddyfile.Dispenser, option string) (*bool, error) {
	s, err := Value(d, option, "on or off")
	if err != nil {
		return nil, err
	}
	on := s == "on"
	if !on && s != "off" {
		return nil, d.Errf("%s: %s is neither on nor off", option, Shown(s))
	}
	return &on, nil
}

func DurationValue(d *caddyfile.Dispenser, option string) (time.Duration, error) {
	s, err := Value(d, option, "<duration>")
	if err != nil {
		return 0, err
	}
	dur, err := caddy.ParseDuration(s)
	if err != nil {
		if s == "per" && d.NextArg() {
			s += " " + d.Val()
		}
		return 0, d.Errf("%s: %s is no duration such as 30s, 5m or 1d%s", option, Shown(s), AsDuration(s))
	}
	return dur, nil
}

// Count reads a number that may end in k, for thousands, or m, for millions.
func Count(text string) (n int64, ok bool) {
	scale := int64(1)
	switch {
	case strings.HasSuffix(text, "k"):
		scale = 1_000
	case strings.HasSuffix(text, "m"):
		scale = 1_000_000
	}
	digits := strings.TrimRight(text, "km")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || len(text)-len(digits) > 1 || n < 0 || n > math.MaxInt64/scale {
		return 0, false
	}
	return n * scale, true
}

// Number reads a decimal number of 0 or more, also one such as 90k or 1.5m, for thousands and
// millions.
func Number(s string) (float64, bool) {
	const whole = 1e-6 // how far from a whole number 1.1k may be
	unit := 1.0
	switch digits := strings.ToLower(s); {
	case strings.HasSuffix(digits, "k"):
		s, unit = s[:len(s)-1], 1e3
	case strings.HasSuffix(digits, "m"):
		s, unit = s[:len(s)-1], 1e6
	}
	if s == "" || strings.Trim(s, "0123456789.") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	n *= unit
	if round := math.Round(n); math.Abs(n-round) < whole {
		n = round
	}
	return n, err == nil
}

// CheckUnit finds a duration that nobody means: a number of nanoseconds, as JSON has them,
// written for one of seconds.
func CheckUnit(name string, d time.Duration) error {
	if d > 0 && d < time.Millisecond {
		return fmt.Errorf("%s: %s is less than a millisecond: a number in JSON is one of nanoseconds, write \"%ds\" for seconds", name, d, d)
	}
	return nil
}

// Wrap adds file and line to an error; nil stays nil.
func Wrap(d *caddyfile.Dispenser, err error) error {
	if err == nil {
		return nil
	}
	return d.WrapErr(err)
}

// Package catalog is which models keys serve, and what these are called where the keys
// work.
//
// It knows names of models and nothing of keys or HTTP. A rule about models that needs no
// request under way goes here.
package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Offer is what the keys of a block serve. nil stands for all models, by their own names.
// It is immutable.
type Offer struct {
	// Models are patterns of the only models that the keys may be used for; none: all. A
	// `*` stands for any text, also none.
	Models []string

	// Renames are tried in order: the first whose From fits decides.
	Renames []Rename
}

// Rename says what a model is called where the keys work.
type Rename struct {
	From string // a pattern, as in Models
	To   string
}

// Serves tells whether the keys may be used for the model; "" is that of a request which
// names none, or not early enough: any key may be used for it.
func (o *Offer) Serves(model string) bool {
	if o == nil || len(o.Models) == 0 || model == "" {
		return true
	}
	return slices.ContainsFunc(o.Models, func(pattern string) bool { return Fits(pattern, model) })
}

// Name returns what the model is called where the keys work, and whether that is another
// name.
func (o *Offer) Name(model string) (string, bool) {
	if o == nil || model == "" {
		return model, false
	}
	for _, r := range o.Renames {
		if Fits(r.From, model) {
			return r.To, r.To != model
		}
	}
	return model, false
}

// MaxName is the longest name of a model, and the longest pattern, in bytes.
const MaxName = 256

// CheckPattern tells whether the text is a name or a pattern, and nothing else that people
// write in their place. The error says what to write.
func CheckPattern(text string) error {
	switch {
	case !IsName(text):
		return fmt.Errorf("must be 1 to %d bytes of printable characters", MaxName)
	case strings.ContainsAny(text, ",;"):
		return errors.New("must have no comma: write several apart, with spaces between them")
	case strings.HasPrefix(text, "^") || strings.HasSuffix(text, "$") || strings.Contains(text, ".*"):
		return errors.New("must be no regular expression: a * stands for any text, as in gpt-4o*")
	}
	return nil
}

// IsName tells whether the text can be a name or a pattern: printable, and of a length
// within the bounds.
func IsName(text string) bool {
	printable := func(r rune) bool { return r != utf8.RuneError && unicode.IsPrint(r) }
	return text != "" && len(text) <= MaxName && strings.TrimLeftFunc(text, printable) == ""
}

// Equal tells whether both offer the same.
func (o *Offer) Equal(other *Offer) bool {
	if o == nil || other == nil {
		return o == other
	}
	return slices.Equal(o.Models, other.Models) && slices.Equal(o.Renames, other.Renames)
}

// Fits tells whether the model's name is of the pattern, in which each `*` stands for any
// text. Upper and lower case are told apart.
func Fits(pattern, model string) bool {
	first, rest, open := strings.Cut(pattern, "*")
	if !open {
		return pattern == model
	}
	if model, open = strings.CutPrefix(model, first); !open {
		return false
	}
	for {
		part, more, another := strings.Cut(rest, "*")
		if !another {
			return strings.HasSuffix(model, part)
		}
		i := strings.Index(model, part)
		if i < 0 {
			return false
		}
		model, rest = model[i+len(part):], more
	}
}

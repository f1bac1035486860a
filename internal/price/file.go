package price

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"

	"github.com/keycycler/keycycler/internal/catalog"
	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/usage"
)

// Bounds of a file of prices. The table of docs/reference.md says the same.
const (
	maxFile     = 1 << 20 // bytes
	maxModels   = 10_000  // names and patterns
	maxPatterns = 1000    // of them, that have a `*`: each of them is compared
	maxPrice    = 100_000 // USD per million tokens
	maxDigits   = 32      // of a number
)

// commentName is of the member that is a text, for people.
const commentName = "comment"

// reader reads a file of prices: an object that has a member for each name or pattern.
type reader struct {
	text     []byte
	tokens   *json.Decoder
	at       int // in text, of what was read last, or could not be
	all      map[string]*rates
	patterns int
}

// read reads a whole file. Its errors name the line, and nothing of the text that could be a
// key.
func read(from io.Reader) (*List, error) {
	text, err := io.ReadAll(io.LimitReader(from, maxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxFile:
		return nil, fmt.Errorf("the file is larger than %d bytes", maxFile)
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	r := &reader{text: text, tokens: json.NewDecoder(bytes.NewReader(text)), all: make(map[string]*rates)}
	r.tokens.UseNumber()
	if err := r.file(); err != nil {
		return nil, fmt.Errorf("line %d: %w", r.line(), err)
	}
	return newList(r.all), nil
}

// line is that of what was read last.
func (r *reader) line() int { return 1 + bytes.Count(r.text[:r.at], []byte("\n")) }

var (
	errForm    = errors.New(`the file is no object such as {"gpt-4o*": {"input": 2.5, "cached": 1.25, "output": 10}}`)
	errNoModel = errors.New("the file has no price")
)

func (r *reader) file() error {
	if err := r.members(r.model, errForm); err != nil {
		return err
	}
	if _, err := r.tokens.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the object")
	}
	if len(r.all) == 0 {
		return errNoModel
	}
	return nil
}

// members reads an object, whose members it hands over by name. One that stands twice is an
// error, and what is no object is another.
func (r *reader) members(read func(name string) error, otherwise error) error {
	if t, err := r.next(); err != nil || t != json.Delim('{') {
		return cmp.Or(err, otherwise)
	}
	seen := make(map[string]bool)
	for r.tokens.More() {
		if err := r.member(seen, read); err != nil {
			return err
		}
	}
	_, err := r.next()
	return err
}

func (r *reader) member(seen map[string]bool, read func(name string) error) error {
	t, err := r.next()
	if err != nil {
		return err
	}
	name, _ := t.(string) // as the decoder sees to
	if seen[name] {
		return fmt.Errorf("%s stands twice", shown(name))
	}
	seen[name] = true
	return read(name)
}

// next returns the next token. What is no JSON is said in words of our own: the decoder's
// show what they have found.
func (r *reader) next() (json.Token, error) {
	t, err := r.tokens.Token()
	r.at = int(r.tokens.InputOffset())
	if err != nil {
		r.at = len(r.text) - len(r.rest())
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errors.New("the file ends too soon")
	case err != nil:
		return nil, errors.New("that is no JSON")
	}
	return t, nil
}

// rest is what comes after the last token, without what stands between two.
func (r *reader) rest() []byte { return bytes.TrimLeft(r.text[r.tokens.InputOffset():], ",: \t\r\n") }

// shown is a name in errors and in the log, unless it could be a key.
func shown(name string) string {
	if name != "" && !catalog.IsName(name) || directive.LooksLikeKey(name) {
		return "(not shown: it could be a key)"
	}
	return "'" + name + "'"
}

// model reads what a model costs, or the models of a pattern.
func (r *reader) model(name string) error {
	if name == commentName && r.comment() {
		return nil
	}
	if !catalog.IsName(name) {
		return fmt.Errorf("a model has 1 to %d bytes of printable characters", catalog.MaxName)
	}
	prices := make(map[string]uint64)
	err := r.members(func(kind string) error { return r.price(prices, kind) }, errors.New(`the prices are no object such as {"input": 2.5, "output": 10}`))
	if err == nil && len(prices) == 0 {
		err = errors.New("it has no price")
	}
	if err != nil {
		return fmt.Errorf("model %s: %w", shown(name), err)
	}
	r.all[name] = ratesOf(prices)
	return r.fits(name)
}

// comment takes a text, if one comes.
func (r *reader) comment() bool {
	if !bytes.HasPrefix(r.rest(), []byte(`"`)) {
		return false
	}
	_, err := r.next()
	return err == nil
}

// fits holds the names and patterns against their bounds.
func (r *reader) fits(name string) error {
	if strings.Contains(name, "*") {
		r.patterns++
	}
	switch {
	case len(r.all) > maxModels:
		return fmt.Errorf("there are more than %d models", maxModels)
	case r.patterns > maxPatterns:
		return fmt.Errorf("there are more than %d models with a *", maxPatterns)
	}
	return nil
}

// price reads what a million tokens of a kind cost.
func (r *reader) price(prices map[string]uint64, kind string) error {
	if !slices.Contains(usage.Names[:], kind) {
		if strings.HasSuffix(kind, "_per_token") {
			return fmt.Errorf("%s is of another program's list: here it is, in USD per million tokens, one of %s", directive.Shown(kind), strings.Join(usage.Names[:], ", "))
		}
		return fmt.Errorf("unknown kind of tokens %s: one of %s", directive.Shown(kind), strings.Join(usage.Names[:], ", "))
	}
	t, err := r.next()
	if err != nil {
		return err
	}
	number, ok := t.(json.Number)
	if !ok {
		return fmt.Errorf("%s: the price is no number: it is USD per million tokens, without quotes", kind)
	}
	if prices[kind], err = parsePrice(number.String()); err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	return nil
}

// parsePrice returns USD per million tokens as pico-USD a token.
func parsePrice(text string) (uint64, error) {
	if len(text) > maxDigits || strings.Trim(text, "0123456789.") != "" {
		return 0, fmt.Errorf("the price must be a decimal from 0 to %d such as 0.075: USD per million tokens", maxPrice)
	}
	price, _ := new(big.Rat).SetString(text) // as JSON and this alphabet have it
	if price.Cmp(big.NewRat(maxPrice, 1)) > 0 {
		return 0, fmt.Errorf("the price is out of range: 0 to %d USD per million tokens", maxPrice)
	}
	if price.Mul(price, big.NewRat(1_000_000, 1)); !price.IsInt() {
		return 0, errors.New("the price has more than six decimals")
	}
	return price.Num().Uint64(), nil
}

// ratesOf fills in what is left out: tokens of caches cost what others of the input do, and
// those of reasoning what others of the output do.
func ratesOf(prices map[string]uint64) *rates {
	r := new(rates)
	for kind, name := range usage.Names {
		price, ok := prices[name]
		switch usage.Type(kind) {
		case usage.Cached, usage.CacheWrite:
			if !ok {
				price = r[usage.Input]
			}
		case usage.Reasoning:
			if !ok {
				price = r[usage.Output]
			}
		}
		r[kind] = price
	}
	return r
}

package keyfile

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/rotator"
)

// Found is what a text says of keys. Nothing but the entries' keys is secret.
type Found struct {
	Entries []Entry // each key once, in order
	Twice   []Note  // keys that stood there before: nothing is lost without them
	Skipped []Note  // what is no key, and is not meant to be one
	Wrong   []Note  // what is meant to be a key, and is none
}

// Note is what is to be said of a line.
type Note struct {
	Line int // from 1 on
	Text string
}

func (n Note) String() string { return fmt.Sprintf("line %d: %s", n.Line, n.Text) }

// maxTold is of how many lines is told at a time.
const maxTold = 10

// Told says the notes, the first of many.
func Told(notes []Note) string {
	parts := make([]string, 0, maxTold+1)
	for _, n := range notes[:min(len(notes), maxTold)] {
		parts = append(parts, n.String())
	}
	if more := len(notes) - maxTold; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, "; ")
}

// Check tells why the entries are not to be added: something is no key, or there is none.
func (f *Found) Check() error {
	switch {
	case len(f.Wrong) > 0:
		return errors.New(Told(f.Wrong))
	case len(f.Entries) > 0:
		return nil
	case len(f.Skipped) > 0:
		return fmt.Errorf("there is no key: %s", Told(f.Skipped))
	}
	return errors.New("there is no key")
}

// inKeys is how the admin API names one of the keys that it was sent.
var inKeys = regexp.MustCompile(`keys\[(\d+)\]`)

// InLines is an answer of the admin API, to which the entries were sent, with the lines where
// keys stand.
func (f *Found) InLines(answer string) string {
	return inKeys.ReplaceAllStringFunc(answer, func(place string) string {
		i, err := strconv.Atoi(place[len("keys[") : len(place)-1])
		if err != nil || i >= len(f.Entries) {
			return place
		}
		return fmt.Sprintf("line %d", f.Entries[i].Line)
	})
}

// Only keeps the entries of the provider, and those of which the text says nothing of that.
// Without a provider there may not be entries of several: a pool is of one.
func (f *Found) Only(provider string) error {
	counts := make(map[string]int)
	for _, e := range f.Entries {
		if e.Provider != "" {
			counts[e.Provider]++
		}
	}
	switch {
	case provider == "" && len(counts) > 1:
		return fmt.Errorf("the keys are of several providers: %s: say which, since a pool is of one", counted(counts))
	case provider == "":
		return nil
	case counts[provider] == 0 && len(counts) > 0:
		return fmt.Errorf("no key is of that provider: there is %s", counted(counts))
	}
	f.Entries = slices.DeleteFunc(f.Entries, func(e Entry) bool { return e.Provider != "" && e.Provider != provider })
	return nil
}

// counted says how many there are of each.
func counted(counts map[string]int) string {
	names := slices.Sorted(maps.Keys(counts))
	for i, name := range names {
		names[i] = fmt.Sprintf("%s (%d)", name, counts[name])
	}
	return strings.Join(names, ", ")
}

// collector makes a Found, line by line.
type collector struct {
	Found
	keys  map[rotator.ID]int // where each key stands
	names map[string]int     // likewise
}

func newCollector() *collector {
	return &collector{keys: make(map[rotator.ID]int), names: make(map[string]int)}
}

// undecrypted is what gpt-load exports in place of a key that it cannot read.
const undecrypted = "failed-to-decrypt"

// add adds what stands in the line, if it is a key.
func (c *collector) add(line int, secret, name, provider string) {
	e, err := NewEntry(secret, name)
	first, twice := c.keys[e.Key.ID()]
	other, taken := c.names[name]
	switch {
	case secret == undecrypted:
		c.wrong(line, "gpt-load could not decrypt this key when it exported the others: its ENCRYPTION_KEY is wrong")
	case err != nil:
		c.wrong(line, err.Error())
	case twice:
		c.Twice = append(c.Twice, Note{line, fmt.Sprintf("key %s stands on line %d already", e.Key, first)})
	case name != "" && taken:
		c.wrong(line, fmt.Sprintf("the key's name is that of the key on line %d: a name stands for one key", other))
	default:
		e.Line, e.Provider = line, provider
		c.Entries = append(c.Entries, e)
		c.keys[e.Key.ID()], c.names[name] = line, line
	}
}

func (c *collector) wrong(line int, text string) { c.Wrong = append(c.Wrong, Note{line, text}) }

func (c *collector) skip(line int, text string) { c.Skipped = append(c.Skipped, Note{line, text}) }

// Lines reads what is a keys file: <key> or <key> <name> a line.
func Lines(text []byte) Found {
	c := newCollector()
	c.eachLine(text, c.line)
	return c.Found
}

// eachLine calls read for each line that holds something, by its number.
func (c *collector) eachLine(text []byte, read func(n int, line string)) {
	for n, line := range numbered(text) {
		line = bytes.TrimSpace(unmarked(n, line))
		if len(line) > 0 && line[0] != '#' {
			read(n, string(line))
		}
	}
}

// line reads a line of a keys file.
func (c *collector) line(n int, line string) {
	secret, name, err := keyset.ParseLine(line)
	if err != nil {
		c.wrong(n, err.Error())
		return
	}
	c.add(n, secret, name, "")
}

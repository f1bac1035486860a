// Package keyfile is the text of a file of keys: how keys are added to it and taken away,
// how it is written, and what the files of other programs say.
//
// It knows one text or file at a time. Which pool the keys are of, and whether it takes
// them, is others'. A format that keys can be imported from goes here.
package keyfile

import (
	"bytes"
	"errors"

	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/rotator"
)

// Entry is a key as it stands in a text.
type Entry struct {
	Key      rotator.Key
	Name     string // for people; "": none
	Line     int    // where it stands, from 1 on; 0: in no line
	Provider string // whose key it is, if the text says so: openai, …
}

var (
	errNotAlone = errors.New("more than a key stands there")
	errHash     = errors.New("the key begins with #, which begins a comment in a file of keys")
)

// NewEntry returns the key with its name, "" for none, if a line of a keys file can hold
// them. The error shows nothing of either.
func NewEntry(secret, name string) (Entry, error) {
	alone, rest, err := keyset.ParseLine(secret)
	switch {
	case err != nil:
		return Entry{}, err
	case alone != secret || rest != "":
		return Entry{}, errNotAlone
	case secret != "" && secret[0] == '#':
		return Entry{}, errHash
	}
	key, err := rotator.NewKey(secret)
	e := Entry{Key: key, Name: name}
	if err == nil && name != "" {
		if err = keyset.CheckName(name); err == nil {
			_, _, err = keyset.ParseLine(e.line())
		}
	}
	return e, err
}

// line is how the entry stands in a keys file.
func (e Entry) line() string {
	if e.Name == "" {
		return e.Key.Secret()
	}
	return e.Key.Secret() + " " + e.Name
}

// Add returns the text with the entries behind all that stands there, a line each. Its last
// line gets an end if it has none, and all else stays, byte for byte.
func Add(text []byte, entries []Entry) []byte {
	end := lineEnd(text)
	out := bytes.NewBuffer(bytes.Clone(text))
	if n := len(text); n > 0 && text[n-1] != '\n' && !bytes.Equal(text, mark) {
		out.WriteString(end)
	}
	for _, e := range entries {
		out.WriteString(e.line() + end)
	}
	return out.Bytes()
}

// mark is what some editors put before UTF-8 text.
var mark = []byte("\xef\xbb\xbf")

// lineEnd returns how the text ends its lines.
func lineEnd(text []byte) string {
	if i := bytes.IndexByte(text, '\n'); i > 0 && text[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// Remove returns the text without the lines of the key, and how many there were. All other
// lines stay, byte for byte: comments, blank ones, and those that are wrong.
func Remove(text []byte, id rotator.ID) (rest []byte, lines int) {
	for n, line := range numbered(text) {
		if secret := keyIn(n, line); secret == "" || rotator.IDOf(secret) != id {
			rest = append(rest, line...)
			continue
		}
		if lines++; n == 1 && bytes.HasPrefix(line, mark) {
			rest = append(rest, mark...)
		}
	}
	return rest, lines
}

// keyIn returns the key of a line, "" where it has none.
func keyIn(n int, line []byte) string {
	line = bytes.TrimSpace(unmarked(n, line))
	if len(line) == 0 || line[0] == '#' {
		return ""
	}
	secret, _, err := keyset.ParseLine(string(line))
	if err != nil {
		return ""
	}
	return secret
}

// unmarked is the n-th line without a byte order mark.
func unmarked(n int, line []byte) []byte {
	if n == 1 {
		return bytes.TrimPrefix(line, mark)
	}
	return line
}

// numbered returns the lines with their ends, by their numbers, from 1 on.
func numbered(text []byte) func(yield func(int, []byte) bool) {
	return func(yield func(int, []byte) bool) {
		n := 0
		for line := range bytes.Lines(text) {
			if n++; !yield(n, line) {
				return
			}
		}
	}
}

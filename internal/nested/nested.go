// Package nested looks for the models that a body in JSON names deeper than its own one: of the
// requests of a batch, of a realtime session, of a tool, and those to fall back on.
//
// It knows where providers let names of models stand, and neither clients nor HTTP. Such a place
// goes into carriers.
package nested

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/keycycler/keycycler/internal/peek"
)

// carriers are where names of models stand. [] is each element of an array, * each member of an
// object. What is not on the way to one is content: there model is a word like any other.
// Sources: the providers' API references.
var carriers = tree(
	"requests.[].params.model",                // Anthropic's batches
	"requests.[].params.tools.[].model",       // and what their requests may have
	"requests.[].body.model",                  // Mistral's
	"batch_requests.[].batch_request.*.model", // xAI's
	"session.model",                           // OpenAI's realtime sessions
	"session.audio.input.transcription.model",
	"audio.input.transcription.model",
	"input_audio_transcription.model",
	"tools.[].model",            // OpenAI's tool for images, Anthropic's advisor
	"tools.[].parameters.model", // OpenRouter's tools
	"models.[]",                 // OpenRouter's: those to fall back on
	"data_source.model",         // OpenAI's evals and graders
	"testing_criteria.[].model",
	"grader.model",
)

// place is a value that is on the way to a name, or one.
type place struct {
	name   string // of the member
	isName bool
	in     []*place
}

func tree(paths ...string) *place {
	root := new(place)
	for _, path := range paths {
		at := root
		for name := range strings.SplitSeq(path, ".") {
			next := at.member([]byte(name))
			if next == nil {
				next = &place{name: name}
				at.in = append(at.in, next)
			}
			at = next
		}
		at.isName = true
	}
	return root
}

// member returns the place of that name, nil for none. Some parsers, such as Go's, do not tell
// upper from lower case.
func (p *place) member(name []byte) *place {
	for _, m := range p.in {
		if bytes.EqualFold(name, []byte(m.name)) || m.name == "*" {
			return m
		}
	}
	return nil
}

// Finder holds each name at such a place against what is served, while a body streams by in
// pieces of any size. It keeps one string, never the body. It is not safe for concurrent use.
type Finder struct {
	serves func(model string) bool
	strays bool

	state state
	open  []level // the objects and arrays that are looked through, the innermost last
	next  *place  // of the next value; nil: nobody looks at it
	key   bool    // the next string is a member's name
	hop   peek.Hop
	text  []byte // what has come of the string that is read
}

// level is an object or an array that is looked through.
type level struct {
	at       *place // the object's, or that of each element
	isObject bool
}

// state is what comes next in the text.
type state uint8

const (
	start   state = iota // the object
	between              // what stands between strings
	reading              // the rest of a string
	hopping              // the rest of a value that nobody looks at
	done                 // nothing: the object has ended, or it is none
)

// maxText is the longest string that is read, in bytes: a name's, all of it escapes.
const maxText = 6*peek.MaxText + len(`"`)

// NewFinder returns a finder that has seen nothing. serves tells which models may be named.
func NewFinder(serves func(model string) bool) *Finder { return &Finder{serves: serves} }

// Strays tells whether the body names a model that is not served, as far as it has come, or has
// what is no JSON where one could stand. f may be nil.
func (f *Finder) Strays() bool { return f != nil && f.strays }

// Write takes the body's next piece. Nothing is kept of p. f may be nil.
func (f *Finder) Write(p []byte) {
	for f != nil && !f.strays && len(p) > 0 {
		switch f.state {
		case done:
			return
		case start:
			p = f.begin(p)
		case reading, hopping:
			p = f.pass(p)
		default:
			f.step(p[0])
			p = p[1:]
		}
	}
}

// begin takes a byte of what stands before the object: white space, and a byte order mark.
func (f *Finder) begin(p []byte) []byte {
	switch c := p[0]; {
	case isSpace(c) || bytes.IndexByte([]byte("\ufeff"), c) >= 0:
	case c == '{':
		f.state = between
		f.value(carriers, true)
	default:
		f.state = done
	}
	return p[1:]
}

// step takes a byte outside of strings, in what is looked through.
func (f *Finder) step(c byte) {
	switch {
	case c == '"':
		f.string()
	case c == '{':
		f.value(f.next, true)
	case c == '[' && f.next != nil:
		f.value(f.next.member([]byte("[]")), false)
	case c == '[':
		f.value(nil, false)
	case c == '}' || c == ']':
		f.leave()
	case c == ':':
		f.key = false
	case c == ',':
		f.ready()
	case isSpace(c):
	case f.key || !isScalar(c):
		f.strays = true // such as a comment: nobody can say what it hides
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// isScalar tells whether numbers, true, false or null have such a byte.
func isScalar(c byte) bool {
	return peek.IsAlphanumeric(c) || c == '-' || c == '+' || c == '.'
}

// string begins a string.
func (f *Finder) string() {
	f.state, f.hop, f.text = hopping, peek.Hop{Quoted: true}, f.text[:0]
	if f.key || f.next != nil && f.next.isName {
		f.state = reading
	}
}

// value begins an object, or an array whose elements are at that place.
func (f *Finder) value(at *place, isObject bool) {
	if at == nil || isObject && len(at.in) == 0 {
		f.state, f.hop = hopping, peek.Hop{Depth: 1}
		return
	}
	f.open = append(f.open, level{at, isObject})
	f.ready()
}

// ready awaits a member, or an element.
func (f *Finder) ready() {
	inner := f.open[len(f.open)-1]
	if f.key = inner.isObject; f.key {
		f.next = nil
	} else {
		f.next = inner.at
	}
}

// leave ends an object or an array.
func (f *Finder) leave() {
	f.open = f.open[:len(f.open)-1]
	f.next, f.key = nil, false
	if len(f.open) == 0 {
		f.state = done
	}
}

// pass takes as much of a string or of a value that nobody looks at as there is.
func (f *Finder) pass(p []byte) []byte {
	rest, ended := f.hop.Over(p)
	if f.state == reading {
		f.keep(p[:len(p)-len(rest)])
	}
	if !ended {
		return nil
	}
	if f.state == reading {
		f.read()
	}
	f.state = between
	return rest
}

// keep keeps a piece of a string, and one byte more than a name can have.
func (f *Finder) keep(p []byte) {
	f.text = append(f.text, p[:min(len(p), maxText+1-len(f.text))]...)
}

// read takes a string that has come to its end.
func (f *Finder) read() {
	text, ok := unquote(f.text)
	switch {
	case !ok:
		f.strays = true
	case f.key:
		f.next = f.open[len(f.open)-1].at.member(text)
	default:
		f.strays = !peek.IsModelName(text) || !f.serves(string(text))
	}
}

// unquote returns what a string says, of which there is all behind its first quote; nothing for
// one that is too long to be looked at. What no parser takes is not ok.
func unquote(raw []byte) (text []byte, ok bool) {
	switch {
	case len(raw) > maxText:
		return nil, true
	case bytes.IndexByte(raw, '\\') < 0:
		return raw[:len(raw)-1], true
	}
	var s string
	err := json.Unmarshal(append([]byte{'"'}, raw...), &s)
	return []byte(s), err == nil
}

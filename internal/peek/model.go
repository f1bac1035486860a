// Package peek reads what bodies say without parsing them whole: the model that a request
// names, ids, the first event of a stream, what compression hides.
//
// It knows formats, and neither keys nor providers. It is fed bytes as they stream, and
// keeps no more of them than it must. A field that is looked for in a stream goes here.
package peek

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxModelName is the longest name of a model that counts, in bytes. Clients
// choose the names, and they end up in keys, logs and placeholders.
const maxModelName = 256

// ModelFinder finds the model that a request's body names while the body streams
// by in pieces of any size. It keeps a name and a few words, never the body, and
// allocates while it looks for an unusually long name alone. It is not safe for
// concurrent use.
//
// Of several models the last counts, as it does for the parsers of Python, Go and
// JavaScript. So model is the best answer so far, and final once done. Who picks
// a key for a body that is still on its way asks model, after as much as has
// arrived; who blames a model for an answer should wait for done when the body
// ends in time, since a client could name one model early and get another.
//
// A body that ends before done is cut off, and names what it named until then.
type ModelFinder struct {
	json jsonModel
	Form *formModel // instead, for a form
}

// Begin makes f, which has seen nothing, ready for a body of this media type: JSON of
// any kind or multipart/form-data. For others it is done at once.
func (f *ModelFinder) Begin(contentType string) {
	const plain = "application/json"
	if contentType == plain {
		return
	}
	media, parameters, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	switch {
	case media == plain, strings.HasSuffix(media, "+json"):
		return
	case media == "multipart/form-data":
		f.Form = newFormModel(parameters)
	}
	if f.Form == nil {
		f.json.state = jsonDone
	}
}

// Mark makes f, which has begun and seen nothing, note where the names stand: see Marks.
func (f *ModelFinder) Mark() {
	n := f.name()
	if n.more == nil {
		n.more = new(moreName)
	}
	n.more.marking = true
}

// Heed makes f, which has begun and seen nothing, hold each name that the body may mean
// against what serves says: see Strays. sure tells that the body is said to be JSON.
func (f *ModelFinder) Heed(serves func(model string) bool, sure bool) {
	n := f.name()
	if n.more == nil {
		n.more = new(moreName)
	}
	n.more.serves, n.more.sure = serves, sure
}

// Strays tells whether the body, as far as it has come, may be for a model that is not served.
// Upstreams differ in what they take: of several names the first or the last, a member Model,
// JSON that is said to be a form. So each name counts, and what cannot be read.
func (f *ModelFinder) Strays() bool {
	n := f.name()
	return n.more != nil && n.more.strays
}

// Write takes the body's next piece. Nothing is kept of p.
func (f *ModelFinder) Write(p []byte) {
	if f.Form != nil {
		f.Form.write(p)
		return
	}
	f.json.write(p)
}

// Done tells whether what follows of the body cannot change the answer.
func (f *ModelFinder) Done() bool {
	if f.Form != nil {
		return f.Form.state == formDone
	}
	return f.json.state == jsonDone
}

// Found tells whether a model is known so far. It may still become another, or
// none, until done.
func (f *ModelFinder) Found() bool { return f.name().known }

// Model returns the model as known so far, if there is any.
func (f *ModelFinder) Model() (string, bool) {
	n := f.name()
	if !n.known {
		return "", false
	}
	return nameOf(n.text()), true
}

func (f *ModelFinder) name() *modelName {
	if f.Form != nil {
		return &f.Form.name
	}
	return &f.json.name
}

// ModelName collects a name. The zero value is ready to use.
type modelName struct {
	more   *moreName // or nil
	short  [usualModelName]byte
	length uint16
	junk   bool // it cannot become a name any more
	known  bool // it is complete and one
}

// moreName is what few names need.
type moreName struct {
	long    [maxModelName]byte // instead of short
	marking bool
	marks   marks

	serves func(model string) bool // that each name is held against; or nil
	sure   bool                    // what cannot be read at all cannot be told from a name either
	strays bool
	tail   []byte // what came last of the data that meets looks at
}

// meets tells whether data has the text, which may have begun in the piece before.
func (n *moreName) meets(text string, p []byte) bool {
	sought, most := []byte(text), len(text)-1
	n.tail = append(n.tail, p[:min(len(p), len(sought))]...)
	met := bytes.Contains(n.tail, sought) || bytes.Contains(p, sought)
	if len(p) > most {
		n.tail = append(n.tail[:0], p[len(p)-most:]...)
	}
	n.tail = append(n.tail[:0], n.tail[max(len(n.tail)-most, 0):]...)
	return met
}

// heeded tells whether each name is held against what is served.
func (n *modelName) heeded() bool { return n.more != nil && n.more.serves != nil }

// stray notes that the body may be for a model that is not served, if somebody heeds that.
func (n *modelName) stray() {
	if n.heeded() {
		n.more.strays = true
	}
}

// marks returns what notes where the names stand; nil: nobody asks.
func (n *modelName) marks() *marks {
	if n.more == nil || !n.more.marking {
		return nil
	}
	return &n.more.marks
}

// usualModelName is how long the names of models are at most, mostly, in bytes. Each
// request with a body has room for one.
const usualModelName = 52

// text returns what has come of the name.
func (n *modelName) text() []byte { return n.room()[:n.length] }

// room returns where the name stands.
func (n *modelName) room() []byte {
	if n.more != nil {
		return n.more.long[:]
	}
	return n.short[:]
}

// start forgets the name: another follows, and whatever it is will count.
func (n *modelName) start() { n.length, n.junk, n.known = 0, false, false }

// add appends to the name and reports whether it can still become one.
func (n *modelName) add(text []byte) bool {
	length := int(n.length) + len(text)
	if n.junk || length > maxModelName {
		n.junk = true
		return false
	}
	if n.more == nil && length > usualModelName {
		n.more = new(moreName)
		copy(n.more.long[:], n.short[:n.length])
	}
	copy(n.room()[n.length:], text)
	n.length = uint16(length)
	return true
}

// end tells that the name is complete.
func (n *modelName) end() {
	n.known = !n.junk && IsModelName(n.text())
	if n.heeded() && !(n.known && n.more.serves(nameOf(n.text()))) {
		n.stray()
	}
}

// IsModelName tells whether a name is printable and within the bounds.
func IsModelName(name []byte) bool {
	if len(name) == 0 || len(name) > maxModelName {
		return false
	}
	for len(name) > 0 {
		if c := name[0]; c >= ' ' && c <= '~' {
			name = name[1:]
			continue
		}
		r, size := utf8.DecodeRune(name)
		if r == utf8.RuneError && size == 1 || !unicode.IsPrint(r) {
			return false
		}
		name = name[size:]
	}
	return true
}

// Package walk goes through JSON texts that may be broken or cut off.
//
// It knows JSON's grammar, and nothing of what a text says. How a text is gone through goes
// here; what is looked for in it does not.
package walk

import "bytes"

// MaxDepth is how deep a body may nest. Real errors nest five levels; past the
// limit a body counts as broken.
const MaxDepth = 32

// Walker goes through a JSON text once and hands its strings and numbers to
// Leaf. encoding/json is no help here: it returns nothing at all from a text
// that is cut off or slightly wrong, and bodies of rejections are both. The
// Walker hands over what comes before the fault, takes raw line breaks in
// strings and commas too many, and allocates nothing but a long path.
type Walker struct {
	Rest []byte // what is left of the text
	// Path names the value at hand by the keys on the way to it, each after a
	// dot. Arrays leave no trace in it, so that an error wrapped in an array
	// has the same path as a bare one.
	Path []byte
	Leaf func(path, value []byte, quoted bool)
}

// Value walks one value and tells whether it was whole.
func (w *Walker) Value(depth int) bool {
	w.space()
	switch {
	case len(w.Rest) == 0 || depth > MaxDepth:
		return false
	case w.Rest[0] == '{':
		return w.object(depth)
	case w.Rest[0] == '[':
		return w.array(depth)
	case w.Rest[0] == '"':
		s, ok := w.quoted()
		if ok {
			w.Leaf(w.Path, s, true)
		}
		return ok
	default:
		return w.token()
	}
}

func (w *Walker) object(depth int) bool {
	outer := len(w.Path)
	for w.Rest = w.Rest[1:]; ; {
		if w.skip('}') {
			return true
		}
		key, ok := w.quoted()
		if !ok || !w.skip(':') {
			return false
		}
		w.Path = append(append(w.Path, '.'), bytes.TrimSpace(key)...) // " retryDelay" has been seen
		if !w.Value(depth + 1) {
			return false
		}
		w.Path = w.Path[:outer]
		if !w.skip(',') {
			return w.skip('}')
		}
	}
}

func (w *Walker) array(depth int) bool {
	for w.Rest = w.Rest[1:]; ; {
		if w.skip(']') {
			return true
		}
		if !w.Value(depth + 1) {
			return false
		}
		if !w.skip(',') {
			return w.skip(']')
		}
	}
}

// quoted reads a string and returns what stands between the quotes, as it
// stands there.
func (w *Walker) quoted() ([]byte, bool) {
	if len(w.Rest) == 0 || w.Rest[0] != '"' {
		return nil, false
	}
	for i := 1; i < len(w.Rest); i++ {
		switch w.Rest[i] {
		case '\\':
			i++
		case '"':
			s := w.Rest[1:i]
			w.Rest = w.Rest[i+1:]
			return s, true
		}
	}
	return nil, false
}

// token reads a number, true, false or null. What looks at all like a number
// will do; at the end of the text it may be cut off and is none.
func (w *Walker) token() bool {
	n := bytes.IndexAny(w.Rest, ",:]}\" \t\r\n")
	if n < 0 {
		return false
	}
	switch t := w.Rest[:n]; {
	case n > 0 && ('0' <= t[0] && t[0] <= '9' || t[0] == '-'):
	case string(t) == "true", string(t) == "false", string(t) == "null":
	default:
		return false
	}
	w.Leaf(w.Path, w.Rest[:n], false)
	w.Rest = w.Rest[n:]
	return true
}

// skip skips c and the space around it, if it comes next.
func (w *Walker) skip(c byte) bool {
	w.space()
	if len(w.Rest) == 0 || w.Rest[0] != c {
		return false
	}
	w.Rest = w.Rest[1:]
	w.space()
	return true
}

func (w *Walker) space() {
	w.Rest = TrimSpace(w.Rest)
}

// TrimSpace returns text without JSON's white space at its beginning. bytes.TrimLeft
// would make a set of these characters each time.
func TrimSpace(text []byte) []byte {
	for len(text) > 0 && (text[0] == ' ' || text[0] == '\t' || text[0] == '\r' || text[0] == '\n') {
		text = text[1:]
	}
	return text
}

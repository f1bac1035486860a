package peek

import "bytes"

// valueTaker is told of the strings in a JSON text.
type valueTaker interface {
	// TakeValue is called with a string that could be an id, or with nothing for one
	// that could not, and the name of the member that holds it, or in whose array it is.
	// Of a longer string in Sealed it is the beginning. Neither may be kept.
	TakeValue(name, value []byte)
}

// MaxText is the longest string that is told, in bytes.
const MaxText = 256

// Sealed is the member that holds what only those can read who have made it. Long as that
// is, it begins as nothing else does: with the time, and a random number.
const Sealed = "encrypted_content"

// maxMemberName is the longest name of a JSON member that is told, in bytes.
const maxMemberName = 48

// StringScanner finds the strings of JSON texts that could be ids, in whatever depth,
// while a text streams by in pieces of any size. It is no validator: what is between
// the strings tells it no more than which of them are members' names. It does not
// allocate while it looks. It is not safe for concurrent use.
type StringScanner struct {
	taker  valueTaker
	events bool // the text is a stream of events: each line begins anew
	skips  map[string]bool

	state   scanState
	escaped bool // the string's next byte is behind a backslash
	whole   bool // text is a string, or nothing for one that is no id, and the next byte tells what it is
	cut     bool // text is the beginning of a longer string
	depth   int  // within the value of a member that is skipped; 0: in none

	text   [MaxText]byte
	length int
	name   [maxMemberName]byte
	named  int // bytes of name
}

// scanState is where in the text the next byte is.
type scanState uint8

const (
	betweenStrings scanState = iota
	inString                 // in one that could be an id so far
	inText                   // in one that could not
)

// Begin makes s ready for a text.
func (s *StringScanner) Begin(taker valueTaker, events bool, skips map[string]bool) {
	s.taker, s.events, s.skips = taker, events, skips
	s.reset()
}

func (s *StringScanner) reset() {
	s.state, s.escaped, s.whole, s.depth, s.named = betweenStrings, false, false, 0, 0
}

// Write takes the text's next piece.
func (s *StringScanner) Write(p []byte) {
	if !s.events {
		s.scan(p)
		return
	}
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			s.scan(p)
			return
		}
		s.scan(p[:i+1])
		s.reset()
		p = p[i+1:]
	}
}

func (s *StringScanner) scan(p []byte) {
	for len(p) > 0 {
		switch s.state {
		case betweenStrings:
			p = s.between(p)
		case inString:
			p = s.collect(p)
		case inText:
			p = s.pass(p)
		}
	}
}

// What bytes mean between strings.
const (
	scanPlain = iota
	scanSpace
	scanQuote
	scanColon
	scanOpen
	scanClose
)

var scanBytes = [256]uint8{
	' ': scanSpace, '\t': scanSpace, '\r': scanSpace, '\n': scanSpace,
	'"': scanQuote, ':': scanColon, '{': scanOpen, '[': scanOpen, '}': scanClose, ']': scanClose,
}

// between takes what is between two strings.
func (s *StringScanner) between(p []byte) []byte {
	for i, c := range p {
		kind := scanBytes[c]
		if kind == scanSpace {
			continue
		}
		if s.whole {
			s.endString(kind == scanColon)
		}
		switch kind {
		case scanQuote:
			s.state, s.length, s.cut = inString, 0, false
			if s.depth > 0 {
				s.state = inText
			}
			return p[i+1:]
		case scanOpen:
			if s.depth > 0 || s.skips[string(s.name[:s.named])] {
				s.depth++
			}
		case scanClose:
			s.depth, s.named = max(s.depth-1, 0), 0
		}
	}
	return nil
}

// endString tells what the last string was: the name of a member, or a value.
func (s *StringScanner) endString(isName bool) {
	s.whole = false
	if s.cut && string(s.name[:s.named]) != Sealed {
		s.length = 0
	}
	if !isName {
		s.taker.TakeValue(s.name[:s.named], s.text[:s.length])
		return
	}
	s.named = 0
	if s.length <= len(s.name) {
		s.named = copy(s.name[:], s.text[:s.length])
	}
}

// idBytes are what ids, URLs and the names of members are made of.
var idBytes = idByteTable()

func idByteTable() (table [256]bool) {
	for c := range table {
		table[c] = c > ' ' && c < 0x7f && c != '"' && c != '\\'
	}
	return table
}

// collect takes what is in a string that could be an id. Of escapes it has none but
// that of the slash, which some writers use.
func (s *StringScanner) collect(p []byte) []byte {
	for i, c := range p {
		switch {
		case s.escaped && c == '/' && s.length < len(s.text), !s.escaped && idBytes[c] && s.length < len(s.text):
			s.text[s.length] = c
			s.length++
			s.escaped = false
		case s.escaped:
			// The byte belongs to the escape, whatever it is.
			s.state, s.escaped = inText, false
			return p[i+1:]
		case c == '\\':
			s.escaped = true
		case c == '"':
			s.state, s.whole = betweenStrings, true
			return p[i+1:]
		default:
			s.state, s.cut = inText, s.length == len(s.text)
			return p[i:]
		}
	}
	return nil
}

// pass hops over the rest of a string that is no id.
func (s *StringScanner) pass(p []byte) []byte {
	if s.escaped {
		s.escaped, p = false, p[1:]
	}
	end := stringEnd(p)
	if end < 0 {
		s.escaped = endsInEscape(p)
		return nil
	}
	s.state, s.whole = betweenStrings, true
	if !s.cut {
		s.length = 0
	}
	return p[end:]
}

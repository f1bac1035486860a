package peek

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonModel finds the member "model" of the top-level object of a JSON text. The
// zero value is ready to use.
//
// It is no validator: it reads the top-level object's members, and skips over the
// values of the others as fast as their ends can be found. What is malformed in
// there, the provider will tell the client. What is malformed outside ends the
// search, with no model: nobody can say what the text means.
type jsonModel struct {
	state   jsonState
	after   jsonState // what follows the string that is being skipped
	escape  jsonEscape
	matched uint8  // bytes of the byte order mark, or of the member's name
	wanted  bool   // the member is the model
	code    uint16 // of the hexadecimal digits so far
	high    uint16 // the first half of a surrogate pair, or 0
	depth   int32  // of the nested value that is being skipped
	name    modelName
}

// jsonState is what comes next in the text.
type jsonState uint8

const (
	jsonStart  jsonState = iota // the top-level object
	jsonFirst                   // its first member or its end
	jsonNext                    // a member
	jsonKey                     // the rest of a member's name
	jsonColon                   // a colon
	jsonValue                   // a member's value
	jsonName                    // the rest of the model's name
	jsonScalar                  // the rest of a number, or of true, false or null
	jsonString                  // the rest of a string that says nothing
	jsonNested                  // the rest of an object or an array
	jsonComma                   // a comma or the object's end
	jsonDone                    // nothing: the object has ended, or it is none
)

// jsonEscape is where in an escape sequence the text is: as many hexadecimal digits
// are missing, or all that follows the backslash.
type jsonEscape uint8

const (
	noEscape  jsonEscape = 0
	hexDigits jsonEscape = 4
	backslash jsonEscape = 5
)

const (
	jsonMember = "model"
	jsonBOM    = "\ufeff"
	wide       = 1 // in the place of the code: the text may have several bytes for each character
)

// write takes the text's next piece.
func (f *jsonModel) write(p []byte) {
	m := f.name.marks()
	m.begin(p)
	for len(p) > 0 {
		was := f.state
		switch was {
		case jsonDone:
			return
		case jsonKey, jsonName:
			p = f.decode(p)
		case jsonString:
			p = f.skipString(p)
		case jsonNested:
			p = f.skipNested(p)
		case jsonScalar:
			p = f.skipScalar(p)
		default:
			p = f.step(p)
		}
		if m != nil && f.wanted {
			f.mark(m, was, m.at(p))
		}
	}
}

// mark notes where a string begins and ends that is a value of the member, also one that
// is no name.
func (f *jsonModel) mark(m *marks, was jsonState, at int64) {
	switch {
	case was == jsonValue && f.state == jsonName:
		m.open(at)
	case was != jsonComma && f.state == jsonComma:
		m.close(at - int64(len(`"`)))
	}
}

// fail ends the search: the text is malformed, or no object. There are parsers that read it all
// the same, such as those that know UTF-16.
func (f *jsonModel) fail() {
	if f.name.heeded() && (f.name.more.sure || f.state != jsonStart) {
		f.name.stray()
	}
	f.name.start()
	f.state = jsonDone
}

// step takes what is next in the top-level object outside of its strings and of
// what is nested.
func (f *jsonModel) step(p []byte) []byte {
	c := p[0]
	switch {
	case f.state == jsonStart:
		f.begin(c)
	case isSpace(c):
	case c == '"' && (f.state == jsonFirst || f.state == jsonNext):
		f.state, f.matched, f.wanted = jsonKey, 0, false
	case c == ':' && f.state == jsonColon:
		f.state = jsonValue
	case c == ',' && f.state == jsonComma:
		f.state = jsonNext
	case c == '}' && (f.state == jsonFirst || f.state == jsonComma):
		f.state = jsonDone
	case f.state == jsonValue:
		f.value(c)
	default:
		f.fail()
	}
	return p[1:]
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// skipScalar hops over the rest of a number, or of true, false or null.
func (f *jsonModel) skipScalar(p []byte) []byte {
	for i, c := range p {
		if !isScalar(c) {
			f.state = jsonComma
			return p[i:]
		}
	}
	return nil
}

// begin takes a byte of what precedes the members. Python's parser, for one,
// allows a byte order mark.
func (f *jsonModel) begin(c byte) {
	switch {
	case int(f.matched) < len(jsonBOM) && c == jsonBOM[f.matched]:
		f.matched++
	case f.matched > 0 && int(f.matched) < len(jsonBOM):
		f.fail()
	case isSpace(c):
		f.matched = uint8(len(jsonBOM)) // too late for one
	case f.name.heeded() && (c == 0 || c >= 0xfe): // of UTF-16 or UTF-32, which some parsers know
		f.matched, f.code = uint8(len(jsonBOM)), wide
	case c == '{' && f.code == wide:
		f.name.stray()
		f.fail()
	case c == '{':
		f.state = jsonFirst
	default:
		f.fail()
	}
}

// value takes the first byte of a member's value.
func (f *jsonModel) value(c byte) {
	switch {
	case c == '"' && f.wanted:
		f.state = jsonName
	case c == '"':
		f.state, f.after = jsonString, jsonComma
	case c == '{' || c == '[':
		f.state, f.depth = jsonNested, 1
	case isScalar(c):
		f.state = jsonScalar
	default:
		f.fail()
	}
	if f.wanted && c != '"' && c != 'n' { // null is none
		f.name.stray()
	}
}

// isScalar tells whether numbers, true, false or null have such a byte, or the NaN
// and Infinity that some parsers know.
func isScalar(c byte) bool {
	return IsAlphanumeric(c) || c == '-' || c == '+' || c == '.'
}

// decode reads a string of the top-level object that may say something.
func (f *jsonModel) decode(p []byte) []byte {
	if f.escape != noEscape {
		f.unescape(p[0])
		return p[1:]
	}
	if n := literal(p); n > 0 {
		f.add(p[:n])
		return p[n:]
	}
	switch p[0] {
	case '\\':
		f.escape = backslash
	case '"':
		f.endString()
	default: // a control character
		f.fail()
	}
	return p[1:]
}

// literal returns how many bytes of a string stand for themselves, before any
// others; a name cannot have more than it counts.
func literal(p []byte) int {
	p = p[:min(len(p), maxModelName+1)]
	for i, c := range p {
		if c < ' ' || c == '"' || c == '\\' {
			return i
		}
	}
	return len(p)
}

// endString takes the quote at the end of a member's or the model's name.
func (f *jsonModel) endString() {
	whole := f.high == 0
	f.high = 0
	if f.state == jsonName {
		if whole {
			f.name.end()
		} else {
			f.name.stray()
		}
		f.state = jsonComma
		return
	}
	if whole && int(f.matched) == len(jsonMember) {
		// Whatever its value is, an earlier one does not count any more.
		f.wanted = true
		f.name.start()
	}
	f.state = jsonColon
}

// unescape takes a byte of an escape sequence.
func (f *jsonModel) unescape(c byte) {
	if f.escape == backslash {
		f.unescapeOne(c)
		return
	}
	digit := strings.IndexByte("0123456789abcdefABCDEF", c)
	if digit < 0 {
		f.fail()
		return
	}
	if digit > 0xf {
		digit -= len("ABCDEF")
	}
	f.code = f.code<<4 | uint16(digit)
	f.escape--
	if f.escape == noEscape {
		f.addUnit(rune(f.code))
	}
}

// unescapeOne takes the byte behind a backslash.
func (f *jsonModel) unescapeOne(c byte) {
	if c == 'u' {
		f.escape, f.code = hexDigits, 0
		return
	}
	f.escape = noEscape
	i := strings.IndexByte(`"\/bfnrt`, c)
	if i < 0 {
		f.fail()
		return
	}
	f.add([]byte("\"\\/\b\f\n\r\t")[i : i+1])
}

// addUnit takes a character of the Basic Multilingual Plane, or half of another.
func (f *jsonModel) addUnit(unit rune) {
	if f.high == 0 && utf16.IsSurrogate(unit) {
		f.high = uint16(unit)
		return
	}
	if f.high != 0 {
		if unit = utf16.DecodeRune(rune(f.high), unit); unit == utf8.RuneError {
			f.reject()
			return
		}
		f.high = 0
	}
	var text [utf8.UTFMax]byte
	f.add(utf8.AppendRune(text[:0], unit))
}

// add takes what comes next in a decoded string.
func (f *jsonModel) add(text []byte) {
	fits := f.high == 0 // or half a pair stands alone
	switch {
	case fits && f.state == jsonKey:
		fits = f.begins(text)
		f.matched += uint8(len(text))
	case fits:
		fits = f.name.add(text)
	}
	if !fits {
		f.reject()
	}
}

// begins tells whether the member's name goes on as the one that is looked for. Some parsers,
// such as Go's, do not tell upper from lower case.
func (f *jsonModel) begins(text []byte) bool {
	rest := jsonMember[f.matched:]
	if !f.name.heeded() {
		return strings.HasPrefix(rest, string(text))
	}
	return len(text) <= len(rest) && strings.EqualFold(rest[:len(text)], string(text))
}

// reject skips over the rest of a string that is not the one looked for.
func (f *jsonModel) reject() {
	f.after = jsonComma
	if f.state == jsonKey {
		f.after = jsonColon
	} else {
		f.name.stray()
	}
	f.state, f.high = jsonString, 0
}

// skipString hops over the rest of a string.
func (f *jsonModel) skipString(p []byte) []byte {
	if f.escape != noEscape {
		p, f.escape = p[1:], noEscape
	}
	end := stringEnd(p)
	if end < 0 {
		f.suspend(p)
		return nil
	}
	f.state = f.after
	return p[end:]
}

// suspend notes how a piece ends that ends within a string.
func (f *jsonModel) suspend(p []byte) {
	if endsInEscape(p) {
		f.escape = backslash
	}
}

// What bytes outside of strings are: plain, quotes, or by how much they change the
// depth.
const (
	jsonPlain = 0
	jsonQuote = 2
)

var jsonBytes = [256]int8{'{': 1, '[': 1, '}': -1, ']': -1, '"': jsonQuote}

// skipNested hops over the rest of an object or an array by counting how deep it
// is. Most of the bytes of most requests come by here.
func (f *jsonModel) skipNested(p []byte) []byte {
	for i := 0; i < len(p); {
		kind := jsonBytes[p[i]]
		i++
		switch kind {
		case jsonPlain:
			i += plainBytes(p[i:])
		case jsonQuote:
			end := stringEnd(p[i:])
			if end < 0 {
				f.state, f.after = jsonString, jsonNested
				f.suspend(p[i:])
				return nil
			}
			i += end
		default:
			f.depth += int32(kind)
			if f.depth == 0 {
				f.state = jsonComma
				return p[i:]
			}
		}
	}
	return nil
}

// What follows looks at eight bytes at once, as numbers in which a byte that is
// looked for becomes zero.
const (
	wordSize = 8
	eachByte = 0x0101010101010101
)

// plainBytes returns how many bytes are neither quotes nor brackets, before any
// that are. Long runs are numbers or indentation.
func plainBytes(p []byte) int {
	i := 0
	for len(p)-i >= wordSize && jsonBytes[p[i]] == jsonPlain && isPlain(p[i:]) {
		i += wordSize
	}
	for i < len(p) && jsonBytes[p[i]] == jsonPlain {
		i++
	}
	return i
}

func isPlain(p []byte) bool {
	word := binary.LittleEndian.Uint64(p)
	brackets := word | eachByte*0x20 // square ones become braces
	return zeroBytes(word^eachByte*'"')|zeroBytes(brackets^eachByte*'{')|zeroBytes(brackets^eachByte*'}') == 0
}

// zeroBytes marks the lowest byte that is zero in its highest bit, and maybe some of
// those above.
func zeroBytes(word uint64) uint64 { return (word - eachByte) &^ word & (eachByte * 0x80) }

// stringEnd returns where the string whose rest p begins with has ended, or -1. It
// looks for quotes only, and for backslashes only before those: one pass at the
// speed of bytes.IndexByte, whose call is worth it for all but the shortest.
func stringEnd(p []byte) int {
	if end := shortEnd(p); end > 0 {
		return end
	}
	for end := 0; ; {
		i := bytes.IndexByte(p[end:], '"')
		if i < 0 {
			return -1
		}
		end += i + 1
		if i > 0 && p[end-2] != '\\' || !endsInEscape(p[:end-1]) {
			return end
		}
	}
}

// shortEnd is stringEnd for a string that ends within eight bytes. It returns 0 when
// that cannot be told.
func shortEnd(p []byte) int {
	if len(p) < wordSize {
		return 0
	}
	marks := zeroBytes(binary.LittleEndian.Uint64(p) ^ eachByte*'"')
	if marks == 0 {
		return 0
	}
	i := bits.TrailingZeros64(marks) / 8
	if i > 0 && p[i-1] == '\\' {
		return 0
	}
	return i + 1
}

// endsInEscape tells whether the byte that follows this part of a string is
// escaped: behind an odd number of backslashes.
func endsInEscape(p []byte) bool {
	i := len(p)
	for i > 0 && p[i-1] == '\\' {
		i--
	}
	return (len(p)-i)%2 == 1
}

// IsAlphanumeric tells whether c is an ASCII letter or digit.
func IsAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

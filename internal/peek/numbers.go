package peek

import "bytes"

// Member is a member of a JSON object that is looked at: a number that is looked for, or an
// object with such members.
type Member struct {
	Name    string
	Number  int      // what the number is called, from 1 on; 0: it is an object
	Members []Member // of the object
	Group   bool     // the numbers in the object count together, once it has come to its end
}

// numberTaker is told of the numbers in a JSON text.
type numberTaker interface {
	// BeginGroup is called where an object of numbers begins that count together, and
	// EndGroup at its end.
	BeginGroup()
	EndGroup()

	// TakeNumber is called with a number: 0 to maxNumber, without its fraction.
	TakeNumber(which int, n int64)
}

// maxNumber is the largest number that is told: what is larger is no count of anything.
const maxNumber = 1 << 50

// MaxLevels is how deep in a text numbers may stand, in objects.
const MaxLevels = 5

// NumberScanner finds numbers in JSON texts that stand at known places, while a text
// streams by in pieces of any size. It is no validator: what it does not look at it hops
// over as fast as its end can be found. What is malformed where it looks ends the search in
// that text. A text may be an array of objects, and each line may be a text: all are looked
// through. It keeps nothing of the text and does not allocate. It is not safe for concurrent use.
type NumberScanner struct {
	taker  numberTaker
	root   []Member
	events bool   // the text is a stream of events: each line of data is a text
	mark   []byte // stands in every line that has such numbers

	state    numberState
	list     bool  // the text is an array
	matched  uint8 // bytes of a field's name
	hop      hop
	member   *Member // whose value is next; nil: one that nobody looks at
	numeral  bool    // the scalar is a number so far
	fraction bool    // … and of that the fraction
	number   int64
	level    int // of the object; -1: outside of any
	path     [MaxLevels]*Member
	top      Member
	name     [maxMemberName]byte
	named    int // bytes of name, of one that came in pieces
}

// numberState is what comes next in the text.
type numberState uint8

const (
	numberField  numberState = iota // the name of a stream's field
	numberStart                     // an object
	numberFirst                     // its first member or its end
	numberNext                      // a member
	numberKey                       // the rest of a member's name
	numberColon                     // a colon
	numberValue                     // a member's value
	numberScalar                    // the rest of a number, or of true, false or null
	numberHop                       // the rest of a value that nobody looks at
	numberComma                     // a comma or the object's end
	numberEnd                       // the end of the line, and maybe another text
	numberDone                      // nothing: the text is none
)

// Begin makes s ready for a text, or for a stream of events. In a stream the mark stands in
// every line that has numbers at these places.
func (s *NumberScanner) Begin(taker numberTaker, root []Member, events bool, mark []byte) {
	s.taker, s.root, s.events, s.mark = taker, root, events, mark
	s.top = Member{Members: root}
	s.reset()
}

func (s *NumberScanner) reset() {
	s.state, s.list, s.matched, s.level = numberStart, false, 0, -1
	if s.events {
		s.state = numberField
	}
}

// Write takes the text's next piece.
func (s *NumberScanner) Write(p []byte) {
	if !s.events {
		s.scan(p)
		return
	}
	if s.passes(p) {
		return
	}
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			s.scan(s.field(p, false))
			return
		}
		s.scan(s.field(p[:i], true))
		s.reset()
		p = p[i+1:]
	}
}

// passes tells whether the stream's next piece, which mostly is an event, is whole lines that
// say nothing.
func (s *NumberScanner) passes(p []byte) bool {
	return s.state == numberField && s.matched == 0 && len(p) > 0 && p[len(p)-1] == '\n' && !bytes.Contains(p, s.mark)
}

// field returns what is data of a line of the stream, or of its next piece. A line that is
// whole and has no mark says nothing.
func (s *NumberScanner) field(line []byte, whole bool) []byte {
	const name = "data:"
	if s.state != numberField || len(line) == 0 {
		return line
	}
	if whole && s.matched == 0 && !bytes.Contains(line, s.mark) {
		return nil
	}
	rest := name[s.matched:]
	rest = rest[:min(len(rest), len(line))]
	if string(line[:len(rest)]) != rest {
		s.state = numberDone
		return nil
	}
	if s.matched += uint8(len(rest)); int(s.matched) == len(name) {
		s.state = numberStart
	}
	return line[len(rest):]
}

func (s *NumberScanner) scan(p []byte) {
	for len(p) > 0 {
		switch s.state {
		case numberDone:
			return
		case numberKey:
			p = s.key(p)
		case numberHop:
			p = s.pass(p)
		case numberScalar:
			p = s.scalar(p)
		case numberEnd:
			p = s.next(p)
		default:
			if !isSpace(p[0]) {
				s.step(p[0])
			}
			p = p[1:]
		}
	}
}

// step takes what is next in an object outside of its strings and of what nobody looks at.
func (s *NumberScanner) step(c byte) {
	switch {
	case s.state == numberStart:
		s.start(c)
	case c == '"' && (s.state == numberFirst || s.state == numberNext):
		s.begin()
	case c == ':' && s.state == numberColon:
		s.state = numberValue
	case c == ',' && s.state == numberComma:
		s.state = numberNext
	case c == '}' && (s.state == numberFirst || s.state == numberComma):
		s.leave()
	case s.state == numberValue:
		s.value(c)
	default:
		s.state = numberDone
	}
}

// start takes what stands before an object: a byte order mark, an array's bracket or comma.
func (s *NumberScanner) start(c byte) {
	switch {
	case c == '{':
		s.enter(&s.top)
	case c == '[' && !s.list:
		s.list = true
	case c == ',' && s.list, bytes.IndexByte([]byte(jsonBOM), c) >= 0:
	default:
		s.state = numberDone
	}
}

func (s *NumberScanner) enter(m *Member) {
	s.level++
	s.path[s.level] = m
	s.state = numberFirst
	if m.Group {
		s.taker.BeginGroup()
	}
}

func (s *NumberScanner) leave() {
	if s.path[s.level].Group {
		s.taker.EndGroup()
	}
	s.level--
	switch {
	case s.level >= 0:
		s.state = numberComma
	case s.list:
		s.state = numberStart
	default:
		s.state = numberEnd
	}
}

// next hops to the next line: there may be another text.
func (s *NumberScanner) next(p []byte) []byte {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		return nil
	}
	s.state = numberStart
	return p[i+1:]
}

// key takes the rest of a member's name, which mostly is all of it.
func (s *NumberScanner) key(p []byte) []byte {
	if s.named == 0 && !s.hop.escaped {
		if end := stringEnd(p); end > 0 {
			s.lookUp(p[:end-1])
			return s.colon(p[end:])
		}
	}
	rest := s.hop.overString(p)
	s.named += copy(s.name[s.named:], p[:len(p)-len(rest)])
	if !s.hop.quoted {
		s.lookUp(s.name[:s.named-1])
	}
	return rest
}

// lookUp finds the member of that name. One that is spelled with escapes nobody knows.
func (s *NumberScanner) lookUp(name []byte) {
	s.state, s.member = numberColon, nil
	members := s.path[s.level].Members
	for i := range members {
		if m := &members[i]; m.Name == string(name) {
			s.member = m
			return
		}
	}
}

// begin begins a member, behind its first quote.
func (s *NumberScanner) begin() { s.state, s.named, s.hop = numberKey, 0, hop{quoted: true} }

// colon takes what stands behind a name: mostly it is a colon at once, and the value.
func (s *NumberScanner) colon(p []byte) []byte {
	if len(p) == 0 || p[0] != ':' {
		return p
	}
	s.state = numberValue
	if p = p[1:]; len(p) > 0 && p[0] == ' ' {
		p = p[1:]
	}
	if len(p) == 0 {
		return p
	}
	return s.whole(p)
}

// whole takes a value of which mostly all is there. Otherwise it leaves it to those who take
// it byte by byte.
func (s *NumberScanner) whole(p []byte) []byte {
	switch c := p[0]; {
	case c == '"':
		if end := stringEnd(p[1:]); end > 0 {
			return s.comma(p[1+end:])
		}
	case isDigit(c) && s.member != nil && s.member.Number > 0:
		return s.integer(p)
	case c == '{' && s.wanted():
		s.enter(s.member)
		if len(p) > 1 && p[1] == '"' {
			s.begin()
			return p[2:]
		}
		return p[1:]
	}
	return p
}

// wanted tells of an object whether it is looked through.
func (s *NumberScanner) wanted() bool {
	return s.member != nil && s.member.Number == 0 && s.level+1 < MaxLevels
}

// integer takes a number that is there to its end, and has nothing but digits.
func (s *NumberScanner) integer(p []byte) []byte {
	n := int64(0)
	for i, c := range p {
		switch {
		case isDigit(c) && n <= maxNumber:
			n = 10*n + int64(c-'0')
		case isScalar(c) || n > maxNumber:
			return p
		default:
			s.taker.TakeNumber(s.member.Number, n)
			return s.comma(p[i:])
		}
	}
	return p
}

// comma takes what stands behind a value: mostly it is the beginning of the next member, or
// the object's end.
func (s *NumberScanner) comma(p []byte) []byte {
	for s.state = numberComma; s.state == numberComma && len(p) > 0 && p[0] == '}'; p = p[1:] {
		s.leave()
	}
	if s.state == numberComma && len(p) > 1 && p[0] == ',' && p[1] == '"' {
		s.begin()
		return p[2:]
	}
	return p
}

// value takes the first byte of a member's value.
func (s *NumberScanner) value(c byte) {
	switch {
	case c == '"':
		s.state, s.hop = numberHop, hop{quoted: true}
	case c == '{' && s.wanted():
		s.enter(s.member)
	case c == '{' || c == '[':
		s.state, s.hop = numberHop, hop{depth: 1}
	case isScalar(c):
		s.state, s.number, s.fraction = numberScalar, 0, false
		s.numeral = s.member != nil && s.member.Number > 0 && isDigit(c)
		s.digit(c)
	default:
		s.state = numberDone
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// pass hops over the rest of a value that nobody looks at.
func (s *NumberScanner) pass(p []byte) []byte {
	rest, ended := s.hop.over(p)
	if !ended {
		return rest
	}
	return s.comma(rest)
}

// scalar takes the rest of a number, or of true, false or null.
func (s *NumberScanner) scalar(p []byte) []byte {
	for i, c := range p {
		if isScalar(c) {
			s.digit(c)
			continue
		}
		if s.numeral {
			s.taker.TakeNumber(s.member.Number, s.number)
		}
		return s.comma(p[i:])
	}
	return nil
}

// digit takes a byte of a scalar.
func (s *NumberScanner) digit(c byte) {
	switch {
	case !s.numeral:
	case c == '.' && !s.fraction:
		s.fraction = true
	case !isDigit(c):
		s.numeral = false
	case !s.fraction:
		s.number = 10*s.number + int64(c-'0')
		s.numeral = s.number <= maxNumber
	}
}

package peek

import (
	"bytes"
	"slices"
)

// Member is a member of a JSON object that is looked at: a number that is looked for, or an
// object with such members.
type Member struct {
	Name    string   // at most maxMemberName bytes
	Number  int      // what the number is called, from 1 on; 0: it is an object
	Members []Member // of the object
	Group   bool     // the numbers in the object count together, once it has come to its end

	// from is where in Members those begin that have names of a length. Mostly there is one
	// of that length, or none: one name is compared, and the others are not even touched.
	from *[maxMemberName + 2]uint8

	object *Member // whose member it is
	rest   string  // as it mostly stands in a text behind the first quote: name":
}

// Object returns an object with these members, in which names are found fast: fewer than 256
// in each object. Nobody changes them any more.
func Object(members []Member) *Member {
	m := &Member{Members: members}
	m.order()
	return m
}

func (m *Member) order() {
	slices.SortFunc(m.Members, func(a, b Member) int { return len(a.Name) - len(b.Name) })
	m.from = new([maxMemberName + 2]uint8)
	for i := range m.Members {
		m.Members[i].object, m.Members[i].rest = m, m.Members[i].Name+`":`
		m.Members[i].order()
		for length := len(m.Members[i].Name) + 1; length < len(m.from); length++ {
			m.from[length] = uint8(i + 1)
		}
	}
}

// named returns the member of that name, nil for none.
func (m *Member) named(name []byte) *Member {
	if len(name) > maxMemberName {
		return nil
	}
	same := m.Members[m.from[len(name)]:m.from[len(name)+1]]
	for i := range same {
		if same[i].Name == string(name) {
			return &same[i]
		}
	}
	return nil
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
	root   *Member
	events bool   // the text is a stream of events: each line of data is a text
	mark   []byte // stands in every line that has such numbers

	state    numberState
	list     bool  // the text is an array
	matched  uint8 // bytes of a field's name
	hop      Hop
	member   *Member // whose value is next; nil: one that nobody looks at
	numeral  bool    // the scalar is a number so far
	fraction bool    // … and of that the fraction
	number   int64
	level    int // of the object; -1: outside of any
	path     [MaxLevels]*Member
	name     [maxMemberName]byte
	named    int // bytes of name, of one that came in pieces

	// trail is the members that are looked at, in the order in which they stood in texts
	// before. Mostly they stand so again, and to compare with one name is all it takes.
	trail [trailLength]*Member
	at    uint8 // of the next one in trail
}

const trailLength = 32

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
func (s *NumberScanner) Begin(taker numberTaker, root *Member, events bool, mark []byte) {
	s.taker, s.root, s.events, s.mark = taker, root, events, mark
	s.reset()
}

func (s *NumberScanner) reset() {
	s.state, s.list, s.matched, s.level, s.at = numberStart, false, 0, -1, 0
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
		s.valueByte(c)
	default:
		s.state = numberDone
	}
}

// start takes what stands before an object: a byte order mark, an array's bracket or comma.
func (s *NumberScanner) start(c byte) {
	switch {
	case c == '{':
		s.enter(s.root)
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

// key takes the rest of a member's name.
func (s *NumberScanner) key(p []byte) []byte {
	if s.named == 0 && !s.hop.escaped {
		if p = s.members(p); s.state != numberKey || len(p) == 0 {
			return p
		}
	}
	rest := s.hop.overString(p)
	s.named += copy(s.name[s.named:], p[:len(p)-len(rest)])
	if !s.hop.Quoted {
		s.state, s.member = numberColon, s.lookUp(s.name[:s.named-1])
	}
	return rest
}

// lookUp finds the member of that name. One that is spelled with escapes nobody knows.
func (s *NumberScanner) lookUp(name []byte) *Member {
	m := s.path[s.level].named(name)
	if m != nil {
		s.trail[s.at%trailLength] = m
		s.at++
	}
	return m
}

// foreseen returns the member that stood here in a text before, and where its value begins
// if it stands here again; 0 otherwise.
func (s *NumberScanner) foreseen(p []byte) (m *Member, value int) {
	m = s.trail[s.at%trailLength]
	if m == nil || m.object != s.path[s.level] || len(p) <= len(m.rest) || string(p[:len(m.rest)]) != m.rest {
		return nil, 0
	}
	s.at++
	return m, len(m.rest)
}

// begin begins a member, behind its first quote.
func (s *NumberScanner) begin() { s.state, s.named, s.hop = numberKey, 0, Hop{Quoted: true} }

// members takes members of which all is there, as it mostly is, from behind the first quote
// of a name. What is not it leaves to those who take it byte by byte, from where it says.
func (s *NumberScanner) members(p []byte) []byte {
	for s.state == numberKey {
		m, i := s.foreseen(p)
		if i == 0 {
			if i = stringEnd(p); i < 0 {
				return p
			}
			if m = s.lookUp(p[:i-1]); i+1 >= len(p) || p[i] != ':' {
				s.state, s.member = numberColon, m
				return p[i:]
			}
			i++
		}
		if p[i] == ' ' && i+1 < len(p) {
			i++
		}
		end := s.whole(m, p, i)
		if end == 0 {
			s.member = m
			p = s.part(p[i:])
			continue
		}
		if end+1 < len(p) && p[end] == ',' && p[end+1] == '"' {
			p = p[end+2:] // the next one
			continue
		}
		p = s.comma(p[end:])
	}
	return p
}

// whole takes the value that begins at i, a string or a number that has nothing but digits,
// and returns where it ends; 0 where that cannot be told.
func (s *NumberScanner) whole(m *Member, p []byte, i int) int {
	switch c := p[i]; {
	case c == '"':
		if end := stringEnd(p[i+1:]); end > 0 {
			return i + 1 + end
		}
	case m != nil && m.Number > 0:
		return s.integer(m, p, i)
	}
	return 0
}

func (s *NumberScanner) integer(m *Member, p []byte, i int) int {
	n, first := int64(0), i
	for ; i < len(p) && isDigit(p[i]) && n <= maxNumber; i++ {
		n = 10*n + int64(p[i]-'0')
	}
	if i == first || i == len(p) || n > maxNumber || isScalar(p[i]) {
		return 0
	}
	s.taker.TakeNumber(m.Number, n)
	return i
}

// part takes as much as there is of any value of a member.
func (s *NumberScanner) part(p []byte) []byte {
	s.state = numberValue
	switch c := p[0]; {
	case c == '{' && s.wanted():
		s.enter(s.member)
		if len(p) > 1 && p[1] == '"' {
			s.begin()
			return p[2:]
		}
		return p[1:]
	case c == '{', c == '[':
		s.state, s.hop = numberHop, Hop{Depth: 1}
		return s.pass(p[1:])
	}
	return p
}

// wanted tells of an object whether it is looked through.
func (s *NumberScanner) wanted() bool {
	return s.member != nil && s.member.Number == 0 && s.level+1 < MaxLevels
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

// valueByte takes the first byte of a member's value.
func (s *NumberScanner) valueByte(c byte) {
	switch {
	case c == '"':
		s.state, s.hop = numberHop, Hop{Quoted: true}
	case c == '{' && s.wanted():
		s.enter(s.member)
	case c == '{' || c == '[':
		s.state, s.hop = numberHop, Hop{Depth: 1}
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
	rest, ended := s.hop.Over(p)
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

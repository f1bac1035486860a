package peek

import "strings"

// Span is a piece of a body: from its first byte to that behind its last.
type Span struct{ From, To int64 }

// maxMarks is how many values are noted. A body that has more of them is no client's
// that wants to be understood.
const maxMarks = 16

// marks notes where in a body something stands that streams by. nil notes nothing.
type marks struct {
	seen   int64 // bytes of the body, with the piece that is being looked at
	opened int64 // where the value begins that is being looked at; 0: there is none
	end    int64 // where it may have ended
	spans  []Span
	usual  [1]Span // of spans
	over   bool    // there are more
}

// begin takes the body's next piece.
func (m *marks) begin(p []byte) {
	if m != nil {
		m.seen += int64(len(p))
	}
}

// at returns where in the body the rest of the piece begins.
func (m *marks) at(rest []byte) int64 { return m.seen - int64(len(rest)) }

// open notes where a value begins.
func (m *marks) open(at int64) { m.opened = at }

// close notes where the value ends that has begun, if any has.
func (m *marks) close(at int64) {
	if m.opened == 0 || at < m.opened { // or a form's, without a line of its own
		return
	}
	if m.over = m.over || len(m.spans) == maxMarks; m.over {
		return
	}
	if m.spans == nil {
		m.spans = m.usual[:0]
	}
	m.spans = append(m.spans, Span{m.opened, at})
	m.opened = 0
}

// Marks returns where the values of all members or fields stand, in order, that could be
// the model: between the quotes of JSON strings, and in forms between the lines. They are
// none where there are more than 16, and before Mark. What is returned stays as it is.
func (f *ModelFinder) Marks() []Span {
	m := f.name().marks()
	if m == nil || m.over {
		return nil
	}
	return m.spans[:len(m.spans):len(m.spans)]
}

var jsonQuoting = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// Spelled returns a printable name as it is written where the marks are.
func (f *ModelFinder) Spelled(name string) string {
	if f.Form != nil {
		return name
	}
	return jsonQuoting.Replace(name)
}

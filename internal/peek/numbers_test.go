package peek

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// told collects what a scanner tells.
type told struct{ what []string }

func (c *told) BeginGroup()                   { c.what = append(c.what, "(") }
func (c *told) EndGroup()                     { c.what = append(c.what, ")") }
func (c *told) TakeNumber(which int, n int64) { c.what = append(c.what, fmt.Sprint(which, "=", n)) }

var numbersTree = Object([]Member{
	{Name: "use", Group: true, Members: []Member{{Name: "in", Number: 1}, {Name: "more", Members: []Member{{Name: "of", Number: 2}}}}},
	{Name: "n", Number: 3},
})

// TestNumbers looks for numbers in texts that are cut at every byte.
func TestNumbers(t *testing.T) {
	for _, row := range []struct {
		sentence string
		events   bool
		text     string
		want     string
	}{
		{"an object of numbers", false, `{"a":{"n":5},"use":{"in":12,"more":{"of":3,"in":9}},"n":4}`, "( 1=12 2=3 ) 3=4"},
		{"space anywhere", false, " \r\n{ \"use\" :\t{ \"in\" : 12 } }", "( 1=12 )"},
		{"a byte order mark", false, "\xef\xbb\xbf{\"n\":1}", "3=1"},
		{"strings that look like the end", false, `{"a":"\\\"}","b":["]\\",{"c":"}"}],"n":7}`, "3=7"},
		{"numbers that count nothing", false, `{"n":-1,"n":1e3,"n":"5","n":null,"n":true,"n":[5],"n":{"in":1},"n":1.0}`, "3=1"},
		{"numbers that are too large", false, `{"n":1125899906842624,"n":1125899906842625,"n":99999999999999999999999999}`, "3=1125899906842624"},
		{"fractions are dropped", false, `{"n":12.75,"n":1.2.3}`, "3=12"},
		{"names with escapes are nobody's", false, `{"\u006e":1,"\"n":2,"n\\":3,"n":4}`, "3=4"},
		{"long names", false, `{"` + strings.Repeat("n", 300) + `":1,"n":2}`, "3=2"},
		{"an object where a number is wanted, and the reverse", false, `{"n":{"in":1},"use":5,"use":[{"in":1}],"n":2}`, "3=2"},
		{"a group that is cut off has no end", false, `{"use":{"in":12,`, "( 1=12"},
		{"an array of objects", false, `[{"n":1} , {"n":2}]`, "3=1 3=2"},
		{"an array in an array", false, `[[{"n":1}]]`, ""},
		{"what is no object", false, `"n":1`, ""},
		{"what is malformed ends it", false, `{"n":1 "n":2}`, "3=1"},
		{"nothing after the end", false, `{"n":1}{"n":2}`, "3=1"},
		{"a text on each line", false, "{\"n\":1} \r\n\n{\"n\":2}\nno text\n{\"n\":3}", "3=1 3=2"},
		{"deeper than anybody looks", false, `{"use":{"more":{"of":{"a":{"b":{"c":1}}}}},"n":1}`, "( ) 3=1"},
		{"events", true, "event: x\ndata: {\"use\":{\"in\":1}}\n\ndata:{\"n\":2}\r\n\r\ndata: [DONE]\n\n", "( 1=1 ) 3=2"},
		{"lines of other fields", true, ": {\"n\":1}\nid: {\"n\":1}\ndat: {\"n\":1}\n\ndata: {\"n\":2}\n", "3=2"},
		{"an event that is cut off", true, "data: {\"n\":2, \"use\":{\"in\":1", "3=2 ( "},
		{"an event that is malformed does not end the stream", true, "data: {x\n\ndata: {\"n\":2}\n\n", "3=2"},
	} {
		want := strings.TrimSpace(row.want)
		for cut := range len(row.text) + 1 {
			for again := range min(2, len(row.text)-cut+1) { // and once byte by byte around the cut
				var c told
				var s NumberScanner
				s.Begin(&c, numbersTree, row.events, []byte(`n`))
				s.Write([]byte(row.text[:cut]))
				s.Write([]byte(row.text[cut : cut+again]))
				s.Write([]byte(row.text[cut+again:]))
				if got := strings.Join(c.what, " "); got != want {
					t.Fatalf("%s, cut at %d: %q, want %q", row.sentence, cut, got, want)
				}
			}
		}
	}
}

// A whole line without the mark is not looked at.
func TestNumbersMark(t *testing.T) {
	var c told
	var s NumberScanner
	s.Begin(&c, numbersTree, true, []byte("marked"))
	s.Write([]byte("data: {\"n\":1}\ndata: {\"n\":2,\"marked\":1}\n"))
	if want := []string{"3=2"}; !slices.Equal(c.what, want) {
		t.Errorf("%v", c.what)
	}
}

// Each member of an object is found by its name and no other is, however many have names of
// its length.
func TestMembersByName(t *testing.T) {
	var members []Member
	for _, name := range []string{"", "b", "a", "bbb", "aaa", "ccc", strings.Repeat("y", maxMemberName), strings.Repeat("x", maxMemberName)} {
		members = append(members, Member{Name: name, Number: 1 + len(members)})
	}
	object := Object(slices.Clone(members))
	for _, m := range members {
		if got := object.named([]byte(m.Name)); got == nil || got.Number != m.Number {
			t.Errorf("%q is found as %v, want number %d", m.Name, got, m.Number)
		}
	}
	for _, name := range []string{"c", "aa", "aab", "aaaa", strings.Repeat("z", maxMemberName), strings.Repeat("x", maxMemberName+1), strings.Repeat("x", 300)} {
		if got := object.named([]byte(name)); got != nil {
			t.Errorf("%q is found as %v", name, got)
		}
	}
	if got := Object(nil).named([]byte("a")); got != nil {
		t.Errorf("an object without members has %v", got)
	}
}

// Nothing is allocated, whatever streams by.
func TestNumbersAllocations(t *testing.T) {
	text := []byte(`{"a":[1,{"b":"` + strings.Repeat("text ", 1000) + `"}],"use":{"in":12}}`)
	s, c := new(NumberScanner), silent{}
	if got := testing.AllocsPerRun(100, func() {
		s.Begin(c, numbersTree, false, nil)
		for piece := range slices.Chunk(text, 100) {
			s.Write(piece)
		}
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

type silent struct{}

func (silent) BeginGroup()           {}
func (silent) EndGroup()             {}
func (silent) TakeNumber(int, int64) {}

// FuzzNumbers compares what is found in a text as a whole with what is found in two pieces,
// and byte by byte.
func FuzzNumbers(f *testing.F) {
	for _, text := range []string{`{"use":{"in":1}}`, "data: {\"n\":1}\n\n", `[{"n":"\\\""}]`, "\xef\xbb\xbf{"} {
		f.Add([]byte(text), 5, true)
		f.Add([]byte(text), 9, false)
	}
	f.Fuzz(func(t *testing.T, text []byte, cut int, events bool) {
		cut = min(max(cut, 0), len(text))
		var whole, pieces told
		var s NumberScanner
		s.Begin(&whole, numbersTree, events, nil)
		s.Write(text)
		s.Begin(&pieces, numbersTree, events, nil)
		s.Write(bytes.Clone(text[:cut]))
		s.Write(bytes.Clone(text[cut:]))
		var bytewise told
		s.Begin(&bytewise, numbersTree, events, nil)
		for i := range text {
			s.Write(text[i : i+1])
		}
		if !slices.Equal(whole.what, pieces.what) || !slices.Equal(whole.what, bytewise.what) {
			t.Errorf("%q: %v, cut at %d: %v, byte by byte: %v", text, whole.what, cut, pieces.what, bytewise.what)
		}
	})
}

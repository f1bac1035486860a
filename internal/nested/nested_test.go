package nested

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"testing/iotest"
)

// strays tells whether the pieces stray for who is served the model demo only.
func strays(pieces ...[]byte) bool {
	f := NewFinder(func(model string) bool { return model == "demo" })
	for _, p := range pieces {
		f.Write(p)
	}
	return f.Strays()
}

// checkStrays tells whether the body strays, and fails if that depends on how it comes in.
func checkStrays(t *testing.T, body []byte) bool {
	t.Helper()
	want := strays(body)
	f, piece := NewFinder(func(model string) bool { return model == "demo" }), make([]byte, 1)
	for r := iotest.OneByteReader(bytes.NewReader(body)); ; {
		n, err := r.Read(piece)
		if err != nil {
			break
		}
		f.Write(piece[:n])
	}
	if f.Strays() != want {
		t.Errorf("%q strays %v, byte by byte %v", body, want, f.Strays())
	}
	for cut := range min(len(body), 300) {
		if got := strays(body[:cut:cut], body[cut:]); got != want {
			t.Errorf("%q strays %v, cut at %d %v", body, want, cut, got)
		}
	}
	return want
}

// at returns a body that has the value at the place.
func at(path []*place, value string) string {
	if len(path) == 0 {
		return value
	}
	inner := at(path[1:], value)
	switch name := path[0].name; name {
	case "[]":
		return `[{"other":"model"}, ` + inner + ` ]`
	case "*":
		return `{"any" : ` + inner + `}`
	default:
		return `{"x":"\"","` + name + "\":\t" + inner + `,"y":[1,{"model":"another"}]}`
	}
}

// eachPlace calls f with each place of a name.
func eachPlace(p *place, path []*place, f func(path []*place)) {
	for _, m := range p.in {
		path := append(path[:len(path):len(path)], m)
		if m.isName {
			f(path)
		}
		eachPlace(m, path, f)
	}
}

// At each place each name counts.
func TestEachPlace(t *testing.T) {
	places := 0
	eachPlace(carriers, nil, func(path []*place) {
		places++
		for value, want := range map[string]bool{
			`"demo"`: false, `"o3"`: true, `"d\u0065mo"`: false, `"dem\u00f6"`: true, `""`: true, `"demo` + strings.Repeat("x", 300) + `"`: true, `"\x"`: true,
			`null`: false, `7`: false, `{"model":"another"}`: false,
		} {
			if got := checkStrays(t, []byte(at(path, value))); got != want {
				t.Errorf("%s strays: %v", at(path, value), got)
			}
		}
		if body := strings.ToUpper(at(path, `"o3"`)); !checkStrays(t, []byte(body)) {
			t.Errorf("%s is no stray", body)
		}
	})
	if places < 10 {
		t.Errorf("%d places", places)
	}
}

func TestStrays(t *testing.T) {
	for _, row := range []struct {
		what, body string
		want       bool
	}{
		{"the first of two", `{"session":{"model":"o3","model":"demo"}}`, true},
		{"the last of two", `{"session":{"model":"demo","model":"o3"}}`, true},
		{"in the second of two", `{"session":{"model":"demo"},"session":{"model":"o3"}}`, true},
		{"in a later request", `{"requests":[{"params":{"model":"demo"}},null,7,"x",[1],{},{"params":{"model":"o3"}}]}`, true},
		{"one member's name has an escape", `{"s\u0065ssion":{"\u006dodel":"o3"}}`, true},
		{"a letter that others take for an s", "{\"ſession\":{\"model\":\"o3\"}}", true},
		{"behind a byte order mark", "\ufeff {\"session\":{\"model\":\"o3\"}}", true},
		{"behind strings with quotes and brackets", `{"messages":["\"}]","\\"],"session":{"model":"o3"}}`, true},
		{"in a comment", `{"session":{/*"*/"model":"o3"/*"*/}}`, true},
		{"without quotes", `{"session":{model:"o3"}}`, true},
		{"the body's own is others' to find", `{"model":"o3"}`, false},
		{"in content", `{"messages":[{"model":"o3","content":[{"session":{"model":"o3"}}]}]}`, false},
		{"deeper in a session", `{"session":{"tools":[{"model":"o3"}],"prompt":{"model":"o3"}}}`, false},
		{"one in the place of several", `{"models":"o3"}`, false},
		{"several in the place of one", `{"session":{"model":["o3"]}}`, false},
		{"a name that is longer", `{"session":{"models":"o3","mode":"o3","` + strings.Repeat("x", 3_000) + `":"o3"}}`, false},
		{"an array", `[{"session":{"model":"o3"}}]`, false},
		{"what is no JSON", `session={"session":{"model":"o3"}}`, false},
		{"behind the object", `{}{"session":{"model":"o3"}}`, false},
		{"too many ends", `{"session":{}}}]`, false},
		{"nothing", ``, false},
	} {
		if got := checkStrays(t, []byte(row.body)); got != row.want {
			t.Errorf("%s: %v", row.what, got)
		}
	}
	if f := (*Finder)(nil); f.Strays() {
		t.Error("without a finder")
	} else {
		f.Write([]byte(`{"session":{"model":"o3"}}`))
	}
}

// A string that goes on is not kept.
func TestLongStrings(t *testing.T) {
	f := NewFinder(func(string) bool { return true })
	f.Write([]byte(`{"session":{"model":"`))
	for range 1_000 {
		f.Write(bytes.Repeat([]byte("x"), 1_000))
	}
	if cap(f.text) > 4*maxText {
		t.Errorf("%d bytes are kept", cap(f.text))
	}
	if f.Write([]byte(`"`)); !f.Strays() {
		t.Error("it counts as a name")
	}
}

// names calls f with the names that a value has at its place and deeper.
func names(p *place, value any, f func(name string)) {
	switch v := value.(type) {
	case string:
		if p.isName {
			f(v)
		}
	case []any:
		if p = p.member([]byte("[]")); p != nil {
			for _, element := range v {
				names(p, element, f)
			}
		}
	case map[string]any:
		for name, member := range v {
			if m := p.member([]byte(name)); m != nil {
				names(m, member, f)
			}
		}
	}
}

// FuzzStrays looks for a way around: what Go's parser finds at the places is served, or the body
// strays.
func FuzzStrays(f *testing.F) {
	eachPlace(carriers, nil, func(path []*place) { f.Add([]byte(at(path, `"o3"`))); f.Add([]byte(at(path, `"demo"`))) })
	f.Add([]byte("\ufeff{\"s\\u0065ssion\":{\"Model\":\"\\ud800\"},\"session\":[[],{}]}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		var value map[string]any
		if checkStrays(t, body) || json.Unmarshal(body, &value) != nil {
			return
		}
		names(carriers, value, func(name string) {
			if name != "demo" {
				t.Errorf("%q is no stray, and names %q", body, name)
			}
		})
	})
}

// A large body is hopped over, and what is read of it makes no garbage but for the names.
func BenchmarkFinder(b *testing.B) {
	body := []byte(`{"model":"demo","messages":[{"content":"` + strings.Repeat("word ", 20_000) + `"}],"tools":[{"type":"function","function":{"name":"f"}}]}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		NewFinder(func(string) bool { return true }).Write(body)
	}
}

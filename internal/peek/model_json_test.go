package peek

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

const jsonType = "application/json"

var jsonBodies = []struct {
	name string
	body string
	want string // "" is none
	open bool   // the answer is not final
}{
	{name: "the model first", body: `{"model":"gpt-x","messages":[]}`, want: "gpt-x"},
	{name: "the model last", body: `{"messages":[{"role":"user","content":"hi"}],"model":"gpt-x"}`, want: "gpt-x"},
	{name: "the model in between, with all kinds of space", body: "\r\n\t {\n \"n\" :\t1 , \"model\" : \"gpt-x\" , \"b\" : true }\n", want: "gpt-x"},
	{name: "every kind of value before it", body: `{"a":-1.5e+3,"b":true,"c":null,"d":"s","e":{},"f":[],"g":[[{}],{"a":[1]}],"model":"gpt-x"}`, want: "gpt-x"},
	{name: "a byte order mark", body: "\ufeff{\"model\":\"gpt-x\"}", want: "gpt-x"},
	{name: "what follows the object does not matter", body: `{"model":"gpt-x"}}{"model":"y"}`, want: "gpt-x"},

	{name: "a nested model", body: `{"a":{"model":"x"},"b":[{"model":"y"}]}`},
	{name: "a nested model behind the real one", body: `{"model":"gpt-x","a":{"model":"x"},"b":[{"model":"y"}]}`, want: "gpt-x"},
	{name: "a model in a string", body: `{"a":"\"model\":\"x\"","b":"},\"model\":\"y\""}`},
	{name: "a model in a nested string", body: `{"a":["\"}],\"model\":\"x\""],"model":"gpt-x"}`, want: "gpt-x"},
	{name: "a value that is called model", body: `{"a":"model","b":"x"}`},
	{name: "brackets in nested strings", body: `{"a":["]","}",{"b":"[{"}],"model":"gpt-x"}`, want: "gpt-x"},
	{name: "strings that end in backslashes", body: `{"a":"\\","b":["\\\\","\\\""],"c":"\\\\\"","model":"gpt-x"}`, want: "gpt-x"},
	{name: "other names", body: `{"models":"a","mode":"b","Model":"c","mod":"d","":"e","model ":"f","model\u0000":"g"}`},
	{name: "escapes in the name of the member", body: `{"\u006d\u006F\u0064\u0065l":"gpt-x"}`, want: "gpt-x"},
	{name: "escapes that make another name", body: `{"mo\ndel":"a","mod\u0045l":"b","\ud83d\ude00":"c","model\ud83d":"d","mod\"el":"e"}`},
	{name: "escapes in the value", body: `{"model":"meta\/llama\u002D3 \"q\" \\ \u00fc \ud83d\uDE00 ü"}`, want: `meta/llama-3 "q" \ ü 😀 ü`},

	{name: "of several the last counts", body: `{"model":"a","model":"b","x":1,"mod\u0065l":"c"}`, want: "c"},
	{name: "the last is no string", body: `{"model":"a","model":null}`},
	{name: "the last is an object", body: `{"model":"a","model":{"model":"b"}}`},
	{name: "the first is no string", body: `{"model":["a"],"model":"b"}`, want: "b"},

	{name: "an empty object", body: `{}`},
	{name: "a model that is a number", body: `{"model":1}`},
	{name: "an empty name", body: `{"model":""}`},
	{name: "the longest name", body: `{"model":"` + strings.Repeat("m", 256) + `"}`, want: strings.Repeat("m", 256)},
	{name: "a name of usual length", body: `{"model":"` + strings.Repeat("m", usualModelName) + `"}`, want: strings.Repeat("m", usualModelName)},
	{name: "an unusual one, and another", body: `{"model":"` + strings.Repeat("m", usualModelName+1) + `","model":"demo"}`, want: "demo"},
	{name: "an unusual one behind another", body: `{"model":"demo","model":"` + strings.Repeat("m", usualModelName+1) + `"}`, want: strings.Repeat("m", usualModelName+1)},
	{name: "a name too long", body: `{"model":"` + strings.Repeat("m", 257) + `","x":"y"}`},
	{name: "a name too long, with escapes behind", body: `{"model":"` + strings.Repeat("m", 300) + `\"\\","x":"y","model":"z"}`, want: "z"},
	{name: "a name whose last character does not fit", body: `{"model":"` + strings.Repeat("m", 255) + `ü"}`},
	{name: "a control character in the name", body: `{"model":"a\nb"}`},
	{name: "NUL in the name", body: `{"model":"a\u0000b"}`},
	{name: "no UTF-8 in the name", body: "{\"model\":\"a\xffb\"}"},
	{name: "half a surrogate pair", body: `{"model":"\ud83d"}`},
	{name: "half a pair and a letter", body: `{"model":"\ud83dx"}`},
	{name: "half a pair and an escape", body: `{"model":"\ud83d\n\"","model":"b"}`, want: "b"},
	{name: "half a pair twice", body: `{"model":"\ud83d\ud83d\ude00"}`},
	{name: "the other half", body: `{"model":"\ude00\ud83d"}`},

	{name: "nothing", body: ``, open: true},
	{name: "half a byte order mark", body: "\xef\xbb{\"model\":\"x\"}"},
	{name: "two byte order marks", body: "\ufeff\ufeff{\"model\":\"x\"}"},
	{name: "an array", body: `[{"model":"x"}]`},
	{name: "a string", body: `"model"`},
	{name: "a number", body: `1`},
	{name: "no JSON", body: `model=x`},
	{name: "compressed", body: "\x1f\x8b\x08\x00"},
	{name: "cut off behind the model", body: `{"model":"gpt-x","messages":[{"role`, want: "gpt-x", open: true},
	{name: "cut off within the model", body: `{"model":"gpt-`, open: true},
	{name: "cut off within the second model", body: `{"model":"a","model":"b`, open: true},
	{name: "cut off within an escape", body: `{"a":"\`, open: true},
	{name: "malformed behind the model", body: `{"model":"gpt-x",}`},
	{name: "a comma too many", body: `{"model":"gpt-x",,"a":1}`},
	{name: "a comma at the start", body: `{,"model":"x"}`},
	{name: "no comma", body: `{"a":1 "model":"x"}`},
	{name: "no colon", body: `{"a" 1,"model":"x"}`},
	{name: "no value", body: `{"model":}`},
	{name: "no value, but a comma", body: `{"a":,"model":"x"}`},
	{name: "a name without quotes", body: `{model:"x"}`},
	{name: "single quotes", body: `{'model':'x'}`},
	{name: "an array that ends too often", body: `{"a":[]],"model":"x"}`},
	{name: "the object ends as an array", body: `{"model":"x"]`},
	{name: "an escape that there is none", body: `{"model":"\x"}`},
	{name: "digits that are none", body: `{"model":"\u00g0"}`},
	{name: "a newline in the name", body: "{\"model\":\"a\nb\"}"},
	{name: "a newline in the member's name", body: "{\"mo\ndel\":1,\"model\":\"x\"}"},
}

func TestModelInJSON(t *testing.T) {
	for _, test := range jsonBodies {
		t.Run(test.name, func(t *testing.T) {
			f := findModel(jsonType, []byte(test.body))
			name, ok := f.Model()
			if name != test.want || ok != (test.want != "") || f.Done() == test.open {
				t.Errorf("%s: model %q %v, done %v", test.body, name, ok, f.Done())
			}
			checkSplits(t, jsonType, []byte(test.body))
		})
	}
}

// TestModelInJSONSoFar follows an answer that changes on its way to be final.
func TestModelInJSONSoFar(t *testing.T) {
	f := newFinder(jsonType)
	for _, step := range []struct {
		piece string
		want  string
		done  bool
	}{
		{`{"n":1,"model":"a`, "", false},
		{`b"`, "ab", false},
		{`,"messages":["`, "ab", false},
		{`"],"mod`, "ab", false},
		{`el"`, "", false},
		{`:"c"`, "c", false},
		{`}`, "c", true},
		{`{"model":"d"}`, "c", true},
	} {
		f.Write([]byte(step.piece))
		name, ok := f.Model()
		if name != step.want || ok != (step.want != "") || ok != f.Found() || f.Done() != step.done {
			t.Errorf("after %s: %q %v, done %v", step.piece, name, ok, f.Done())
		}
	}
}

// TestModelInLargeJSON has nested values and strings that are longer than a piece.
func TestModelInLargeJSON(t *testing.T) {
	for _, test := range []struct {
		name string
		body string
	}{
		{"a long string", `{"a":"` + strings.Repeat("x", 100_000) + `","model":"gpt-x"}`},
		{"many backslashes", `{"a":"` + strings.Repeat(`\\`, 50_001) + `\"","model":"gpt-x"}`},
		{"deeply nested", `{"a":` + strings.Repeat(`[{"":`, 20_000) + "1" + strings.Repeat("}]", 20_000) + `,"model":"gpt-x"}`},
		{"many members", `{` + strings.Repeat(`"mode":"x","model":"y",`, 5000) + `"model":"gpt-x"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := findModel(jsonType, []byte(test.body))
			if name, _ := f.Model(); name != "gpt-x" || !f.Done() {
				t.Errorf("model %q, done %v", name, f.Done())
			}
			checkRandomSplits(t, jsonType, []byte(test.body), 1)
		})
	}
}

// modelByEncodingJSON is what Go's parser takes for the model; ok tells whether
// the body is a valid object.
func modelByEncodingJSON(body []byte) (name string, ok bool) {
	var members map[string]any
	if json.Unmarshal(body, &members) != nil || members == nil {
		return "", false
	}
	name, _ = members["model"].(string)
	if !IsModelName([]byte(name)) {
		name = ""
	}
	return name, true
}

func FuzzModelJSON(f *testing.F) {
	for i, test := range jsonBodies {
		f.Add([]byte(test.body), uint64(i))
	}
	f.Fuzz(func(t *testing.T, body []byte, seed uint64) {
		checkRandomSplits(t, jsonType, body, seed)
		want, ok := modelByEncodingJSON(body)
		if !ok {
			return
		}
		found := findModel(jsonType, body)
		got, _ := found.Model()
		if !found.Done() {
			t.Errorf("%q: not done", body)
		}
		// Go's parser puts U+FFFD for what is no Unicode; here that is no name.
		replaced := got == "" && strings.ContainsRune(want, '\ufffd')
		if got != want && !replaced {
			t.Errorf("%q: model %q, want %q", body, got, want)
		}
	})
}

// FuzzModelJSONMembers puts what the fuzzer finds where it matters: into a member's
// name and the model's, twice, among others.
func FuzzModelJSONMembers(f *testing.F) {
	f.Add("model", "gpt-x", `{"a":["\\"]}`, uint64(1))
	f.Add(`mod\u0065l`, `\ud83d\ude00\/`, `-1.5`, uint64(2))
	f.Add(`mod\ud800`, `\ud83d`, `"\\\""`, uint64(3))
	f.Fuzz(func(t *testing.T, member, name, other string, seed uint64) {
		body := `{"a":` + other + `,"` + member + `":"` + name + `","b":` + other + `,"` + member + `":` + other + `,"` + member + `":"` + name + `"}`
		checkRandomSplits(t, jsonType, []byte(body), seed)
		want, ok := modelByEncodingJSON([]byte(body))
		found := findModel(jsonType, []byte(body))
		got, _ := found.Model()
		if ok && got != want && !(got == "" && strings.ContainsRune(want, '\ufffd')) {
			t.Errorf("%s: model %q, want %q", body, got, want)
		}
	})
}

func FuzzStringEnd(f *testing.F) {
	for _, s := range []string{"", `a"`, `\"`, `\\"`, `a\\\"b"c`, `\`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, s []byte) {
		want := -1
		for i := 0; i < len(s) && want < 0; i++ {
			switch s[i] {
			case '\\':
				i++
			case '"':
				want = i + 1
			}
		}
		if got := stringEnd(s); got != want {
			t.Errorf("%q ends at %d, want %d", s, got, want)
		}
		if got := endsInEscape(s); want < 0 && !bytes.Contains(s, []byte(`"`)) && got != ((len(s)-len(bytes.TrimRight(s, `\`)))%2 > 0) {
			t.Errorf("%q: %v", s, got)
		}
	})
}

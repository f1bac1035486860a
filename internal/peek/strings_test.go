package peek

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// takenValues collects what a scanner tells, but for what is no id.
type takenValues []string

func (v *takenValues) TakeValue(name, value []byte) {
	if len(value) > 0 {
		*v = append(*v, fmt.Sprintf("%s=%s", name, value))
	}
}

// scanned scans the text in pieces of that many bytes; 0: whole.
// skipped are members that the tests skip.
var skipped = map[string]bool{
	"attributes": true, "arguments": true, "filters": true, "input": true, "instructions": true, "metadata": true, "parameters": true,
	"prompt": true, "response_format": true, "schema": true, "systemInstruction": true, "text": true, "tools": true, "variables": true,
}

func scanned(text string, piece int, events bool) []string {
	var taken takenValues
	var s StringScanner
	s.Begin(&taken, events, skipped)
	for piece > 0 && len(text) > piece {
		s.Write([]byte(text[:piece]))
		text = text[piece:]
	}
	s.Write([]byte(text))
	return taken
}

func TestStringScanner(t *testing.T) {
	long := strings.Repeat("a", MaxText)
	for _, row := range []struct {
		sentence string
		events   bool
		text     string
		want     []string
	}{
		{"members", false, `{"id":"file-1","object":"file"}`, []string{"id=file-1", "object=file"}},
		{"indented", false, "{\n  \"id\" : \"file-1\" ,\n  \"n\": 3\n}", []string{"id=file-1"}},
		{"nested, in whatever depth", false, `{"a":{"b":[{"file_id":"file-1"}]}}`, []string{"file_id=file-1"}},
		{"elements have their array's name", false, `{"file_ids":["file-1","file-2"]}`, []string{"file_ids=file-1", "file_ids=file-2"}},
		{"and not behind it", false, `{"id":["a"],"x":[["b"],"c"]}`, []string{"id=a", "x=b", "=c"}},
		{"texts are none", false, `{"content":"hello there","id":"file-1"}`, []string{"id=file-1"}},
		{"a text that holds JSON is none", false, `{"arguments":"{\"id\":\"file-1\"}","id":"x"}`, []string{"id=x"}},
		{"a text that ends in backslashes", false, `{"a":"x \\","id":"file-1"}`, []string{"id=file-1"}},
		{"a name that is none does not lend its value another's", false, `{"id":"a","my name":"file-1"}`, []string{"id=a", "=file-1"}},
		{"escaped slashes", false, `{"name":"files\/abc"}`, []string{"name=files/abc"}},
		{"other escapes", false, `{"name":"files\u002fabc","id":"\"x","n":"a\\"}`, nil},
		{"what repeats the client's words", false, `{"metadata":{"id":"file-1","x":{}},"tools":[{"id":["file-2"]},{}],"id":"file-3"}`, []string{"id=file-3"}},
		{"but not what follows it", false, `[{"tools":[]},{"id":"file-1"}]`, []string{"id=file-1"}},
		{"as a text it is a value", false, `{"input":"file-1"}`, []string{"input=file-1"}},
		{"the longest", false, `{"id":"` + long + `"}`, []string{"id=" + long}},
		{"one that is too long", false, `{"id":"` + long + `a"}`, nil},
		{"the beginning of what is sealed", false, `{"encrypted_content":"` + long + `aa\"a","id":"` + long + `a","x":"b"}`, []string{"encrypted_content=" + long, "x=b"}},
		{"what is sealed and short", false, `{"encrypted_content":"gAAA","a":["` + long + `a"]}`, []string{"encrypted_content=gAAA"}},
		{"what is sealed and no id", false, `{"encrypted_content":"` + long[1:] + ` a"}`, nil},
		{"a name that is too long", false, `{"` + strings.Repeat("a", maxMemberName+1) + `":"b"}`, []string{"=b"}},
		{"events", true, "event: a\ndata: {\"id\":\"resp_1\"}\n\ndata: {\"id\":\"resp_2\"}\r\n\r\n", []string{"id=resp_1", "id=resp_2"}},
		{"a broken event spoils no other", true, "data: {\"metadata\":{\"x\":\"y\ndata: {\"id\":\"resp_1\"}\n", []string{"id=resp_1"}},
		{"no JSON", false, "file-1", nil},
		{"nothing", false, "", nil},
	} {
		for piece := range len(row.text) + 1 {
			if got := scanned(row.text, piece, row.events); !slices.Equal(got, row.want) {
				t.Errorf("%s: in pieces of %d: %q, want %q", row.sentence, piece, got, row.want)
				break
			}
		}
	}
}

// Pieces of any size tell the same, and of a valid text all strings are told that could
// be ids.
func FuzzStringScanner(f *testing.F) {
	f.Add(`{"id":"file-1","metadata":{"id":"x"},"a":["b",{"c":"d\/e"}]}`, 3, false)
	f.Add("data: {\"id\":\"resp_1\"}\n\ndata: [DONE]\n", 2, true)
	f.Add(`["\\",":","",{}]`, 1, false)
	f.Fuzz(func(t *testing.T, text string, piece int, events bool) {
		whole := scanned(text, 0, events)
		if piece > 0 {
			if got := scanned(text, piece, events); !slices.Equal(got, whole) {
				t.Errorf("in pieces of %d: %q, whole: %q", piece, got, whole)
			}
		}
		var doc any
		if events || strings.Contains(text, "\\") || json.Unmarshal([]byte(text), &doc) != nil {
			return
		}
		var taken takenValues
		var s StringScanner
		s.Begin(&taken, false, nil)
		s.Write([]byte(text + " ,"))
		got := valuesOf(taken)
		want := stringsOf(doc, nil)
		slices.Sort(want)
		// Of two members of one name a parser keeps one.
		if slices.Sort(got); !slices.Equal(got, want) && len(got) <= len(want) {
			t.Errorf("of %q the scanner tells %q, want %q", text, got, want)
		}
	})
}

func valuesOf(taken []string) []string {
	values := make([]string, len(taken))
	for i, text := range taken {
		_, values[i], _ = strings.Cut(text, "=")
	}
	return values
}

// stringsOf returns the values of a document that could be ids.
func stringsOf(doc any, all []string) []string {
	switch v := doc.(type) {
	case string:
		if v != "" && len(v) <= MaxText && strings.Trim(v, visible) == "" {
			all = append(all, v)
		}
	case []any:
		for _, e := range v {
			all = stringsOf(e, all)
		}
	case map[string]any:
		for _, e := range v {
			all = stringsOf(e, all)
		}
	}
	return all
}

// visible are the bytes that idBytes has, but for those that need an escape.
var visible = func() string {
	var all []byte
	for c, ok := range idBytes {
		if ok {
			all = append(all, byte(c))
		}
	}
	return string(all)
}()

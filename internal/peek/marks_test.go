package peek

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"mime/multipart"
	"net/textproto"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// renamed returns the body with the name in the place of all that are marked.
func renamed(f *ModelFinder, body []byte, name string) []byte {
	var out []byte
	at := int64(0)
	for _, s := range f.Marks() {
		out = append(append(out, body[at:s.From]...), f.Spelled(name)...)
		at = s.To
	}
	return append(out, body[at:]...)
}

// newNames are names that are not easily written.
var newNames = []string{"m", "gpt-4o", `a "quoted" \ name`, `\`, `"`, "модель/😀", "--x", strings.Repeat("n", 256)}

// Whatever names a model names the other one afterwards, and is otherwise as before.
func TestRenamedBodies(t *testing.T) {
	for _, test := range jsonBodies {
		checkRenamedJSON(t, []byte(test.body))
	}
	for _, test := range formBodies {
		for _, name := range newNames {
			checkRenamedForm(t, []byte(test.body), name)
		}
	}
}

func checkRenamedJSON(t *testing.T, body []byte) {
	t.Helper()
	for _, name := range newNames {
		f := findModel(jsonType, body)
		if !f.Found() || len(f.Marks()) == 0 && bytes.Count(body, []byte("model")) > maxMarks {
			return
		}
		got := renamed(&f, body, name)
		again := findModel(jsonType, got)
		if found, _ := again.Model(); found != name || again.Done() != f.Done() || len(again.Marks()) != len(f.Marks()) {
			t.Fatalf("%q became %q: model %q, done %v", body, got, found, again.Done())
		}
		if want := topModels(body); want != nil {
			compareJSON(t, body, got, name)
			for i, value := range topModels(got) {
				if _, text := want[i].(string); text && value != name || !text && !reflect.DeepEqual(value, want[i]) {
					t.Errorf("%q became %q: its %d. model is %v", body, got, i+1, value)
				}
			}
		}
	}
}

// compareJSON compares all members but the model.
func compareJSON(t *testing.T, before, after []byte, name string) {
	t.Helper()
	var was, is map[string]any
	if json.Unmarshal(before, &was) != nil {
		return
	}
	if err := json.Unmarshal(after, &is); err != nil || is["model"] != name {
		t.Fatalf("%q became %q: %v, model %v", before, after, err, is["model"])
	}
	delete(was, "model")
	delete(is, "model")
	if !reflect.DeepEqual(was, is) {
		t.Errorf("%q became %q: other members are %v, were %v", before, after, is, was)
	}
}

// topModels returns the values of all members called model of an object, in order, by
// encoding/json; nil where it is none.
func topModels(body []byte) []any {
	if !json.Valid(body) {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil
	}
	all := []any{}
	for d.More() {
		member, _ := d.Token()
		var value any
		if d.Decode(&value) == nil && member == "model" {
			all = append(all, value)
		}
	}
	return all
}

func FuzzRenameJSON(f *testing.F) {
	for _, test := range jsonBodies {
		f.Add([]byte(test.body), uint64(1))
	}
	f.Fuzz(func(t *testing.T, body []byte, seed uint64) {
		checkRenamedJSON(t, body)
		made := randomObject(rand.New(rand.NewPCG(seed, uint64(len(body)))))
		found := findModel(jsonType, made)
		if !found.Found() || !json.Valid(made) {
			t.Fatalf("%s: no model", made)
		}
		checkRenamedJSON(t, made)
		checkRandomSplits(t, jsonType, made, seed)
	})
}

// randomObject writes an object that names a model somewhere, in any spelling.
func randomObject(r *rand.Rand) []byte {
	var b strings.Builder
	members := 1 + r.IntN(8)
	model := r.IntN(members)
	b.WriteString("{")
	for i := range members {
		if i > 0 {
			b.WriteString(",")
		}
		if i == model {
			b.WriteString(spell(r, "model") + " : " + spell(r, "gpt-4o/ä😀"))
			continue
		}
		b.WriteString(spell(r, fmt.Sprint("member ", i)) + ":" + randomValue(r, 3))
	}
	b.WriteString(" }")
	return []byte(b.String())
}

func randomValue(r *rand.Rand, depth int) string {
	switch kind := r.IntN(6); {
	case kind == 0 && depth > 0:
		return "[" + randomValue(r, depth-1) + "," + randomValue(r, depth-1) + "]"
	case kind == 1 && depth > 0:
		return `{"model":` + randomValue(r, depth-1) + "}"
	case kind == 2:
		return "-12.5e3"
	case kind == 3:
		return "null"
	}
	return spell(r, `"},{"model":"x"`+"\\\n\u2028"+strings.Repeat("x", r.IntN(40)))
}

// spell writes a JSON string, each of its characters in one of the ways there are.
func spell(r *rand.Rand, text string) string {
	out := `"`
	for _, c := range text {
		plain, _ := json.Marshal(string(c))
		if c > 0xffff || r.IntN(3) > 0 {
			out += string(plain[1 : len(plain)-1])
			continue
		}
		out += fmt.Sprintf(`\u%04x`, c)
	}
	return out + `"`
}

// formPart is what a form's parser says of a part.
type formPart struct {
	header textproto.MIMEHeader
	data   string
	model  bool
}

func formParts(body []byte) (parts []formPart, ok bool) {
	r := multipart.NewReader(bytes.NewReader(body), "b")
	for {
		part, err := r.NextRawPart()
		if err != nil {
			return parts, errors.Is(err, io.EOF)
		}
		field, certain := isFieldByMIME(part.Header["Content-Disposition"])
		data, err := io.ReadAll(part)
		if err != nil || !certain {
			return nil, false
		}
		parts = append(parts, formPart{part.Header, string(data), field})
	}
}

func checkRenamedForm(t *testing.T, body []byte, name string) {
	t.Helper()
	f := findModel(formType, body)
	want, ok := formParts(body)
	if !f.Found() || !f.Done() || len(f.Marks()) == 0 || lastWithTail.Match(body) || lastInPreamble.Match(body) || strings.HasPrefix(name, "--b") {
		return
	}
	got := renamed(&f, body, name)
	again := findModel(formType, got)
	if found, _ := again.Model(); found != name {
		t.Fatalf("%q became %q: model %q", body, got, found)
	}
	if !ok {
		return
	}
	parts, ok := formParts(got)
	for i, p := range want {
		if p.model && p.data != "" {
			want[i].data = name
		}
	}
	for i, p := range parts {
		if p.model && want[i].data == "" && p.data == name {
			want[i].data = name // an empty one, on a line of its own
		}
	}
	if !ok || !reflect.DeepEqual(parts, want) {
		t.Errorf("%q became %q: %+v, %v, want %+v", body, got, parts, ok, want)
	}
}

func FuzzRenameForm(f *testing.F) {
	for _, test := range formBodies {
		f.Add([]byte(test.body), "other", true)
	}
	f.Fuzz(func(t *testing.T, body []byte, name string, crlf bool) {
		if !IsModelName([]byte(name)) {
			return
		}
		end := "\n--b--\n"
		if crlf {
			end = "\r\n--b--\r\n"
		}
		checkRenamedForm(t, append(bytes.Clone(body), end...), name)
	})
}

// A form as Go writes it, with a file before and behind.
func TestRenamedFormOfGo(t *testing.T) {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	file, _ := w.CreateFormFile("file", "speech.mp3")
	file.Write(binaryText(1 << 16))
	w.WriteField("model", "whisper-1")
	w.WriteField("language", "model")
	w.Close()
	f := findModel(w.FormDataContentType(), body.Bytes())
	form, err := multipart.NewReader(bytes.NewReader(renamed(&f, body.Bytes(), "other")), w.Boundary()).ReadForm(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string][]string{"model": {"other"}, "language": {"model"}}; !maps.EqualFunc(form.Value, want, slices.Equal) || form.File["file"][0].Size != 1<<16 {
		t.Errorf("%v, %v", form.Value, form.File)
	}
}

// What is noted is bounded, and what has more is left alone.
func TestMarksAreBounded(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 2, maxMarks: maxMarks, maxMarks + 1: 0, 10_000: 0} {
		body := `{"model":"a"` + strings.Repeat(`,"model":"a"`, n-1) + "}"
		f := findModel(jsonType, []byte(body))
		if name, _ := f.Model(); name != "a" || len(f.Marks()) != want {
			t.Errorf("%d: %q at %d places, want %d", n, name, len(f.Marks()), want)
		}
	}
	f := newFinder(jsonType)
	f.Write([]byte(`{"model":"a"}`))
	if f.Marks() != nil {
		t.Error("marks without Mark")
	}
}

// Who has got marks keeps them, whatever comes.
func TestMarksStay(t *testing.T) {
	f := newMarking(jsonType)
	f.Write([]byte(`{"model":"a"`))
	first := f.Marks()
	f.Write([]byte(`,"model":"bcd","model":"e`))
	second := f.Marks()
	f.Write([]byte(`f"}`))
	if want := []Span{{10, 11}, {22, 25}, {36, 38}}; !slices.Equal(first, want[:1]) || !slices.Equal(second, want[:2]) || !slices.Equal(f.Marks(), want) {
		t.Errorf("%v, %v, %v", first, second, f.Marks())
	}
}

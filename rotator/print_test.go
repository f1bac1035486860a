package rotator

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"log"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"text/template"
)

const printedSecret = "sk-Zq7xWv0TmY3rLb9KpDfGhJ"

// leak returns the first 6 bytes of the secret that text shows, plain or in hex.
func leak(text, secret string) string {
	lower := strings.ToLower(text)
	for i := range max(len(secret)-5, 0) {
		part := secret[i : i+6]
		digits := hex.EncodeToString([]byte(part))
		if strings.Contains(text, part) || strings.Contains(lower, digits) ||
			strings.Contains(lower, spaced(digits)) || strings.Contains(text, decimals(part)) {
			return part
		}
	}
	return ""
}

func spaced(digits string) string {
	return strings.TrimSpace(fmt.Sprintf("% x", must(hex.DecodeString(digits))))
}

func decimals(s string) string { return strings.Trim(fmt.Sprint([]byte(s)), "[]") }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestLeakIsFound(t *testing.T) {
	secret := printedSecret
	for _, verb := range []string{"%v", "%q", "%x", "%X", "% x"} {
		if text := fmt.Sprintf(verb, secret); leak(text, secret) == "" {
			t.Errorf("%s is not seen as a leak", text)
		}
	}
	if text := fmt.Sprint([]byte(secret)); leak(text, secret) == "" {
		t.Errorf("%s is not seen as a leak", text)
	}
	if leak("…"+secret[len(secret)-6:], secret) == "" || leak(secret[:5], secret) != "" {
		t.Error("six bytes are the limit")
	}
}

type (
	exported   struct{ Key Key }
	unexported struct{ key Key }
	embedded   struct {
		Key
		Name string
	}
	pointers struct {
		Key *Key
		key *Key
	}
	xmlKeys struct {
		XMLName   xml.Name `xml:"keys"`
		Attribute Key      `xml:"attribute,attr"`
		Elements  []Key    `xml:"element"`
	}
)

// holders is everything that a key may stand in when somebody prints it.
func holders(t *testing.T) map[string]any {
	k, err := NewKey(printedSecret)
	if err != nil {
		t.Fatal(err)
	}
	s := NewState(start)
	p := makePool(t, []Key{k}, s, start)
	return map[string]any{
		"a key":                          k,
		"its address":                    &k,
		"its value by reflection":        reflect.ValueOf(k),
		"an exported field":              exported{k},
		"an exported field by address":   &exported{k},
		"an unexported field":            unexported{k},
		"an unexported field by address": &unexported{k},
		"an embedded key":                embedded{k, "name"},
		"fields that point at it":        pointers{&k, &k},
		"a slice":                        []Key{k, {}},
		"a slice of addresses":           []*Key{&k, nil},
		"a slice of anything":            []any{k, &k, unexported{k}},
		"an array":                       [1]Key{k},
		"a map's value":                  map[string]Key{"key": k},
		"a map's key":                    map[Key]string{k: "key"},
		"a map in a struct":              struct{ m map[Key]unexported }{map[Key]unexported{k: {k}}},
		"an interface field":             struct{ v any }{k},
		"an exported interface field":    struct{ V any }{k},
		"an error":                       fmt.Errorf("upstream refused %v: %w", k, errors.New("reset")),
		"a pool":                         p,
		"a pool in a struct":             struct{ p *Pool }{p},
		"a pool by value":                reflect.ValueOf(p).Elem(),
		"a state":                        s,
	}
}

func TestFormatShowsNoSecret(t *testing.T) {
	verbs := []string{"v", "+v", "#v", "s", "+s", "#s", "q", "+q", "#q", "x", "X", " x", "#x", "# x", "d", "+d", "o", "b", "c", "U", "e", "g", "t", "p", "#p", "T", "w", "z", "30v", "-30s", ".3s", "030d"}
	for name, holder := range holders(t) {
		for _, verb := range verbs {
			text := fmt.Sprintf("%"+verb, holder)
			if part := leak(text, printedSecret); part != "" {
				t.Errorf("%s printed with %%%s shows %q: %s", name, verb, part, text)
			}
			if err := fmt.Errorf("%"+verb, holder); leak(err.Error(), printedSecret) != "" {
				t.Errorf("%s in an error with %%%s: %v", name, verb, err)
			}
		}
	}
}

func TestEncodersShowNoSecret(t *testing.T) {
	encoders := map[string]func(w io.Writer, v any) error{
		"Fprint":   func(w io.Writer, v any) error { _, err := fmt.Fprintln(w, v, []any{v}); return err },
		"log":      func(w io.Writer, v any) error { log.New(w, "", 0).Print(v, v); return nil },
		"json":     func(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) },
		"xml":      func(w io.Writer, v any) error { return xml.NewEncoder(w).Encode(v) },
		"gob":      func(w io.Writer, v any) error { return gob.NewEncoder(w).Encode(v) },
		"slogText": func(w io.Writer, v any) error { return logTo(slog.NewTextHandler(w, nil), v) },
		"slogJSON": func(w io.Writer, v any) error { return logTo(slog.NewJSONHandler(w, nil), v) },
		"template": func(w io.Writer, v any) error {
			return template.Must(template.New("").Parse(`{{.}} {{print .}} {{printf "%s %q %x" . . .}}`)).Execute(w, v)
		},
		"html": func(w io.Writer, v any) error {
			return htmltemplate.Must(htmltemplate.New("").Parse(`<a href="?k={{.}}">{{.}}</a><script>x = {{.}}</script>`)).Execute(w, v)
		},
	}
	for encoder, encode := range encoders {
		for name, holder := range holders(t) {
			var out bytes.Buffer
			// An encoder may refuse, but then its error must not show the secret either.
			err := encode(&out, holder)
			if part := leak(out.String()+fmt.Sprint(err), printedSecret); part != "" {
				t.Errorf("%s by %s shows %q: %s, %v", name, encoder, part, out.String(), err)
			}
		}
	}
}

func logTo(h slog.Handler, v any) error {
	l := slog.New(h).With("before", v)
	l.WithGroup("group").Info("message", "key", v, slog.Group("inner", "key", v), slog.Any("list", []any{v}))
	return nil
}

// That nothing leaks would be easy if nothing were shown: the id must be there.
func TestKeyShowsItsID(t *testing.T) {
	k, err := NewKey(printedSecret)
	if err != nil {
		t.Fatal(err)
	}
	id := IDOf(printedSecret).String()
	var text, logged, page bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("picked", "key", k)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("picked", "key", k)
	if err := template.Must(template.New("").Parse("{{.}}")).Execute(&page, exported{k}); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ sentence, got, want string }{
		{"every verb prints the id, whatever its flags", fmt.Sprintf("%v %+v %#v %s %q %x %d", k, k, k, k, k, k, k), strings.TrimSpace(strings.Repeat(id+" ", 7))},
		{"by address as well", fmt.Sprint(&k), id},
		{"an exported field prints as the id", fmt.Sprintf("%+v", exported{k}), "{Key:" + id + "}"},
		{"an error names the key by id", fmt.Errorf("dial with %v: %w", k, io.EOF).Error(), "dial with " + id + ": EOF"},
		{"JSON has the id as a string", string(must(json.Marshal(exported{k}))), `{"Key":"` + id + `"}`},
		{"a JSON object has it as a name", string(must(json.Marshal(map[Key]int{k: 1}))), `{"` + id + `":1}`},
		{"a JSON array has it as an element", string(must(json.Marshal([]*Key{&k, nil}))), `["` + id + `",null]`},
		{"XML has it in attributes and elements", string(must(xml.Marshal(xmlKeys{Attribute: k, Elements: []Key{k}}))), `<keys attribute="` + id + `"><element>` + id + `</element></keys>`},
		{"a template has it", page.String(), "{" + id + "}"},
		{"a log line has it as a plain attribute", text.String(), " key=" + id + "\n"},
		{"a JSON log line has it as a string", logged.String(), `"key":"` + id + `"}`},
	} {
		if row.got != row.want && !(strings.Contains(row.sentence, "log line") && strings.Contains(row.got, row.want)) {
			t.Errorf("%s: got %s, want %s", row.sentence, row.got, row.want)
		}
	}
}

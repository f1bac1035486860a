package docs

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // what the configs use

	"github.com/keycycler/keycycler"
)

// wrappings are what may stand around a config that a page shows in part.
var wrappings = []struct{ name, before, after string }{
	{"directives", ":80 {\n", "\n}\n"},
	{"options of keycycler", ":80 {\nkeycycler {\nkeys sk-demo-1\n", "\n}\nreverse_proxy localhost:8081\n}\n"},
	{"options of a log", "{\nlog default {\n", "\n}\n}\n"},
}

// syntaxes are blocks that show a syntax: tests of the parser compare them.
var syntaxes = []string{"keycycler [<matcher>] [<pool>] {\n", "state redis <address...> {\n"}

func adapt(text string) ([]byte, error) {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	return config, err
}

// whole tells a Caddyfile by what it begins with: global options, or the address of a
// site, which has a dot or a colon. Anything else would be taken for an address as well.
var whole = regexp.MustCompile(`^(#.*\n)*(\{\n|[^ \t]*[.:][^ \t]* \{\n)`)

// adaptPart adapts a config as whatever part of a Caddyfile it is.
func adaptPart(text string) error {
	if whole.MatchString(text) {
		_, err := adapt(text)
		return err
	}
	var problems []string
	for _, w := range wrappings {
		_, err := adapt(w.before + text + w.after)
		if err == nil {
			return nil
		}
		problems = append(problems, fmt.Sprintf("as %s: %v", w.name, err))
	}
	return fmt.Errorf("%s", strings.Join(problems, "\n"))
}

func TestEveryConfigAdapts(t *testing.T) {
	adapted, shown := 0, 0
	for _, name := range pages(t) {
		for _, b := range blocksOf(t, name, "caddyfile") {
			if isSyntax(b.text) {
				shown++
				continue
			}
			adapted++
			if err := adaptPart(b.text); err != nil {
				t.Errorf("%s:%d:\n%v", name, b.line, err)
			}
		}
	}
	if adapted < 30 || shown != len(syntaxes) {
		t.Errorf("%d configs and %d syntaxes were found", adapted, shown)
	}
}

func isSyntax(text string) bool {
	for _, s := range syntaxes {
		if strings.HasPrefix(text, s) {
			return true
		}
	}
	return false
}

// What is no config is refused in every wrapping.
func TestAdaptPartRefuses(t *testing.T) {
	for _, text := range []string{"keycycler {\n\tkey sk-demo-1\n}", "on 503 forget", "llm.example.com {\n\tkeycycle\n}", "select hash {header.X"} {
		if adaptPart(text) == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// The JSON of a handler names fields that exist.
func TestHandlersInJSON(t *testing.T) {
	found := 0
	for _, name := range pages(t) {
		for _, b := range blocksOf(t, name, "json") {
			var members map[string]json.RawMessage
			if err := json.Unmarshal([]byte(b.text), &members); err != nil {
				t.Errorf("%s:%d: %v", name, b.line, err)
				continue
			}
			if string(members["handler"]) != `"keycycler"` {
				continue
			}
			found++
			delete(members, "handler")
			text, err := json.Marshal(members)
			if err != nil {
				t.Fatal(err)
			}
			decoder := json.NewDecoder(strings.NewReader(string(text)))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(new(keycycler.Handler)); err != nil {
				t.Errorf("%s:%d: %v", name, b.line, err)
			}
		}
	}
	if found == 0 {
		t.Error("no page shows a handler in JSON")
	}
}

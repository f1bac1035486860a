package keycycler

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/keycycler/keycycler/internal/backend"
	"github.com/keycycler/keycycler/internal/testkit"
)

// separator stands in a fixture between the Caddyfile and what comes of it.
const separator = "\n----------\n"

// adapt turns a Caddyfile into indented JSON.
func adapt(text string) (string, error) {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return "", err
	}
	return normalise(config)
}

// normalise indents JSON and sorts its fields.
func normalise(config []byte) (string, error) {
	var v any
	if err := json.Unmarshal(config, &v); err != nil {
		return "", err
	}
	indented, err := json.MarshalIndent(v, "", "\t")
	return string(indented), err
}

// fixtures calls test for each file of testdata/<dir>, with both its parts.
func fixtures(t *testing.T, dir string, test func(t *testing.T, caddyfile, want string)) {
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.caddyfiletest"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures in %s: %v", dir, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text, want, ok := strings.Cut(strings.ReplaceAll(string(content), "\r\n", "\n"), separator)
			if !ok {
				t.Fatal("the fixture has no separator")
			}
			test(t, text+"\n", strings.TrimSpace(want))
		})
	}
}

func TestCaddyfileAdapts(t *testing.T) {
	fixtures(t, "adapt", func(t *testing.T, text, want string) {
		got, err := adapt(text)
		if err != nil {
			t.Fatal(err)
		}
		if want, err = normalise([]byte(want)); err != nil {
			t.Fatalf("the fixture's JSON: %v", err)
		}
		if got != want {
			t.Errorf("adapted to\n%s\nwant\n%s", got, want)
		}
	})
}

// Each fixture marks the line that its error must name with the comment "wrong".
func TestCaddyfileErrors(t *testing.T) {
	fixtures(t, "errors", func(t *testing.T, text, want string) {
		_, err := adapt(text)
		if err == nil {
			t.Fatalf("no error, want\n%s", want)
		}
		if err.Error() != want {
			t.Errorf("error\n%s\nwant\n%s", err, want)
		}
		if line := markedLine(text); !strings.HasSuffix(err.Error(), fmt.Sprintf(", at Caddyfile:%d", line)) {
			t.Errorf("the error does not name line %d: %v", line, err)
		}
		for _, key := range regexp.MustCompile(`sk-\w[\w-]*|abcdefgh\w*`).FindAllString(text, -1) {
			if strings.Contains(err.Error(), key) {
				t.Errorf("the error shows a key: %v", err)
			}
		}
	})
}

func markedLine(text string) int {
	before, _, ok := strings.Cut(text, "# wrong")
	if !ok {
		return -1
	}
	return strings.Count(before, "\n") + 1
}

func TestKeycyclerStandsBeforeReverseProxy(t *testing.T) {
	config, err := adapt(":80\nreverse_proxy localhost:8081\nkeycycler {\n\tkeys sk-demo-1\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	own, proxy := strings.Index(config, `"handler": "keycycler"`), strings.Index(config, `"handler": "reverse_proxy"`)
	if own < 0 || proxy < own {
		t.Errorf("keycycler at %d, reverse_proxy at %d of\n%s", own, proxy, config)
	}
}

// documentedSyntax returns the syntax block above UnmarshalCaddyfile.
func documentedSyntax(t *testing.T) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "caddyfile.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Name.Name != "UnmarshalCaddyfile" {
			continue
		}
		var block []string
		for line := range strings.Lines(f.Doc.Text()) {
			if strings.HasPrefix(line, "\t") {
				block = append(block, line)
			}
		}
		return strings.Join(block, "")
	}
	t.Fatal("UnmarshalCaddyfile has no comment")
	return ""
}

// syntaxOptions returns what a syntax block says about each option: "max" of the
// block "cooldown" as "cooldown max". White space and comments are of no account.
func syntaxOptions(block string) map[string]string {
	options := make(map[string]string)
	var within []string
	for line := range strings.Lines(block) {
		line, _, _ = strings.Cut(line, " #")
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || strings.HasPrefix(words[0], "#"):
			continue
		case words[0] == "}":
			within = within[:max(len(within)-1, 0)]
			continue
		}
		name := strings.Join(append(slices.Clone(within), words[0]), " ")
		options[name] += strings.Join(words[1:], " ") + "\n"
		if words[len(words)-1] == "{" {
			within = append(within, words[0])
		}
	}
	return options
}

func TestSyntaxOptionsSeesDifferences(t *testing.T) {
	a := syntaxOptions("keycycler [<pool>] {\n\tkeys <key...>\n\tcooldown {\n\t\tmax <duration>\n\t}\n}")
	for _, test := range []struct {
		name  string
		block string
		equal bool
	}{
		{"white space and comments are of no account", "keycycler   [<pool>] {\n keys  <key...> # one\n\n cooldown {\nmax <duration>\n}\n}", true},
		{"an option is missing", "keycycler [<pool>] {\n\tcooldown {\n\t\tmax <duration>\n\t}\n}", false},
		{"an option has another value", "keycycler [<pool>] {\n\tkeys <key>\n\tcooldown {\n\t\tmax <duration>\n\t}\n}", false},
		{"an option stands outside its block", "keycycler [<pool>] {\n\tkeys <key...>\n\tcooldown {\n\t}\n\tmax <duration>\n}", false},
		{"an option stands twice", "keycycler [<pool>] {\n\tkeys <key...>\n\tkeys <key...>\n\tcooldown {\n\t\tmax <duration>\n\t}\n}", false},
	} {
		if b := syntaxOptions(test.block); maps.Equal(a, b) != test.equal {
			t.Errorf("%s: %v and %v", test.name, a, b)
		}
	}
}

func TestTheReferenceHasTheDocumentedSyntax(t *testing.T) {
	page, err := os.ReadFile("docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut("\n"+string(page), "\n## Syntax\n")
	if !ok {
		t.Fatal(`reference.md has no heading "## Syntax"`)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	_, block, ok := strings.Cut(section, "```caddyfile\n")
	block, _, closed := strings.Cut(block, "\n```")
	if !ok || !closed {
		t.Fatal("reference.md has no caddyfile block under Syntax")
	}
	want, got := syntaxOptions(documentedSyntax(t)), syntaxOptions(block)
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("reference.md says %q about %q, the comment of UnmarshalCaddyfile %q", got[name], name, want[name])
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("reference.md has %q, the comment of UnmarshalCaddyfile has not", name)
		}
	}
}

func TestTheFixtureUsesEveryDocumentedOption(t *testing.T) {
	content, err := os.ReadFile("testdata/adapt/all_options.caddyfiletest")
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(content), separator)
	_, block, _ := strings.Cut(text, "\nkeycycler ")
	used := syntaxOptions("keycycler " + block)
	documented := syntaxOptions(documentedSyntax(t))
	if len(documented) < 17 {
		t.Fatalf("only %d options are documented: %v", len(documented), documented)
	}
	for name := range documented {
		name = strings.Replace(name, "<name>|*", "ada", 1) // one of the fixture's clients
		if used[name] == "" {
			t.Errorf("the fixture has no %q", name)
		}
	}
}

// The parser lists its options where it meets one that it does not know.
func TestEveryOptionOfTheParserIsDocumented(t *testing.T) {
	documented := syntaxOptions(documentedSyntax(t))
	for _, block := range []string{"", "cooldown", "limit", "replay"} {
		text := "nonsense"
		if block != "" {
			text = block + " {\nnonsense\n}"
		}
		err := new(Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser("keycycler {\n" + text + "\n}"))
		if err == nil {
			t.Fatalf("%s: no error", block)
		}
		_, list, _ := strings.Cut(err.Error(), "the options are ")
		list, _, ok := strings.Cut(list, ", at ")
		if !ok {
			t.Fatalf("%s: the error lists no options: %v", block, err)
		}
		for name := range strings.SplitSeq(list, ", ") {
			if path := strings.Join(strings.Fields("keycycler "+block+" "+name), " "); documented[path] == "" {
				t.Errorf("%q is not documented", path)
			}
		}
	}
}

func FuzzCaddyfile(f *testing.F) {
	for _, dir := range []string{"adapt", "errors"} {
		files, _ := filepath.Glob(filepath.Join("testdata", dir, "*.caddyfiletest"))
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			text, _, _ := strings.Cut(string(content), separator)
			_, block, _ := strings.Cut(text, "{\n")
			f.Add(block)
		}
	}
	f.Add("\tsk-demo-1\n\tkeys sk-demo-2 {\n\t\tsk-demo-3\n")
	f.Fuzz(func(t *testing.T, block string) {
		tokens, err := caddyfile.Tokenize([]byte("keycycler {\n"+block+"\n}\n"), "Caddyfile")
		if err != nil {
			return // Caddy's own error
		}
		err = new(Handler).UnmarshalCaddyfile(caddyfile.NewDispenser(tokens))
		if err == nil {
			return
		}
		for line := range strings.Lines(block) {
			line = strings.TrimSpace(line)
			if key := keyLine.FindString(line); len(key) > len("sk-") && strings.Contains(err.Error(), key) {
				t.Errorf("the line %q shows in the error: %v", line, err)
			}
		}
	})
}

// keyLine finds what a line begins with that begins as a key does.
var keyLine = regexp.MustCompile(`^sk-[!-~]+`)

// The syntax above the parser, what the parser takes, the fixture and the page
// agree.
func TestRedisSyntaxIsDocumented(t *testing.T) {
	read := func(file, from, to string) map[string]string {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, block, ok := strings.Cut(string(content), from)
		block, _, closed := strings.Cut(block, to)
		if !ok || !closed {
			t.Fatalf("%s has no %q", file, from)
		}
		return syntaxOptions("state redis " + strings.ReplaceAll(block, "//", ""))
	}
	documented := read("internal/backend/redis_caddyfile.go", "//\tstate redis ", "func (r *RedisState)")
	page := read("docs/cluster.md", "\nstate redis ", "```")
	fixture := read("testdata/adapt/redis_all_options.caddyfiletest", "\tstate redis ", separator)
	maps.Copy(fixture, read("testdata/adapt/redis_cluster.caddyfiletest", "\tstate redis ", separator)) // which excludes others
	if len(documented) != 18 {
		t.Errorf("%d lines are documented: %v", len(documented), documented)
	}
	for name := range documented {
		if page[name] != documented[name] {
			t.Errorf("cluster.md says %q about %q, the comment %q", page[name], name, documented[name])
		}
		if fixture[name] == "" {
			t.Errorf("the fixture has no %q", name)
		}
	}
	for _, block := range []string{"", "tls"} {
		text := "nonsense"
		if block != "" {
			text = block + " {\nnonsense\n}"
		}
		err := new(backend.RedisState).UnmarshalCaddyfile(caddyfile.NewTestDispenser("redis redis.demo {\n" + text + "\n}"))
		_, list, _ := strings.Cut(testkit.Message(err), "the options are ")
		list, _, ok := strings.Cut(list, ", at ")
		if !ok {
			t.Fatalf("the error lists no options: %v", err)
		}
		for name := range strings.SplitSeq(list, ", ") {
			if path := strings.Join(strings.Fields("state "+block+" "+name), " "); documented[path] == "" {
				t.Errorf("%q is not documented", path)
			}
		}
	}
}

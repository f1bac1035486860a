package keyset

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/testkit"
)

// hex32 is a key of a provider whose keys have no prefix, such as Azure's.
const hex32 = "0123456789abcdef0123456789abcdef"

func TestWhatIsNoKey(t *testing.T) {
	for _, test := range []struct {
		name string
		line string
		want error
	}{
		{"a comma list", "sk-demo-1,sk-demo-2", errList},
		{"a comma list with spaces", "sk-demo-1, sk-demo-2", errList},
		{"a list with semicolons", "sk-demo-1;sk-demo-2;", errList},
		{"a comma behind a key", "sk-demo-1,", errList},
		{"a list of keys without a prefix", hex32 + "," + strings.ToUpper(hex32), errList},
		{"a line of CSV", "sk-demo-1,east", errList},
		{"a variable", "OPENAI_API_KEY=sk-demo-1", errVariable},
		{"a variable of a key without a prefix", "AZURE=" + hex32, errVariable},
		{"a variable in lower case", "openai_key=" + hex32, errVariable},
		{"a variable with spaces", "KEY = sk-demo-1", errVariable},
		{"a variable in quotes", `k="demo"`, errVariable},
		{"an empty variable", "OPENAI_API_KEY=", errVariable},
		{"an empty variable with a number", "OPENAI_API_KEY_2=", errVariable},
		{"an exported one", "export OPENAI_API_KEY=sk-demo-1", errVariable},
		{"one of Windows", "set OPENAI_API_KEY=sk-demo-1", errVariable},
		{"double quotes", `"sk-demo-1"`, errQuotes},
		{"single quotes", "'sk-demo-1'", errQuotes},
		{"quotes and a name", `"sk-demo-1" east`, errQuotes},
		{"a JSON array", `["sk-demo-1","sk-demo-2"]`, errJSON},
		{"a JSON array of one", `[ "sk-demo-1" ]`, errJSON},
		{"an array without quotes", `[sk-demo-1, sk-demo-2]`, errJSON},
		{"the first line of an array", "[", errJSON},
		{"the second", `"sk-demo-1",`, errJSON},
		{"the last", "],", errJSON},
		{"a JSON object", `{"key": "sk-demo-1"}`, errJSON},
		{"an unfinished one", `{"key":`, errJSON},
		{"a scheme", "Bearer sk-demo-1", errScheme},
		{"a scheme in lower case", "bearer sk-demo-1", errScheme},
		{"a scheme alone", "Bearer", errScheme},
		{"a header", "Authorization: Bearer sk-demo-1", errHeader},
		{"a line of YAML", "openai: sk-demo-1", errHeader},
		{"an item of YAML", "- sk-demo-1", errItem},
		{"a dash alone", "-", errItem},
		{"a comment", "sk-demo-1 # prod", errComment},
		{"a comment without a space", "sk-demo-1 #prod", errComment},
		{"a comment with slashes", "sk-demo-1 // prod", errComment},
		{"two keys", "sk-demo-1 sk-demo-2", errTwo},
		{"two keys without a prefix", hex32 + "\t" + strings.ToUpper(hex32), errTwo},
		{"two keys and a name", "sk-demo-1 east sk-demo-2", errTwo},
		{"a UUID behind a key", "sk-demo-1 01234567-89ab-cdef-0123-456789abcdef", errTwo},
		{"a key behind a name", "east:sk-demo-1", errHeader},
		{"a line of CSV, the name first", "east,sk-demo-1", errList},
		{"a variable of a shell", "$OPENAI_API_KEY", errPlain},
		{"one in braces", "${OPENAI_API_KEY}", errPlain},
		{"one of Windows, by its name", "%OPENAI_API_KEY%", errPlain},
		{"a placeholder without braces", "env.OPENAI_API_KEY", errPlain},
		{"an example", "<your-api-key>", errSample},
		{"an example with dots", "sk-...", errSample},
		{"an example in capitals", "YOUR_API_KEY", errSample},
		{"three words", "sk-demo-1 east asia", errWords},
		{"option words", "sk-demo-1 weight 3", errWords},
		{"a name with a letter outside ASCII", "sk-demo-1 münchen", errNoName},
		{"a name that is too long", "sk-demo-1 " + strings.Repeat("n", 65), errNoName},
		{"a name of dots", "sk-demo-1 ..", errNoName},
		{"an id as a name", "sk-demo-1 0123456789ab", errNameID},
		{"an id in capitals as a name", "sk-demo-1 0123456789AB", errNameID},
	} {
		_, _, err := ParseLine(test.line)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if piece := shownPiece(strings.ReplaceAll(testkit.Message(err), test.want.Error(), ""), test.line); piece != "" {
			t.Errorf("%s: the error shows %q", test.name, piece)
		}
	}
	for _, err := range allSlips {
		if strings.HasPrefix(err.Error(), "the name") || slices.Contains([]error{errEmpty, errLines, errInBlock}, err) {
			continue // of values in the config, below
		}
		if !strings.Contains(err.Error(), ": ") {
			t.Errorf("%q does not say what to do", err)
		}
	}
}

// Keys may hold any visible character: what providers hand out, or people choose for their
// own servers, is not refused for one alone.
func TestWhatMayBeAKey(t *testing.T) {
	for _, line := range []string{
		"sk-demo-1", "sk-proj-a_b-C9", hex32, "QUJDREVGRw==", "abcd+efgh/ijkl=", "ABCDEF=", "GEZDGNBVGY3TQ===", "a_B_2=", "AIzaSyDemo_1-2", "pass,word", "a;b", "p#ss", "it's", `a"b`,
		"session=0123456789abcdef0123456789", "a=b", "x=", "=", "==", ",", "Bearerless", "-x", "[x", "x]", "{x", "(x)", "'", `"`, `"x`, "export", "key:1",
		"0123456789ab", "01234567-89ab-cdef-0123-456789abcdef", "sk-demo-1#2", "a=b,c=d",
		"$2b$12$abc", "$abc", "$", "%", "%%", "env.x", "<x", "<>", "x...", "yours-1", "%2F%3D", "/x", "/etc/caddy/openai.keys",
	} {
		secret, name, err := ParseLine(line)
		if err != nil || secret != line || name != "" {
			t.Errorf("%q: %q, %q, %v", line, secret, name, err)
		}
	}
	for _, name := range []string{"a", "east-1", "acme.prod_2", strings.Repeat("n", 64), "production-east-europe-openai-1", "1", "gpt-4o", "-x", "skunk-1"} {
		if secret, got, err := ParseLine(hex32 + " " + name); err != nil || secret != hex32 || got != name {
			t.Errorf("%q: %q, %q, %v", name, secret, got, err)
		}
	}
}

func TestValuesOfTheConfig(t *testing.T) {
	t.Setenv("KEYCYCLER_TEST_MANY", "sk-demo-1,sk-demo-2")
	t.Setenv("KEYCYCLER_TEST_BLANK", " \n")
	file := testkit.WriteFile(t, "many", "sk-demo-1\nsk-demo-2\n")
	for _, test := range []struct{ name, text, err string }{
		{"a key", "sk-demo-1", ""},
		{"several in the environment", "{env.KEYCYCLER_TEST_MANY}", "keys: key 1: " + errList.Error()},
		{"nothing", "", "keys: key 1: " + errEmpty.Error()},
		{"white space in the environment", "{env.KEYCYCLER_TEST_BLANK}", "keys: key 1: " + errEmpty.Error()},
		{"a file of several", "{file." + file + "}", "keys: key 1: " + errLines.Error()},
		{"a name", "sk-demo-1 east", "keys: key 1: " + errInBlock.Error()},
		{"a comment", "sk-demo-1 # prod", "keys: key 1: " + errComment.Error()},
		{"a scheme", "Bearer sk-demo-1", "keys: key 1: " + errScheme.Error()},
		{"quotes", "'sk-demo-1'", "keys: key 1: " + errQuotes.Error()},
		{"a variable", "$OPENAI_API_KEY", "keys: key 1: " + errPlain.Error()},
	} {
		source := Source{Groups: &[]Group{{Texts: []string{test.text}}}, Log: zap.NewNop()}
		if _, err := source.Load(); testkit.Message(err) != test.err {
			t.Errorf("%s: %q, want %q", test.name, testkit.Message(err), test.err)
		}
		if want := testkit.Message(CheckText(test.text)); !strings.Contains(test.text, "{") && want != strings.TrimPrefix(test.err, "keys: key 1: ") {
			t.Errorf("%s: before it is loaded %q, want %q", test.name, want, test.err)
		}
	}
}

func TestNamesAndOrigins(t *testing.T) {
	path := testkit.WriteFile(t, "openai.keys", "# ours\nsk-demo-2 east\n\nsk-demo-3\nsk-demo-2 doubled\n")
	set, err := (&Source{Groups: &[]Group{{Texts: []string{"sk-demo-0"}}, {Texts: []string{"sk-demo-1"}, Label: "first"}, {Files: []string{path}}}, Log: zap.NewNop()}).Load()
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"", "first", "east", ""}; !slices.Equal(set.Names, want) {
		t.Errorf("names %q, want %q", set.Names, want)
	}
	managed, err := (&Source{Groups: &[]Group{{Texts: []string{"sk-demo-0"}}, {Files: []string{path}, Managed: true}}, Log: zap.NewNop()}).Load()
	if err != nil || managed.Origins.Managed(0) || !managed.Origins.Managed(1) || set.Origins.Managed(2) {
		t.Errorf("it is not known which keys stand in a managed file: %v", err)
	}
	for i, want := range []string{"keys: key 1", "keys: key 2", "openai.keys:2", "openai.keys:4"} {
		if got := set.Origins.Of(i); got != want {
			t.Errorf("key %d is of %q, want %q", i, got, want)
		}
	}
	again, err := (&Source{Groups: &[]Group{{Texts: []string{"sk-demo-0", "sk-demo-1"}}, {Files: []string{path}}}, Log: zap.NewNop()}).Load()
	if err != nil || !again.Origins.Equal(set.Origins) || again.Origins.Equal(Origins{}) {
		t.Errorf("the same places are others: %v", err)
	}
}

func TestANameStandsForOneKey(t *testing.T) {
	for _, test := range []struct{ name, content, err string }{
		{"a name twice", "secret-a east\n\nsecret-b east\n", "PATH:3: the key's name is that of another key, at PATH:1: a name stands for one key"},
		{"that of a key in the config", "secret-a inline\n", "PATH:1: the key's name is that of another key, at keys: key 1: a name stands for one key"},
		{"a key as a name", "secret-a secret-b\nsecret-b\n", "PATH:1: " + errTwo.Error()},
		{"the key itself as its name", "secret-a secret-a\n", "PATH:1: " + errTwo.Error()},
		{"a key of the config as a name", "secret-a secret-0\n", "PATH:1: " + errTwo.Error()},
		{"names in another case are others", "secret-a east\nsecret-b East\n", ""},
	} {
		path := testkit.WriteFile(t, "keys", test.content)
		_, err := (&Source{Groups: &[]Group{{Texts: []string{"secret-0"}, Label: "inline"}, {Files: []string{path}}}, Log: zap.NewNop()}).Load()
		if got := strings.ReplaceAll(testkit.Message(err), path, "PATH"); strings.TrimPrefix(got, "keys_file: ") != test.err {
			t.Errorf("%s: %q, want %q", test.name, got, test.err)
		}
	}
}

// A path behind 'keys' is told of while the config is read, where keys stand that nobody has
// to escape.
func TestPathsAmongKeys(t *testing.T) {
	for text, want := range map[string]error{
		"/etc/caddy/openai.keys": errPath, "./openai.keys": errPath, "../openai.keys": errPath, "~/openai.keys": errPath, "/run/secrets/openai": errPath, "@./openai.keys": errPath,
		"/": nil, "/ab+cd=": nil, "/0123456789abcdefghij0123": nil, "@x": nil, "sk-/x": nil, "{file./run/secrets/openai}": nil, "a/b": nil,
	} {
		if err := CheckText(text); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
}

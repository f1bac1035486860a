package client

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/keycycler/keycycler/internal/credential"
	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/testkit"
)

func TestParseClient(t *testing.T) {
	for _, test := range []struct {
		name  string
		text  string
		who   string
		token string // whose digest is kept
		short bool
		err   string
	}{
		{"a token alone", "demo-token-0123456789", "", "demo-token-0123456789", false, ""},
		{"a token with a name", "ada:demo-token-0123456789", "ada", "demo-token-0123456789", false, ""},
		{"the name ends at the first colon", "ada:demo:token-0123456789", "ada", "demo:token-0123456789", false, ""},
		{"as its hash", testkit.HashOf("demo"), "", "demo", false, ""},
		{"as its hash, with a name", "ada:" + testkit.HashOf("demo"), "ada", "demo", false, ""},
		{"as its hash, in capitals", digestPrefix + strings.ToUpper(strings.TrimPrefix(testkit.HashOf("demo"), digestPrefix)), "", "demo", false, ""},
		{"digits without the prefix are a token", strings.Repeat("0a", 32), "", strings.Repeat("0a", 32), false, ""},
		{"fifteen bytes are short", "ada:123456789012345", "ada", "123456789012345", true, ""},
		{"sixteen are not", "1234567890123456", "", "1234567890123456", false, ""},
		{"whoever is called as the prefix needs another name", "sha256:demo-token", "", "", false, "sha256: wants 64 hex digits"},
		{"the prefix in capitals is a name", "SHA256:demo", "SHA256", "demo", true, ""},
		{"a hash with a digit too few", testkit.HashOf("demo")[:len(digestPrefix)+63], "", "", false, "sha256: wants 64 hex digits"},
		{"a hash with two too many", testkit.HashOf("demo") + "00", "", "", false, "sha256: wants 64 hex digits"},
		{"a hash with something else in it", testkit.HashOf("demo")[:len(digestPrefix)+63] + "g", "", "", false, "sha256: wants 64 hex digits"},
		{"a hash of no digits", digestPrefix, "", "", false, "sha256: wants 64 hex digits"},
		{"nothing", "", "", "", false, "the token is empty"},
		{"a name alone", "ada:", "", "", false, "the token is empty"},
		{"a colon alone", ":demo", "", "", false, "the name before the colon"},
		{"a name with a space", "a da:demo", "", "", false, "the name before the colon"},
		{"a name of dots", "..:demo", "", "", false, "the name before the colon"},
		{"a key with a colon in it", "sk-demo:1", "", "", false, "the name before the colon"},
		{"a token with a space", "demo token", "", "", false, "the token has something else than visible ASCII at byte 5"},
		{"a token with a letter outside ASCII", "démo", "", "", false, "at byte 2"},
		{"a token with a byte that is no letter", "demo\xff", "", "", false, "at byte 5"},
		{"a token in quotes", `"demo-token"`, "", "", false, "quotes stand around the text: write it without them"},
		{"a token in quotes behind a name", `ada:"demo-token"`, "", "", false, "quotes stand around the text: write it without them"},
		{"a scheme", "Bearer demo-token", "", "", false, "'Bearer' stands in front: write what follows it alone"},
		{"an item of YAML", "- demo-token", "", "", false, "a dash stands in front, as in a list of YAML: write what follows it alone"},
		{"a variable", "ADA_TOKEN=demo-token", "", "", false, "a variable's name and = stand in front: write the value alone"},
		{"JSON", `["demo-token"]`, "", "", false, "the text is JSON"},
		{"a list", "sk-demo-1,sk-demo-2", "", "", false, "commas or semicolons stand between several"},
		{"a comma alone is no list", "demo,token-0123456789", "", "demo,token-0123456789", false, ""},
		{"padding is no variable", "ada:ZGVtby10b2tlbi0x==", "ada", "ZGVtby10b2tlbi0x==", false, ""},
		{"a token that is too long", strings.Repeat("t", credential.MaxLen+1), "", "", false, "the token is 4097 bytes long: at most 4096 are allowed"},
	} {
		c, err := parseClient(test.text)
		if test.err != "" {
			if err == nil || !strings.HasPrefix(err.Error(), test.err) && !strings.HasSuffix(err.Error(), test.err) {
				t.Errorf("%s: %v, want %q", test.name, err, test.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if c.Name != test.who || c.digest != sha256.Sum256([]byte(test.token)) || c.short != test.short {
			t.Errorf("%s: %q, short: %t, or another digest", test.name, c.Name, c.short)
		}
	}
}

func FuzzParseClient(f *testing.F) {
	for _, text := range []string{"demo-token", "ada:demo-token", testkit.HashOf("demo"), "ada:" + testkit.HashOf("demo"), "sha256:", ":", "a:b:c", "sk-demo:1", "\x00", "é:é"} {
		f.Add(text)
	}
	for _, text := range []string{`ada:"x"`, "Bearer x", "- x", "A=b", `["x"]`, "sk-a,sk-b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseClient(text)
		if err != nil {
			if len(text) > 4 && strings.Contains(err.Error(), text) && !strings.Contains(knownWords, text) {
				t.Errorf("the error shows the text: %v", err)
			}
			return
		}
		if !directive.IsName(c.Name) {
			t.Errorf("%q is no name", c.Name)
		}
		// Written again, it is the same client.
		again := digestPrefix + hex.EncodeToString(c.digest[:])
		if c.Name != "" {
			again = c.Name + ":" + again
		}
		if d, err := parseClient(again); err != nil || d.Name != c.Name || d.digest != c.digest {
			t.Errorf("%q became %+v, %v", text, d, err)
		}
		// The token that it was made of, and no other, is let in.
		token := strings.TrimPrefix(text, c.Name+":")
		if !strings.HasPrefix(token, digestPrefix) && (tokenSet{c.digest: c}).find(token) != c {
			t.Errorf("the token of %q is not found", text)
		}
	})
}

// knownWords are all errors of parseClient's: what stands in them may stand in a text.
var knownWords = func() string {
	var all strings.Builder
	for _, text := range []string{"", ":", "sha256:", "é", strings.Repeat("t", credential.MaxLen+1), `""`, "Bearer", "-", "A=b", "[]", "sk-a,"} {
		_, err := parseClient(text)
		fmt.Fprintln(&all, err)
	}
	return all.String()
}()

// readTokensOf reads these tokens and files, and returns the log.
func readTokensOf(t *testing.T, tokens []string, files ...string) (tokenSet, *observer.ObservedLogs, error) {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	source := &Source{From: &keyset.Inputs{Texts: tokens}, Log: zap.New(core)}
	for i, content := range files {
		path := filepath.Join(t.TempDir(), fmt.Sprint("tokens", i))
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		source.From.Paths = append(source.From.Paths, path)
	}
	set, err := source.read()
	return set, logs, err
}

// Limits of somebody whom no token can be of are told of: a name was written in two ways.
func TestStrangers(t *testing.T) {
	const named, nameless = "ada:demo-token-inline-1", "demo-token-inline-2"
	for _, test := range []struct {
		sentence string
		tokens   []string
		limited  []string
		want     string // the clients that are told of
	}{
		{"the same name", []string{named}, []string{"ada"}, ""},
		{"the same, and all others", []string{named}, []string{"ada", "*"}, ""},
		{"another name", []string{named}, []string{"ada", "Eve", "Ada"}, "[Ada Eve] of 2"},
		{"more than the log names", []string{named}, []string{"g", "f", "e", "d", "c", "b", "a"}, "[a b c d e] of 7"},
		{"a token that may be anybody's", []string{named, nameless}, []string{"Ada"}, ""},
		{"no limits", []string{named}, nil, ""},
	} {
		core, logs := observer.New(zap.InfoLevel)
		c, err := New(&Source{From: &keyset.Inputs{Texts: test.tokens}, Log: zap.New(core), Limited: test.limited})
		if err != nil {
			t.Fatal(err)
		}
		c.Stop()
		got := ""
		for _, line := range logs.All() {
			fields := line.ContextMap()
			got += fmt.Sprint(fields["clients"], " of ", fields["count"])
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.sentence, got, test.want)
		}
	}
}

func TestReadTokens(t *testing.T) {
	t.Setenv("KEYCYCLER_TEST_TOKEN", "demo-token-from-env-1\n")
	set, logs, err := readTokensOf(t, []string{"demo-token-inline-1", "eve:{env.KEYCYCLER_TEST_TOKEN}"},
		"\xef\xbb\xbf# comment\r\n\r\n ada:demo-token-filed-01 \r\nbob:"+testkit.HashOf("demo-token-filed-02")+"\n",
		"demo-token-filed-03")
	if err != nil || len(set) != 5 || logs.Len() != 0 {
		t.Fatalf("%d tokens, %v, %v", len(set), logs.All(), err)
	}
	for token, who := range map[string]string{
		"demo-token-inline-1": "", "demo-token-from-env-1": "eve",
		"demo-token-filed-01": "ada", "demo-token-filed-02": "bob", "demo-token-filed-03": "",
	} {
		if c := set.find(token); c == nil || c.Name != who {
			t.Errorf("%s: %+v, want %q", token, c, who)
		}
	}
}

func TestWhatTokensAreWarnedOf(t *testing.T) {
	set, logs, err := readTokensOf(t, []string{"ada:demo", "demo-token-0123456789"}, "bob:demo\n\ncara:"+testkit.HashOf("demo-token-0123456789"))
	if err != nil || len(set) != 2 || set.find("demo").Name != "ada" || set.find("demo-token-0123456789").Name != "" {
		t.Fatalf("%v, %v", set, err)
	}
	var got []string
	for _, entry := range logs.All() {
		at := fmt.Sprint(entry.ContextMap()["at"])
		got = append(got, entry.Message+" "+at[strings.LastIndexAny(at, "/:"):])
		if strings.Contains(fmt.Sprint(entry.ContextMap()), "demo") {
			t.Errorf("the log shows a token: %v", entry.ContextMap())
		}
	}
	want := []string{
		"client token is short: it can be guessed : token 1",
		"client token stands twice: the first counts :1",
		"client token stands twice: the first counts :3",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestErrorsOfTokenFilesNameTheLine(t *testing.T) {
	for content, want := range map[string]string{
		"ada:demo-token-0123456789\ndemo token":                  "tokens0:2: the token has something else than visible ASCII at byte 5",
		"# tokens\n\nada:sha256:demo":                            "tokens0:3: sha256: wants 64 hex digits",
		"a da:demo":                                              "tokens0:1: the name before the colon must be",
		"ada:" + strings.Repeat("t", credential.MaxLen+1) + "\n": "tokens0:1: the token is 4097 bytes long",
	} {
		_, _, err := readTokensOf(t, nil, content)
		if err == nil || !strings.HasPrefix(err.Error(), "client_tokens_file: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want …%s…", content, err, want)
		}
		if strings.Contains(testkit.Message(err), "demo") {
			t.Errorf("the error shows a token: %v", err)
		}
	}
}

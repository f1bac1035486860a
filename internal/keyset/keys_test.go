package keyset

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// newKeySet returns an empty set, and what it logs.
func newKeySet() (*Set, *observer.ObservedLogs) {
	core, logs := observer.New(zap.DebugLevel)
	return &Set{index: make(map[rotator.ID]int), log: zap.New(core)}, logs
}

func (s *Set) secrets() []string {
	var secrets []string
	for _, k := range s.Keys {
		secrets = append(secrets, k.Secret())
	}
	return secrets
}

func TestKeysFile(t *testing.T) {
	long := strings.Repeat("k", rotator.MaxKeyLen)
	for _, test := range []struct {
		name    string
		content string
		want    string // the keys, or …
		err     string // … the error
	}{
		{"one key a line", "sk-demo-1\nsk-demo-2\n", "sk-demo-1 sk-demo-2", ""},
		{"the last line need not end", "sk-demo-1\nsk-demo-2", "sk-demo-1 sk-demo-2", ""},
		{"a byte order mark", "\xef\xbb\xbfsk-demo-1\n", "sk-demo-1", ""},
		{"a byte order mark before a comment", "\xef\xbb\xbf# keys\nsk-demo-1\n", "sk-demo-1", ""},
		{"lines that end as on Windows", "sk-demo-1\r\n\r\nsk-demo-2\r\n", "sk-demo-1 sk-demo-2", ""},
		{"white space around a key", " \tsk-demo-1\t \n\u00a0sk-demo-2\n", "sk-demo-1 sk-demo-2", ""},
		{"blank lines and comments", "\n# one\n  # two\nsk-demo-1\n \t\n#sk-demo-2\n", "sk-demo-1", ""},
		{"a # within a key", "sk-demo-1#2\n", "sk-demo-1#2", ""},
		{"the longest key", long, long, ""},
		{"nothing", "", "", ""},
		{"only comments", "# one\n# two", "", ""},
		{"a name behind a key", "sk-demo-1 east\nsk-demo-2\t \twest-2 \n", "sk-demo-1 sk-demo-2", ""},
		{"two words behind a key", "sk-demo-1\nsk-demo 2 3\n", "", "keys.txt:2: " + errWords.Error()},
		{"a name that is none", "sk-demo-1 east/1\n", "", "keys.txt:1: " + errNoName.Error()},
		{"a space of another kind within a key", "sk-demo\u00a01\n", "",
			"keys.txt:1: key " + testkit.IDOf("sk-demo\u00a01") + " has a character outside ASCII at byte 8: only visible ASCII is allowed"},
		{"a control character within a key", "\n\nsk-de\x00mo-1\n", "",
			"keys.txt:3: key " + testkit.IDOf("sk-de\x00mo-1") + " has a control character at byte 6: only visible ASCII is allowed"},
		{"lines that end as on old Macs", "sk-demo-1\rsk-demo-2\r", "",
			"keys.txt:1: key " + testkit.IDOf("sk-demo-1\rsk-demo-2") + " has a control character at byte 10: only visible ASCII is allowed"},
		{"a letter outside ASCII", "sk-démo-1\n", "",
			"keys.txt:1: key " + testkit.IDOf("sk-démo-1") + " has a character outside ASCII at byte 5: only visible ASCII is allowed"},
		{"a byte order mark in the middle", "sk-demo-1\n\xef\xbb\xbfsk-demo-2\n", "",
			"keys.txt:2: key " + testkit.IDOf("\xef\xbb\xbfsk-demo-2") + " has a character outside ASCII at byte 1: only visible ASCII is allowed"},
		{"a key that is too long by one byte", "#\n" + long + "k", "",
			fmt.Sprintf("keys.txt:2: key %s is %d bytes long: at most %d are allowed", testkit.IDOf(long+"k"), len(long)+1, len(long))},
		{"a line that is no key by any means", "#\n#\n" + strings.Repeat("k", 1<<20), "",
			fmt.Sprintf("keys.txt:3: the line is longer than a key may be, %d bytes", rotator.MaxKeyLen)},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, logs := newKeySet()
			err := s.addLines(strings.NewReader(test.content), "keys.txt")
			if testkit.Message(err) != test.err {
				t.Fatalf("error %q, want %q", testkit.Message(err), test.err)
			}
			if got := strings.Join(s.secrets(), " "); test.err == "" && got != test.want {
				t.Errorf("keys %q, want %q", got, test.want)
			}
			if logs.Len() != 0 {
				t.Errorf("logged %v", logs.All())
			}
		})
	}
}

func TestAnEndlessKeysFileEnds(t *testing.T) {
	for _, test := range []struct {
		name string
		line string
		most int64
		err  string
	}{
		{"comments", strings.Repeat("#", 2047) + "\n", maxKeysFile + 1, "/dev/endless: the file is larger than 256 MiB"},
		{"one line", "k", 16 << 10, "/dev/endless:1: the line is longer than a key may be, 4096 bytes"},
		{"zeros", "\x00", 16 << 10, "/dev/endless:1: the line is longer than a key may be, 4096 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, _ := newKeySet()
			source := &testkit.Endless{Line: []byte(test.line)}
			if err := s.addLines(source, "/dev/endless"); testkit.Message(err) != test.err {
				t.Errorf("error %v, want %s", err, test.err)
			}
			if source.Taken > test.most {
				t.Errorf("read %d bytes, want %d at most", source.Taken, test.most)
			}
		})
	}
}

func TestADoubledKeyIsKeptOnce(t *testing.T) {
	path := testkit.WriteFile(t, "keys.txt", "sk-demo-2\nsk-demo-1\nsk-demo-2\n")
	other := testkit.WriteFile(t, "other.txt", "\nsk-demo-2\nsk-demo-3\n")
	core, logs := observer.New(zap.DebugLevel)
	source := Source{Groups: &[]Group{{Texts: []string{"sk-demo-1", "sk-demo-1"}, Files: []string{path, other}}}, Log: zap.New(core)}
	set, err := source.Load()
	if err != nil {
		t.Fatal(err)
	}
	if got := set.secrets(); !slices.Equal(got, []string{"sk-demo-1", "sk-demo-2", "sk-demo-3"}) {
		t.Errorf("keys %v", got)
	}
	want := []string{
		"key stands twice: kept once sk-demo-1 keys: key 2 keys: key 1",
		"key stands twice: kept once sk-demo-1 " + path + ":2 keys: key 1",
		"key stands twice: kept once sk-demo-2 " + path + ":3 " + path + ":1",
		"key stands twice: kept once sk-demo-2 " + other + ":2 " + path + ":1",
	}
	var got []string
	for _, entry := range logs.All() {
		fields := entry.ContextMap()
		got = append(got, fmt.Sprint(entry.Message, " ", fields["key_id"], " ", fields["at"], " ", fields["first"]))
	}
	for i, line := range want {
		for n := range 3 {
			secret := fmt.Sprintf("sk-demo-%d", n+1)
			line = strings.ReplaceAll(line, secret, testkit.IDOf(secret))
		}
		want[i] = line
	}
	if !slices.Equal(got, want) {
		t.Errorf("logged\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func FuzzKeysFile(f *testing.F) {
	for _, content := range []string{
		"sk-demo-1\nsk-demo-2\n", "\xef\xbb\xbfsk-demo-1\r\n# comment\r\n\r\n", "sk-demo 1", "sk-demo-1\nsk-demo-1", "\x00\x01\x02abcdef",
		"sk-demo-1 east\nsk-demo-2 east\n", "sk-demo-1 sk-demo-2", "sk-demo-1,sk-demo-2", "export KEY=sk-demo-1", `["sk-demo-1",`, `"sk-demo-1"`,
		"Bearer sk-demo-1", "- sk-demo-1", "sk-demo-1 # prod", "openai: sk-demo-1", "secret-one name-two\nname-two other", "sk-demo-1 0123456789ab",
		strings.Repeat("k", rotator.MaxKeyLen+1), strings.Repeat("k", rotator.MaxKeyLen+2000) + "\n", "sk-démo-1\n",
	} {
		f.Add([]byte(content))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		s, logs := newKeySet()
		err := s.addLines(bytes.NewReader(content), "")
		if err == nil {
			err = s.checkNames()
		}
		texts := []string{testkit.Message(err)}
		for _, entry := range logs.All() {
			texts = append(texts, fmt.Sprint(entry.Message, entry.ContextMap()))
		}
		for _, text := range texts {
			// What every error says, whatever the key, is no leak.
			for _, word := range commonWords {
				text = strings.ReplaceAll(text, word, "\x00")
			}
			for line := range bytes.Lines(content) {
				if piece := shownPiece(text, string(bytes.TrimSpace(line))); piece != "" {
					t.Fatalf("%q of the line %q shows in %q", piece, line, text)
				}
			}
		}
		if err != nil {
			return
		}
		for i, name := range s.Names {
			if name != "" && CheckName(name) != nil || slices.ContainsFunc(s.Keys, func(k rotator.Key) bool { return k.Secret() == name }) {
				t.Errorf("key %d has the name %q", i, name)
			}
		}
		seen := make(map[string]bool)
		for _, secret := range s.secrets() {
			if seen[secret] {
				t.Errorf("the key %q is there twice", secret)
			}
			seen[secret] = true
			if !bytes.Contains(content, []byte(secret)) {
				t.Errorf("the key %q is not in the file", secret)
			}
		}
	})
}

// commonWords is what errors say whatever stands in the line.
var commonWords = append(slips(),
	"key stands twice: kept once", "only visible ASCII is allowed", "a character outside ASCII at byte", "a control character at byte", "a space at byte",
	"the line is longer than a key may be", "bytes long: at most", "are allowed", "bytes", " has ", "key_id", "first", ": key ",
	"the key's name is that of another key", "a name stands for one key",
)

func slips() (texts []string) {
	for _, err := range allSlips {
		texts = append(texts, err.Error())
	}
	return texts
}

var allSlips = []error{
	errEmpty, errLines, errQuotes, errJSON, errList, errVariable, errScheme, errItem, errHeader, errComment, errTwo, errWords, errInBlock,
	errPlain, errSample, errPath,
	errNoName, errNameKey, errNameID,
}

// shownPiece returns six bytes of the line that text shows.
func shownPiece(text, line string) string {
	for i := 0; i+6 <= len(line); i++ {
		if strings.Contains(text, line[i:i+6]) {
			return line[i : i+6]
		}
	}
	return ""
}

// A file that PowerShell wrote says so, instead of telling of odd characters.
func TestUTF16(t *testing.T) {
	for _, begin := range []string{"\xff\xfes\x00k\x00", "\xfe\xff\x00s\x00k"} {
		_, err := (&Source{Groups: &[]Group{{Files: []string{testkit.WriteFile(t, "utf16.keys", begin)}}}, Log: zap.NewNop()}).Load()
		if err == nil || !strings.HasSuffix(err.Error(), "utf16.keys: the file is UTF-16: save it as UTF-8") {
			t.Error(err)
		}
	}
}

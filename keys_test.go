package keycycler

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/keycycler/keycycler/rotator"
)

// newKeySet returns an empty set, and what it logs.
func newKeySet() (*keySet, *observer.ObservedLogs) {
	core, logs := observer.New(zap.DebugLevel)
	return &keySet{from: make(map[rotator.ID]string), log: zap.New(core)}, logs
}

func (s *keySet) secrets() []string {
	var secrets []string
	for _, k := range s.keys {
		secrets = append(secrets, k.Secret())
	}
	return secrets
}

// writeFile returns the path of a new file.
func writeFile(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
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
		{"a space within a key", "sk-demo-1\nsk-demo 2\n", "",
			"keys.txt:2: key " + idOf("sk-demo 2") + " has a space at byte 8: only visible ASCII is allowed"},
		{"a control character within a key", "\n\nsk-de\x00mo-1\n", "",
			"keys.txt:3: key " + idOf("sk-de\x00mo-1") + " has a control character at byte 6: only visible ASCII is allowed"},
		{"lines that end as on old Macs", "sk-demo-1\rsk-demo-2\r", "",
			"keys.txt:1: key " + idOf("sk-demo-1\rsk-demo-2") + " has a control character at byte 10: only visible ASCII is allowed"},
		{"a letter outside ASCII", "sk-démo-1\n", "",
			"keys.txt:1: key " + idOf("sk-démo-1") + " has a character outside ASCII at byte 5: only visible ASCII is allowed"},
		{"a byte order mark in the middle", "sk-demo-1\n\xef\xbb\xbfsk-demo-2\n", "",
			"keys.txt:2: key " + idOf("\xef\xbb\xbfsk-demo-2") + " has a character outside ASCII at byte 1: only visible ASCII is allowed"},
		{"a key that is too long by one byte", "#\n" + long + "k", "",
			fmt.Sprintf("keys.txt:2: key %s is %d bytes long: at most %d are allowed", idOf(long+"k"), len(long)+1, len(long))},
		{"a line that is no key by any means", "#\n#\n" + strings.Repeat("k", 1<<20), "",
			fmt.Sprintf("keys.txt:3: the line is longer than a key may be, %d bytes", rotator.MaxKeyLen)},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, logs := newKeySet()
			err := s.addLines(strings.NewReader(test.content), "keys.txt")
			if message(err) != test.err {
				t.Fatalf("error %q, want %q", message(err), test.err)
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

func idOf(secret string) string { return rotator.IDOf(secret).String() }

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// endless repeats a line.
type endless struct {
	line []byte
	read int64
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n+len(e.line) <= len(p) {
		n += copy(p[n:], e.line)
	}
	if n == 0 {
		n = copy(p, e.line[:min(len(p), len(e.line))])
	}
	e.read += int64(n)
	return n, nil
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
			source := &endless{line: []byte(test.line)}
			if err := s.addLines(source, "/dev/endless"); message(err) != test.err {
				t.Errorf("error %v, want %s", err, test.err)
			}
			if source.read > test.most {
				t.Errorf("read %d bytes, want %d at most", source.read, test.most)
			}
		})
	}
}

func TestADoubledKeyIsKeptOnce(t *testing.T) {
	path := writeFile(t, "keys.txt", "sk-demo-2\nsk-demo-1\nsk-demo-2\n")
	other := writeFile(t, "other.txt", "\nsk-demo-2\nsk-demo-3\n")
	core, logs := observer.New(zap.DebugLevel)
	h := &Handler{Keys: []string{"sk-demo-1", "sk-demo-1"}, KeysFiles: []string{path, other}, logger: zap.New(core)}
	set, err := h.loadKeys()
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
			line = strings.ReplaceAll(line, secret, idOf(secret))
		}
		want[i] = line
	}
	if !slices.Equal(got, want) {
		t.Errorf("logged\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWhatProvisionMakesOfKeys(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good.txt", "sk-demo-8\nsk-demo-9\n")
	empty := file("empty.txt", "")
	comments := file("comments.txt", "# none yet\n")
	single := file("single", "sk-demo-7\n")
	windows := file("windows", "sk-demo-7\r\n")
	bad := file("bad.txt", "sk-demo 1\n")
	t.Setenv("KEYCYCLER_TEST_KEY", "sk-demo-6")
	t.Setenv("KEYCYCLER_TEST_SPACE", " sk-demo-6\n")
	t.Setenv("KEYCYCLER_TEST_EMPTY", "")
	t.Setenv("KEYCYCLER_TEST_DIR", dir)
	missing := filepath.Join(dir, "missing.txt")
	for _, test := range []struct {
		name  string
		keys  []string
		files []string
		want  string
		err   string
	}{
		{"keys in the config", []string{"sk-demo-1", " sk-demo-2 "}, nil, "sk-demo-1 sk-demo-2", ""},
		{"keys in the config come before those of files", []string{"sk-demo-1"}, []string{good}, "sk-demo-1 sk-demo-8 sk-demo-9", ""},
		{"a key from the environment", []string{"{env.KEYCYCLER_TEST_KEY}"}, nil, "sk-demo-6", ""},
		{"white space around it is taken off", []string{"{env.KEYCYCLER_TEST_SPACE}"}, nil, "sk-demo-6", ""},
		{"a key made of parts", []string{"sk-{env.KEYCYCLER_TEST_KEY}-x"}, nil, "sk-sk-demo-6-x", ""},
		{"a key from a file whose line ends", []string{"{file." + single + "}"}, nil, "sk-demo-7", ""},
		{"a key from a file whose line ends as on Windows", []string{"{file." + windows + "}"}, nil, "sk-demo-7", ""},
		{"a keys file named by the environment", nil, []string{"{env.KEYCYCLER_TEST_DIR}/good.txt"}, "sk-demo-8 sk-demo-9", ""},
		{"one of several files is empty", nil, []string{empty, good, comments}, "sk-demo-8 sk-demo-9", ""},

		{"no keys at all", nil, nil, "", "no keys: set keys or keys_file"},
		{"an empty key", []string{"sk-demo-1", ""}, nil, "", "keys: key 2: key is empty"},
		{"a key of white space", []string{" \t"}, nil, "", "keys: key 1: key is empty"},
		{"a key with a space", []string{"sk-demo 1"}, nil, "", "keys: key 1: key " + idOf("sk-demo 1") + " has a space at byte 8: only visible ASCII is allowed"},
		{"the environment lacks it", []string{"sk-demo-1", "{env.KEYCYCLER_TEST_UNSET}"}, nil, "", "keys: key 2: evaluated placeholder {env.KEYCYCLER_TEST_UNSET} is empty"},
		{"the environment has it empty", []string{"{env.KEYCYCLER_TEST_EMPTY}"}, nil, "", "keys: key 1: evaluated placeholder {env.KEYCYCLER_TEST_EMPTY} is empty"},
		{"a file that is missing", []string{"{file." + missing + "}"}, nil, "", "keys: key 1: evaluated placeholder {file." + missing + "} is empty"},
		{"a file with several keys where one belongs", []string{"{file." + good + "}"}, nil, "", "keys: key 1: key " + idOf("sk-demo-8\nsk-demo-9") + " has a control character at byte 10: only visible ASCII is allowed"},
		{"a key in braces is not shown", []string{"{sk-demo-1}"}, nil, "", `keys: key 1: unknown placeholder: there are {env.<name>} and {file.<path>}; a brace that is none is written \{`},
		{"a keys file that is missing", nil, []string{missing}, "", "keys_file: open " + missing + ": no such file or directory"},
		{"a keys file that is a directory", nil, []string{dir}, "", "keys_file: read " + dir + ": is a directory"},
		{"a keys file that is empty", nil, []string{empty}, "", "keys_file: no key in " + empty},
		{"keys files without a key", nil, []string{empty, comments}, "", "keys_file: no key in " + empty + ", " + comments},
		{"a keys file with a bad key", nil, []string{good, bad}, "", "keys_file: " + bad + ":1: key " + idOf("sk-demo 1") + " has a space at byte 8: only visible ASCII is allowed"},
		{"a keys file named by nothing", nil, []string{"{env.KEYCYCLER_TEST_UNSET}"}, "", "keys_file: evaluated placeholder {env.KEYCYCLER_TEST_UNSET} is empty"},
		{"a key where a path belongs", nil, []string{"sk-demo-1"}, "", "keys_file: the path begins with sk-, as keys do: keys belong behind 'keys' (write ./sk-… for a file)"},
		{"a key from the environment where a path belongs", nil, []string{"{env.KEYCYCLER_TEST_KEY}"}, "", "keys_file: open {env.KEYCYCLER_TEST_KEY}: no such file or directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &Handler{Keys: test.keys, KeysFiles: test.files}
			err := provisionOnce(h)
			if message(err) != test.err {
				t.Fatalf("error %q, want %q", message(err), test.err)
			}
			if err != nil {
				return
			}
			var got []string
			for i := range h.roster.Load().pool.Len() {
				got = append(got, h.roster.Load().pool.Key(rotator.Slot(i)).Secret())
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("keys %v, want %q", got, test.want)
			}
		})
	}
}

// provisionOnce provisions h and cleans up again, as Caddy does.
func provisionOnce(h *Handler) error {
	ctx, cancel := newContext()
	defer cancel()
	err := h.Provision(ctx)
	if cleanup := h.Cleanup(); cleanup != nil {
		return fmt.Errorf("cleanup: %w", cleanup)
	}
	return err
}

func FuzzKeysFile(f *testing.F) {
	for _, content := range []string{
		"sk-demo-1\nsk-demo-2\n", "\xef\xbb\xbfsk-demo-1\r\n# comment\r\n\r\n", "sk-demo 1", "sk-demo-1\nsk-demo-1", "\x00\x01\x02abcdef",
		strings.Repeat("k", rotator.MaxKeyLen+1), strings.Repeat("k", rotator.MaxKeyLen+2000) + "\n", "sk-démo-1\n",
	} {
		f.Add([]byte(content))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		s, logs := newKeySet()
		err := s.addLines(bytes.NewReader(content), "")
		texts := []string{message(err)}
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

var commonWords = []string{
	"key stands twice: kept once", "only visible ASCII is allowed", "a character outside ASCII at byte", "a control character at byte", "a space at byte",
	"the line is longer than a key may be", "bytes long: at most", "are allowed", "bytes", " has ", "key_id", "first", ": key ",
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

func newContext() (caddy.Context, func()) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	return ctx, cancel
}

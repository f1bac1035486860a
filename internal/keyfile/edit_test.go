package keyfile

import (
	"bytes"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/rotator"
)

func entry(t testing.TB, secret, name string) Entry {
	t.Helper()
	e, err := NewEntry(secret, name)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestAdd(t *testing.T) {
	for _, row := range []struct{ sentence, text, want string }{
		{"to nothing", "", "sk-demo-1 east\nsk-demo-2\n"},
		{"behind keys and comments", "# ours\n\nsk-demo-0\n\n", "# ours\n\nsk-demo-0\n\nsk-demo-1 east\nsk-demo-2\n"},
		{"a last line without an end gets one", "sk-demo-0", "sk-demo-0\nsk-demo-1 east\nsk-demo-2\n"},
		{"lines end as they do", "# ours\r\nsk-demo-0\r\n", "# ours\r\nsk-demo-0\r\nsk-demo-1 east\r\nsk-demo-2\r\n"},
		{"behind a mark alone", "\xef\xbb\xbf", "\xef\xbb\xbfsk-demo-1 east\nsk-demo-2\n"},
		{"blanks and odd bytes stay", " \t\n\xff\xfe # \x00\n", " \t\n\xff\xfe # \x00\nsk-demo-1 east\nsk-demo-2\n"},
	} {
		before := strings.Clone(row.text)
		text := []byte(row.text)
		if got := string(Add(text, []Entry{entry(t, "sk-demo-1", "east"), entry(t, "sk-demo-2", "")})); got != row.want {
			t.Errorf("%s: %q, want %q", row.sentence, got, row.want)
		}
		if string(text) != before {
			t.Errorf("%s: the text itself was changed", row.sentence)
		}
	}
}

func TestRemove(t *testing.T) {
	for _, row := range []struct {
		sentence, text, want string
		lines                int
	}{
		{"from nothing", "", "", 0},
		{"one that is not there", "# sk-demo-1\nsk-demo-10\n", "# sk-demo-1\nsk-demo-10\n", 0},
		{"its line alone goes", "# a\n\nsk-demo-0\n sk-demo-1 east \n# b\nsk-demo-2", "# a\n\nsk-demo-0\n# b\nsk-demo-2", 1},
		{"all of its lines go", "sk-demo-1\nsk-demo-0\nsk-demo-1 west\n", "sk-demo-0\n", 2},
		{"the last one, without an end", "sk-demo-0\nsk-demo-1", "sk-demo-0\n", 1},
		{"ends of lines stay", "sk-demo-0\r\nsk-demo-1\r\n\r\nsk-demo-2\n", "sk-demo-0\r\n\r\nsk-demo-2\n", 1},
		{"a mark before it stays", "\xef\xbb\xbfsk-demo-1\nsk-demo-0\n", "\xef\xbb\xbfsk-demo-0\n", 1},
		{"what is wrong stays", "KEY=sk-demo-1\nsk-demo-1,sk-demo-2\nsk-demo-1\n", "KEY=sk-demo-1\nsk-demo-1,sk-demo-2\n", 1},
	} {
		rest, lines := Remove([]byte(row.text), rotator.IDOf("sk-demo-1"))
		if string(rest) != row.want || lines != row.lines {
			t.Errorf("%s: %d lines go, the rest is %q, want %d and %q", row.sentence, lines, rest, row.lines, row.want)
		}
	}
}

// What a line of a keys file cannot hold is no entry, and is not told.
func TestNewEntry(t *testing.T) {
	for _, row := range []struct{ sentence, secret, name, says string }{
		{"a key", "sk-demo-1", "", ""},
		{"a key with a name", "sk-demo-1", "acme-east", ""},
		{"none", "", "", "key is empty"},
		{"a name in the key", "sk-demo-1 east", "", "more than a key"},
		{"a blank behind it", "sk-demo-1 ", "", "the name must be"},
		{"several lines", "sk-demo-1\nsk-demo-2", "", "control character"},
		{"a comment", "#sk-demo-1", "", "begins with #"},
		{"a mark before it", "\xef\xbb\xbfsk-demo-1", "", "outside ASCII"},
		{"a variable", "KEY=sk-demo-1", "", "variable's name"},
		{"a list", "sk-demo-1,sk-demo-2", "", "commas or semicolons"},
		{"a name with a blank", "sk-demo-1", "acme east", "the name must be"},
		{"a name that is a key", "sk-demo-1", "sk-demo-2", "looks like a key"},
		{"a key that reads as a header's name in front of a name", "demo:", "east", "a name and a colon stand in front"},
		{"such a key alone", "demo:", "", ""},
		{"a name with a line", "sk-demo-1", "a\nsk-demo-3", "the name must be"},
	} {
		_, err := NewEntry(row.secret, row.name)
		switch {
		case row.says == "" && err != nil, row.says != "" && (err == nil || !strings.Contains(err.Error(), row.says)):
			t.Errorf("%s: %v, want %q", row.sentence, err, row.says)
		case err != nil && strings.Contains(err.Error(), "demo"):
			t.Errorf("%s: %v shows it", row.sentence, err)
		}
	}
}

// FuzzEdit adds a key to any text and takes it away: all other lines stay, and the key is in
// the text in between, once.
func FuzzEdit(f *testing.F) {
	for _, text := range []string{"", "\n", "# a\nsk-demo-1 east\r\n\r\nsk-demo-2", "\xef\xbb\xbf", "\xef\xbb\xbfsk-demo-9 x", "0\n: 0\n", "a=b\n[\"x\",\n\x00\xff"} {
		f.Add([]byte(text), "sk-demo-1", "east")
	}
	f.Fuzz(func(t *testing.T, text []byte, secret, name string) {
		e, err := NewEntry(secret, name)
		if err != nil {
			return
		}
		without, _ := Remove(text, e.Key.ID())
		if again, n := Remove(without, e.Key.ID()); n != 0 || !bytes.Equal(again, without) {
			t.Fatalf("of %q, %q is left, and %d lines of the key", text, without, n)
		}
		with := Add(without, []Entry{e})
		if !bytes.HasPrefix(with, without) {
			t.Fatalf("%q has become %q", without, with)
		}
		lines, added := 0, ""
		for n, line := range numbered(with) {
			lines, added = n, string(line)
		}
		if want := strings.TrimSpace(secret + " " + name); keyIn(lines, []byte(added)) != secret || strings.TrimSpace(string(unmarked(lines, []byte(added)))) != want {
			t.Fatalf("the last line of %q is %q", with, added)
		}
		rest, n := Remove(with, e.Key.ID())
		if n != 1 || !bytes.Equal(bytes.TrimRight(rest, "\r\n"), bytes.TrimRight(without, "\r\n")) {
			t.Fatalf("%q with the key is %q, and without it %q", without, with, rest)
		}
	})
}

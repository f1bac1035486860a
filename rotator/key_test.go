package rotator

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func TestNewKey(t *testing.T) {
	for _, row := range []struct {
		sentence string
		secret   string
		want     string // the error without "key <id> "; "": accepted
	}{
		{"a key as OpenAI makes them", "sk-proj-abcDEF0123456789_-", ""},
		{"one byte is enough", "k", ""},
		{"the first and the last visible character", "!~", ""},
		{"quotes, backslashes and percent signs", `a"b'c\d%20e`, ""},
		{"as long as can be", strings.Repeat("k", MaxKeyLen), ""},
		{"no key at all", "", "key is empty"},
		{"one byte too long", strings.Repeat("k", MaxKeyLen+1), "is 4097 bytes long: at most 4096 are allowed"},
		{"a space inside", "sk-demo 123456", "has a space at byte 8: only visible ASCII is allowed"},
		{"a space at the end", "sk-demo-123456 ", "has a space at byte 15: only visible ASCII is allowed"},
		{"a tab", "\tsk-demo-123456", "has a control character at byte 1: only visible ASCII is allowed"},
		{"a line of a Windows file", "sk-demo-123456\r", "has a control character at byte 15: only visible ASCII is allowed"},
		{"a second header field", "sk-demo-1\r\nX-Admin: 1", "has a control character at byte 10: only visible ASCII is allowed"},
		{"NUL", "sk-demo-1\x00", "has a control character at byte 10: only visible ASCII is allowed"},
		{"DEL", "sk-demo-1\x7f", "has a control character at byte 10: only visible ASCII is allowed"},
		{"a letter outside ASCII", "sk-démo-123456", "has a character outside ASCII at byte 5: only visible ASCII is allowed"},
		{"the mark at the start of a UTF-8 file", "\ufeffsk-demo-123456", "has a character outside ASCII at byte 1: only visible ASCII is allowed"},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			k, err := NewKey(row.secret)
			if row.want == "" {
				if err != nil || k.Secret() != row.secret || k.ID() != IDOf(row.secret) {
					t.Fatalf("got %v with %d bytes and error %v", k, len(k.Secret()), err)
				}
				return
			}
			want := "key " + IDOf(row.secret).String() + " " + row.want
			if row.secret == "" {
				want = row.want
			}
			if err == nil || err.Error() != want {
				t.Fatalf("error %v, want %s", err, want)
			}
			if k != (Key{}) {
				t.Error("a refused key is returned all the same")
			}
			if part := leak(err.Error(), row.secret); part != "" {
				t.Errorf("%q shows %q", err, part)
			}
		})
	}
}

// The id stands in shared state and in people's notes: it must never change.
func TestIDIsPinned(t *testing.T) {
	k, err := NewKey("sk-demo-1")
	if err != nil {
		t.Fatal(err)
	}
	const want = "fa97607a83f3"
	if k.ID().String() != want || IDOf("sk-demo-1").String() != want || k.String() != want {
		t.Errorf("ids %s, %s, %s, want %s", k.ID(), IDOf("sk-demo-1"), k, want)
	}
	if text, err := k.ID().MarshalText(); err != nil || string(text) != want {
		t.Errorf("MarshalText gives %s, %v", text, err)
	}
	if IDOf("sk-demo-2") == k.ID() {
		t.Error("two secrets have one id")
	}
}

func TestZeroKey(t *testing.T) {
	var k Key
	if k.Secret() != "" || k.ID() != (ID{}) {
		t.Errorf("the zero key has secret %q and id %s", k.Secret(), k.ID())
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		if got := fmt.Sprintf(verb, k); got != "000000000000" {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}

func FuzzNewKey(f *testing.F) {
	for _, seed := range []string{"", "k", "sk-demo-1", "a space", "sk-demo-1\r\n", "\x7f", "é", strings.Repeat("k", MaxKeyLen+1)} {
		f.Add(seed)
	}
	// A message of this form holds nothing of the input but its length and a position.
	form := regexp.MustCompile(`^key ([0-9a-f]{12}) (?:is \d+ bytes long: at most 4096 are allowed|` +
		`has (?:a space|a control character|a character outside ASCII) at byte \d+: only visible ASCII is allowed)$`)
	invisible := regexp.MustCompile(`[^!-~]`)
	f.Fuzz(func(t *testing.T, secret string) {
		k, err := NewKey(secret)
		valid := secret != "" && len(secret) <= MaxKeyLen && !invisible.MatchString(secret)
		switch {
		case valid != (err == nil):
			t.Fatalf("%q: valid is %t, the error %v", secret, valid, err)
		case valid:
			if k.Secret() != secret || k.ID() != IDOf(secret) || fmt.Sprint(k) != IDOf(secret).String() {
				t.Fatalf("%q became %q, %s, %v", secret, k.Secret(), k.ID(), k)
			}
		case secret != "":
			if m := form.FindStringSubmatch(err.Error()); m == nil || m[1] != IDOf(secret).String() {
				t.Fatalf("%q: unexpected error %v", secret, err)
			}
		}
	})
}

func TestParseID(t *testing.T) {
	id := IDOf("sk-1")
	if got, ok := ParseID(id.String()); !ok || got != id {
		t.Errorf("%s was read as %s, %t", id, got, ok)
	}
	for _, text := range []string{"", "p", "n", "0123456789a", "0123456789abc", "0123456789ag", "0123456789AB", strings.Repeat("0", 24)} {
		if _, ok := ParseID(text); ok {
			t.Errorf("%q is no id", text)
		}
	}
}

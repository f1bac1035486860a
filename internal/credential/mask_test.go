package credential

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit"
)

// stars is what stands for n masked bytes.
func stars(n int) string { return strings.Repeat("*", n) }

func TestMaskBytes(t *testing.T) {
	const secret = "sk-demo-1"
	for _, test := range []struct {
		name   string
		secret string
		text   string
		want   string
	}{
		{"nothing to mask", secret, "Incorrect API key provided.", "Incorrect API key provided."},
		{"an empty text", secret, "", ""},
		{"no secret", "", "sk-demo-1", "sk-demo-1"},
		{"the whole key", secret, "key sk-demo-1 is bad", "key " + stars(9) + " is bad"},
		{"alone", secret, "sk-demo-1", stars(9)},
		{"at both ends", secret, "sk-demo-1 and sk-demo-1", stars(9) + " and " + stars(9)},
		{"several, side by side", secret, "sk-demo-1sk-demo-1", stars(18)},
		{"within a word", secret, "xxsk-demo-1yy", "xx" + stars(9) + "yy"},
		{"overlapping", "aXa", "aXaXa", "***Xa"},
		{"another key with the same beginning stays", secret, "sk-demo-2", "sk-demo-2"},
		{"shortened by asterisks", secret, "provided: sk-d***mo-1. You", "provided: " + stars(12) + " You"},
		{"shortened by dots", secret, `"sk-...o-1"`, `"` + stars(9) + `"`},
		{"shortened at the end of the text", secret, "key: sk-***", "key: " + stars(6)},
		{"shortened at the beginning", secret, "sk-***-1, again", stars(8) + ", again"},
		{"shortened and whole", secret, "sk-d***1 sk-demo-1 sk-***", stars(8) + " " + stars(9) + " " + stars(6)},
		{"two asterisks shorten nothing", secret, "sk-d**1", "sk-d**1"},
		{"asterisks in another word", secret, "sk-x ***", "sk-x ***"},
		{"a word that begins otherwise", secret, "a task-based... plan", "a task-based... plan"},
		{"as it stands in a URL", "sk-demo/1", "/v1?key=sk-demo%2F1&x=1", "/v1?key=" + stars(11) + "&x=1"},
		{"as it is, and as it stands in a URL", "sk-demo/1", "sk-demo%2F1 sk-demo/1", stars(11) + " " + stars(9)},
		{"behind an equals sign", secret, "key=sk-d...1&x=1", "key=" + stars(12)},
		{"a key too short to be known by its beginning", "abc", "ab*** abc", "ab*** ***"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := []byte(test.text)
			masked := maskBytes(text, []byte(test.secret))
			if string(text) != test.want || masked != (test.text != test.want) {
				t.Errorf("%q became %q (%v), want %q", test.text, text, masked, test.want)
			}
		})
	}
}

func TestMaskHeader(t *testing.T) {
	h := http.Header{
		"Www-Authenticate": {`Bearer realm="sk-demo-1"`, "none"},
		"X-Key":            {"sk-d***1"},
		"X-None":           nil,
		"X-Other":          {"sk-demo-2"},
	}
	MaskHeader(h, "sk-demo-1")
	if h["Www-Authenticate"][0] != `Bearer realm="*********"` || h["Www-Authenticate"][1] != "none" || h.Get("X-Key") != stars(8) ||
		h["X-None"] != nil || h.Get("X-Other") != "sk-demo-2" {
		t.Errorf("header %q", h)
	}
}

func TestMaskResponse(t *testing.T) {
	const secret = "sk-demo-1"
	echo, masked := "key sk-demo-1 is bad", "key "+stars(9)+" is bad"
	for _, test := range []struct {
		name    string
		coding  string
		body    string
		cutOff  bool
		want    string
		decoded bool // the client gets it without the coding
	}{
		{name: "a plain body", body: echo, want: masked},
		{name: "a plain body that goes on", body: echo, cutOff: true, want: masked},
		{name: "a compressed body", coding: "gzip", body: testkit.Compress(t, "gzip", echo), want: masked, decoded: true},
		{name: "a compressed body that does not echo the key", coding: "gzip", body: testkit.Compress(t, "gzip", "bad"), want: testkit.Compress(t, "gzip", "bad")},
		{name: "a compressed body that goes on", coding: "gzip", body: testkit.Compress(t, "gzip", echo), cutOff: true, want: testkit.Compress(t, "gzip", echo)},
		{name: "a coding that is none", coding: "identity", body: echo, want: masked},
		{name: "a coding that nobody knows", coding: "rot13", body: echo, want: masked},
		{name: "a body that is not as compressed as it says", coding: "gzip", body: echo, want: masked},
		{name: "no body, as HEAD has it", coding: "gzip", body: "", want: ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{"X-Key": {secret}, "Content-Length": {strconv.Itoa(len(test.body))}}
			if test.coding != "" {
				h.Set("Content-Encoding", test.coding)
			}
			got := Mask(h, []byte(test.body), !test.cutOff, secret)
			if string(got) != test.want {
				t.Errorf("body %q, want %q", got, test.want)
			}
			if h.Get("X-Key") != stars(9) {
				t.Errorf("header %q", h)
			}
			coding := test.coding
			if test.decoded {
				coding = ""
			}
			if h.Get("Content-Encoding") != coding || h.Get("Content-Length") != strconv.Itoa(len(got)) {
				t.Errorf("Content-Encoding %q, Content-Length %q of %d bytes", h.Get("Content-Encoding"), h.Get("Content-Length"), len(got))
			}
		})
	}
}

func FuzzMask(f *testing.F) {
	for _, text := range []string{"", "key sk-demo-1 is bad", "sk-d***1", "sk-demo-1sk-demo-1", "sk-sk-...", "aXaXa"} {
		f.Add([]byte(text), "sk-demo-1")
		f.Add([]byte(text), "aXa")
		f.Add([]byte(text), "")
	}
	f.Fuzz(func(t *testing.T, text []byte, secret string) {
		before := bytes.Clone(text)
		masked := maskBytes(text, []byte(secret))
		if len(text) != len(before) {
			t.Fatalf("%d bytes became %d", len(before), len(text))
		}
		// A key with an asterisk in it may come about by masking.
		if secret != "" && !strings.Contains(secret, "*") && bytes.Contains(text, []byte(secret)) {
			t.Errorf("%q became %q", before, text)
		}
		if !masked && !bytes.Equal(text, before) {
			t.Errorf("%q became %q, and nobody was told", before, text)
		}
		for i := range text {
			if text[i] != before[i] && text[i] != maskByte {
				t.Errorf("%q became %q", before, text)
				break
			}
		}
	})
}

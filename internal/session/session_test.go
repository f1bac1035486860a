package session

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

// find returns what is found in a body that comes in pieces of so many bytes.
func find(body string, size int) Found {
	f := NewFinder()
	for p := []byte(body); len(p) > 0 && !f.Ended(); {
		n := min(size, len(p))
		f.Write(bytes.Clone(p[:n])) // nothing of it may be kept
		p = p[n:]
	}
	return f.Release()
}

// named is the ID of what a client calls a conversation.
func named(name string) ID { return Named(http.Header{"X-Session-Id": {name}}) }

func TestHeaders(t *testing.T) {
	for i, name := range Headers {
		h := http.Header{name: {"s-1"}}
		if canonical := http.CanonicalHeaderKey(name); canonical != name {
			t.Errorf("net/http spells %s as %s", name, canonical)
		}
		for _, later := range Headers[i+1:] {
			h[later] = []string{"s-2"}
		}
		if got := Named(h); got != named("s-1") || got == named("s-2") {
			t.Errorf("%s: %v does not count first", name, got)
		}
	}
	for _, h := range []http.Header{nil, {"X-Session-Id": nil}, {"X-Session-Id": {""}}, {"X-Request-Id": {"s-1"}}} {
		if got := Named(h); got != 0 {
			t.Errorf("%v: %v, want none", h, got)
		}
	}
	if got := Named(http.Header{"Session-Id": {""}, "X-Session-Id": {"s-1"}}); got != named("s-1") {
		t.Errorf("an empty header hides another: %v", got)
	}
}

func TestIDsShowNothing(t *testing.T) {
	if got := named("my secret plan").String(); len(got) != 16 || strings.Trim(got, "0123456789abcdef") != "" {
		t.Errorf("an ID shows as %q", got)
	}
	if ID(0).String() != "" || ID(1).String() != "0000000000000001" {
		t.Errorf("%q, %q", ID(0), ID(1))
	}
}

// names are bodies that say which conversation it is, "s-1", each in its own way.
var names = map[string]string{
	"OpenAI's prompt_cache_key":       `{"model":"m","messages":[{"role":"user","content":"hi"}],"prompt_cache_key":"s-1"}`,
	"… before all else":               `{"prompt_cache_key":"s-1","input":"hi","conversation":"c","metadata":{"user_id":"u"}}`,
	"… after all else":                `{"metadata":{"user_id":"u"},"conversation":{"id":"c"},"input":"hi","prompt_cache_key" : "s-1"}`,
	"a conversation":                  `{"input":[{"role":"user","content":"hi"}],"conversation":"s-1"}`,
	"a conversation as an object":     `{"conversation":{"object":"conversation","id":"s-1","metadata":{"id":"no"}},"metadata":{"user_id":"u"}}`,
	"Anthropic's user":                `{"max_tokens":9,"messages":[{"role":"user","content":"hi"}],"metadata":{"a":"b","user_id":"s-1"},"system":"x"}`,
	"an empty name before another":    `{"prompt_cache_key":"","conversation":null,"metadata":{"user_id":"s-1"}}`,
	"names elsewhere do not count":    `{"messages":[{"prompt_cache_key":"no","role":"user","metadata":{"user_id":"no"}}],"x":{"conversation":"no"},"metadata":{"user_id":"s-1","x":{"user_id":"no"}}}`,
	"with what JSON allows":           " {\n\"a\" : [1, -2.5e3, true, null, {\"b\": \"}]\\\"\"}] ,\t\"metadata\" : { \"user_id\" :\r\"s-1\" } } ",
	"strings that look like the end":  `{"x":"\"","y":"\\","z":"\\\"}","messages":[{"content":"{\"prompt_cache_key\":\"no\"}"}],"prompt_cache_key":"s-1"}`,
	"a name of another type is none":  `{"prompt_cache_key":{"id":"no"},"conversation":["no","s-0"],"metadata":{"user_id":"s-1"}}`,
	"text after the end of the body":  `{"prompt_cache_key":"s-1"}garbage`,
	"members that are none of these":  `{"prompt_cache_keys":"no","prompt_cache":"no","prompt_cache_key_that_is_long":"no","prompt_cache_key":"s-1"}`,
	"containers deeper than anything": `{"messages":` + strings.Repeat(`[`, 500) + strings.Repeat(`]`, 500) + `,"prompt_cache_key":"s-1"}`,
}

func TestNames(t *testing.T) {
	for what, body := range names {
		for size := 1; size <= len(body); size++ {
			if got := find(body, size); got.ID != named("s-1") {
				t.Fatalf("%s, in pieces of %d: %v, want %v", what, size, got.ID, named("s-1"))
			}
		}
	}
}

// Turns of conversations, first to last: all of one are the same, and no two are.
var conversations = map[string][]string{
	"chat": {
		`{"model":"m","messages":[{"role":"system","content":"be kind"},{"role":"user","content":"hi"}]}`,
		`{"model":"n","messages":[{"role":"system","content":"be kind"},{"role":"user","content":"hi"},{"role":"assistant","content":"yes?"},{"role":"user","content":"why"}],"stream":true}`,
		`{"messages":[{"content":"be kind","role":"developer"},{"content":"hi","role":"user"},{"role":"assistant"`,
	},
	"another message":   {`{"messages":[{"role":"system","content":"be kind"},{"role":"user","content":"ho"}]}`},
	"another system":    {`{"messages":[{"role":"system","content":"be rude"},{"role":"user","content":"hi"}]}`},
	"no system":         {`{"messages":[{"role":"user","content":"hi"}]}`, `{"messages":[{"role":"user","content":"hi"}],"system":"after it"}`},
	"who speaks first":  {`{"messages":[{"role":"assistant","content":"hello"},{"role":"user","content":"be kind"}]}`},
	"texts are not one": {`{"messages":[{"role":"user","content":[{"type":"text","text":"h"},{"type":"text","text":"i"}]}]}`},
	"texts in parts": {
		`{"system":[{"type":"text","text":"be kind","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral","text":"x"}}]}]}`,
		`{"system":[{"type":"text","text":"be kind"}],"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]},{"role":"user","content":[{"type":"text","text":"what","cache_control":{}}]}]}`,
	},
	"Responses": {
		`{"instructions":"be kind!","input":"hi"}`,
	},
	"Responses with items": {
		`{"instructions":"be brief","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]}]}`,
		`{"instructions":"be brief","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]},{"type":"reasoning","encrypted_content":"x","content":[{"text":"y"}]},{"type":"function_call_output","output":"z"}]}`,
		`{"instructions":"be brief","input":[{"type":"reasoning","content":[{"text":"y"}]},{"role":"user","content":[{"text":"hi"}]}]}`,
	},
	"Gemini": {
		`{"systemInstruction":{"parts":[{"text":"be quick"}]},"contents":[{"parts":[{"text":"hi"}]}]}`,
		`{"system_instruction":{"parts":[{"text":"be quick"}]},"contents":[{"role":"user","parts":[{"text":"hi"}]},{"role":"model","parts":[{"text":"yes"}]}]}`,
		`{"systemInstruction":{"parts":[{"text":"be quick"}]},"contents":[{"parts":[{"text":"no"}],"role":"model"},{"parts":[{"text":"hi"}],"role":"user"}]}`,
	},
	"a prompt": {`{"prompt":"once upon a time"}`, `{"prompt":["once upon a time"],"n":2}`},
}

func TestBeginnings(t *testing.T) {
	whose := make(map[ID]string)
	for what, turns := range conversations {
		want := find(turns[0], 1<<20).ID
		if want == 0 || whose[want] != "" {
			t.Errorf("%s: %v, as %q", what, want, whose[want])
		}
		whose[want] = what
		for i, body := range turns {
			for size := 1; size <= len(body); size++ {
				if got := find(body, size); got.ID != want || got.Prompt != want {
					t.Fatalf("%s, turn %d, in pieces of %d: %v, want %v", what, i, size, got, want)
				}
			}
		}
	}
}

// A name counts before how the conversation begins, and both are told.
func TestNameAndBeginning(t *testing.T) {
	begins := find(`{"messages":[{"role":"user","content":"hi"}]}`, 99).Prompt
	if got := find(`{"messages":[{"role":"user","content":"hi"}],"prompt_cache_key":"s-1"}`, 99); got.ID != named("s-1") || got.Prompt != begins {
		t.Errorf("%v, want %v and %v", got, named("s-1"), begins)
	}
	if got := find(`{"prompt_cache_key":"s-1","tools":[]}`, 99); got.ID != named("s-1") || got.Prompt != 0 {
		t.Errorf("%v, want %v alone", got, named("s-1"))
	}
}

// A message of which the end was not read is known by what was.
func TestCutOff(t *testing.T) {
	body := `{"system":"x","messages":[{"role":"user","content":"` + strings.Repeat("long ", 1000)
	if got := find(body, 100); got.ID == 0 || got.ID == find(body[:2000], 100).ID {
		t.Errorf("%v", got)
	}
	if got := find(`{"system":"`+strings.Repeat("long ", 1000), 100); got != (Found{}) {
		t.Errorf("a system's prompt alone is a conversation: %v", got)
	}
}

// What is no conversation has no ID, and nothing panics.
func TestNothing(t *testing.T) {
	for _, body := range []string{
		"", " ", "null", `"prompt_cache_key"`, "[]", "{", "}", "]]]]", `{"`, `{"messages":`, `{"messages":[`, `{"messages":[]}`,
		`{"messages":[{"role":"assistant","content":"x"}]}`, `{"messages":{}}`, `{"messages":7}`, `{"prompt_cache_key":7}`,
		`{"metadata":"x"}`, `{"metadata":{"user_id":{}}}`, `{"\u006dessages":"x"}`, `{"a":{"messages":"x"}}`, "\xff\xfe", `\\\\"`,
		`{"conversation":{"id":7}}`, `{"system":"x"}`, `{:"x"}`, `{,,,:::"x"}`, `{"metadata":["user_id","x"]}`,
	} {
		for size := 1; size <= len(body)+1; size++ {
			if got := find(body, size); got != (Found{}) {
				t.Errorf("%q in pieces of %d: %v", body, size, got)
			}
		}
	}
}

// A piece ends anywhere, whatever the text is.
func TestPiecesDoNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	words := []string{`{`, `}`, `[`, `]`, `"`, `:`, `,`, `\`, `"messages"`, `"role"`, `"user"`, `"content"`, `"text"`, `"prompt_cache_key"`, `"metadata"`, `"user_id"`, `"system"`, `"input"`, `"x"`, ` `, `7`}
	for range 20_000 {
		var body strings.Builder
		for range 1 + r.IntN(40) {
			body.WriteString(words[r.IntN(len(words))])
		}
		want := find(body.String(), 1<<20)
		if got := find(body.String(), 1+r.IntN(5)); got != want {
			t.Fatalf("%q: %v in pieces, %v whole", body.String(), got, want)
		}
	}
}

func FuzzFinder(f *testing.F) {
	for _, body := range names {
		f.Add(body, 3)
	}
	f.Fuzz(func(t *testing.T, body string, size int) {
		if got, want := find(body, 1+max(size, 0)%64), find(body, 1<<20); got != want {
			t.Errorf("%v in pieces, %v whole", got, want)
		}
	})
}

func BenchmarkFinder(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		var body strings.Builder
		body.WriteString(`{"model":"m","messages":[{"role":"system","content":"be kind"}`)
		for i := 0; body.Len() < size-40; i++ {
			fmt.Fprintf(&body, `,{"role":%q,"content":%q}`, []string{"user", "assistant"}[i%2], strings.Repeat("some words ", 20))
		}
		body.WriteString(`],"prompt_cache_key":"s-1"}`)
		text := []byte(body.String())
		b.Run(fmt.Sprint(size>>10, "K"), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				f := NewFinder()
				f.Write(text)
				f.Release()
			}
		})
	}
	b.Run("header", func(b *testing.B) {
		h := http.Header{"Content-Type": {"application/json"}, "X-Conversation-Id": {"0f0e7f7c-6a3c-4c0e-9a4e-2f3b7c9d1e55"}}
		b.ReportAllocs()
		for b.Loop() {
			Named(h)
		}
	})
}

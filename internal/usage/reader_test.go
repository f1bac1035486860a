package usage

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/keycycler/keycycler/rotator"
)

const (
	asJSON = "application/json"
	events = "text/event-stream; charset=utf-8"
)

// nothing is what an answer has used that does not say.
var nothing = Tokens{Unknown, Unknown, Unknown, Unknown, Unknown}

// answers are answers as providers give them, and what they have used: input, cached,
// cache-write, output, reasoning.
var answers = []struct {
	sentence, media, body string
	want                  Tokens
}{
	{"OpenAI: chat", asJSON, `{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"{\"usage\":{\"prompt_tokens\":9}}"}}],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":3,"audio_tokens":0}},"service_tier":"default"}`, Tokens{15, 4, -1, 10, 3}},
	{"OpenAI: chat, the usage first", asJSON, "\n {\"usage\" : {\"completion_tokens\" : 10, \"prompt_tokens\": 19}, \"choices\":[{\"usage\":{\"prompt_tokens\":1}}]}", Tokens{19, -1, -1, 10, -1}},
	{"OpenAI: a chat's stream", events, "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}],\"usage\":null}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":10,\"total_tokens\":29,\"prompt_tokens_details\":{\"cached_tokens\":0}}}\n\ndata: [DONE]\n\n", Tokens{19, 0, -1, 10, -1}},
	{"OpenAI: a stream whose client did not ask for it", events, "data: {\"choices\":[{\"delta\":{\"content\":\"tokens\"}}]}\n\ndata: [DONE]\n\n", nothing},
	{"OpenAI: a chat with tools", asJSON, `{"choices":[{"message":{"content":null,"tool_calls":[{"id":"t","type":"function","function":{"name":"f","arguments":"{\"usage\":1}"}}]}}],"usage":{"prompt_tokens":82,"completion_tokens":17,"total_tokens":99}}`, Tokens{82, -1, -1, 17, -1}},
	{"OpenAI: a response", asJSON, `{"id":"resp_1","output":[],"usage":{"input_tokens":36,"input_tokens_details":{"cached_tokens":30},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":64},"total_tokens":123}}`, Tokens{6, 30, -1, 87, 64}},
	{"OpenAI: a response's stream", events, "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"usage\":null}}\n\nevent: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"token\"}\n\nevent: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"usage\":{\"input_tokens\":36,\"input_tokens_details\":{\"cached_tokens\":0},\"output_tokens\":87,\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":123}}}\n\n", Tokens{36, 0, -1, 87, 0}},
	{"OpenAI: a response that wrote to a cache", asJSON, `{"id":"resp_1","output":[],"usage":{"input_tokens":3438,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":3435},"output_tokens":10,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":3448}}`, Tokens{3, 0, 3435, 10, 0}},
	{"OpenAI: the stream of one", events, "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"usage\":{\"input_tokens\":3438,\"input_tokens_details\":{\"cached_tokens\":1000,\"cache_write_tokens\":2400},\"output_tokens\":10,\"total_tokens\":3448}}}\n\n", Tokens{38, 1000, 2400, 10, -1}},
	{"OpenAI: embeddings", asJSON, `{"object":"list","data":[{"embedding":[0.1,-0.2e-3]}],"usage":{"prompt_tokens":8,"total_tokens":8}}`, Tokens{8, -1, -1, -1, -1}},
	{"OpenAI: a transcription by tokens", asJSON, `{"text":"Hello","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":0,"audio_tokens":14},"output_tokens":45,"total_tokens":59}}`, Tokens{14, -1, -1, 45, -1}},
	{"OpenAI: a transcription by time", asJSON, `{"text":"Hello","usage":{"type":"duration","seconds":27}}`, nothing},
	{"Groq: a stream", events, "data: {\"choices\":[],\"x_groq\":{\"id\":\"req\",\"usage\":{\"queue_time\":0.03,\"prompt_tokens\":7,\"completion_tokens\":5}}}\n\n", Tokens{7, -1, -1, 5, -1}},
	{"DeepSeek: hits are of the prompt", asJSON, `{"usage":{"prompt_tokens":100,"completion_tokens":5,"total_tokens":105,"prompt_tokens_details":{"cached_tokens":64},"prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36}}`, Tokens{36, 64, -1, 5, -1}},
	{"xAI: reasoning is not counted in the completion", asJSON, `{"usage":{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,"prompt_tokens_details":{"cached_tokens":6},"completion_tokens_details":{"reasoning_tokens":94}}}`, Tokens{26, 6, -1, 103, 94}},
	{"OpenRouter: what was written to a cache", asJSON, `{"usage":{"prompt_tokens":100,"completion_tokens":5,"total_tokens":105,"prompt_tokens_details":{"cached_tokens":10,"cache_write_tokens":30}}}`, Tokens{60, 10, 30, 5, -1}},
	{"Anthropic: a message", asJSON, `{"type":"message","content":[{"type":"text","text":"Hi"}],"usage":{"input_tokens":2095,"cache_creation_input_tokens":200,"cache_read_input_tokens":1800,"cache_creation":{"ephemeral_5m_input_tokens":200},"output_tokens":503,"service_tier":"standard"}}`, Tokens{2095, 1800, 200, 503, -1}},
	{"Anthropic: thinking is of the output", asJSON, `{"type":"message","content":[],"usage":{"input_tokens":2095,"cache_creation_input_tokens":0,"cache_read_input_tokens":1800,"output_tokens":503,"output_tokens_details":{"thinking_tokens":400}}}`, Tokens{2095, 1800, 0, 503, 400}},
	{"Anthropic: a stream that thinks", events, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg\",\"content\":[],\"usage\":{\"input_tokens\":25,\"output_tokens\":1,\"output_tokens_details\":{\"thinking_tokens\":0}}}}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":415,\"output_tokens_details\":{\"thinking_tokens\":400}}}\n\n", Tokens{25, -1, -1, 415, 400}},
	{"Anthropic: a stream", events, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg\",\"content\":[],\"usage\":{\"input_tokens\":25,\"cache_read_input_tokens\":100,\"cache_creation_input_tokens\":0,\"output_tokens\":1}}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", Tokens{25, 100, 0, 15, -1}},
	{"Anthropic: a stream that broke off", events, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg\",\"content\":[],\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":15", Tokens{25, -1, -1, 1, -1}},
	{"Gemini: content", asJSON, `{"candidates":[{"content":{"parts":[{"text":"Hi"}]}}],"usageMetadata":{"promptTokenCount":40,"cachedContentTokenCount":30,"candidatesTokenCount":12,"thoughtsTokenCount":20,"toolUsePromptTokenCount":5,"totalTokenCount":77,"promptTokensDetails":[{"modality":"TEXT","tokenCount":40}]},"modelVersion":"m"}`, Tokens{15, 30, -1, 32, 20}},
	{"Gemini: a stream", events, "data: {\"candidates\":[],\"usageMetadata\":{\"promptTokenCount\":4,\"totalTokenCount\":4}}\r\n\r\ndata: {\"candidates\":[],\"usageMetadata\":{\"promptTokenCount\":4,\"candidatesTokenCount\":12,\"totalTokenCount\":16}}\r\n\r\n", Tokens{4, -1, -1, 12, -1}},
	{"Gemini: a stream that is an array", asJSON, `[{"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":2}},` + "\n" + `{"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":12}}]`, Tokens{4, -1, -1, 12, -1}},
	{"Cohere: a chat", asJSON, `{"id":"c","message":{"role":"assistant","content":[]},"usage":{"billed_units":{"input_tokens":5.0,"output_tokens":418},"tokens":{"input_tokens":71,"output_tokens":418}}}`, Tokens{5, -1, -1, 418, -1}},
	{"Cohere: a stream", events, "event: message-start\ndata: {\"type\":\"message-start\",\"delta\":{\"message\":{\"role\":\"assistant\"}}}\n\nevent: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\",\"usage\":{\"billed_units\":{\"input_tokens\":3,\"output_tokens\":10},\"tokens\":{\"input_tokens\":69,\"output_tokens\":10}}}}\n\n", Tokens{3, -1, -1, 10, -1}},
	{"Cohere: embeddings", asJSON, `{"embeddings":{"float":[[0.1]]},"meta":{"api_version":{"version":"2"},"billed_units":{"input_tokens":2}}}`, Tokens{2, -1, -1, -1, -1}},
	{"Cohere: a rerank costs searches", asJSON, `{"results":[],"meta":{"billed_units":{"search_units":1}}}`, nothing},
	{"Cohere: v1, a stream of lines", "application/stream+json", "{\"event_type\":\"text-generation\",\"text\":\"Hi\"}\n{\"event_type\":\"stream-end\",\"response\":{\"meta\":{\"billed_units\":{\"input_tokens\":5,\"output_tokens\":4}}}}\n", Tokens{5, -1, -1, 4, -1}},
	{"a media type in capitals", "Application/JSON;Charset=UTF-8", `{"usage":{"prompt_tokens":8}}`, Tokens{8, -1, -1, -1, -1}},
	{"that of a stream", "Text/Event-Stream", "data: {\"usage\":{\"prompt_tokens\":8}}\n\n", Tokens{8, -1, -1, -1, -1}},
	{"a list", asJSON, `{"object":"list","data":[]}`, nothing},
	{"what is no JSON", asJSON, `usage: {"prompt_tokens":1}`, nothing},
	{"usage that is null, and empty", asJSON, `{"usage":null,"usage":{}}`, nothing},
}

// tokensOf reads a body in pieces.
func tokensOf(t testing.TB, media, coding string, pieces ...[]byte) Tokens {
	t.Helper()
	h := http.Header{"Content-Type": {media}}
	if coding != "" {
		h.Set("Content-Encoding", coding)
	}
	r := NewReader(h)
	if r == nil {
		t.Fatalf("nobody reads %s in %q", media, coding)
	}
	defer r.Release()
	for _, p := range pieces {
		r.Write(p)
	}
	tokens, ok := r.Tokens()
	if ok != (tokens[Input] >= 0 || tokens[Output] >= 0) {
		t.Errorf("%v is stated: %t", tokens, ok)
	}
	return tokens
}

// TestAnswers reads each answer whole, cut at every byte, and byte by byte.
func TestAnswers(t *testing.T) {
	for _, row := range answers {
		body := []byte(row.body)
		for cut := range len(body) + 1 {
			if got := tokensOf(t, row.media, "", body[:cut:cut], body[cut:]); got != row.want {
				t.Fatalf("%s, cut at %d: %v, want %v", row.sentence, cut, got, row.want)
			}
		}
		if got := tokensOf(t, row.media, "", bytes.SplitAfter(body, nil)...); got != row.want {
			t.Errorf("%s, byte by byte: %v, want %v", row.sentence, got, row.want)
		}
	}
}

// TestCodedAnswers reads each answer in each coding, behind a text that is longer than what
// is kept of any, cut at every byte of its end.
func TestCodedAnswers(t *testing.T) {
	for coding, compressor := range map[string]func(io.Writer) io.WriteCloser{
		"gzip": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"br":   func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) },
		"zstd": func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z },
	} {
		for _, row := range answers {
			before := "\n"
			if row.media == events {
				before = strings.Repeat(": waiting for words\n\n", 8_000)
			}
			var coded bytes.Buffer
			w := compressor(&coded)
			io.WriteString(w, before+row.body)
			w.Close()
			all := coded.Bytes()
			for cut := max(0, len(all)-8); cut <= len(all); cut++ {
				if got := tokensOf(t, row.media, coding, all[:cut:cut], all[cut:]); got != row.want {
					t.Fatalf("%s in %s, cut at %d: %v, want %v", row.sentence, coding, cut, got, row.want)
				}
			}
		}
	}
}

// A body may be large, and its usage stand at either end.
func TestLargeAnswers(t *testing.T) {
	image := `"b64":"` + strings.Repeat("QUJD\\/", 1<<17) + `"`
	said := `"usage":{"input_tokens":50,"output_tokens":4160}`
	for _, body := range []string{"{" + image + "," + said + "}", "{" + said + ",\"data\":[{" + image + "}]}"} {
		pieces := bytes.SplitAfter([]byte(strings.ReplaceAll(body, "QUJD\\/QUJD\\/QUJD", "QUJD\\/QUJD\\/Q~UJD")), []byte("~"))
		if got := tokensOf(t, asJSON, "", pieces...); got != (Tokens{50, -1, -1, 4160, -1}) {
			t.Errorf("%v", got)
		}
	}
}

// What counts for limits is all but what was read from a cache, where that is free; nobody
// knows what an answer has used that does not say so.
func TestSpent(t *testing.T) {
	h := http.Header{"Content-Type": {asJSON}}
	for _, row := range []struct {
		body string
		free bool
		want rotator.Used
	}{
		{`{"usage":{"prompt_tokens":19,"completion_tokens":10,"prompt_tokens_details":{"cached_tokens":4}}}`, false, rotator.Used{Input: 19, Output: 10}},
		{`{"usage":{"input_tokens":25,"cache_read_input_tokens":100,"cache_creation_input_tokens":7,"output_tokens":15}}`, false, rotator.Used{Input: 132, Output: 15}},
		{`{"usage":{"input_tokens":25,"cache_read_input_tokens":100,"cache_creation_input_tokens":7,"output_tokens":15}}`, true, rotator.Used{Input: 32, Output: 15}},
		{`{"usage":null}`, false, rotator.Used{Unknown: true}},
	} {
		r := NewReader(h)
		r.Write([]byte(row.body))
		if got := r.Spent(row.free); got != row.want {
			t.Errorf("%s: %+v, want %+v", row.body, got, row.want)
		}
		r.Release()
	}
	if got := (*Reader)(nil).Spent(true); !got.Unknown {
		t.Errorf("without a reader: %+v", got)
	}
}

// Only answers that can state it are read.
func TestReaders(t *testing.T) {
	for _, row := range []struct {
		media, coding string
		read          bool
	}{
		{asJSON, "", true}, {asJSON, "identity", true}, {asJSON, "gzip", true}, {events, "br", true}, {"application/vnd.api+json; charset=utf-8", "", true},
		{"audio/mpeg", "", false}, {"text/plain", "", false}, {"", "", false}, {asJSON, "compress", false},
	} {
		r := NewReader(http.Header{"Content-Type": {row.media}, "Content-Encoding": {row.coding}})
		if (r != nil) != row.read {
			t.Errorf("%q in %q is read: %t", row.media, row.coding, r != nil)
		}
		if r != nil {
			r.Release()
		}
	}
}

// Reading along allocates nothing, whatever the pieces.
func TestReaderAllocations(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection would empty the pool
	for _, row := range answers {
		h, pieces := http.Header{"Content-Type": {row.media}}, bytes.SplitAfter([]byte(row.body), []byte("\n"))
		if got := testing.AllocsPerRun(100, func() {
			r := NewReader(h)
			for _, p := range pieces {
				r.Write(p)
			}
			r.Tokens()
			r.Release()
		}); got != 0 {
			t.Errorf("%s: %v allocations", row.sentence, got)
		}
	}
}

// Every number of the forms is in a line that is looked at, and within reach.
func TestForms(t *testing.T) {
	for _, f := range forms {
		for name, number := range f.says {
			for _, at := range f.at {
				path := strings.Split(at+"."+name, ".")
				body := `{"` + strings.Join(path, `":{"`) + `":7` + strings.Repeat("}", len(path))
				r := NewReader(http.Header{"Content-Type": {events}})
				r.Write([]byte("data: " + body + "\n"))
				if got := r.said.of(number); got != 7 {
					t.Errorf("%s: %s.%s is read as %d", f.name, at, name, got)
				}
				r.Release()
			}
		}
	}
}

// FuzzAnswers reads whatever comes, coded or not, in two pieces: no number is negative, and
// what the pieces are makes no difference.
func FuzzAnswers(f *testing.F) {
	for _, row := range answers {
		f.Add([]byte(row.body), 7, row.media == events, "")
	}
	f.Add([]byte("\x1f\x8b\x08"), 2, true, "gzip")
	f.Fuzz(func(t *testing.T, body []byte, cut int, stream bool, coding string) {
		media := asJSON
		if stream {
			media = events
		}
		if NewReader(http.Header{"Content-Type": {media}, "Content-Encoding": {coding}}) == nil {
			return
		}
		cut = min(max(cut, 0), len(body))
		got := tokensOf(t, media, coding, body)
		if again := tokensOf(t, media, coding, body[:cut:cut], body[cut:]); got != again {
			t.Errorf("%v, and in pieces %v", got, again)
		}
		for i, n := range got {
			if n < Unknown {
				t.Errorf("%s is %d", Names[i], n)
			}
		}
	})
}

// BenchmarkReader reads a JSON answer of 1 KB, and a stream of 50 events.
func BenchmarkReader(b *testing.B) {
	said := `"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":4}}`
	event := "data: {\"id\":\"chatcmpl-demo\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"gpt-demo\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"}}],\"usage\":null}\n\n"
	stream := bytes.SplitAfter([]byte(strings.Repeat(event, 49)+"data: {"+said+"}\n\n"), []byte("\n\n"))
	for name, answer := range map[string]struct {
		media  string
		pieces [][]byte
	}{
		"JSON 1 KB":     {asJSON, [][]byte{[]byte(`{"id":"chatcmpl-demo","object":"chat.completion","created":1700000000,"choices":[{"message":{"content":"` + strings.Repeat("word ", 160) + `"}}],` + said + "}")}},
		"SSE 50 events": {events, stream},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			h := http.Header{"Content-Type": {answer.media}}
			for b.Loop() {
				r := NewReader(h)
				for _, p := range answer.pieces {
					r.Write(p)
				}
				r.Tokens()
				r.Release()
			}
		})
	}
}

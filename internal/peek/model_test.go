package peek

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// newFinder returns a finder for a body of this media type.
func newFinder(contentType string) (f ModelFinder) {
	f.Begin(contentType)
	return f
}

// newMarking returns one that notes where the names stand, too.
func newMarking(contentType string) (f ModelFinder) {
	f.Begin(contentType)
	f.Mark()
	return f
}

// findModel feeds the body in pieces that end at these places.
func findModel(contentType string, body []byte, ends ...int) ModelFinder {
	f := newMarking(contentType)
	start := 0
	for _, end := range append(ends, len(body)) {
		f.Write(body[start:end])
		start = end
	}
	return f
}

// describeModel is a finder's answer in one word, so that answers compare.
func describeModel(f *ModelFinder) string {
	name, ok := f.Model()
	if ok != f.Found() {
		return fmt.Sprintf("found() %v and model() %v", f.Found(), ok)
	}
	if ok && !IsModelName([]byte(name)) {
		return fmt.Sprintf("%q, which is no name", name)
	}
	return fmt.Sprintf("%q %v, done %v, at %v", name, ok, f.Done(), f.Marks())
}

// checkSplits fails when the answer depends on how the body comes in: in two
// pieces of any sizes, byte by byte, and with an empty piece.
func checkSplits(t *testing.T, contentType string, body []byte) {
	t.Helper()
	whole := findModel(contentType, body)
	want := describeModel(&whole)
	for i := range len(body) + 1 {
		f := findModel(contentType, body, i, i)
		if got := describeModel(&f); got != want {
			t.Fatalf("%q and %q: %s, in one piece %s", body[:i], body[i:], got, want)
		}
	}
	single := newMarking(contentType)
	for i := range body {
		single.Write(body[i : i+1])
	}
	if got := describeModel(&single); got != want {
		t.Fatalf("%q byte by byte: %s, in one piece %s", body, got, want)
	}
}

// checkRandomSplits is checkSplits for bodies too large to try all.
func checkRandomSplits(t *testing.T, contentType string, body []byte, seed uint64) {
	t.Helper()
	whole := findModel(contentType, body)
	want := describeModel(&whole)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 4 {
		f := newMarking(contentType)
		for rest := body; len(rest) > 0; {
			n := min(1+random.IntN(1+random.IntN(16)), len(rest))
			f.Write(rest[:n])
			rest = rest[n:]
		}
		if got := describeModel(&f); got != want {
			t.Fatalf("%q in pieces: %s, in one %s", body, got, want)
		}
	}
}

func TestNewModelFinder(t *testing.T) {
	const object = `{"model":"demo"}`
	const form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ndemo\r\n--b--\r\n"
	for _, test := range []struct {
		name        string
		contentType string
		body        string
		want        bool
	}{
		{"JSON", "application/json", object, true},
		{"JSON with a charset", "application/json; charset=utf-8", object, true},
		{"JSON, with capitals and spaces", " Application/JSON ;charset=utf-8", object, true},
		{"a kind of JSON", "application/vnd.api+json", object, true},
		{"a form", "multipart/form-data; boundary=b", form, true},
		{"a form with other parameters", "Multipart/Form-Data; charset=utf-8 ; Boundary=b; x=y", form, true},
		{"a form with a quoted boundary", `multipart/form-data; x="; boundary=a"; boundary="b"`, form, true},
		{"a form without a boundary", "multipart/form-data", form, false},
		{"a form with an empty boundary", `multipart/form-data; boundary=""`, form, false},
		{"a form with a boundary too long", "multipart/form-data; boundary=" + strings.Repeat("b", 71), form, false},
		{"another multipart", "multipart/mixed; boundary=b", form, false},
		{"a URL-encoded form", "application/x-www-form-urlencoded", "model=demo", false},
		{"text", "text/plain", object, false},
		{"several objects", "application/x-ndjson", object, false},
		{"what merely begins like JSON", "application/jsonlines", object, false},
		{"no type", "", object, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFinder(test.contentType)
			if f.Done() != (!test.want) {
				t.Errorf("done() is %v before the body", f.Done())
			}
			f.Write([]byte(test.body))
			if name, ok := f.Model(); ok != test.want || ok && name != "demo" || !f.Done() {
				t.Errorf("model %q %v, done %v", name, ok, f.Done())
			}
		})
	}
}

func TestModelInPath(t *testing.T) {
	long := strings.Repeat("m", maxModelName)
	for _, test := range []struct {
		name string
		path string
		want string
	}{
		{"Gemini", "/v1beta/models/gemini-x:generateContent", "gemini-x"},
		{"Gemini, streaming, without a version", "/models/gemini-x:streamGenerateContent", "gemini-x"},
		{"Gemini's tuned models", "/v1beta/tunedModels/mine-1:generateContent", "mine-1"},
		{"Vertex", "/v1/projects/p/locations/l/publishers/google/models/gemini-x:streamGenerateContent", "gemini-x"},
		{"a name with a colon: the verb is last", "/models/a:b:countTokens", "a:b"},
		{"Azure", "/openai/deployments/gpt-x/chat/completions", "gpt-x"},
		{"Azure without its prefix", "/deployments/gpt-x/embeddings", "gpt-x"},
		{"a name of the greatest length", "/models/" + long + ":x", long},
		{"OpenAI's list", "/v1/models", ""},
		{"OpenAI's model, which nothing runs on", "/v1/models/gpt-x", ""},
		{"a path that is in the body", "/v1/chat/completions", ""},
		{"an empty name", "/models/:generateContent", ""},
		{"an empty verb", "/models/gemini-x:", ""},
		{"a slash in the name, or below a model", "/models/a/b:generateContent", ""},
		{"a verb of something else", "/v1beta/files/f:download", ""},
		{"what merely ends in models", "/submodels/x:y", ""},
		{"a deployment, which nothing runs on", "/openai/deployments/gpt-x", ""},
		{"the same with a slash", "/openai/deployments/gpt-x/", ""},
		{"an empty deployment", "/openai/deployments//chat", ""},
		{"a name too long", "/models/" + long + "m:x", ""},
		{"a newline in the name", "/models/a\nb:x", ""},
		{"a byte that is no UTF-8", "/models/a\xffb:x", ""},
		{"nothing", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok := ModelInPath(test.path)
			if got != test.want || ok != (test.want != "") {
				t.Errorf("%q %v, want %q", got, ok, test.want)
			}
		})
	}
}

func TestIsModelName(t *testing.T) {
	for _, test := range []struct {
		name string
		text string
		want bool
	}{
		{"a name", "gpt-4o-mini", true},
		{"a name with a publisher", "meta/llama-3:free@v1", true},
		{"other letters", "модель-模型", true},
		{"a space", "my model", true},
		{"nothing", "", false},
		{"the greatest length", strings.Repeat("m", 256), true},
		{"one more", strings.Repeat("m", 257), false},
		{"a newline", "a\n", false},
		{"NUL", "a\x00b", false},
		{"DEL", "a\x7f", false},
		{"a control character of Unicode's", "a\u0085", false},
		{"what turns the writing around", "a\u202eb", false},
		{"no UTF-8", "a\xc3", false},
		{"half a surrogate pair", "a\xed\xa0\x80", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := IsModelName([]byte(test.text)); got != test.want {
				t.Errorf("%q: %v", test.text, got)
			}
		})
	}
}

func TestModelFinderAllocations(t *testing.T) {
	object := []byte(`{"messages":[{"role":"user","content":"a \"word\""}],"mod\u0065l":"gpt\u002dx","n":1}`)
	for _, test := range []struct {
		name string
		ask  bool
		want float64
	}{
		{"finding does not allocate", false, 0},
		{"the name that is asked for does", true, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := testing.AllocsPerRun(100, func() {
				f := newFinder("application/json; charset=utf-8")
				f.Write(object)
				if test.ask {
					f.Model()
				}
			})
			if got > test.want {
				t.Errorf("%v allocations, want %v", got, test.want)
			}
		})
	}
}

func FuzzModelPath(f *testing.F) {
	for _, path := range []string{
		"", "/v1beta/models/gemini-x:generateContent", "/tunedModels/a:b", "/publishers/google/models/a:b:c",
		"/openai/deployments/gpt-x/chat/completions", "/models/a\xff:b", "/v1/models/a", "/deployments//",
	} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		name, ok := ModelInPath(path)
		if ok != IsModelName([]byte(name)) || !strings.Contains(path, name) || strings.Contains(name, "/") {
			t.Errorf("%q names %q %v", path, name, ok)
		}
	})
}

// pieceSize is what a body comes in: as io.Copy reads it.
const pieceSize = 32 << 10

func BenchmarkModelFinder(b *testing.B) {
	const form = "multipart/form-data; boundary=0123456789abcdef"
	base64, binary := base64Text(20<<20), binaryText(30<<20)
	for _, bench := range []struct {
		name        string
		contentType string
		body        []byte
	}{
		{"1KB model first", "application/json", chatBody(1<<10, true)},
		{"1KB model last", "application/json", chatBody(1<<10, false)},
		{"20MB one base64 string", "application/json", fmt.Appendf(nil, `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,%s"}}]}],"model":"gpt-x"}`, base64)},
		{"20MB long texts", "application/json", textsBody(20 << 20)},
		{"20MB small messages", "application/json", chatBody(20<<20, false)},
		{"20MB small messages indented", "application/json", indentedBody(20 << 20)},
		{"20MB numbers", "application/json", fmt.Appendf(nil, `{"input":[%s1],"model":"gpt-x"}`, strings.Repeat("1234, ", 20<<20/6))},
		{"30MB form model last", form, formBody("0123456789abcdef", binary)},
	} {
		b.Run(bench.name, func(b *testing.B) { compareToCopy(b, bench.contentType, bench.body) })
	}
}

// compareToCopy reports what finding the model costs as a multiple of what copying
// the body costs: find/copy with either alone, and extra/copy for finding in every
// piece that was just copied, as the handler does. Of every time the best counts,
// which a busy machine disturbs least.
func compareToCopy(b *testing.B, contentType string, body []byte) {
	dst := bytes.Clone(body)
	repeat := max(1, 1<<20/len(body))
	copying, finding, both := time.Hour, time.Hour, time.Hour
	b.ReportAllocs()
	for b.Loop() {
		copying = min(copying, timeOf(repeat, func() { eachPiece(body, func(at int, p []byte) { copy(dst[at:], p) }) }))
		finding = min(finding, timeOf(repeat, func() {
			f := newFinder(contentType)
			eachPiece(body, func(_ int, p []byte) { f.Write(p) })
			requireDone(b, &f)
		}))
		both = min(both, timeOf(repeat, func() {
			f := newFinder(contentType)
			eachPiece(body, func(at int, p []byte) { copy(dst[at:], p); f.Write(p) })
			requireDone(b, &f)
		}))
	}
	b.ReportMetric(float64(finding.Nanoseconds()), "find-ns")
	b.ReportMetric(float64(copying.Nanoseconds()), "copy-ns")
	b.ReportMetric(float64(finding)/float64(copying), "find/copy")
	b.ReportMetric(float64(both-copying)/float64(copying), "extra/copy")
	b.ReportMetric(float64(len(body))/float64(finding.Nanoseconds()), "GB/s")
	b.ReportMetric(0, "ns/op")
}

// timeOf is how long one of several runs takes.
func timeOf(repeat int, do func()) time.Duration {
	start := time.Now()
	for range repeat {
		do()
	}
	return time.Since(start) / time.Duration(repeat)
}

func eachPiece(body []byte, do func(at int, p []byte)) {
	for at := 0; at < len(body); at += pieceSize {
		do(at, body[at:min(at+pieceSize, len(body))])
	}
}

func requireDone(b *testing.B, f *ModelFinder) {
	if !f.Found() || !f.Done() {
		b.Fatal("no model")
	}
}

func base64Text(size int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, size)
	for i := range text {
		text[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[random.IntN(64)]
	}
	return text
}

func binaryText(size int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, size)
	for i := range text {
		text[i] = byte(random.Uint32())
	}
	return text
}

// chatBody is a request of many messages of a line each.
func chatBody(size int, first bool) []byte {
	model, text := `"model":"gpt-4o-mini"`, []byte(`{"temperature":0.7,`)
	if first {
		text = append(text, model+","...)
	}
	text = append(text, `"messages":[{"role":"system","content":"Be brief."}`...)
	for i := 0; len(text) < size-110; i++ {
		text = fmt.Appendf(text, `,{"role":"user","content":"%d. What does \"it\" mean, %s?\n"}`, i, strings.Repeat("word ", i%13))
	}
	text = append(text, `],"stream":true`...)
	if !first {
		text = append(text, ","+model...)
	}
	return append(text, '}')
}

func indentedBody(size int) []byte {
	text := []byte("{\n  \"messages\": [\n")
	for len(text) < size {
		text = append(text, "    {\n      \"role\": \"user\",\n      \"content\": \"What does it mean?\"\n    },\n"...)
	}
	return append(text, "    {}\n  ],\n  \"model\": \"gpt-x\"\n}\n"...)
}

// textsBody is a request of source files, with the escapes that such have.
func textsBody(size int) []byte {
	line := `\tif err != nil {\n\t\treturn fmt.Errorf(\"reading the configuration: %w\", err)\n\t}\n\t// The file is there and says what to do.\n`
	text := []byte(`{"messages":[{"role":"user","content":""}`)
	for len(text) < size {
		text = fmt.Appendf(text, `,{"role":"user","content":"%s"}`, strings.Repeat(line, 200))
	}
	return append(text, `],"model":"gpt-x"}`...)
}

// formBody is a form with a file before the model.
func formBody(boundary string, file []byte) []byte {
	return fmt.Appendf(nil, "--%[1]s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n%[2]s\r\n"+
		"--%[1]s\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--%[1]s--\r\n", boundary, file)
}

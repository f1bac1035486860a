package peek

import (
	"bytes"
	"io"
	"testing"
)

func TestFirstEvent(t *testing.T) {
	for _, row := range []struct {
		sentence, stream, payload string
		whole                     bool
	}{
		{"an event", "data: a\n\nrest", "a", true},
		{"one with a name", "event: error\ndata:a\n\n", "a", true},
		{"one over several lines", "data: a\ndata: b\n\n", "ab", true},
		{"with CRLF", "event: error\r\ndata: a\r\n\r\n", "a", true},
		{"one that is not at its end", "data: a\n", "a", false},
		{"one that is cut off", "data: a", "a", false},
		{"nothing", "", "", false},
	} {
		payload, whole := FirstEvent([]byte(row.stream))
		if string(payload) != row.payload || whole != row.whole {
			t.Errorf("%s: %q, %t", row.sentence, payload, whole)
		}
	}
}

// TestIsWhole: a document ends where its outermost bracket is closed, whatever stands in
// strings.
func TestIsWhole(t *testing.T) {
	for _, row := range []struct {
		sentence, document string
		whole              bool
	}{
		{"an object", `{"a":1}`, true},
		{"with something behind it", `{"a":1} {`, true},
		{"an array of objects", `[{"a":1},{"b":[2]}]`, true},
		{"an object whose end is missing", `{"a":{"b":1}`, false},
		{"brackets within a string", `{"a":"}]"`, false},
		{"a quote within a string", `{"a":"\"}"`, false},
		{"a string that ends with a backslash", `{"a":"\\"}`, true},
		{"with two, and a quote", `{"a":"\\\\\"}"`, false},
		{"an empty string", `{"":""}`, true},
		{"a string that is cut off", `{"a":"b`, false},
		{"a string that is cut off in an escape", `{"a":"b\`, false},
		{"a string that is cut off at its beginning", `{"`, false},
	} {
		if whole := isWhole([]byte(row.document)); whole != row.whole {
			t.Errorf("%s: %t", row.sentence, whole)
		}
	}
}

// A watch finds the first error in what follows a stream's beginning, in whatever coding and
// pieces, as soon as its event has come, and none in a healthy stream.
func TestWatch(t *testing.T) {
	const healthy = "data: {\"text\":\"no \\\"error\\\"\"}\n\n"
	const first, second = "event: error\ndata: {\"code\":1}\n\n", "data: {\"error\":{\"code\":2}}\n\n"
	for coding, compressor := range map[string]func(w io.Writer) flusher{
		"": func(w io.Writer) flusher { return uncoded{w} }, "gzip": compressors["gzip"], "deflate": compressors["deflate"],
		"br": compressors["br"], "zstd": compressors["zstd"],
	} {
		for _, size := range []int{1, 1000} {
			var coded bytes.Buffer
			out := compressor(&coded)
			w := new(Watch)
			w.Begin(coding)
			for _, row := range []struct{ sent, want string }{
				{healthy, ""}, {healthy + first[:20], ""}, {first[20:] + healthy + second, first + second}, {healthy, ""}, {second, second},
			} {
				io.WriteString(out, row.sent)
				out.Flush()
				var got []byte
				for coded.Len() > 0 {
					got = append(got, w.Write(coded.Next(size))...)
				}
				if string(got) != row.want {
					t.Errorf("%q by %d: %q says %q, want %q", coding, size, row.sent, got, row.want)
				}
			}
			w.Stop()
			w.Stop()
		}
	}
}

// uncoded is a compressor that is none.
type uncoded struct{ io.Writer }

func (uncoded) Flush() error { return nil }
func (uncoded) Close() error { return nil }

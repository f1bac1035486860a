package peek

import (
	"strings"
	"testing"
)

func TestEstimates(t *testing.T) {
	for _, row := range []struct {
		sentence, media, body string
		length, want          int64
	}{
		{"four bytes are a token", "application/json", `{"messages":[]}x`, 16, 4},
		{"a stated length counts, though less has come", "application/json", `{"messages":[`, 4000, 1000},
		{"where none is stated, what has come", "application/json", `{"a":"` + strings.Repeat("x", 92) + `"}`, -1, 25},
		{"what was unpacked counts, if that is more", "application/json", strings.Repeat(" ", 400), 40, 100},
		{"OpenAI's chat", "application/json", `{"model":"m","max_tokens":100}`, 400, 200},
		{"OpenAI's reasoning models", "application/json", `{"max_completion_tokens": 100 , "n":1}`, 400, 200},
		{"OpenAI's responses", "application/json; charset=utf-8", `{"input":"max_tokens\":7","max_output_tokens":100}`, 400, 200},
		{"Gemini", "application/json", `{"contents":[{"max_tokens":5}],"generationConfig":{"temperature":1,"maxOutputTokens":100}}`, 400, 200},
		{"the larger of two", "application/json", `{"max_tokens":30,"max_completion_tokens":100}`, 400, 200},
		{"within other objects it means nothing", "application/json", `{"tools":[{"max_tokens":100}],"metadata":{"max_tokens":100}}`, 400, 100},
		{"a text is no number", "application/json", `{"max_tokens":"100"}`, 400, 100},
		{"nor is null, or a negative one", "application/json", `{"max_tokens":null,"max_output_tokens":-5}`, 400, 100},
		{"a number past any bound is none", "application/json", `{"max_tokens":99999999999999999999999}`, 400, 100},
		{"a huge one is cut", "application/json", `{"max_tokens":1000000000000000}`, 0, 1 << 40},
		{"a form is no text", "multipart/form-data; boundary=x", "--x\r\n", 40_000_000, 0},
		{"nothing", "", "", -1, 0},
	} {
		for cut := range len(row.body) + 1 {
			var e Estimator
			e.Begin(row.media)
			e.Write([]byte(row.body[:cut]))
			e.Write([]byte(row.body[cut:]))
			if row.sentence == "a huge one is cut" {
				row.want = 1<<40 + int64(len(row.body))/4
			}
			if got := e.Tokens(row.length); got != row.want || !e.Ended() {
				t.Fatalf("%s, cut at %d: %d, want %d", row.sentence, cut, got, row.want)
			}
		}
	}
}

func TestEstimatesDoNotAllocate(t *testing.T) {
	body, e := []byte(`{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":100}`), new(Estimator)
	if got := testing.AllocsPerRun(100, func() {
		e.Begin("application/json")
		e.Write(body)
		e.Tokens(int64(len(body)))
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

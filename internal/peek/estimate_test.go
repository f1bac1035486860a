package peek

import (
	"strings"
	"testing"
)

func TestEstimates(t *testing.T) {
	const asJSON = "application/json"
	for _, row := range []struct {
		sentence, media, body string
		length                int64
		want                  Estimate
	}{
		{"four bytes are a token", asJSON, `{"messages":[]}x`, 16, Estimate{4, 0}},
		{"a part of one is one", asJSON, `{}`, 2, Estimate{1, 0}},
		{"a stated length counts, though less has come", asJSON, `{"messages":[`, 4000, Estimate{1000, 0}},
		{"where none is stated, what has come", asJSON, `{"a":"` + strings.Repeat("x", 92) + `"}`, -1, Estimate{25, 0}},
		{"what was unpacked counts, if that is more", asJSON, strings.Repeat(" ", 400), 40, Estimate{100, 0}},
		{"OpenAI's chat", asJSON, `{"model":"m","max_tokens":100}`, 400, Estimate{100, 100}},
		{"OpenAI's reasoning models", asJSON, `{"max_completion_tokens": 100 , "n":1}`, 400, Estimate{100, 100}},
		{"OpenAI's responses", "application/json; charset=utf-8", `{"input":"max_tokens\":7","max_output_tokens":100}`, 400, Estimate{100, 100}},
		{"Gemini", asJSON, `{"contents":[{"max_tokens":5}],"generationConfig":{"temperature":1,"maxOutputTokens":100}}`, 400, Estimate{100, 100}},
		{"Gemini, as others spell it", asJSON, `{"generation_config":{"max_output_tokens":9}}`, -1, Estimate{12, 9}},
		{"the larger of two", asJSON, `{"max_tokens":30,"max_completion_tokens":100}`, 400, Estimate{100, 100}},
		{"within other objects it means nothing", asJSON, `{"tools":[{"max_tokens":100}],"metadata":{"max_tokens":100}}`, 400, Estimate{100, 0}},
		{"a text is no number", asJSON, `{"max_tokens":"100"}`, 400, Estimate{100, 0}},
		{"nor is null, or a negative one", asJSON, `{"max_tokens":null,"max_output_tokens":-5}`, 400, Estimate{100, 0}},
		{"nor what is written with an exponent", asJSON, `{"max_tokens":1e15}`, -1, Estimate{5, 0}},
		{"a number past any bound is none", asJSON, `{"max_tokens":99999999999999999999999}`, 400, Estimate{100, 0}},
		{"a huge one is cut", asJSON, `{"max_tokens":1000000000000000}`, 0, Estimate{8, mostTokens}},
		{"an endless text is cut", asJSON, `{`, 1 << 62, Estimate{mostTokens, 0}},
		{"what is no JSON", asJSON, `no JSON`, -1, Estimate{2, 0}},
		{"a form is no text", "multipart/form-data; boundary=x", "--x\r\n", 40_000_000, Estimate{}},
		{"what is uploaded is none", "text/plain", "words, words", 40_000_000, Estimate{}},
		{"JSON is text whatever it is said to be", "text/plain", " {\"max_tokens\":100}", 400, Estimate{100, 100}},
		{"and where nothing is said", "", `{"max_tokens":100}`, 400, Estimate{100, 100}},
		{"a media type in capitals", "Application/JSON", `no JSON`, 400, Estimate{100, 0}},
		{"nothing", "", "", -1, Estimate{}},
	} {
		for cut := range len(row.body) + 1 {
			for _, awaited := range []bool{true, false} {
				var e Estimator
				e.Begin(row.media, awaited)
				e.Write([]byte(row.body[:cut]))
				e.Write([]byte(row.body[cut:]))
				if got := e.Estimate(row.length); got != row.want || got.All() != row.want.Input+row.want.Output {
					t.Fatalf("%s, cut at %d: %+v, want %+v", row.sentence, cut, got, row.want)
				}
				if seeks := !e.Ended(); seeks != (awaited && row.want.Output == 0) {
					t.Fatalf("%s, cut at %d: there is more to look for: %t, though somebody waits: %t", row.sentence, cut, seeks, awaited)
				}
			}
		}
	}
}

func TestEstimatesDoNotAllocate(t *testing.T) {
	body, e := []byte(`{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":100}`), new(Estimator)
	if got := testing.AllocsPerRun(100, func() {
		e.Begin("application/json", true)
		e.Write(body)
		e.Estimate(int64(len(body)))
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

package peek

import "strings"

const (
	// bytesToken is how many bytes of a request make a token, about.
	bytesToken = 4

	// mostTokens is the most that is taken for what a request may use: no model reads or
	// writes more.
	mostTokens = 1 << 26
)

// answerLimits are where requests state the most that the answer may have: OpenAI's chat,
// Anthropic's messages and Cohere; OpenAI's reasoning models; OpenAI's responses; Gemini.
var answerLimits = Object([]Member{
	{Name: "max_tokens", Number: 1},
	{Name: "max_completion_tokens", Number: 1},
	{Name: "max_output_tokens", Number: 1},
	{Name: "generationConfig", Members: []Member{{Name: "maxOutputTokens", Number: 1}}},
	{Name: "generation_config", Members: []Member{{Name: "max_output_tokens", Number: 1}}},
})

// Estimate is about how many tokens a request will use, at most.
type Estimate struct {
	Input  int64 // of its own
	Output int64 // the most that it lets the answer have; 0: it does not say
}

// All returns both.
func (e Estimate) All() int64 { return e.Input + e.Output }

// InputOf estimates the tokens of a text of so many bytes; of less than 0, which is unknown,
// there are none.
func InputOf(length int64) int64 {
	return (min(max(length, 0), bytesToken*mostTokens) + bytesToken - 1) / bytesToken
}

// Estimator is about how many tokens a request will use, while its body streams by: those of
// its text, at four bytes each, and the most that it lets the answer have. It keeps nothing of
// the body and does not allocate. It is not safe for concurrent use.
type Estimator struct {
	scanner NumberScanner
	seen    int64 // bytes
	most    int64 // tokens of the answer, 0 where that is not stated
	text    bool
	awaited bool
}

// Begin makes e ready for a body of this media type. What a form carries is mostly no text:
// its bytes count nothing. awaited tells that somebody waits for what the body states.
func (e *Estimator) Begin(contentType string, awaited bool) {
	e.seen, e.most, e.awaited = 0, 0, awaited
	e.text = !isForm(contentType)
	e.scanner.Begin(e, answerLimits, false, nil)
}

func isForm(contentType string) bool {
	const prefix = "multipart/"
	return len(contentType) >= len(prefix) && strings.EqualFold(contentType[:len(prefix)], prefix)
}

// Write takes the body's next piece.
func (e *Estimator) Write(p []byte) {
	e.seen += int64(len(p))
	e.scanner.Write(p)
}

// Ended tells whether there is nothing more to look for, or nobody waits for it.
func (e *Estimator) Ended() bool { return e.most > 0 || !e.awaited }

// Estimate returns what is known by now. length is the body's, in bytes, negative where that
// is not stated: then what has come counts.
func (e *Estimator) Estimate(length int64) Estimate {
	if !e.text {
		return Estimate{0, e.most}
	}
	return Estimate{InputOf(max(length, e.seen)), e.most}
}

// BeginGroup implements numberTaker.
func (e *Estimator) BeginGroup() {}

// EndGroup implements numberTaker.
func (e *Estimator) EndGroup() {}

// TakeNumber implements numberTaker: of several the largest counts.
func (e *Estimator) TakeNumber(_ int, n int64) { e.most = max(e.most, min(n, mostTokens)) }

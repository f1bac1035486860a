package peek

import "strings"

// Estimator is about how many tokens a request will use, while its body streams by: those of
// its text, at four bytes each, and the most that it lets the answer have. It keeps nothing of
// the body and does not allocate. It is not safe for concurrent use.
type Estimator struct {
	scanner NumberScanner
	seen    int64 // bytes
	most    int64 // tokens of the answer, 0 where that is not stated
	text    bool
}

// bytesToken is how many bytes of a request make a token, about.
const bytesToken = 4

// mostTokens is what any number of tokens is cut to: more than any limit allows.
const mostTokens = 1 << 40

// answerLimits are where requests state the most that the answer may have: OpenAI's chat,
// Anthropic's messages and Cohere; OpenAI's reasoning models; OpenAI's responses; Gemini.
var answerLimits = []Member{
	{Name: "max_tokens", Number: 1},
	{Name: "max_completion_tokens", Number: 1},
	{Name: "max_output_tokens", Number: 1},
	{Name: "generationConfig", Members: []Member{{Name: "maxOutputTokens", Number: 1}}},
	{Name: "generation_config", Members: []Member{{Name: "max_output_tokens", Number: 1}}},
}

// Begin makes e ready for a body of this media type. What a form carries is mostly no text:
// its bytes count nothing.
func (e *Estimator) Begin(contentType string) {
	e.seen, e.most = 0, 0
	e.text = !strings.HasPrefix(strings.ToLower(contentType), "multipart/")
	e.scanner.Begin(e, answerLimits, false, nil)
}

// Write takes the body's next piece.
func (e *Estimator) Write(p []byte) {
	e.seen += int64(len(p))
	e.scanner.Write(p)
}

// Ended tells whether there is nothing more to look for: nobody waits for an estimate.
func (e *Estimator) Ended() bool { return true }

// Tokens returns the estimate. length is the body's, in bytes, negative where that is not
// stated: then what has come counts.
func (e *Estimator) Tokens(length int64) int64 {
	n := int64(0)
	if e.text {
		n = max(length, e.seen) / bytesToken
	}
	return min(n, mostTokens) + min(e.most, mostTokens)
}

// BeginGroup implements numberTaker.
func (e *Estimator) BeginGroup() {}

// EndGroup implements numberTaker.
func (e *Estimator) EndGroup() {}

// TakeNumber implements numberTaker: of several the largest counts.
func (e *Estimator) TakeNumber(_ int, n int64) { e.most = max(e.most, n) }

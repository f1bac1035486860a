package quota

import (
	"sync"

	"github.com/keycycler/keycycler/internal/peek"
)

const (
	// bytesPerToken is how many bytes of a request are taken for a token of it.
	bytesPerToken = 4

	// mostTokens is the most that is taken for what a request may use: no model reads or
	// writes more.
	mostTokens = 1 << 26
)

// Estimate is how many tokens a request may use: those of its own, and the most that it asks
// for. It is not safe for concurrent use.
type Estimate struct {
	Input  int64
	Output int64 // 0: the request does not say
}

// All returns both.
func (e Estimate) All() int64 { return e.Input + e.Output }

// InputOf estimates the tokens of a request of so many bytes; -1: that is unknown.
func InputOf(length int64) int64 {
	return (min(max(length, 0), bytesPerToken*mostTokens) + bytesPerToken - 1) / bytesPerToken
}

// Finder finds out how many tokens a request may use, while its body streams by. It is not
// safe for concurrent use. Give it back with Release.
type Finder struct {
	scanner peek.NumberScanner
	most    int64 // that it asks for; 0: nothing is stated
	came    int64
}

var finders = sync.Pool{New: func() any { return new(Finder) }}

// asked are where requests state how many tokens they want at most: OpenAI's and all that
// speak like it, Anthropic's, Cohere's and Gemini's.
var asked = []peek.Member{
	{Name: "max_tokens", Number: 1},
	{Name: "max_completion_tokens", Number: 1},
	{Name: "max_output_tokens", Number: 1},
	{Name: "generationConfig", Members: []peek.Member{{Name: "maxOutputTokens", Number: 1}}},
	{Name: "generation_config", Members: []peek.Member{{Name: "max_output_tokens", Number: 1}}},
}

// NewFinder returns what looks through a body.
func NewFinder() *Finder {
	f := finders.Get().(*Finder)
	f.most, f.came = 0, 0
	f.scanner.Begin(f, asked, false, nil)
	return f
}

// Write takes the body's next piece. Nothing is kept of p.
func (f *Finder) Write(p []byte) {
	f.came += int64(len(p))
	f.scanner.Write(p)
}

// Ended tells whether there is nothing more to look for.
func (f *Finder) Ended() bool { return f.most > 0 }

// BeginGroup implements numberTaker.
func (f *Finder) BeginGroup() {}

// EndGroup implements numberTaker.
func (f *Finder) EndGroup() {}

// TakeNumber implements numberTaker: the largest counts.
func (f *Finder) TakeNumber(_ int, n int64) { f.most = max(f.most, min(n, mostTokens)) }

// Release gives f back, and returns the estimate for a request of so many bytes; -1: that is
// unknown, and what has come counts.
func (f *Finder) Release(length int64) Estimate {
	if length < 0 {
		length = f.came
	}
	e := Estimate{InputOf(length), f.most}
	finders.Put(f)
	return e
}

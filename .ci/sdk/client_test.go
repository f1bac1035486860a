package sdk

import (
	"testing"
)

// client is one of OpenAI's own clients. Each method sends one request and says
// what came of it; a test says what must.
type client interface {
	// chat asks for a completion in one piece.
	chat(t *testing.T, s *stage) result

	// stream asks for a streamed completion, and acknowledges each text to the
	// upstream as soon as it has it.
	stream(t *testing.T, s *stage) result

	// abandon asks for a streamed completion, and aborts it at the first text.
	// It returns when the upstream has seen it go.
	abandon(t *testing.T, s *stage) result

	// upload sends the file at this path.
	upload(t *testing.T, s *stage, path string) result

	// speech fetches binary data.
	speech(t *testing.T, s *stage) result
}

// result is what a client got.
type result struct {
	Text   string            `json:"text"`
	Texts  []string          `json:"texts"` // of a stream
	Body   digest            `json:"body"`  // of binary data
	Bytes  int64             `json:"bytes"` // the length of the upload, as the upstream answered
	Left   string            `json:"left"`  // the key of the stream that was abandoned
	Header map[string]string `json:"header"`

	Failure *failure `json:"failure"`
}

// failure is the error that a client raised.
type failure struct {
	RateLimit  bool              `json:"rateLimit"` // it is the client's own error for rate limits
	Stranger   bool              `json:"stranger"`  // it is the client's own error for a wrong key
	Status     int               `json:"status"`
	Code       string            `json:"code"`
	Message    string            `json:"message"`
	RetryDelay string            `json:"retryDelay"` // Google's
	Header     map[string]string `json:"header"`
}

// stage is what a client's request meets.
type stage struct {
	up      *upstream
	base    string // where the client sends its requests
	retries int    // how often the client may try again by itself
}

// eachClient runs the test with each client.
func eachClient(t *testing.T, test func(t *testing.T, c client, base func(*gateway) string)) {
	plain := func(g *gateway) string { return g.plain }
	tls := func(g *gateway) string { return g.tls }
	for _, one := range []struct {
		name string
		client
		base func(*gateway) string
	}{
		{"openai-go", goClient{}, plain},
		{"openai-go, HTTP2", goClient{http2: true}, tls},
		{"openai-node", nodeClient{}, plain},
		{"openai-node, TLS", nodeClient{}, tls},
	} {
		t.Run(one.name, func(t *testing.T) { test(t, one.client, one.base) })
	}
}

// ok fails the test where the client raised an error.
func (r result) ok(t *testing.T) result {
	t.Helper()
	if r.Failure != nil {
		t.Fatalf("the client raised an error: %+v", *r.Failure)
	}
	return r
}

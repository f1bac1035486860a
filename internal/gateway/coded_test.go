package gateway

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// coded returns the request with its body in that content coding, sent in pieces.
func coded(t *testing.T, r *http.Request, coding, body string, stated bool) *http.Request {
	t.Helper()
	content := compressed(t, coding, body)
	sent := testkit.Upload(&slowly{content, 100})
	sent.URL.Path = r.URL.Path
	sent.Header.Set("Content-Type", "application/json")
	if coding != "" {
		sent.Header.Set("Content-Encoding", coding)
	}
	if stated {
		sent.ContentLength = int64(len(content))
	}
	return sent
}

// slowly gives a body in pieces.
type slowly struct {
	rest  []byte
	piece int
}

func (s *slowly) Read(p []byte) (int, error) {
	n := copy(p, s.rest[:min(len(s.rest), s.piece)])
	s.rest = s.rest[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// The model of a compressed body scopes the cooldown, and the body goes on as it came.
func TestTheModelOfACompressedBody(t *testing.T) {
	body := `{"model":"gpt-a","messages":"` + strings.Repeat("x", 300_000) + `"}`
	late := `{"messages":"` + strings.Repeat("x", 300_000) + `","model":"gpt-a"}`
	for _, coding := range []string{"", "gzip", "deflate", "br", "zstd"} {
		for _, text := range []string{body, late, `{"model":"gpt-a"}`} {
			t.Run(coding, func(t *testing.T) {
				h := byModel(t, 3)
				u := testkit.Script(testkit.Limited, testkit.Fine)
				content := compressed(t, coding, text)
				w, err := testkit.Serve(h, u, coded(t, testkit.Post(""), coding, text, true))
				if err != nil || w.Code != http.StatusOK || u.Calls[1].Body != string(content) {
					t.Fatalf("%d, %v, %d bytes", w.Code, err, len(u.Calls[1].Body))
				}
				pool, cool := h.roster.Load().Pool, 0
				for s := range pool.Len() {
					if st := pool.Status(time.Now(), rotator.Slot(s)); len(st.Scopes) == 1 && st.Scopes[0].Scope == "gpt-a" {
						cool++
					}
				}
				if cool != 1 {
					t.Errorf("%d keys cool for the model", cool)
				}
			})
		}
	}
}

// What a compressed body names goes out with the key that made it.
func TestResourcesOfACompressedBody(t *testing.T) {
	h := provision(t, 0, ownKeys(30))
	key := owned(t, h, 3, "resp_folded")
	for _, coding := range []string{"gzip", "deflate", "br", "zstd"} {
		request := func() *http.Request {
			return coded(t, resourceRequest("POST", "/v1/responses", ""), coding, `{"model":"m","previous_response_id":"resp_folded"}`, true)
		}
		if !sticks(t, h, key, request) {
			t.Errorf("%s: it went out with another key", coding)
		}
	}
}

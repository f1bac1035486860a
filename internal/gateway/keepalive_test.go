package gateway

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/internal/testkit"
)

// A silent stream gets comments, never inside an event, and nothing else does.
func TestKeepalive(t *testing.T) {
	const every, beat = 15 * time.Second, ": keepalive\n\n"
	for _, test := range []struct {
		why    string
		header map[string]string
		first  string
		then   string
		want   string
	}{
		{"between events", map[string]string{"Content-Type": eventStream}, firstDelta, "data: [DONE]\n\n", firstDelta + beat + beat + "data: [DONE]\n\n"},
		{"inside an event", map[string]string{"Content-Type": eventStream}, firstDelta + "data: 1\n", "\n", firstDelta + "data: 1\n\n"},
		{"before the first event", map[string]string{"Content-Type": eventStream}, "", firstDelta, beat + beat + firstDelta},
		{"behind lines that end with CRLF", map[string]string{"Content-Type": eventStream}, "data: 1\r\n\r\n", "data: 2\r\n\r\n", "data: 1\r\n\r\n" + beat + beat + "data: 2\r\n\r\n"},
		{"a document", map[string]string{"Content-Type": "application/json"}, `{"a":`, `1}`, `{"a":1}`},
		{"a stream of a stated length", map[string]string{"Content-Type": eventStream, "Content-Length": "30"}, "data: 1234567\n\n", "data: 1234567\n\n", "data: 1234567\n\ndata: 1234567\n\n"},
		{"a coded one", map[string]string{"Content-Type": eventStream, "Content-Encoding": "br"}, "x", "y", "xy"},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := provision(t, 1, func(c *Config) { c.Keepalive = every })
			w, err := testkit.Serve(h, handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				for name, value := range test.header {
					w.Header().Set(name, value)
				}
				w.WriteHeader(http.StatusOK)
				_, _ = io.WriteString(w, test.first)
				http.NewResponseController(w).Flush()
				time.Sleep(2*every + 2*time.Second) // a head alone is held for a second
				_, err := io.WriteString(w, test.then)
				return err
			}), get("/"))
			if err != nil || w.Body.String() != test.want {
				t.Errorf("%s: %v, %q, want %q", test.why, err, w.Body, test.want)
			}
			time.Sleep(time.Hour)
			if w.Body.String() != test.want {
				t.Errorf("%s: it beats on when all is over: %q", test.why, w.Body)
			}
		})
	}
}

// Without the option nothing beats.
func TestKeepaliveIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := provision(t, 1, nil)
		w, err := testkit.Serve(h, handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Type", eventStream)
			_, _ = io.WriteString(w, firstDelta)
			time.Sleep(time.Hour)
			_, err := io.WriteString(w, firstDelta)
			return err
		}), get("/"))
		if err != nil || w.Body.String() != firstDelta+firstDelta {
			t.Errorf("%v, %q", err, w.Body)
		}
	})
}

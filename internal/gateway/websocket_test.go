package gateway

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// deflated is a text message that is compressed (RFC 7692).
func deflated(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, 9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	payload := strings.TrimSuffix(out.String(), "\x00\x00\xff\xff")
	return "\xc1" + string(rune(len(payload))) + payload
}

// A limit that is told over a websocket cools the key; the client has it, and nothing is
// sent again.
func TestALimitInAWebsocket(t *testing.T) {
	text := func(s string) string { return "\x81" + string(rune(len(s))) + s }
	for _, test := range []struct {
		why, said, extensions string
		cooling               int
	}{
		{"an error of the realtime API", text(`{"type":"error","error":{"type":"x","code":"rate_limit_exceeded"}}`), "", 1},
		{"a response without money", text(`{"type":"response.done","response":{"status_details":{"error":{"code":"insufficient_quota"}}}}`), "", 1},
		{"an end until later", "\x88\x02\x03\xf5", "", 1},
		{"a limit behind an error of the client's", text(`{"type":"error","error":{"code":"invalid_value"}}`) + text(`{"error":{"code":"rate_limit_exceeded"}}`), "", 1},
		{"an error of the client's", text(`{"type":"error","error":{"code":"invalid_value"}}`), "", 0},
		{"nothing wrong", text(`{"type":"session.created"}`), "", 0},
		{"an error in several frames", "\x01\x09{\"error\":\x89\x00\x80\x1e{\"code\":\"insufficient_quota\"}}", "", 1},
		{"a compressed error", deflated(t, `{"error":{"code":"rate_limit_exceeded"}}`), "permessage-deflate; server_no_context_takeover", 1},
		{"one where Caddy has spelt the header", deflated(t, `{"error":{"code":"rate_limit_exceeded"}}`), " permessage-deflate", 1},
		{"an error that is not, where it might be", text(`{"error":{"code":"rate_limit_exceeded"}}`), "permessage-deflate", 1},
		{"what is compressed in another way cannot be read", deflated(t, `{"error":{"code":"rate_limit_exceeded"}}`), "x-webkit-deflate-frame", 0},
		{"nor can several ways", deflated(t, `{"error":{"code":"rate_limit_exceeded"}}`), "permessage-deflate, x-webkit-deflate-frame", 0},
		{"a compressed message with nothing wrong", deflated(t, `{"type":"session.created"}`), "permessage-deflate", 0},
	} {
		t.Run(test.why, func(t *testing.T) {
			h, calls := provision(t, 3, nil), 0
			next := handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				calls++
				w.Header().Set("Connection", "Upgrade")
				w.Header().Set("Upgrade", "websocket")
				switch {
				case strings.HasPrefix(test.extensions, " "):
					w.Header()["Sec-WebSocket-Extensions"] = []string{test.extensions}
				case test.extensions != "":
					w.Header().Set("Sec-Websocket-Extensions", test.extensions)
				}
				w.WriteHeader(http.StatusSwitchingProtocols)
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					return err
				}
				defer conn.Close()
				_, err = io.WriteString(conn, test.said)
				return err
			})
			done := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(done)
				h.ServeHTTP(w, r, next)
			}))
			defer server.Close()
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: demo\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			all, err := io.ReadAll(conn)
			<-done
			if err != nil || calls != 1 || !strings.HasSuffix(string(all), test.said) {
				t.Errorf("%d calls, %q, %v", calls, all, err)
			}
			if c := h.roster.Load().Pool.Census(time.Now()); c.Keys-c.Ready != test.cooling {
				t.Errorf("%d keys cool, want %d", c.Keys-c.Ready, test.cooling)
			}
		})
	}
}

package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/flate"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// An error that comes behind a stream's first event is the client's, compressed or not. The
// key cools all the same: while another one is ready, nobody gets it.
func TestALaterErrorCoolsTheKey(t *testing.T) {
	const delta = "data: {\"id\":\"x\",\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n"
	const limited = "data: {\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"Please try again in 10m.\"}}\n\n"
	for _, coding := range []string{"", "gzip", "br", "zstd"} {
		t.Run(coding, func(t *testing.T) {
			body := inCoding(t, coding, delta+delta+limited)
			c := newCalls()
			upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
				if c.count(r) > 1 {
					io.WriteString(w, theAnswer)
					return
				}
				w.Header().Set("Content-Type", "text/event-stream")
				if coding != "" {
					w.Header().Set("Content-Encoding", coding)
				}
				for i := range body {
					w.Write(body[i : i+1])
					w.(http.Flusher).Flush()
				}
			})
			g := startGateway(t, fmt.Sprintf("keycycler {\n keys %s\n}\nreverse_proxy %s", demoKeys(2), upstream.URL))
			client := live.Patient(&http.Transport{DisableCompression: true})
			defer client.CloseIdleConnections()
			for i := range 5 {
				r := live.Request(t, "POST", g.plain, `{"model":"m","stream":true}`)
				r.Header.Set("Accept-Encoding", cmp.Or(coding, "identity")) // for Caddy would decode gzip otherwise
				res, got := live.Do(t, client, r)
				if want := theAnswer; res.StatusCode != http.StatusOK || i == 0 && !bytes.Equal(got, body) || i > 0 && string(got) != want {
					t.Errorf("request %d: %s, %q", i+1, res.Status, got)
				}
			}
			c.others(t, 5)
		})
	}
}

// calls counts an upstream's calls, and notes whose came first.
type calls struct {
	mu    sync.Mutex
	first string
	all   map[string]int
}

func newCalls() *calls { return &calls{all: make(map[string]int)} }

func (c *calls) count(r *http.Request) (nth int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := r.Header.Get("Authorization")
	if c.first == "" {
		c.first = key
	}
	c.all[key]++
	for _, n := range c.all {
		nth += n
	}
	return nth
}

// others tells that there were so many calls, and none with the first key but one.
func (c *calls) others(t *testing.T, want int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, of := range c.all {
		n += of
	}
	if n != want || c.all[c.first] != 1 {
		t.Errorf("%d calls, want %d, of which %d are with the key that met its limit", n, want, c.all[c.first])
	}
}

// socketFrame is a frame of up to 125 bytes.
func socketFrame(head byte, payload string) string {
	return string([]byte{head, byte(len(payload))}) + payload
}

// compressedMessages are messages that repeat what others said (RFC 7692).
func compressedMessages(t *testing.T, texts ...string) (all string) {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, 9)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		out.Reset()
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		all += socketFrame(0xc1, strings.TrimSuffix(out.String(), "\x00\x00\xff\xff"))
	}
	return all
}

// A limit that an upstream tells over a websocket, in one frame, in several or compressed, is
// the client's, and cools the key: the next handshakes go out with the other one.
func TestALimitInAWebsocketCoolsTheKey(t *testing.T) {
	const created, limited = `{"type":"session.created","error":null}`, `{"type":"error","error":{"code":"rate_limit_exceeded"}}`
	for _, row := range []struct{ name, extensions, sent string }{
		{"plain", "", socketFrame(0x81, created) + socketFrame(0x81, limited)},
		{"in frames", "", socketFrame(0x01, limited[:9]) + socketFrame(0x89, "") + socketFrame(0x00, limited[9:]) + socketFrame(0x80, "")},
		{"compressed", "permessage-deflate; server_max_window_bits=15", compressedMessages(t, created, `{"type":"error"}`, limited)},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := newCalls()
			upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				sent := row.sent
				if c.count(r) > 1 {
					sent = socketFrame(0x88, "\x03\xe8")
				}
				fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
					"Sec-WebSocket-Accept: x\r\nSec-WebSocket-Extensions: %s\r\n\r\n%s", row.extensions, sent)
			})
			g := startGateway(t, fmt.Sprintf("keycycler {\n keys %s\n}\nreverse_proxy %s", demoKeys(2), upstream.URL))
			for i := range 4 {
				if got := shake(t, g); i == 0 && got != row.sent {
					t.Errorf("the client got %q", got)
				}
			}
			c.others(t, 4)
		})
	}
}

// shake opens a websocket, and returns all that comes.
func shake(t *testing.T, g *gateway) string {
	t.Helper()
	conn := live.Dial(t, g.plain)
	defer conn.Close()
	io.WriteString(conn, live.Handshake)
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", res, err)
	}
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

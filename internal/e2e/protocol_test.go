package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// noise is what differs from one response to the next.
var noise = []string{"Date", "Alt-Svc"}

func headerOf(res *http.Response) string {
	h := res.Header.Clone()
	for _, name := range noise {
		h.Del(name)
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(h)) {
		lines = append(lines, fmt.Sprintf("%s: %q", name, h[name]))
	}
	lines = append(lines, fmt.Sprintf("length %d trailer %q", res.ContentLength, res.Trailer))
	return strings.Join(lines, "\n")
}

// The client sees one clean response: the very header, length and trailers that
// it would have seen without the attempts before.
func TestARejectionLeavesNoTrace(t *testing.T) {
	upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/trailers" {
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, `{"id":"1"}`)
			w.Header().Set("X-Sum", "42")
			return
		}
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, `{"id":"1"}`)
	})
	g := startGateway(t, fmt.Sprintf("keycycler {\n keys %s\n}\nreverse_proxy %s", demoKeys(40), upstream.URL))
	for name, target := range g.protocolClients() {
		for _, path := range []string{"/plain", "/trailers"} {
			t.Run(name+path, func(t *testing.T) {
				var want string
				for _, rejections := range []int{0, 1, 3} {
					upstream.LimitFirst(rejections)
					res, body := live.Do(t, target.client, live.Request(t, "POST", target.url+path, `{"model":"demo"}`))
					if res.Proto != name || res.StatusCode != 200 || string(body) != `{"id":"1"}` {
						t.Fatalf("%s %s %q", res.Proto, res.Status, body)
					}
					if got := headerOf(res); want == "" {
						want = got
					} else if got != want {
						t.Errorf("after %d rejections:\n%s\nwithout:\n%s", rejections, got, want)
					}
					calls := upstream.Seen()
					if len(calls) != rejections+1 {
						t.Errorf("%d upstream calls after %d rejections", len(calls), rejections)
					}
					for i, c := range calls {
						if string(c.Body) != `{"model":"demo"}` || c.Length != 16 {
							t.Errorf("attempt %d: %q, length %d", i+1, c.Body, c.Length)
						}
						if c.Header.Get("Via") != calls[0].Header.Get("Via") || len(c.Header["Via"]) != 1 {
							t.Errorf("attempt %d: Via %q", i+1, c.Header["Via"])
						}
					}
				}
				if strings.Contains(want, "Rejected") || path == "/trailers" && !strings.Contains(want, `"X-Sum":["42"]`) {
					t.Errorf("header:\n%s", want)
				}
			})
		}
	}
}

func TestUploadsAreReplayedByteForByte(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		n, err := io.Copy(sum, r.Body)
		fmt.Fprintf(w, "%x %d %v %d", sum.Sum(nil), n, err, r.ContentLength)
	})
	g := startGateway(t, fmt.Sprintf(`keycycler {
		keys %s
		replay {
			memory 256KiB
			disk 8MiB
		}
	}
	reverse_proxy %s`, demoKeys(100), upstream.URL))
	for name, target := range g.protocolClients() {
		for _, size := range []int{1, 60_000, 70_000, 1_000_000, 5_000_000} {
			for _, stated := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s %d bytes, length stated: %t", name, size, stated), func(t *testing.T) {
					upstream.LimitFirst(2)
					content := make([]byte, size)
					rng := rand.NewChaCha8([32]byte{1})
					rng.Read(content)
					r, _ := http.NewRequest("POST", target.url+"/v1/files", io.MultiReader(bytes.NewReader(content)))
					length := int64(-1)
					if stated {
						r.ContentLength, length = int64(size), int64(size)
					}
					res, body := live.Do(t, target.client, r)
					want := fmt.Sprintf("%x %d <nil> %d", sha256.Sum256(content), size, length)
					if res.StatusCode != 200 || string(body) != want {
						t.Errorf("%s %s, want %s", res.Status, body, want)
					}
					calls := upstream.Seen()
					if len(calls) != 3 || !bytes.Equal(calls[0].Body, content) || !bytes.Equal(calls[1].Body, content) {
						t.Errorf("%d calls", len(calls))
					}
				})
			}
		}
	}
}

func TestAStreamIsNotHeldUp(t *testing.T) {
	acknowledged := make(chan struct{})
	upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 10 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			select { // the next event comes when the client has seen this one
			case <-acknowledged:
			case <-r.Context().Done():
				return
			}
		}
	})
	g := startGateway(t, fmt.Sprintf("keycycler {\n keys %s\n}\nreverse_proxy %s", demoKeys(20), upstream.URL))
	for name, target := range g.protocolClients() {
		t.Run(name, func(t *testing.T) {
			upstream.LimitFirst(1)
			res, err := target.client.Do(live.Request(t, "POST", target.url, `{"stream":true}`))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			for i := range 10 {
				event := make([]byte, len("data: 0\n\n"))
				if _, err := io.ReadFull(res.Body, event); err != nil || string(event) != fmt.Sprintf("data: %d\n\n", i) {
					t.Fatalf("event %d: %q, %v", i, event, err)
				}
				select {
				case acknowledged <- struct{}{}:
				case <-time.After(live.Patience):
					t.Fatal("the upstream is gone within its answer")
				}
			}
			if rest, err := io.ReadAll(res.Body); len(rest) != 0 || err != nil {
				t.Errorf("%q, %v", rest, err)
			}
		})
	}
}

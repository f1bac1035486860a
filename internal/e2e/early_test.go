package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// TestABodyThatIsReadAfterItsAnswer: an upstream that answers first and reads then gets the
// request's own body all the same, and never another's: net/http sends it on when the
// request is over, and its memory is in use again.
func TestABodyThatIsReadAfterItsAnswer(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %t", h2), func(t *testing.T) {
			var read, cut atomic.Int32
			upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				control := http.NewResponseController(w)
				_ = control.EnableFullDuplex() // which HTTP/2 is by itself
				w.Header().Set("Content-Length", "2")
				io.WriteString(w, "ok")
				control.Flush()
				body, err := io.ReadAll(r.Body)
				if err != nil {
					cut.Add(1) // the gateway has ended it
				} else {
					read.Add(1)
				}
				if of := numbered(body); of != "" {
					t.Error(of)
				}
			}))
			upstream.EnableHTTP2 = h2
			upstream.StartTLS()
			defer live.CloseServer(t, upstream)
			g := newGateway(t)
			g.level = "WARN"
			g.start(fmt.Sprintf("keycycler {\n keys %s\n}\nreverse_proxy %s {\n transport keycycler {\n tls_insecure_skip_verify\n}\n}", demoKeys(3), upstream.URL))
			requests := 400
			if live.Long() {
				requests = 10_000
			}
			var next atomic.Int32
			var clients sync.WaitGroup
			for range 8 {
				clients.Go(func() {
					for i := int(next.Add(1)); i <= requests; i = int(next.Add(1)) {
						askEarly(t, g, i)
					}
				})
			}
			clients.Wait()
			t.Logf("%d bodies were read whole after the answer, %d were cut", read.Load(), cut.Load())
			if read.Load() == 0 {
				t.Error("no body was read after its answer")
			}
		})
	}
}

// askEarly sends a body that is made of its number, and takes the answer.
func askEarly(t *testing.T, g *gateway, i int) {
	sizes := []int{8, 1000, 4000, 4096, 4104, 20_000, 64 << 10, 200_000}
	body := bytes.Repeat(binary.BigEndian.AppendUint64(nil, uint64(i)), sizes[i%len(sizes)]/8)
	res, err := http.Post(g.plain+"/v1/x", "application/octet-stream", bytes.NewReader(body))
	if err != nil {
		t.Errorf("request %d: %v", i, err)
		return
	}
	defer res.Body.Close()
	if answer, err := io.ReadAll(res.Body); err != nil || string(answer) != "ok" {
		t.Errorf("request %d: %s, %q, %v", i, res.Status, answer, err)
	}
}

// numbered tells what is wrong with a body that is made of one number.
func numbered(body []byte) string {
	for i := 8; i+8 <= len(body); i += 8 {
		if !bytes.Equal(body[i:i+8], body[:8]) {
			return fmt.Sprintf("a body of %x has %x at %d", body[:8], body[i:i+8], i)
		}
	}
	return ""
}

//go:build unix

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// Through a real Caddy, an error in a success moves on to the next key, whatever comes
// before it, in whatever pieces it comes, and compressed.
func TestErrorsInSuccessesMoveOn(t *testing.T) {
	const stream, document, lines = "text/event-stream", "application/json", "application/x-ndjson"
	const limited = `{"error":{"code":429,"message":"Rate limit exceeded"}}`
	type answer struct {
		media, coding string
		body          []byte
		piece         int
	}
	var answers []answer
	for _, form := range []struct{ media, text string }{
		{stream, "data: " + limited + "\n\n"},
		{stream, "event: error\ndata: " + limited + "\n\n"},
		{stream, ": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\ndata: " + limited + "\n\n"},
		{stream, "\n\nid: 1\nretry: 10\n\nid: 2\ndata: " + limited + "\n\n"},
		{stream, "data: {\"id\":\"x\",\"choices\":[],\"error\":{\"code\":429,\"message\":\"No\"}}\r\n\r\n"},
		{stream, "event:error\ndata:{\"code\":\"Throttling\",\"message\":\"No\"}\n\n"},
		{stream, "data: {\"base_resp\":{\"status_code\":1002,\"status_msg\":\"rate limit\"}}\n\n"},
		{stream, "data: {\"error\":\"Rate limit exceeded\"}\n\n"},
		{stream, "data: {\"error_code\":18,\"error_msg\":\"Open api qps request limit reached\"}\n\n"},
		{lines, "{\"error\":\"you have reached your session usage limit\"}\n"},
		{document, `{"code":1302,"msg":"No","success":false}`},
		{document, `{"Response":{"Error":{"Code":"RequestLimitExceeded","Message":"No"},"RequestId":"x"}}`},
		{document, "{\n  \"error\" : {\n    \"code\" : 429\n  }\n}\n"},
		{document, `{"id":"x","base_resp":{"status_code":1002,"status_msg":"rate limit"}}`},
	} {
		for _, coding := range []string{"", "gzip", "br", "zstd"} {
			body := inCoding(t, coding, form.text)
			answers = append(answers, answer{form.media, coding, body, len(body)}, answer{form.media, coding, body, 1})
		}
	}
	var mu sync.Mutex
	calls := make(map[string]int)
	upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		which := r.Header.Get("X-Answer")
		mu.Lock()
		calls[which]++
		first := calls[which] == 1
		mu.Unlock()
		if !first {
			io.WriteString(w, theAnswer)
			return
		}
		n, _ := strconv.Atoi(which)
		a := answers[n]
		w.Header().Set("Content-Type", a.media)
		if a.coding != "" {
			w.Header().Set("Content-Encoding", a.coding)
		}
		for rest := a.body; len(rest) > 0; {
			piece := min(a.piece, len(rest))
			w.Write(rest[:piece])
			w.(http.Flusher).Flush()
			rest = rest[piece:]
		}
	})
	g := startGateway(t, fmt.Sprintf("keycycler {\n keys %s\n}\nreverse_proxy %s {\n flush_interval -1\n}", demoKeys(2*len(answers)), upstream.URL))
	client := live.Patient(&http.Transport{DisableCompression: true})
	defer client.CloseIdleConnections()
	for n, a := range answers {
		r := live.Request(t, "POST", g.plain, `{"model":"m"}`)
		r.Header.Set("X-Answer", strconv.Itoa(n))
		res, body := live.Do(t, client, r)
		mu.Lock()
		called := calls[strconv.Itoa(n)]
		mu.Unlock()
		if res.StatusCode != http.StatusOK || string(body) != theAnswer || called != 2 {
			t.Errorf("%q %q by %d: %d calls, %s %q", a.body, a.coding, a.piece, called, res.Status, body)
		}
	}
}

// A rule for a text counts for refusals that contain it, and for no others.
func TestARuleForAText(t *testing.T) {
	upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		if key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "); key == "sk-demo-secret-1" {
			w.WriteHeader(404)
			io.WriteString(w, `{"message":"This account HAS BEEN\nsuspended"}`)
			return
		}
		io.WriteString(w, theAnswer)
	})
	g := startGateway(t, fmt.Sprintf("keycycler {\n keys %s\n on 404 \"has been suspended\" cooldown 24h\n}\nreverse_proxy %s", demoKeys(2), upstream.URL))
	for range 20 {
		if res, body := live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain, "")); res.StatusCode != 200 || string(body) != theAnswer {
			t.Fatalf("%s %q", res.Status, body)
		}
	}
	if n := len(upstream.Seen()); n > 21 {
		t.Errorf("%d calls for 20 requests", n)
	}
}

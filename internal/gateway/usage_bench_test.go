//go:build !race

package gateway

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

// usageRequests returns a function that sends a request whose answer comes in pieces.
func usageRequests(t testing.TB, on bool, media string, pieces [][]byte) func() {
	g := counting(t, func(c *Config) { c.Usage = on })
	silence(g)
	content := []byte(`{"model":"gpt-demo","messages":[{"role":"user","content":"` + strings.Repeat("x", 900) + `"}]}`)
	r, body := benchRequest(content)
	next := inPieces(media, pieces)
	w := &flushes{discard{header: http.Header{"Server": {"Caddy"}}}}
	return func() {
		body.Reset(content)
		clear(w.header)
		if err := g.ServeHTTP(w, r, next); err != nil {
			t.Fatal(err)
		}
	}
}

// usageRequestsOf is usageRequests for one of the shapes.
func usageRequestsOf(t testing.TB, on bool, name string) func() {
	shape := usageShapes()[name]
	return usageRequests(t, on, shape.media, shape.pieces)
}

// inPieces writes the pieces, and flushes each of several.
func inPieces(media string, pieces [][]byte) handlerFunc {
	types := []string{media}
	return func(w http.ResponseWriter, r *http.Request) error {
		var read [2048]byte
		_, _ = r.Body.Read(read[:])
		w.Header()["Content-Type"] = types
		w.WriteHeader(http.StatusOK)
		for _, p := range pieces {
			if _, err := w.Write(p); err != nil {
				return err
			}
			if len(pieces) > 1 {
				w.(http.Flusher).Flush()
			}
		}
		return nil
	}
}

// usageShapes are the answers that the cost of counting is told of: JSON of 1 KB and a
// stream of 50 events.
func usageShapes() map[string]struct {
	media  string
	pieces [][]byte
} {
	event := []byte("data: {\"id\":\"chatcmpl-demo\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"gpt-demo\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"}}],\"usage\":null}\n\n")
	return map[string]struct {
		media  string
		pieces [][]byte
	}{
		"JSON 1 KB":     {"application/json", [][]byte{[]byte(`{"id":"chatcmpl-demo","choices":[{"message":{"content":"` + strings.Repeat("word ", 160) + `"}}],` + saidOnce[len(`{"choices":[],`):])}},
		"SSE 50 events": {eventStream, append(slices.Repeat([][]byte{event}, 49), []byte("data: "+saidOnce+"\n\n"))},
	}
}

// TestUsageAllocations pins what counting costs, and that nothing else does while it is off.
func TestUsageAllocations(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection in between would empty the pools
	for name, shape := range usageShapes() {
		off := testing.AllocsPerRun(200, usageRequests(t, false, shape.media, shape.pieces))
		on := testing.AllocsPerRun(200, usageRequests(t, true, shape.media, shape.pieces))
		if on > off {
			t.Errorf("%s: %v allocations, %v without counting: want no more", name, on, off)
		}
		t.Logf("%s: %v allocations without, %v with", name, off, on)
	}
}

// BenchmarkUsage compares requests with and without, in the handler alone and as a whole:
// a client, the handler in a server, and an upstream, over loopback.
func BenchmarkUsage(b *testing.B) {
	for name, shape := range usageShapes() {
		for _, on := range []bool{false, true} {
			b.Run(fmt.Sprintf("handler/%s/%t", name, on), func(b *testing.B) {
				send := usageRequests(b, on, shape.media, shape.pieces)
				b.ReportAllocs()
				for b.Loop() {
					send()
				}
			})
		}
		b.Run("whole/"+name, func(b *testing.B) { benchWhole(b, shape.media, shape.pieces) })
	}
}

// forwardTo is a next handler that asks the upstream.
func forwardTo(address string) handlerFunc {
	to, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	return func(w http.ResponseWriter, r *http.Request) error {
		proxy.ServeHTTP(w, r)
		return nil
	}
}

// benchWhole sends requests through both by turns, and reports the share of each.
func benchWhole(b *testing.B, media string, pieces [][]byte) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = inPieces(media, pieces)(w, r) }))
	defer upstream.Close()
	var servers [2]*httptest.Server
	var took [2][]time.Duration
	next, buffer := forwardTo(upstream.URL), make([]byte, 4096)
	for i := range servers {
		g := counting(b, func(c *Config) { c.Usage = i == 1 })
		silence(g)
		servers[i] = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = g.ServeHTTP(w, r, next) }))
		defer servers[i].Close()
	}
	content := []byte(`{"model":"gpt-demo","messages":[{"role":"user","content":"` + strings.Repeat("x", 900) + `"}]}`)
	for n := 0; b.Loop(); n++ {
		for _, i := range [][]int{{0, 1}, {1, 0}}[n%2] {
			start := time.Now()
			res, err := http.Post(servers[i].URL+"/v1/chat/completions", "application/json", bytes.NewReader(content))
			if err != nil {
				b.Fatal(err)
			}
			for err == nil {
				_, err = res.Body.Read(buffer)
			}
			res.Body.Close()
			took[i] = append(took[i], time.Since(start))
		}
	}
	for i := range took {
		slices.Sort(took[i])
	}
	off, on := took[0][len(took[0])/2], took[1][len(took[1])/2]
	b.ReportMetric(float64(off.Microseconds()), "µs-off")
	b.ReportMetric(float64(on.Microseconds()), "µs-on")
	b.ReportMetric(float64(on)/float64(off), "on/off")
}

package gateway

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/replay"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/adminapi"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// discard is a ResponseWriter that costs nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// body is a request body that can be sent again and again.
type benchBody struct{ bytes.Reader }

func (*benchBody) Close() error { return nil }

// benchRequest returns a request as an SDK sends it.
func benchRequest(content []byte) (*http.Request, *benchBody) {
	body := new(benchBody)
	r, _ := http.NewRequest(http.MethodPost, "/v1/chat/completions", nil)
	r.Header = http.Header{
		"Authorization":   {"Bearer sk-client-demo"},
		"Content-Type":    {"application/json"},
		"Content-Length":  {"1024"},
		"Accept":          {"application/json"},
		"Accept-Encoding": {"gzip, deflate, br"},
		"User-Agent":      {"demo/1.0"},
	}
	r.Body, r.ContentLength, r.RemoteAddr = body, int64(len(content)), "192.0.2.1:1234"
	return r, body
}

// BenchmarkHandler compares the handler before a next handler that reads the body
// and writes a header with that next handler alone.
func BenchmarkHandler(b *testing.B) {
	content := bytes.Repeat([]byte("x"), 1024)
	buf := make([]byte, 4096)
	next := handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		for {
			if _, err := r.Body.Read(buf); err == io.EOF {
				break
			}
		}
		w.WriteHeader(http.StatusOK)
		return nil
	})
	for _, bench := range []struct {
		name    string
		handler bool
		length  int64
	}{{"next alone", false, 1024}, {"body 1KB", true, 1024}, {"body 1KB, streamed", true, -1}} {
		b.Run(bench.name, func(b *testing.B) {
			h := provision(b, 20, nil)
			r, body := benchRequest(content)
			r.ContentLength = bench.length
			w := &discard{header: http.Header{"Server": {"Caddy"}}}
			b.ReportAllocs()
			for b.Loop() {
				body.Reset(content)
				var err error
				if bench.handler {
					err = h.ServeHTTP(w, r, next)
				} else {
					err = next(w, r)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRejection measures a request whose first attempt is rejected. The
// cooldown ends at once, so that there is always a key.
func BenchmarkRejection(b *testing.B) {
	h := provision(b, 1000, func(c *Config) {
		c.Policy.Min = 0
		c.Policy.Default = time.Nanosecond
		c.Policy.Max = 24 * time.Hour
	})
	h.Logger = zap.NewNop()
	attempts := 0
	next := handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		if attempts++; attempts%2 == 1 {
			w.WriteHeader(http.StatusTooManyRequests)
			_, err := io.WriteString(w, testkit.Limited.Body)
			return err
		}
		w.WriteHeader(http.StatusOK)
		return nil
	})
	content := bytes.Repeat([]byte("x"), 1024)
	r, body := benchRequest(content)
	w := &discard{header: http.Header{"Server": {"Caddy"}}}
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(content)
		if err := h.ServeHTTP(w, r, next); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkExhausted measures the answer of a pool that has no key.
func BenchmarkExhausted(b *testing.B) {
	h := provision(b, 10, nil)
	h.Logger = zap.NewNop()
	r, body := benchRequest([]byte("x"))
	for range 10 {
		body.Reset([]byte("x"))
		if err := h.ServeHTTP(&discard{header: http.Header{}}, r, testkit.Script(testkit.Limited)); err != nil {
			b.Fatal(err)
		}
	}
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		body.Reset([]byte("x"))
		if err := h.ServeHTTP(w, r, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkJudge measures what a rejection without a body means.
func BenchmarkJudge(b *testing.B) {
	j := blame.NewJudge(ttl.OpenAI, blame.Policy{Default: time.Minute, Min: 30 * time.Second, Max: 24 * time.Hour, Jitter: 10}, nil)
	response := ttl.Response{Status: 429, Header: http.Header{"Retry-After": {"40"}}, Now: time.Now()}
	b.ReportAllocs()
	for b.Loop() {
		if v := j.Judge(response, 0.5); v.Action != blame.ActionCooldown {
			b.Fatal(v)
		}
	}
}

// BenchmarkAdmin measures the admin API with 1,000 keys, half of them cooling.
func BenchmarkAdmin(b *testing.B) {
	h := provision(b, 1000, func(c *Config) { c.Pool = "bench-admin" })
	pool := h.roster.Load().Pool
	for s := range rotator.Slot(500) {
		pool.Cool(time.Now(), s, rotator.Cooldown{For: time.Hour, Reason: 1, Source: "retry-after"})
	}
	mux := adminapi.Mux()
	for _, path := range []string{"", "/bench-admin/keys", "/bench-admin/keys?state=cooling", "/bench-admin/keys/" + pool.Key(1).String()} {
		b.Run("GET pools"+path, func(b *testing.B) {
			for b.Loop() {
				mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/keycycler/pools"+path, nil))
			}
		})
	}
}

// BenchmarkLargeBody measures what it costs to find the model of a body of 20 MB, by
// the bodies that are copied with and without: in memory, and mostly to disk.
func BenchmarkLargeBody(b *testing.B) {
	body := []byte(`{"messages":[{"image":"` + strings.Repeat("abcdefghijklmnop", 20<<20/16) + `"}],"model":"gpt-demo"}`)
	buffer := make([]byte, 32<<10)
	for _, where := range []struct {
		name   string
		limits replay.Limits
	}{{"memory", replay.Limits{Total: testkit.Ample, Memory: 64 << 20}}, {"disk", replay.Limits{Memory: 1 << 20, Disk: 64 << 20}}} {
		for _, contentType := range []string{"application/octet-stream", "application/json"} {
			b.Run(where.name+"/"+contentType, func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				where.limits.ByModel = true
				for b.Loop() {
					r := httptest.NewRequest(http.MethodPost, "/", io.NopCloser(bytes.NewReader(body)))
					r.ContentLength = int64(len(body))
					r.Header.Set("Content-Type", contentType)
					var kept replay.Body
					kept.Begin(r, &where.limits)
					attempt := kept.Attempt(r)
					for {
						if _, err := attempt.Read(buffer); err != nil {
							break
						}
					}
					if _, found := kept.ModelName(); found != (contentType == "application/json") {
						b.Fatal("the model was not found, or was")
					}
					kept.Finish()
				}
			})
		}
	}
}

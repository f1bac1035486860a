//go:build !race

package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"testing"
	"time"
	"unsafe"

	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// What a request may allocate in the handler, besides what the next handler does. A
// machine's mood changes none of these: more is a regression, and less is to be
// written down here.
const (
	allocsPick      = 0  // drawing a key
	allocsPlain     = 5  // a request without a body
	allocsSmall     = 5  // 1 KB
	allocsMedium    = 6  // 64 KB, the most that is read whole
	allocsStreamed  = 5  // 1 KB of no stated length
	allocsRejection = 27 // what a rejected attempt adds: the attempt, its verdict, the cooldown, the count of its key's first rejections, what the key is suspected of, and the answer kept
	allocsChunk     = 0  // a chunk of a stream that is written and flushed
	allocsExhausted = 16 // an answer that no key is ready
)

// TestAllocations pins what the handler allocates.
func TestAllocations(t *testing.T) {
	// A collection in between would empty the pools.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for _, test := range []struct {
		what string
		runs func(testing.TB) func()
		want float64
	}{
		{"drawing a key, another having been tried", picks, allocsPick},
		{"a request without a body", func(t testing.TB) func() { return requests(t, 0, 0, served) }, allocsPlain},
		{"a body of 1 KB", func(t testing.TB) func() { return requests(t, 1<<10, 1<<10, served) }, allocsSmall},
		{"a body of 64 KB", func(t testing.TB) func() { return requests(t, 64<<10, 64<<10, served) }, allocsMedium},
		{"a body of 1 KB and no stated length", func(t testing.TB) func() { return requests(t, 1<<10, -1, served) }, allocsStreamed},
		{"a body of 1 KB, and one rejected attempt", func(t testing.TB) func() { return requests(t, 1<<10, 1<<10, rejectedOnce()) }, allocsSmall + allocsRejection},
		{"fifty chunks of a stream", func(t testing.TB) func() { return requests(t, 0, 0, streamed(50)) }, allocsPlain + 50*allocsChunk},
		{"a turn of a conversation that is known", turns, allocsSmall},
		{"no key that is ready", exhaustedRequests, allocsExhausted},
	} {
		if got := testing.AllocsPerRun(200, test.runs(t)); got != test.want {
			t.Errorf("%s: %v allocations, want %v", test.what, got, test.want)
		}
	}
}

// requests returns a function that sends a request with a body of that many bytes,
// stating a length of it, through a handler to next.
func requests(t testing.TB, size int, length int64, next handlerFunc) func() {
	h := provision(t, 1000, func(c *Config) {
		// Rejected keys are back at once: there is always one that is ready.
		c.Policy.Min = 0
		c.Policy.Default = time.Nanosecond
		c.Policy.Max = 24 * time.Hour
		c.Policy.Jitter = 0
	})
	return requestsTo(t, h, size, length, next)
}

// requestsTo is requests for a handler that there is already.
func requestsTo(t testing.TB, h *Gateway, size int, length int64, next handlerFunc) func() {
	silence(h)
	content := bytes.Repeat([]byte("x"), size)
	r, body := benchRequest(content)
	if r.ContentLength = length; length == 0 {
		r.Body = http.NoBody
	}
	w := &flushes{discard{header: http.Header{"Server": {"Caddy"}}}}
	return func() {
		body.Reset(content)
		if err := h.ServeHTTP(w, r, next); err != nil {
			t.Fatal(err)
		}
	}
}

// turns returns a function that sends a request of a conversation which stays with its key.
func turns(t testing.TB) func() {
	h := provision(t, 1000, sessions)
	silence(h)
	content := []byte(turnOf(1, 5, `,"metadata":{"user_id":"u"}`))
	r, body := benchRequest(content)
	w := &discard{header: http.Header{}}
	return func() {
		body.Reset(content)
		if err := h.ServeHTTP(w, r, handlerFunc(served)); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkSelect measures a chat's request with each way to select a key.
func BenchmarkSelect(b *testing.B) {
	for _, size := range []int{1 << 10, 60 << 10} {
		content := []byte(turnOf(1, size/66, `,"prompt_cache_key":"s-1"`))
		for _, row := range []struct {
			how       string
			configure func(*Config)
		}{{"even", nil}, {"session", sessions}} {
			b.Run(fmt.Sprintf("%dK/%s", size>>10, row.how), func(b *testing.B) {
				h := provision(b, 1000, row.configure)
				silence(h)
				r, body := benchRequest(content)
				w := &discard{header: http.Header{}}
				b.ReportAllocs()
				for b.Loop() {
					body.Reset(content)
					if err := h.ServeHTTP(w, r, handlerFunc(served)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// flushes is a discard that can be flushed, as every connection of Caddy's can.
type flushes struct{ discard }

func (*flushes) FlushError() error { return nil }

// picks returns a function that draws a key, with another that was tried.
func picks(t testing.TB) func() {
	pool := provision(t, 1000, nil).roster.Load().Pool
	now := time.Now()
	first, _ := pool.PickIn(now, "", nil)
	tried := []rotator.Slot{first}
	return func() {
		if _, ok := pool.PickIn(now, "", tried); !ok {
			t.Fatal("no key is ready")
		}
	}
}

// coolingPool returns a handler with so many keys, of which so many percent cool.
func coolingPool(t testing.TB, keys, percent int) *Gateway {
	h := provision(t, keys, nil)
	pool := h.roster.Load().Pool
	for slot := range rotator.Slot(keys * percent / 100) {
		pool.Cool(time.Now(), slot, rotator.Cooldown{For: time.Hour, Reason: 1, Source: "retry-after"})
	}
	return h
}

// exhaustedRequests returns a function that asks a pool which has no key.
func exhaustedRequests(t testing.TB) func() {
	h := coolingPool(t, 10, 100)
	silence(h)
	w := &discard{header: http.Header{}}
	r, body := benchRequest([]byte("x"))
	return func() {
		body.Reset([]byte("x"))
		if err := h.ServeHTTP(w, r, nil); err != nil {
			t.Fatal(err)
		}
	}
}

var scratch [4096]byte

// served reads the request's body and answers.
func served(w http.ResponseWriter, r *http.Request) error {
	for {
		switch _, err := r.Body.Read(scratch[:]); {
		case errors.Is(err, io.EOF):
			w.WriteHeader(http.StatusOK)
			return nil
		case err != nil:
			return err
		}
	}
}

// rejectedOnce rejects every second attempt, and serves the others.
func rejectedOnce() handlerFunc {
	attempts := 0
	return func(w http.ResponseWriter, r *http.Request) error {
		if attempts++; attempts%2 == 0 {
			return served(w, r)
		}
		w.WriteHeader(http.StatusTooManyRequests)
		_, err := io.WriteString(w, testkit.Limited.Body)
		return err
	}
}

// streamed answers with so many chunks, each of them flushed.
func streamed(chunks int) handlerFunc {
	event := []byte("data: {\"delta\":\" demo\"}\n\n")
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusOK)
		for range chunks {
			if _, err := w.Write(event); err != nil {
				return err
			}
			w.(http.Flusher).Flush()
		}
		return nil
	}
}

// TestRecordSize pins the largest allocation of a request, which the allocator rounds up
// to the next of its sizes.
func TestRecordSize(t *testing.T) {
	const size, head = 1408, 8 // of the allocator's, and what it adds, in bytes
	if got := unsafe.Sizeof(record{}); got+head > size {
		t.Errorf("a request's record takes %d bytes, want at most %d", got, size-head)
	}
}

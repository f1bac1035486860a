package upstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// demoBody is a body that can be sent again. Its first reads may be elsewhere.
type demoBody struct {
	io.Reader
	text  string
	whole bool
	begun *atomic.Int32 // how often it was begun
}

func newDemoBody(text string, whole bool) *demoBody {
	return &demoBody{strings.NewReader(text), text, whole, new(atomic.Int32)}
}

func (*demoBody) Close() error { return nil }

func (b *demoBody) Whole(length int64) ([]byte, bool) {
	return []byte(b.text), b.whole && int64(len(b.text)) == length
}

func (b *demoBody) Again() (Body, error) {
	b.begun.Add(1)
	return &demoBody{strings.NewReader(b.text), b.text, b.whole, b.begun}, nil
}

// TestHand: which bodies net/http gets in memory, and which it can send again.
func TestHand(t *testing.T) {
	text := strings.Repeat("x", 3000)
	for _, test := range []struct {
		what          string
		body          io.ReadCloser
		prepare       func(r *http.Request)
		memory, again bool
	}{
		{"a small one", newDemoBody(text, true), nil, true, true},
		{"one that is not whole", newDemoBody(text, false), nil, false, true},
		{"one that is larger than a write", newDemoBody(strings.Repeat(text, 2), true), nil, false, true},
		{"one of no stated length", newDemoBody(text, true), func(r *http.Request) { r.ContentLength = -1 }, false, false},
		{"one with a trailer", newDemoBody(text, true), func(r *http.Request) { r.Trailer = http.Header{"X-Sum": nil} }, false, false},
		{"one that waits to be asked for", newDemoBody(text, true), func(r *http.Request) { r.Header.Set("Expect", "100-continue") }, false, false},
		{"one that a handler has wrapped", struct{ io.ReadCloser }{newDemoBody(text, true)}, nil, false, false},
		{"somebody else's", io.NopCloser(strings.NewReader(text)), nil, false, false},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1/", test.body)
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = int64(len(text))
		if b, ok := test.body.(*demoBody); ok {
			r.ContentLength = int64(len(b.text))
		}
		if test.prepare != nil {
			test.prepare(r)
		}
		hand(r, writeBuffer)
		_, ours := r.Body.(*demoBody)
		if memory := r.Body != test.body && !ours; memory != test.memory || (r.GetBody != nil) != test.again {
			t.Errorf("%s: in memory: %t, again: %t", test.what, memory, r.GetBody != nil)
		}
	}
}

// TestOneWrite: a small body goes out in one write with the header.
func TestOneWrite(t *testing.T) {
	var writes atomic.Int32
	transport := newTransport(t, func(conn net.Conn) net.Conn { return countedWrites{conn, &writes} }, func(conn net.Conn) {
		for r := bufio.NewReader(conn); ; {
			request, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if body, _ := io.ReadAll(request.Body); len(body) != 1000 {
				t.Errorf("a body of %d bytes", len(body))
			}
			io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	for range 10 {
		if _, err := transport.RoundTrip(post(t, newDemoBody(strings.Repeat("x", 1000), true))); err != nil {
			t.Fatal(err)
		}
	}
	if writes.Load() != 10 {
		t.Errorf("%d writes for 10 requests", writes.Load())
	}
}

type countedWrites struct {
	net.Conn
	n *atomic.Int32
}

func (c countedWrites) Write(p []byte) (int, error) {
	c.n.Add(1)
	return c.Conn.Write(p)
}

// TestWhatAnUpstreamMayHaveRunIsNotSentAgain: where the connection closes without an answer,
// the upstream may have run, and billed, the request. net/http would send it again, if its
// header has an Idempotency-Key and its body can be had again; providers know no such key.
func TestWhatAnUpstreamMayHaveRunIsNotSentAgain(t *testing.T) {
	for _, header := range []string{"Idempotency-Key", "X-Idempotency-Key", ""} {
		var calls, keys atomic.Int32
		transport := newTransport(t, nil, func(conn net.Conn) {
			for r := bufio.NewReader(conn); ; {
				request, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				io.Copy(io.Discard, request.Body)
				if header != "" && request.Header.Get(header) == "demo" {
					keys.Add(1)
				}
				if calls.Add(1) == 2 {
					return // on a connection that was used before
				}
				io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
			}
		})
		var failed error
		for range 2 {
			r := post(t, newDemoBody("small", true))
			if header != "" {
				r.Header.Set(header, "demo")
			}
			_, failed = transport.RoundTrip(r)
		}
		if failed == nil || calls.Load() != 2 || header != "" && keys.Load() != 2 {
			t.Errorf("%s: %d calls, %d with it; the second: %v", header, calls.Load(), keys.Load(), failed)
		}
	}
}

// newTransport returns one whose connections are served like that.
func newTransport(t *testing.T, wrap func(net.Conn) net.Conn, serve func(net.Conn)) *Transport {
	t.Helper()
	var served sync.WaitGroup
	dial := func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		served.Go(func() {
			defer far.Close()
			serve(far)
		})
		if wrap != nil {
			return wrap(near), nil
		}
		return near, nil
	}
	base := &http.Transport{DialContext: dial}
	t.Cleanup(func() {
		base.CloseIdleConnections()
		served.Wait()
	})
	return &Transport{HTTPTransport: reverseproxy.HTTPTransport{Transport: base}}
}

// post is an attempt's request.
func post(t *testing.T, body *demoBody) *http.Request {
	t.Helper()
	ctx := context.WithValue(t.Context(), Key, Unguided)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1/v1/x", body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = int64(len(body.text))
	return r
}

// TestGetBody: what is sent again begins anew, as often as it may be.
func TestGetBody(t *testing.T) {
	for _, whole := range []bool{true, false} {
		body := newDemoBody("hello", whole)
		r := post(t, body)
		hand(r, writeBuffer)
		for range mostAgain {
			again, err := r.GetBody()
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(again); err != nil || !bytes.Equal(text, []byte("hello")) {
				t.Errorf("%q, %v", text, err)
			}
		}
		if _, err := r.GetBody(); !errors.Is(err, ErrUntaken) {
			t.Errorf("it is sent ever again: %v", err)
		}
	}
}

package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// startUpstreamHere plays the provider until the test ends, and returns its URL.
func startUpstreamHere(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go new(upstream).serve(listener)
	return listener.Addr().String()
}

func TestUpstreamAnswersAsANetHTTPClientUnderstands(t *testing.T) {
	address := startUpstreamHere(t)
	for _, test := range []struct {
		what, path, key, worker string
		want                    int
		header, value           string
		body                    string
	}{
		{what: "a key within its limit", path: jsonPath, key: "sk-demo-1", want: 200, body: `"finish_reason":"stop"`},
		{what: "a limited key", path: jsonPath, key: limitedPrefix + "1", want: 429, header: "Retry-After", value: "800", body: "rate_limit_exceeded"},
		{what: "a worker's first attempt of two", path: oncePath, key: "sk-demo-1", worker: "7", want: 429, header: "Retry-After-Ms", value: "1", body: "rate_limit_exceeded"},
		{what: "another worker's first", path: oncePath, key: "sk-demo-1", worker: "8", want: 429, body: "rate_limit_exceeded"},
		{what: "a worker's second", path: oncePath, key: "sk-demo-1", worker: "7", want: 200, body: `"finish_reason":"stop"`},
		{what: "a stream", path: streamPath, key: "sk-demo-1", want: 200, header: "Content-Type", value: "text/event-stream", body: `"content":" demo"`},
	} {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+address+test.path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+test.key)
		r.Header.Set(workerHeader, test.worker)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatalf("%s: %v", test.what, err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != test.want || response.Header.Get(test.header) != test.value || !strings.Contains(string(body), test.body) {
			t.Errorf("%s: %s, %v, %q, %v", test.what, response.Status, response.Header, body, err)
		}
	}
}

func TestPlainClientUnderstandsTheUpstream(t *testing.T) {
	address := startUpstreamHere(t)
	for _, test := range []struct {
		what   string
		path   string
		length int
		chunks int
	}{
		{"a body that travels with its head", jsonPath, smallBody, 0},
		{"a body that does not", jsonPath, wholeBody + 1, 0},
		{"a stream, whose chunks are counted", streamPath, smallBody, streamChunks},
	} {
		c, err := newPlainClient(context.Background(), ask{address: address, path: test.path, body: body(test.length)}, 1)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if chunks, err := c.do(); err != nil || chunks != test.chunks {
				t.Errorf("%s: %d chunks, %v", test.what, chunks, err)
			}
		}
		c.close()
	}
}

func TestPlainClientTakesNothingBut200(t *testing.T) {
	c, err := newPlainClient(context.Background(), ask{address: startUpstreamHere(t), path: oncePath, body: body(smallBody)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if _, err := c.do(); err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("a 429 gives %v", err)
	}
}

func TestBodyIsAsLongAsItSays(t *testing.T) {
	for _, length := range []int{smallBody, mediumBody, largeBody} {
		if got := len(body(length)); got != length {
			t.Errorf("%d bytes, want %d", got, length)
		}
	}
}

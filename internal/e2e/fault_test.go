package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

func TestErrorsOfTheProxyReachHandleErrors(t *testing.T) {
	closed := "127.0.0.1:" + live.FreePort(t)
	g := startGateway(t, fmt.Sprintf(`keycycler {
		keys %s
	}
	reverse_proxy %s
	handle_errors {
		respond "handled {err.status_code}"
	}`, demoKeys(3), closed))
	res, body := live.Do(t, http.DefaultClient, live.Request(t, "POST", g.plain, "x"))
	if res.StatusCode != 502 || string(body) != "handled 502" {
		t.Errorf("%s %q", res.Status, body)
	}
	if n := strings.Count(g.log(), "key is cooling"); n != 0 {
		t.Errorf("%d keys cool", n)
	}
}

func TestErrorsOfTheClientsBodyComeBackAsTheyAre(t *testing.T) {
	upstream := live.StartProvider(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	g := startGateway(t, fmt.Sprintf("request_body {\n max_size 1KB\n}\nkeycycler {\n keys %s\n}\nreverse_proxy %s", demoKeys(3), upstream.URL))
	for _, stated := range []bool{true, false} {
		r := live.Request(t, "POST", g.plain, strings.Repeat("x", 2000))
		if !stated {
			r.ContentLength = -1
		}
		if res, _ := live.Do(t, http.DefaultClient, r); res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("length stated %t: %s", stated, res.Status)
		}
	}
}

func TestAnAbortReachesTheUpstreamAndCoolsNothing(t *testing.T) {
	begun, gone := make(chan struct{}, 2), make(chan error, 1)
	var refused atomic.Bool
	upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refused" && !refused.Swap(true) {
			http.Error(w, "a key of which nobody knows whether it is good", http.StatusUnauthorized)
			return
		}
		begun <- struct{}{}
		if r.URL.Path == "/stream" {
			fmt.Fprint(w, "data: 1\n\n")
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
		gone <- r.Context().Err()
	})
	g := startGateway(t, fmt.Sprintf("keycycler {\n keys %s\n}\nreverse_proxy %s", demoKeys(3), upstream.URL))
	for _, path := range []string{"/stream", "/silent", "/refused"} {
		ctx, cancel := context.WithCancel(t.Context())
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			res, err := http.DefaultClient.Do(live.Request(t, "GET", g.plain+path, "").WithContext(ctx))
			if err == nil {
				res.Body.Read(make([]byte, 10))
				cancel()
				res.Body.Close()
			}
		}()
		live.Receive(t, "the upstream has the request", begun)
		if path != "/stream" {
			cancel()
		}
		live.Receive(t, "the upstream sees that the client has left", gone)
		live.Receive(t, "the client has left", sent)
		cancel()
	}
	live.Eventually(t, "the access log shows the clients that left", func() bool { return strings.Count(g.log(), `"status":499`) == 2 })
	if strings.Contains(g.log(), "key is cooling") {
		t.Error("a key cools for the client's leaving")
	}
}

func TestCompressedRejectionsAreJudged(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	io.WriteString(z, `{"error":{"message":"Incorrect API key provided: sk-demo-secret-1.","type":"invalid_request_error","code":"invalid_api_key"}}`)
	z.Close()
	upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer sk-demo-secret-1" {
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(401)
			w.Write(packed.Bytes())
			return
		}
		io.WriteString(w, "fine")
	})
	g := startGateway(t, fmt.Sprintf("keycycler {\n keys %s\n}\nreverse_proxy %s", demoKeys(2), upstream.URL))
	for range 20 {
		if res, body := live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain, "")); res.StatusCode != 200 || string(body) != "fine" {
			t.Fatalf("%s %q", res.Status, body)
		}
	}
	if n := len(upstream.Seen()); n > 21 {
		t.Errorf("%d calls for 20 requests", n)
	}
}

func TestExpectContinueIsPassedThrough(t *testing.T) {
	upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s", body)
	})
	g := startGateway(t, fmt.Sprintf("keycycler {\n keys %s\n}\nreverse_proxy %s", demoKeys(9), upstream.URL))
	client := live.Patient(&http.Transport{ExpectContinueTimeout: live.Patience})
	defer client.CloseIdleConnections()
	upstream.LimitFirst(2)
	r := live.Request(t, "POST", g.plain, "the body")
	r.Header.Set("Expect", "100-continue")
	if res, body := live.Do(t, client, r); res.StatusCode != 200 || string(body) != "the body" {
		t.Errorf("%s %q", res.Status, body)
	}
}

func TestExhaustedPoolAnswersLikeTheProvider(t *testing.T) {
	upstream := live.StartProvider(t, nil)
	g := startGateway(t, fmt.Sprintf("keycycler {\n keys %s\n}\nreverse_proxy %s", demoKeys(16), upstream.URL))
	upstream.LimitFirst(1 << 20)
	upstream.Prove()
	for n := range 20 {
		res, body := live.Do(t, http.DefaultClient, live.Request(t, "POST", g.plain, "x"))
		if res.StatusCode != 429 || !bytes.Contains(body, []byte(`"code":"rate_limit_exceeded"`)) || res.Header.Get("X-Rejected") != "" {
			t.Fatalf("request %d: %s %v %s", n, res.Status, res.Header, body)
		}
		want := map[int]int{0: 15}[n]
		if want == 0 {
			want = 16
		}
		if calls := upstream.Seen(); len(calls) != want {
			t.Errorf("request %d: %d upstream calls, want %d", n, len(calls), want)
		}
	}
	keys := make(map[string]bool)
	for _, c := range upstream.Seen() {
		keys[c.Key] = true
	}
	if len(keys) != 16 {
		t.Errorf("%d different keys were used", len(keys))
	}
	if n := strings.Count(g.log(), "no key is ready"); n != 1 {
		t.Errorf("%d log lines say that no key is ready", n)
	}
}

// A client could name the header that carries the key in its Connection header,
// which makes proxies drop it: the upstream would refuse key after key.
func TestAClientCannotTakeTheKeyAway(t *testing.T) {
	upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			http.Error(w, `{"error":{"code":"invalid_api_key"}}`, http.StatusUnauthorized)
			return
		}
		io.WriteString(w, "fine")
	})
	g := startGateway(t, fmt.Sprintf("keycycler {\n keys %s\n}\nreverse_proxy %s", demoKeys(3), upstream.URL))
	r := live.Request(t, "GET", g.plain, "")
	r.Header["Connection"] = []string{"Authorization, keep-alive", "authorization"}
	if res, body := live.Do(t, http.DefaultClient, r); res.StatusCode != 200 || len(upstream.Seen()) != 1 {
		t.Errorf("%s %q after %d calls", res.Status, body, len(upstream.Seen()))
	}
}

// A client that waits for 100 Continue before it sends its body gets the answer that
// no key is ready: net/http waited for the body, and nobody asked for it.
func TestAnExhaustedPoolAnswersWhoWaitsToSend(t *testing.T) {
	upstream := live.StartProvider(t, nil)
	upstream.LimitFirst(1 << 20)
	upstream.Prove()
	g := startGateway(t, fmt.Sprintf("keycycler {\n keys %s\n}\nreverse_proxy %s", demoKeys(1), upstream.URL))
	live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain, ""))
	conn := live.Dial(t, g.plain)
	io.WriteString(conn, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != http.StatusTooManyRequests || !res.Close {
		t.Fatalf("%v, %v", res, err)
	}
	res.Body.Close()
}

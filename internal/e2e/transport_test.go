package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/live"
)

// TestEveryKeyAtItsOwnUpstream: three upstreams with certificates of their own, each of
// which knows one key, get what is theirs and nothing else: over HTTP/1 and 2, on either
// side, with bodies of any size, streams and websockets.
func TestEveryKeyAtItsOwnUpstream(t *testing.T) {
	a := newAuthority(t)
	sites := []*siteUpstream{startSite(t, a, "east.test", true), startSite(t, a, "west.test", false), startSite(t, a, "127.0.0.1", true)}
	var blocks strings.Builder
	for _, s := range sites {
		blocks.WriteString(s.block(""))
	}
	g := newGateway(t)
	g.level = "INFO"
	g.start(fmt.Sprintf(`keycycler {
		%s
	}
	reverse_proxy {
		dynamic keycycler
		transport keycycler {
			tls_trust_pool file %s
			resolvers %s
		}
	}`, &blocks, a.file, startDNS(t)))
	requests, large := 200, 2
	if live.Long() {
		requests, large = 3000, 30
	}
	var next, failed atomic.Int32
	var clients sync.WaitGroup
	bodies := uploads(requests, large)
	for _, p := range []string{"HTTP/1.1", "HTTP/2.0"} {
		client := g.protocolClients()[p]
		for range 4 {
			clients.Go(func() {
				for i := int(next.Add(1)) - 1; i < requests; i = int(next.Add(1)) - 1 {
					if err := askSite(client.client, client.url, bodies(i)); err != nil {
						failed.Add(1)
						t.Errorf("request %d: %v", i, err)
					}
				}
			})
		}
	}
	clients.Wait()
	over := func(what, status string, n int) { // with its key given back
		live.Eventually(t, what, func() bool { return strings.Count(g.log(), `"status":`+status) == n })
	}
	over("all requests are over", "200", requests)
	before := make([]int, len(sites))
	for i, s := range sites { // how many each gets of these is up to how long its requests take
		if before[i] = s.check(t); before[i] == 0 {
			t.Errorf("%s had no calls of %d", s.name, requests)
		}
	}
	for i := range 6 { // one after the other: they go to each in turn
		shakeHands(t, g)
		over("the websocket is over", "101", i+1) // Caddy has a race if it stops before
	}
	all := 0
	for i, s := range sites {
		calls := s.check(t)
		if all += calls; calls-before[i] != 2 {
			t.Errorf("%s had %d websockets of 6", s.name, calls-before[i])
		}
	}
	t.Logf("%d requests and 6 websockets, %d failed, %d calls", requests, failed.Load(), all)
	if all != requests+6 {
		t.Errorf("%d calls for %d requests", all, requests+6)
	}
}

// uploads returns the bodies by number: of 0 bytes to 1 MB, and so many of 30 MB.
func uploads(requests, large int) func(i int) []byte {
	sizes := []int{0, 1, 1000, 3000, 5000, 40_000, 64 << 10, 100_000, 1 << 20}
	content := testkit.Content(30 << 20)
	return func(i int) []byte {
		if i%(requests/large) == 1 {
			return content
		}
		return content[i : i+sizes[i%len(sizes)]]
	}
}

// askSite sends the body, and looks whether the answer is about it.
func askSite(client *http.Client, url string, body []byte) error {
	path, method := "/v1/x", http.MethodPost
	switch {
	case len(body) == 0:
		method = http.MethodGet
	case len(body)%2 == 1:
		path = "/v1/stream"
	}
	var reader io.Reader = bytes.NewReader(body)
	if len(body) == 100_000 {
		reader = struct{ io.Reader }{reader} // of no stated length
	}
	r, err := http.NewRequest(method, url+path, reader)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer sk-client")
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	sum := sha256.Sum256(body)
	if err != nil || res.StatusCode != http.StatusOK || !strings.HasSuffix(string(answer), hex.EncodeToString(sum[:])) {
		return fmt.Errorf("%d bytes: %s, %v: %.200s", len(body), res.Status, err, answer)
	}
	return nil
}

// shakeHands opens a websocket and has something sent back.
func shakeHands(t *testing.T, g *gateway) {
	t.Helper()
	conn := live.Dial(t, g.plain)
	defer conn.Close()
	io.WriteString(conn, live.Handshake)
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", res, err)
	}
	io.WriteString(conn, "hello\n")
	for range 2 { // the site's name, and what it echoes
		if line, err := r.ReadString('\n'); err != nil {
			t.Fatalf("%q, %v", line, err)
		}
	}
}

// TestTheHostOfTheUpstream: the upstream gets its own Host, unless the config says another,
// and the scheme that its URL has, whatever the transport's TLS is.
func TestTheHostOfTheUpstream(t *testing.T) {
	mirror, _, _ := startMirror(t)
	own := strings.TrimPrefix(mirror, "http://")
	const dynamic = "dynamic keycycler\n transport keycycler"
	for _, test := range []struct{ what, upstream, between, proxy, want string }{
		{"the upstream's", "upstream " + mirror, "", dynamic, own},
		{"with TLS for others", "upstream " + mirror, "", dynamic + " {\n tls_insecure_skip_verify\n}", own},
		{"set on the way up", "upstream " + mirror, "", dynamic + "\n header_up Host other.test", "other.test"},
		{"set before", "upstream " + mirror, "request_header Host other.test", dynamic, "other.test"},
		{"without the transport", "upstream " + mirror, "", "dynamic keycycler", ""},
		{"without an upstream", "", "", "to " + mirror + "\n transport keycycler", ""},
		{"of another address", "upstream http://west.test", "", "to " + mirror + "\n transport keycycler", ""},
	} {
		t.Run(test.what, func(t *testing.T) {
			g := startGateway(t, fmt.Sprintf("route {\n keycycler {\n keys sk-demo-1\n %s\n}\n header >X-At <{http.keycycler.upstream}>\n %s\n reverse_proxy {\n %s\n}\n}", test.upstream, test.between, test.proxy))
			want := test.want
			if want == "" {
				want = strings.TrimPrefix(g.plain, "http://") // as the client has sent it
			}
			r := live.Request(t, http.MethodPost, g.plain+"/v1/x", "hello")
			res, body := live.Do(t, http.DefaultClient, r)
			var got seen
			if err := json.Unmarshal(body, &got); err != nil || got.Host != want || got.Body != "hello" {
				t.Errorf("%s: %s: %+v, want the host %s", res.Status, body, got, want)
			}
			if other := strings.Contains(test.what, "another address"); other != strings.Contains(g.log(), "a key goes to another address than its upstream: put 'dynamic keycycler'") {
				t.Error("the log says otherwise")
			}
			if at := res.Header.Get("X-At"); at != "<"+strings.TrimPrefix(test.upstream, "upstream ")+">" {
				t.Errorf("the placeholder says %s", at)
			}
		})
	}
}

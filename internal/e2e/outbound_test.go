package e2e

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// outbound is a proxy, and where connections by it went.
type outbound struct {
	t       *testing.T
	address string
	user    string // who may use it, with the password of outboundPassword

	mu   sync.Mutex
	went []string
	from map[string]bool // addresses of its connections to upstreams
}

const outboundPassword = "demo-password"

// startOutbound starts a proxy that speaks HTTP, or SOCKS5.
func startOutbound(t *testing.T, user string, socks bool) *outbound {
	t.Helper()
	o := &outbound{t: t, user: user, from: make(map[string]bool)}
	serve := o.serveHTTP
	if socks {
		serve = o.serveSocks
	}
	o.address = live.Accept(t, serve)
	return o
}

// carries tells whether the upstream's connection from there is one of the proxy's.
func (o *outbound) carries(address string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.from[address]
}

// goes notes where a connection goes.
func (o *outbound) goes(target string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.went = append(o.went, target)
}

// targets returns where connections went, each once.
func (o *outbound) targets() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := make(map[string]bool)
	for _, target := range o.went {
		seen[target] = true
	}
	var all []string
	for target := range seen {
		all = append(all, target)
	}
	return strings.Join(all, " ")
}

// tunnel copies in both directions. Names are all at 127.0.0.1.
func (o *outbound) tunnel(conn net.Conn, from io.Reader, target string) {
	o.goes(target)
	_, port, _ := net.SplitHostPort(target)
	far, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return
	}
	o.mu.Lock()
	o.from[far.LocalAddr().String()] = true
	o.mu.Unlock()
	go func() {
		io.Copy(far, from)
		far.Close()
	}()
	io.Copy(conn, far)
}

// serveHTTP takes a CONNECT, or requests with a whole URL.
func (o *outbound) serveHTTP(conn net.Conn) {
	for in := bufio.NewReader(conn); ; {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte(o.user+":"+outboundPassword))
		if got := r.Header.Get("Proxy-Authorization"); got != want {
			o.t.Errorf("the proxy of %s is used by %q", o.user, got)
		}
		if r.Method == http.MethodConnect {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
			o.tunnel(conn, in, r.Host)
			return
		}
		o.goes(r.URL.Host)
		r.RequestURI = ""
		r.Header.Del("Proxy-Authorization")
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			return
		}
		res.Write(conn)
		res.Body.Close()
	}
}

// serveSocks takes a connection of version 5 (RFC 1928), with user and password (RFC 1929).
func (o *outbound) serveSocks(conn net.Conn) {
	in := bufio.NewReader(conn)
	take := func(n int) []byte {
		p := make([]byte, n)
		io.ReadFull(in, p)
		return p
	}
	take(int(take(2)[1]))
	conn.Write([]byte{5, 2}) // by user and password
	take(1)
	user := string(take(int(take(1)[0])))
	password := string(take(int(take(1)[0])))
	if user != o.user || password != outboundPassword {
		o.t.Errorf("the proxy of %s is used by %q", o.user, user)
	}
	conn.Write([]byte{1, 0})
	var host string
	switch head := take(4); head[3] {
	case 1:
		host = net.IP(take(4)).String()
	default:
		host = string(take(int(take(1)[0])))
	}
	port := take(2)
	conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	o.tunnel(conn, in, net.JoinHostPort(host, strconv.Itoa(int(port[0])<<8|int(port[1]))))
}

// TestEachKeyByItsOwnProxy: keys at one host go by the proxies of their blocks, or by none,
// and never share a connection; no password is logged.
func TestEachKeyByItsOwnProxy(t *testing.T) {
	a := newAuthority(t)
	secure, plain := startSite(t, a, "east.test", true), startSite(t, nil, "127.0.0.1", false)
	one, two, socks := startOutbound(t, "ada", false), startOutbound(t, "bob", false), startOutbound(t, "cleo", true)
	var blocks strings.Builder
	urls := []string{"http://" + one.user + ":" + outboundPassword + "@" + one.address, "http://" + two.user + ":" + outboundPassword + "@" + two.address,
		"socks5://" + socks.user + ":" + outboundPassword + "@" + socks.address, ""}
	for i, proxy := range urls {
		for _, s := range []*siteUpstream{secure, plain} {
			option := ""
			if proxy != "" {
				t.Setenv(fmt.Sprint("DEMO_PROXY_", i), proxy) // Caddy logs configs as they are
				option = fmt.Sprintf("proxy {env.DEMO_PROXY_%d}", i)
			}
			fmt.Fprintf(&blocks, "keys %s-%d- {\n upstream %s/base\n %s\n}\n", s.key, i, s.url(), option)
		}
	}
	g := startGateway(t, fmt.Sprintf(`keycycler {
		%s
	}
	header X-Key {http.keycycler.key_id}
	reverse_proxy {
		dynamic keycycler
		transport keycycler {
			tls_trust_pool file %s
			resolvers %s
		}
	}`, &blocks, a.file, startDNS(t)))
	for i := range 40 {
		if err := askSite(g.protocolClients()["HTTP/1.1"].client, g.plain, bytes.Repeat([]byte("x"), 2*i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range []*outbound{one, two, socks} {
		got := o.targets()
		if !strings.Contains(got, secure.host()) || !strings.Contains(got, plain.host()) {
			t.Errorf("by the proxy of %s connections went to %s", o.user, got)
		}
	}
	secure.check(t)
	plain.check(t)
	for key, addresses := range secure.from {
		for _, address := range addresses {
			for i, o := range []*outbound{one, two, socks} {
				if own := strings.Contains(key, fmt.Sprintf("-%d-", i)); o.carries(address) != own {
					t.Errorf("a request with the key %s came from the proxy of %s: %t", key, o.user, !own)
				}
			}
		}
	}
	if len(secure.from) != len(urls) {
		t.Errorf("%d keys were used", len(secure.from))
	}
	if strings.Contains(g.log(), "a key does not go by its proxy") || strings.Contains(g.log(), "a key goes to another address") {
		t.Error("the log says that keys go astray")
	}
	if strings.Contains(g.log(), outboundPassword) {
		t.Errorf("a proxy's password stands in the log: %.1000s", g.log()[max(strings.Index(g.log(), outboundPassword)-900, 0):])
	}
}

// TestAnAttemptThatCannotGo: what is wrong with the config is told in the log, once, and the
// key is not to blame.
func TestAnAttemptThatCannotGo(t *testing.T) {
	a := newAuthority(t)
	site := startSite(t, a, "127.0.0.1", false)
	for _, test := range []struct{ what, directives, says string }{
		{"no keycycler", "reverse_proxy {\n dynamic keycycler\n}", "put 'keycycler' before 'reverse_proxy'"},
		{"no upstream", "keycycler none {\n keys sk-demo-nowhere\n}\nreverse_proxy {\n dynamic keycycler\n}", "of pool none has no upstream: give its block 'upstream <url>', or the pool"},
		{"no TLS", "keycycler plain {\n" + site.block("") + "}\nreverse_proxy {\n dynamic keycycler\n}", "of pool plain is https: add 'transport keycycler'"},
	} {
		t.Run(test.what, func(t *testing.T) {
			g := startGateway(t, test.directives)
			for range 3 {
				if res, body := live.Do(t, http.DefaultClient, live.Request(t, http.MethodPost, g.plain+"/v1/x", "hello")); res.StatusCode != http.StatusServiceUnavailable {
					t.Errorf("%s %s", res.Status, body)
				}
			}
			if n := strings.Count(g.log(), test.says); n != 1 {
				t.Errorf("the log says %d times: %s\n%s", n, test.says, g.log())
			}
			for _, pool := range []string{"none", "plain"} {
				if strings.Contains(test.directives, pool) && len(coolingKeys(t, pool)) > 0 {
					t.Error("the key cools")
				}
			}
		})
	}
	if site.calls > 0 {
		t.Errorf("%d calls went upstream", site.calls)
	}
}

// An upstream's base path that clients write as well is told of, once; one that they do not
// write is not.
func TestBasePathThatClientsWriteToo(t *testing.T) {
	up := live.StartProvider(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") })
	g := startGateway(t, fmt.Sprintf("keycycler twice {\n keys sk-demo-twice {\n upstream %s/openai/v1\n }\n}\nreverse_proxy {\n dynamic keycycler\n}", up.URL))
	for _, test := range []struct {
		path string
		told int
	}{{"/chat/completions", 0}, {"/v1beta/models", 0}, {"/v1/models", 1}, {"/v1/models", 1}} {
		live.Do(t, http.DefaultClient, live.Request(t, http.MethodGet, g.plain+test.path, ""))
		if n := strings.Count(g.log(), "requests of pool twice go to a path with /v1 in it twice"); n != test.told {
			t.Errorf("%s: told %d times, want %d", test.path, n, test.told)
		}
	}
}

// TestFailuresCountForTheirAddress: reverse_proxy's own passive checks take one address out,
// and not the pool.
func TestFailuresCountForTheirAddress(t *testing.T) {
	up := startSite(t, nil, "127.0.0.1", false)
	g := startGateway(t, fmt.Sprintf(`keycycler {
		%s
		keys sk-demo-down {
			upstream http://127.0.0.1:%s
		}
	}
	reverse_proxy {
		dynamic keycycler
		fail_duration 1m
		max_fails 1
	}`, up.block(""), live.FreePort(t)))
	statuses := make(map[int]int)
	for range 10 {
		res, _ := live.Do(t, http.DefaultClient, live.Request(t, http.MethodPost, g.plain+"/v1/x", "hello"))
		statuses[res.StatusCode]++
	}
	if up.calls < 5 || up.calls != statuses[200] || statuses[502] > 1 {
		t.Errorf("%d calls upstream; answers: %v", up.calls, statuses)
	}
}

// TestRequestsCountForTheirAddress: so does the bound of requests under way.
func TestRequestsCountForTheirAddress(t *testing.T) {
	reached, goOn := make(chan struct{}), make(chan struct{})
	serve := func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/hold") {
			close(reached)
			<-goOn
		}
		io.WriteString(w, "ok")
	}
	a, b := live.StartProvider(t, serve), live.StartProvider(t, serve)
	g := startGateway(t, fmt.Sprintf(`keycycler /a/* a {
		keys sk-demo-a
		upstream %s
	}
	keycycler /b/* b {
		keys sk-demo-b
		upstream %s
	}
	reverse_proxy {
		dynamic keycycler
		unhealthy_request_count 1
	}`, a.URL, b.URL))
	ask := func(path string) int {
		res, _ := live.Do(t, http.DefaultClient, live.Request(t, http.MethodGet, g.plain+path, ""))
		return res.StatusCode
	}
	done := make(chan int, 1)
	go func() { done <- ask("/a/hold") }()
	live.Receive(t, "the upstream has a request", reached)
	if full, other := ask("/a/x"), ask("/b/x"); full != http.StatusServiceUnavailable || other != http.StatusOK {
		t.Errorf("%d at the address that is full, %d at the other", full, other)
	}
	close(goOn)
	if status := live.Receive(t, "its answer", done); status != http.StatusOK {
		t.Errorf("the first was answered with %d", status)
	}
}

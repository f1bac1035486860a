package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// wiretap is an upstream that keeps every byte it is sent, by connection.
type wiretap struct {
	*httptest.Server
	mu    sync.Mutex
	conns []*tappedConn
}

// tappedConn is one of its connections, which carries one request: the gateway is
// told not to use them again.
type tappedConn struct {
	net.Conn
	tap *wiretap
	got bytes.Buffer
}

func (c *tappedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.tap.mu.Lock()
	defer c.tap.mu.Unlock()
	c.got.Write(p[:n])
	return n, err
}

// Accept implements net.Listener.
func (l tapListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.tap.mu.Lock()
	defer l.tap.mu.Unlock()
	c := &tappedConn{Conn: conn, tap: l.tap}
	l.tap.conns = append(l.tap.conns, c)
	return c, nil
}

type tapListener struct {
	net.Listener
	tap *wiretap
}

func startWiretap(t *testing.T, answer http.HandlerFunc) *wiretap {
	t.Helper()
	tap := new(wiretap)
	tap.Server = httptest.NewUnstartedServer(answer)
	tap.Listener = tapListener{tap.Listener, tap}
	tap.Start()
	t.Cleanup(func() { live.CloseServer(t, tap.Server) })
	return tap
}

// take returns what has come since the last call, a connection each, in order.
func (tap *wiretap) take() []string {
	tap.mu.Lock()
	defer tap.mu.Unlock()
	var all []string
	for _, c := range tap.conns {
		if c.got.Len() > 0 {
			all = append(all, c.got.String())
		}
	}
	tap.conns = nil
	return all
}

func fineAnswer(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	io.WriteString(w, "fine")
}

const (
	// clientSecret is in every credential that these tests' clients send.
	clientSecret = "sk-client-9"
	// poolSecret begins every key of the pools.
	poolSecret = "sk-demo-secret-"
)

// startTapped runs a gateway with a pool of three keys before the tap. The keys
// travel by the environment, since Caddy logs its config at DEBUG.
func startTapped(t *testing.T, tap *wiretap, options string) *gateway {
	t.Helper()
	for i := range 3 {
		t.Setenv(fmt.Sprint("DEMO_KEY_", i), fmt.Sprint(poolSecret, i))
	}
	return startGateway(t, fmt.Sprintf("keycycler {\nkeys {env.DEMO_KEY_0} {env.DEMO_KEY_1} {env.DEMO_KEY_2}\n%s\n}\n"+
		"reverse_proxy %s {\nheader_up X-Model {http.keycycler.model}\ntransport http {\nkeepalive off\n}\n}", options, tap.URL))
}

// say sends bytes to the plain site, then a request that ends the connection, and
// returns the statuses of all answers until then.
func (g *gateway) say(t *testing.T, raw string) []int {
	t.Helper()
	host := strings.TrimPrefix(g.plain, "http://")
	conn := live.Dial(t, g.plain)
	defer conn.Close()
	raw = strings.ReplaceAll(raw, "HOST", host)
	last := "GET /last HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"
	io.WriteString(conn, raw+last)
	var statuses []int
	for r := bufio.NewReader(conn); ; {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return statuses
		}
		if body, _ := io.ReadAll(res.Body); bytes.Contains(body, []byte(poolSecret)) {
			t.Errorf("the answer shows a key: %s", body)
		}
		if res.StatusCode != http.StatusContinue {
			statuses = append(statuses, res.StatusCode)
		}
	}
}

// carriers are all headers in which some provider takes a key, as the wire has them.
var carriers = []string{"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "ocp-apim-subscription-key"}

// checkWire wants one whole request in what a connection brought, with one key of
// the pool's, in the header of this name alone, and nothing of the client's
// credentials. It returns the request line's method and target.
func checkWire(t *testing.T, raw, carrier string) string {
	t.Helper()
	r := bufio.NewReader(strings.NewReader(raw))
	request, err := http.ReadRequest(r)
	if err != nil {
		t.Errorf("%v in %q", err, raw)
		return ""
	}
	io.Copy(io.Discard, request.Body)
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Errorf("a second request was smuggled: %q", rest)
	}
	for name := range request.Trailer {
		if slices.Contains(carriers, strings.ToLower(name)) {
			t.Errorf("a trailer of credentials: %q", raw)
		}
	}
	head, _, _ := strings.Cut(raw, "\r\n\r\n")
	if strings.Count(raw, poolSecret) != 1 || !strings.Contains(head, poolSecret) {
		t.Errorf("not exactly one key in %q", raw)
	}
	if strings.Contains(raw, clientSecret) {
		t.Errorf("the client's credentials are in %q", raw)
	}
	for line := range strings.SplitSeq(raw, "\r\n") {
		name, value, isField := strings.Cut(line, ":")
		name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
		if isField && slices.Contains(carriers, name) && (name != carrier || !strings.Contains(value, poolSecret)) {
			t.Errorf("a header that carries something else: %q", line)
		}
	}
	return request.Method + " " + request.RequestURI
}

// checkLog wants lines of JSON, without any key.
func checkLog(t *testing.T, log string) {
	t.Helper()
	for line := range strings.Lines(log) {
		if !json.Valid([]byte(line)) {
			t.Errorf("somebody has written into the log: %q", line)
		}
	}
	if strings.Contains(log, poolSecret) {
		t.Error("a key is in the log")
	}
}

// Bytes that parsers read differently: either the gateway refuses them, or the
// upstream gets just one well-formed request for each that was answered.
func TestSmuggledBytes(t *testing.T) {
	tap := startWiretap(t, fineAnswer)
	g := startTapped(t, tap, "cooldown {\nscope model\n}")
	const (
		head     = " HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer " + clientSecret + "\r\n"
		post     = "POST /v1" + head
		get      = "GET /v1" + head
		smuggled = "GET /smuggled" + head + "\r\n"
		inBody   = "GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n"
	)
	length := func(text string) string { return fmt.Sprintf("Content-Length: %d\r\n", len(text)) }
	one := []string{"POST /v1", "GET /last"}
	for _, test := range []struct {
		name, raw string
		want      []string // what reaches the upstream
	}{
		{"nothing odd", post + "Content-Length: 2\r\n\r\nok", one},
		{"two lengths that differ", post + "Content-Length: 2\r\nContent-Length: 40\r\n\r\nok", nil},
		{"two lengths in one line", post + "Content-Length: 2, 40\r\n\r\nok", nil},
		{"the same length twice is one", post + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", one},
		{"a length with a sign", post + "Content-Length: +2\r\n\r\nok", nil},
		{"a negative length", post + "Content-Length: -1\r\n\r\n" + smuggled, nil},
		{"a length that overflows", post + "Content-Length: 18446744073709551618\r\n\r\nok", nil},
		{"a length in hexadecimal", post + "Content-Length: 0x2\r\n\r\nok", nil},
		{"an empty length", post + "Content-Length:\r\n\r\n" + smuggled, nil},
		{"length and chunks: the chunks count, the length goes", post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", one},
		{"a body that is a request stays a body", post + length(inBody) + "\r\n" + inBody, one},
		{"a coding nobody knows", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + smuggled, nil},
		{"two codings", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + smuggled, nil},
		{"the coding twice", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + smuggled, nil},
		{"a space before the colon", post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + smuggled, nil},
		{"a folded coding", post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", one},
		{"a vertical tab before the coding", post + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + smuggled, nil},
		{"chunk extensions do not pass", post + "Transfer-Encoding: chunked\r\n\r\n2;a=" + clientSecret + "\r\nok\r\n0\r\n\r\n", one},
		{"a chunk whose size overflows", post + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nok\r\n0\r\n\r\n", nil},
		{"a chunk whose size is negative", post + "Transfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n", nil},
		{"a chunk that is longer than its size", post + "Transfer-Encoding: chunked\r\n\r\n1\r\nok\r\n0\r\n\r\n", nil},
		{"a carriage return alone in the header", post + "X-A: a\rX-Api-Key: " + clientSecret + "\r\n\r\n", nil},
		{"a NUL in a value", post + "X-A: a\x00b\r\n\r\n", nil},
		{"a name with a space", post + "X Api Key: " + clientSecret + "\r\n\r\n", nil},
		{"a line without a name", post + ": Bearer " + clientSecret + "\r\n\r\n", nil},
		{"a space before the first field", "POST /v1 HTTP/1.1\r\n X-A: a\r\nHost: HOST\r\n\r\n", nil},
		{"no Host", "GET /v1 HTTP/1.1\r\n\r\n", nil},
		{"two Hosts", get + "Host: other.example\r\n\r\n", nil},
		{"a Host with a path", "GET /v1 HTTP/1.1\r\nHost: HOST/../x\r\n\r\n", nil},
		{"another version goes out as ours", "GET /v1 HTTP/1.2\r\nHost: HOST\r\n\r\n", []string{"GET /v1", "GET /last"}},
		{"a tab in the request line", "GET\t/v1\tHTTP/1.1\r\nHost: HOST\r\n\r\n", nil},
		{"a line break in the target", "GET /v1\r\nX-Api-Key: " + clientSecret + " HTTP/1.1\r\nHost: HOST\r\n\r\n", nil},
		{"an escaped line break in the target stays escaped", "GET /v1%0d%0aX-Api-Key:%20a?q=%0d%0aX-B:%20b" + head + "\r\n",
			[]string{"GET /v1%0d%0aX-Api-Key:%20a?q=%0d%0aX-B:%20b", "GET /last"}},
		{"slashes stay as they are", "GET //v1%2f..%2Fx//" + head + "\r\n", []string{"GET //v1%2f..%2Fx//", "GET /last"}},
		{"an absolute target goes where the site sends it", "GET http://u:p@HOST/v1" + head + "\r\n", []string{"GET /v1", "GET /last"}},
		{"an absolute target on another host is no site's", "GET http://other.example/v1" + head + "\r\n", []string{"GET /last"}},
		{"line breaks in the model", post + "Content-Type: application/json\r\n" + length(`{"model":"a\r\nX-Api-Key: b"}`) + "\r\n" + `{"model":"a\r\nX-Api-Key: b"}`, one},
		{"an escaped line break in the path's model", "POST /v1/models/a%0d%0aX-Api-Key:%20b:run" + head + "Content-Length: 0\r\n\r\n",
			[]string{"POST /v1/models/a%0d%0aX-Api-Key:%20b:run", "GET /last"}},
		{"an expectation is met or refused, not passed on", get + "Expect: 100-continue\r\n\r\n", []string{"GET /v1", "GET /last"}},
		{"an expectation nobody knows", get + "Expect: " + clientSecret + "\r\n\r\n", nil},
		{"an upgrade to HTTP/2 loses what it needs", get + "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: " + clientSecret + "\r\n\r\n", []string{"GET /v1", "GET /last"}},
		{"HTTP/2 without asking", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", nil},
		{"CONNECT", "CONNECT HOST HTTP/1.1\r\nHost: HOST\r\n\r\n", []string{"GET /last"}},
		{"CONNECT in lower case", "connect / HTTP/1.1\r\nHost: HOST\r\n\r\n", []string{"GET /last"}},
		{"TRACE", "TRACE /v1" + head + "\r\n", []string{"GET /last"}},
		{"trace", "tRaCe /v1" + head + "\r\n", []string{"GET /last"}},
		{"TRACK", "TRACK /v1" + head + "\r\n", []string{"GET /last"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			tap.take()
			statuses := g.say(t, test.raw)
			var got []string
			for _, raw := range tap.take() {
				if line := checkWire(t, raw, "authorization"); !unfinished(raw) {
					got = append(got, line)
				}
				if strings.Contains(strings.ToLower(raw), "\r\nx-b:") || strings.Contains(raw, "\rX-") {
					t.Errorf("a header was injected: %q", raw)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("the upstream got %q, want %q; answers %d", got, test.want, statuses)
			}
		})
	}
	checkLog(t, g.log())
}

// unfinished tells whether a request ends before its last chunk: its client's body
// broke off, and the connection was closed. It is none that an upstream would take.
func unfinished(raw string) bool {
	head, body, _ := strings.Cut(raw, "\r\n\r\n")
	return strings.Contains(head, "Transfer-Encoding: chunked") && !strings.HasSuffix(body, "0\r\n\r\n")
}

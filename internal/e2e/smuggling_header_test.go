package e2e

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// Whatever a client writes into its header: the upstream gets one key of the pool's
// in the one header, nothing of the client's credentials, and what else there is.
func TestSmuggledHeaders(t *testing.T) {
	for _, way := range []struct{ options, carrier string }{
		{"", "authorization"},
		{"provider anthropic", "x-api-key"},
		{"provider gemini", "x-goog-api-key"},
		{"provider azure", "api-key"},
		{"auth header X-Own Token", "x-own"},
	} {
		t.Run(way.carrier, func(t *testing.T) {
			tap := startWiretap(t, fineAnswer)
			g := newGateway(t)
			g.format = live.LogFilter(t)
			if way.carrier == "x-own" {
				g.format = strings.Replace(g.format, "request>headers>Authorization", "request>headers>X-Own delete\nrequest>headers>Authorization", 1)
			}
			for i := range 3 {
				t.Setenv(fmt.Sprint("DEMO_KEY_", i), fmt.Sprint(poolSecret, i))
			}
			g.start(fmt.Sprintf("keycycler {\nkeys {env.DEMO_KEY_0} {env.DEMO_KEY_1} {env.DEMO_KEY_2}\n%s\n}\n"+
				"reverse_proxy %s {\ntransport http {\nkeepalive off\n}\n}", way.options, tap.URL))
			for _, test := range smuggledHeaders {
				t.Run(test.name, func(t *testing.T) {
					tap.take()
					target, fields := "/v1", test.fields
					if test.target != "" {
						target = test.target
					}
					fields = strings.ReplaceAll(fields, "CARRIER", way.carrier)
					statuses := g.say(t, "GET "+target+" HTTP/1.1\r\nHost: HOST\r\n"+fields+"\r\n")
					calls := tap.take()
					if len(calls) != 2 || !slices.Equal(statuses, []int{200, 200}) {
						t.Fatalf("%d calls, answers %d", len(calls), statuses)
					}
					for _, raw := range calls {
						checkWire(t, raw, way.carrier)
					}
					for _, wanted := range test.kept {
						if !strings.Contains(calls[0], wanted) {
							t.Errorf("no %q in %q", wanted, calls[0])
						}
					}
					for _, unwanted := range test.gone {
						if strings.Contains(strings.ToLower(calls[0]), unwanted) {
							t.Errorf("%q in %q", unwanted, calls[0])
						}
					}
				})
			}
			checkLog(t, g.log())
		})
	}
}

// smuggledHeaders are header lines and targets that clients send. CARRIER stands for
// the header in which the pool's key travels.
var smuggledHeaders = []struct {
	name, target, fields string
	kept, gone           []string // parts of what the upstream gets, and of what it does not get, in lower case
}{
	{name: "credentials of every kind, several times", fields: credentialLines("", "-")},
	{name: "in capitals", fields: strings.ToUpper(credentialLines("", "-"))},
	{name: "with underscores, which some take for dashes", fields: credentialLines("", "_"), gone: []string{"x_"}},
	{name: "with one underscore and one dash", fields: "X-Api_Key: " + clientSecret + "\r\nX_Goog-Api_Key: " + clientSecret + "\r\n"},
	{name: "the carrier again", fields: "CARRIER: " + clientSecret + "\r\nCARRIER: Bearer " + clientSecret + "\r\n"},
	{name: "folded credentials", fields: "CARRIER:\r\n\t" + clientSecret + "\r\n"},
	{name: "a Connection that names the carrier", fields: "Connection: CARRIER\r\n"},
	{name: "in capitals, among others, over several lines", fields: "connection: X-A, AUTHORIZATION,x-aPI-kEY\r\nConnection: api-key ,\tX-Goog-Api-Key, X-Own,,\r\nX-A: dropped\r\n", gone: []string{"dropped"}},
	{name: "Keep-Alive and Proxy-Connection that name it", fields: "Keep-Alive: CARRIER\r\nProxy-Connection: CARRIER\r\n", gone: []string{"keep-alive", "proxy-connection"}},
	{name: "credentials for a proxy", fields: "Proxy-Authorization: Bearer " + clientSecret + "\r\n"},
	{name: "where the request comes from is for Caddy to say", fields: "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: gopher\r\n", gone: []string{"6.6.6.6", "evil.example", "gopher"}},
	{name: "what is no credential passes", fields: "Cookie: a=b\r\nForwarded: for=6.6.6.6\r\nVia: 1.1 client\r\n", kept: []string{"Cookie: a=b", "for=6.6.6.6", "Via: 1.1 client"}},
	{name: "what ties a key to an account", fields: "OpenAI-Organization: org-9\r\nOPENAI_PROJECT: proj-9\r\nX-Goog-User-Project: p-9\r\nanthropic-workspace-id: w-9\r\n", gone: []string{"org-9", "proj-9", "p-9", "w-9"}},
	{name: "keys among websocket protocols", fields: "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: realtime,OpenAI-Insecure-API-Key." + clientSecret + "\r\nSec-WebSocket-Protocol: \topenai-insecure-api-key." + clientSecret + " ,x\r\n", kept: []string{"realtime, x"}},
	{name: "a key in the query", target: "/v1?key=" + clientSecret + "&a=1", kept: []string{"/v1?a=1 "}},
	{name: "in every spelling", target: "/v1?%6bey=" + clientSecret + "&k%65%79=" + clientSecret + "&%24key=" + clientSecret + "&%61ccess%5ftoken=" + clientSecret + "&a=1", kept: []string{"/v1?a=1 "}},
	{name: "behind a semicolon", target: "/v1?b=2;key=" + clientSecret + "&a=1;%6bey=" + clientSecret + ";c=3", kept: []string{"/v1?b=2&a=1;c=3 "}},
	{name: "without a name, or twice a sign", target: "/v1?key&key==" + clientSecret + "&=x&&", kept: []string{"/v1?=x&& "}},
	{name: "trailers without chunks are none", fields: "Trailer: X-Api-Key\r\n", gone: []string{"x-api-key: sk-client"}},
}

// credentialLines are all carriers with the client's credentials, with that sign for
// dashes.
func credentialLines(prefix, dash string) string {
	var lines strings.Builder
	for range 2 {
		for _, name := range carriers {
			fmt.Fprintf(&lines, "%s%s: %s\r\n", prefix, strings.ReplaceAll(name, "-", dash), clientSecret)
		}
	}
	return lines.String()
}

// Trailers of the client's pass, those of credentials and framing do not, announced
// or not.
func TestSmuggledTrailers(t *testing.T) {
	tap := startWiretap(t, fineAnswer)
	g := startTapped(t, tap, "auth header X-Own")
	const trailers = "X-Sum: 42\r\nX-Own: " + clientSecret + "\r\nAuthorization: Bearer " + clientSecret + "\r\nX_Api_Key: " + clientSecret +
		"\r\nContent-Length: 7\r\nHost: evil.example\r\nOpenAI-Organization: org-9\r\n\r\n"
	for name, announced := range map[string]string{
		"one is announced":       "Trailer: X-Sum\r\n",
		"more are announced":     "Trailer: X-Sum, X-Own, Authorization, X_Api_Key, OpenAI-Organization\r\n",
		"none is announced":      "",
		"what must not be, also": "Trailer: X-Sum\r\nTE: trailers\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			tap.take()
			raw := "POST /v1 HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n" + announced + "\r\n2\r\nok\r\n0\r\n" + trailers
			if statuses := g.say(t, raw); !slices.Equal(statuses, []int{200, 200}) {
				t.Fatalf("answers %d", statuses)
			}
			calls := tap.take()
			checkWire(t, calls[0], "x-own")
			if passed := strings.Contains(calls[0], "X-Sum: 42"); passed != (announced != "") {
				t.Errorf("the trailer passed: %t, in %q", passed, calls[0])
			}
			for _, unwanted := range []string{"evil.example", "Content-Length", "org-9"} {
				if strings.Contains(calls[0], unwanted) {
					t.Errorf("%q in %q", unwanted, calls[0])
				}
			}
		})
	}
	t.Run("framing that is announced is refused", func(t *testing.T) {
		tap.take()
		g.say(t, "POST /v1 HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n2\r\nok\r\n0\r\nContent-Length: 7\r\n\r\n")
		if calls := tap.take(); len(calls) > 0 {
			t.Errorf("the upstream got %q", calls)
		}
	})
}

// The same in HTTP/2 and HTTP/3, whose servers read the header by other rules.
func TestSmuggledHeadersOfNewerProtocols(t *testing.T) {
	tap := startWiretap(t, fineAnswer)
	g := startTapped(t, tap, "")
	for name, target := range g.protocolClients() {
		t.Run(name, func(t *testing.T) {
			tap.take()
			r := live.Request(t, http.MethodPost, target.url+"/v1?k%65y="+clientSecret, "")
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("ok")), -1
			r.Header = http.Header{"Authorization": {clientSecret, clientSecret}, "X_api_key": {clientSecret}, "X-Goog-Api-Key": {clientSecret}, "Cookie": {"a=b"}}
			r.Trailer = http.Header{"X-Sum": {"42"}, "X-Api-Key": {clientSecret}}
			if res, _ := live.Do(t, target.client, r); res.StatusCode != http.StatusOK {
				t.Fatal(res.Status)
			}
			for _, raw := range tap.take() {
				if got := checkWire(t, raw, "authorization"); got != "POST /v1" || !strings.Contains(raw, "Cookie: a=b") {
					t.Errorf("%q", raw)
				}
			}
			for _, method := range []string{"TRACE", "trace", "TRACK", "CONNECT"} {
				res, err := target.client.Do(live.Request(t, method, target.url+"/v1", ""))
				if err == nil {
					res.Body.Close()
				}
				if calls := tap.take(); len(calls) > 0 {
					t.Errorf("%s reached the upstream: %q", method, calls)
				}
			}
		})
	}
	checkLog(t, g.log())
}

// What no client library sends over HTTP/2.
func TestSmuggledFrames(t *testing.T) {
	tap := startWiretap(t, fineAnswer)
	g := startTapped(t, tap, "")
	authority := strings.TrimPrefix(g.secure, "https://")
	base := []string{":method", "GET", ":scheme", "https", ":authority", authority, ":path", "/v1"}
	for _, test := range []struct {
		name   string
		fields []string
		passes bool
	}{
		{"nothing odd", base, true},
		{"a Connection header", append(slices.Clone(base), "connection", "authorization"), false},
		{"a coding", append(slices.Clone(base), "transfer-encoding", "chunked"), false},
		{"a name in capitals", append(slices.Clone(base), "X-Api-Key", clientSecret), false},
		{"a line break in a value", append(slices.Clone(base), "x-a", "a\r\nx-api-key: "+clientSecret), false},
		{"a line break in a name", append(slices.Clone(base), "x-a: a\r\nx-api-key", clientSecret), false},
		{"a line break in the path", []string{":method", "GET", ":scheme", "https", ":authority", authority, ":path", "/v1 HTTP/1.1\r\nX-Api-Key: " + clientSecret}, false},
		{"a space in the method", []string{":method", "GET /smuggled HTTP/1.1\r\nX-A:", ":scheme", "https", ":authority", authority, ":path", "/v1"}, false},
		{"a Host that differs", append(slices.Clone(base), "host", "evil.example"), false},
		{"credentials", append(slices.Clone(base), "authorization", clientSecret, "authorization", clientSecret, "x_api_key", clientSecret), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			tap.take()
			conn, err := live.DialTLS(g.secure, "h2")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, http2.ClientPreface)
			framer := http2.NewFramer(conn, conn)
			framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
			framer.WriteSettings()
			framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, EndHeaders: true, BlockFragment: encodeHeaders(test.fields...)})
			passed := false
			for {
				frame, err := framer.ReadFrame()
				if err != nil || frame.Header().Type == http2.FrameRSTStream || frame.Header().Type == http2.FrameGoAway {
					break
				}
				if headers, ok := frame.(*http2.MetaHeadersFrame); ok {
					passed = headers.PseudoValue("status") == "200"
					break
				}
			}
			calls := tap.take()
			if passed != test.passes || test.passes != (len(calls) == 1) {
				t.Errorf("passed: %t, the upstream got %q", passed, calls)
			}
			for _, raw := range calls {
				checkWire(t, raw, "authorization")
			}
		})
	}
	checkLog(t, g.log())
}

package upstream_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"golang.org/x/net/http2"

	"github.com/keycycler/keycycler/internal/testkit/live"
	"github.com/keycycler/keycycler/internal/upstream"
)

// request reads a request of HTTP/1, with its body.
func request(conn net.Conn) {
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err == nil {
		io.Copy(io.Discard, r.Body)
	}
}

// answers returns what answers requests with this text.
func answers(text string) func(net.Conn) {
	return func(conn net.Conn) {
		request(conn)
		io.WriteString(conn, text)
		conn.Close()
	}
}

// frames returns what answers each request of HTTP/2 without TLS by frames.
func frames(answer func(f *http2.Framer, stream uint32)) func(net.Conn) {
	return func(conn net.Conn) {
		defer conn.Close()
		if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(conn, conn)
		f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if data, ok := frame.(*http2.DataFrame); ok && data.StreamEnded() {
				answer(f, data.StreamID)
			}
		}
	}
}

// certificate writes one for localhost, valid until then, which trusts itself.
func certificate(t *testing.T, until time.Time) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: until.Add(-2 * time.Hour), NotAfter: until, DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, path
}

// secure serves with TLS.
func secure(c tls.Certificate, serve func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		serve(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{c}}))
	}
}

// proxy sends a request through a reverse_proxy, and returns its error.
func proxy(t *testing.T, dial, transport, more string, r *http.Request, watch *upstream.Watch) error {
	t.Helper()
	ctx, err := caddy.ProvisionContext(new(caddy.Config))
	if err != nil {
		t.Fatal(err)
	}
	h := new(reverseproxy.Handler)
	upstreams := fmt.Sprintf(`{"dial":%q}`, dial)
	if dial == "" {
		upstreams = ""
	}
	config := fmt.Sprintf(`{"transport":{"protocol":"http"%s},"upstreams":[%s]%s}`, transport, upstreams, more)
	if err := caddy.StrictUnmarshalJSON([]byte(config), h); err != nil {
		t.Fatal(err)
	}
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	defer h.Cleanup()
	if watch != nil {
		r = r.WithContext(watch.In(r.Context(), nil))
	}
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server))
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "192.0.2.1")
	caddyhttp.SetVar(r.Context(), caddyhttp.TrustedProxyVarKey, false)
	return h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil }))
}

// Errors of the connection are told apart, whether or not somebody has watched it.
func TestFaultsOfConnections(t *testing.T) {
	refusing := "127.0.0.1:" + live.FreePort(t)
	good, goodCA := certificate(t, time.Now().Add(time.Hour))
	expired, expiredCA := certificate(t, time.Now().Add(-time.Hour))
	trustingFor := func(ca string, handshake time.Duration) string {
		return fmt.Sprintf(`,"tls":{"server_name":"localhost","handshake_timeout":%q,"ca":{"provider":"file","pem_files":[%q]}}`, handshake, ca)
	}
	trusting := func(ca string) string { return trustingFor(ca, live.Patience) }
	hang := func(c net.Conn) { io.Copy(io.Discard, c) }
	const (
		none, connect, timeout = upstream.None, upstream.Connect, upstream.Timeout
		reset, unavailable     = upstream.Reset, upstream.Unavailable
		h2c                    = `,"versions":["h2c"]`
		quick                  = `,"response_header_timeout":"100ms"`
	)
	for _, test := range []struct {
		name            string
		dial            string
		transport, more string
		want, unseen    upstream.Fault
		status          int
	}{
		{"it refuses connections", refusing, "", "", connect, connect, 0},
		{"the connection takes too long", "127.0.0.1:1", `,"dial_timeout":"1ns"`, "", connect, connect, 0},
		{"it has no such socket", "unix//nowhere/at.sock", "", "", connect, connect, 0},
		{"its certificate has expired", live.Accept(t, secure(expired, request)), trusting(expiredCA), "", connect, connect, 0},
		{"its certificate is unknown", live.Accept(t, secure(good, request)), trusting(expiredCA), "", connect, connect, 0},
		{"it speaks plain HTTP where TLS is wanted", live.Accept(t, answers("HTTP/1.1 400 Bad Request\r\n\r\n")), trusting(goodCA), "", connect, connect, 0},
		{"it speaks something else", live.Accept(t, answers("220 mail.example.com ESMTP\r\n")), trusting(goodCA), "", connect, connect, 0},
		{"it hangs in the handshake", live.Accept(t, hang), trustingFor(goodCA, 100*time.Millisecond), "", connect, connect, 0},
		// That the connection broke in the handshake shows no error.
		{"it closes in the handshake", live.Accept(t, func(c net.Conn) { c.Close() }), trusting(goodCA), "", connect, reset, 0},
		{"the handshake is fine, and it closes", live.Accept(t, secure(good, answers(""))), trusting(goodCA), "", reset, reset, 0},
		{"it closes", live.Accept(t, answers("")), "", "", reset, reset, 0},
		{"it resets", live.Accept(t, func(c net.Conn) { request(c); c.(*net.TCPConn).SetLinger(0); c.Close() }), "", "", reset, reset, 0},
		{"it closes within the header", live.Accept(t, answers("HTTP/1.1 200 OK\r\nContent-Le")), "", "", reset, reset, 0},
		{"it answers something else", live.Accept(t, answers("220 mail.example.com ESMTP\r\n")), "", "", reset, reset, 0},
		{"its header is none", live.Accept(t, answers("HTTP/1.1 200 OK\r\nno header\r\n\r\n")), "", "", reset, reset, 0},
		{"it hangs", live.Accept(t, hang), quick, "", timeout, timeout, 0},
		{"it hangs with TLS", live.Accept(t, secure(good, hang)), quick + trusting(goodCA), "", timeout, timeout, 0},
		{"no upstream is healthy", "", "", "", connect, connect, 503},
		{"it answers with 503, and reverse_proxy gives up", live.Accept(t, answers("HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")), "",
			`,"request_buffers":100,"load_balancing":{"retries":1,"retry_match":[{"expression":"{http.reverse_proxy.status_code} >= 429"}]}`, unavailable, unavailable, 503},
		{"… with 429", live.Accept(t, answers("HTTP/1.1 429 Slow\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")), "",
			`,"request_buffers":100,"load_balancing":{"retries":1,"retry_match":[{"expression":"{http.reverse_proxy.status_code} >= 429"}]}`, none, none, 429},
		{"a stream of HTTP/2 is refused", live.Accept(t, frames(func(f *http2.Framer, id uint32) { f.WriteRSTStream(id, http2.ErrCodeRefusedStream) })), h2c, "", connect, connect, 0},
		{"one is reset", live.Accept(t, frames(func(f *http2.Framer, id uint32) { f.WriteRSTStream(id, http2.ErrCodeInternal) })), h2c, "", reset, reset, 0},
		{"a connection of HTTP/2 goes away before the stream", live.Accept(t, frames(func(f *http2.Framer, id uint32) { f.WriteGoAway(0, http2.ErrCodeNo, nil) })), h2c, "", connect, connect, 0},
		{"… with an error, and the stream", live.Accept(t, frames(func(f *http2.Framer, id uint32) { f.WriteGoAway(id, http2.ErrCodeInternal, nil) })), h2c + quick, "", timeout, timeout, 0},
		{"it hangs with HTTP/2", live.Accept(t, frames(func(*http2.Framer, uint32) {})), h2c + quick, "", timeout, timeout, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, watch := range []*upstream.Watch{new(upstream.Watch), nil} {
				want := test.want
				if watch == nil {
					want = test.unseen
				}
				err := proxy(t, test.dial, test.transport, test.more, httptest.NewRequest("POST", "/", strings.NewReader("the body")), watch)
				if f, status := upstream.FaultOf(err, watch.Reach()); f != want || status != test.status || err == nil {
					t.Errorf("watched %t: %q %d, want %q %d: %v", watch != nil, f, status, want, test.status, err)
				}
			}
		})
	}
}

// What others have done is no fault of the upstream.
func TestFaultsOfOthers(t *testing.T) {
	address := live.Accept(t, answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	short := httptest.NewRequest("POST", "/", strings.NewReader("the body"))
	short.ContentLength = 100
	large := httptest.NewRequest("POST", "/", nil)
	large.Body, large.ContentLength = http.MaxBytesReader(nil, io.NopCloser(strings.NewReader("the body")), 3), -1
	for name, r := range map[string]*http.Request{"a body that is too short": short, "one that is too large": large} {
		watch := new(upstream.Watch)
		err := proxy(t, address, "", "", r, watch)
		if f, _ := upstream.FaultOf(err, watch.Reach()); f != upstream.None || err == nil {
			t.Errorf("%s: %q for %v", name, f, err)
		}
	}
	for name, err := range map[string]error{
		"nothing":                      nil,
		"a plain error":                io.ErrUnexpectedEOF,
		"another handler's":            caddyhttp.Error(502, io.EOF),
		"a directive's":                caddyhttp.Error(503, errors.New("closed for today")),
		"one that looks like a dial's": caddyhttp.Error(502, &net.OpError{Op: "dial", Err: errors.New("refused")}),
	} {
		for _, reach := range []upstream.Reach{upstream.Unseen, upstream.Untried, upstream.Dialing, upstream.Connected} {
			if f, status := upstream.FaultOf(err, reach); f != upstream.None || status != 0 {
				t.Errorf("%s: %q %d", name, f, status)
			}
		}
	}
}

func TestFaultsOfAnswers(t *testing.T) {
	for status, want := range map[int]upstream.Fault{
		200: upstream.None, 429: upstream.None, 500: upstream.None, 501: upstream.None, 505: upstream.None, 529: upstream.None,
		502: upstream.Unavailable, 503: upstream.Unavailable, 504: upstream.Unavailable,
	} {
		if f := upstream.FaultOfStatus(status); f != want {
			t.Errorf("%d is %q, want %q", status, f, want)
		}
	}
}

package live

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// DialLoopback goes to 127.0.0.1, where the tests' sites are bound.
func DialLoopback(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
}

// SitePort is FreePort for an HTTPS site, which listens for HTTP/3 at the same number. FreePort
// knows nothing of UDP, where a client's socket may have it.
func SitePort(t testing.TB) string {
	t.Helper()
	for range 100 {
		port := FreePort(t)
		if conn, err := net.ListenPacket("udp", "127.0.0.1:"+port); err == nil {
			conn.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return ""
}

// Do sends r and reads the answer.
func Do(t testing.TB, client *http.Client, r *http.Request) (*http.Response, []byte) {
	t.Helper()
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, body
}

// Request returns one, whose body is text.
func Request(t testing.TB, method, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// DialTLS opens a connection to the HTTPS site at this URL that speaks one of the
// protocols.
func DialTLS(url string, protocols ...string) (net.Conn, error) {
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(url, "https://"))
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: Patience}, "tcp", "127.0.0.1:"+port, &tls.Config{
		ServerName: "localhost", InsecureSkipVerify: true, NextProtos: protocols,
	})
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(Patience))
}

// Waiting returns how many requests wait, as the metrics at that address say.
func Waiting(t *testing.T, url string) (all int) {
	t.Helper()
	res, err := http.Get(url + "/metrics")
	if err != nil {
		return -1 // the admin API changes its listener at a reload
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if name, value, _ := strings.Cut(lines.Text(), "} "); strings.HasPrefix(name, "caddy_keycycler_waiting_requests{") {
			n, _ := strconv.Atoi(value)
			all += n
		}
	}
	return all
}

// Handshake is a websocket's, over HTTP/1.1.
const Handshake = "GET /v1/realtime HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" +
	"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-client-demo\r\n\r\n"

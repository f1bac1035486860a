package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// A client of HTTP/1.1 that leaves is noticed whatever it has sent of its body, and
// whoever else has read it.
func TestWhoLeavesIsNoticedByItsConnection(t *testing.T) {
	const head = "POST /v1/x HTTP/1.1\r\nHost: %HOST%\r\nContent-Length: 110000\r\n"
	// The system takes what is not read.
	most, rest := strings.Repeat("x", 90_000), strings.Repeat("x", 20_000)
	for _, row := range []struct{ what, sent, protocols string }{
		{"nothing of the body, which it was not asked for", head + "Expect: 100-continue\r\n\r\n", "h1 h2"},
		{"more of it than is kept", head + "\r\n" + most, "h1 h2"},
		{"all of it, and that is more", head + "\r\n" + most + rest, "h1 h2"},
		{"the same to a server that speaks HTTP/1.1 alone", head + "\r\n" + most, "h1"},
	} {
		t.Run(row.what, func(t *testing.T) {
			upstream := live.LimitedOnce(t)
			g := newGateway(t)
			g.global = "servers {\nprotocols " + row.protocols + "\n}"
			g.start(fmt.Sprintf("metrics /metrics\nkeycycler {\nkeys sk-demo-1\nmax_wait 10m\nreplay {\nmemory 64KiB\ndisk 64KiB\n}\n}\nreverse_proxy %s", upstream.URL))
			plain := func() (net.Conn, error) { return net.Dial("tcp", strings.TrimPrefix(g.plain, "http://")) }
			secure := func() (net.Conn, error) { return live.DialTLS(g.secure, "http/1.1") }
			send := func(dial func() (net.Conn, error), text string) net.Conn {
				conn, err := dial()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
				host := "localhost"
				if _, secure := conn.(*tls.Conn); !secure {
					host = "127.0.0.1"
				}
				go io.WriteString(conn, strings.Replace(text, "%HOST%", host, 1)) // it may be cut off
				return conn
			}
			waits := func(want int) {
				t.Helper()
				live.Eventually(t, fmt.Sprintf("%d wait", want), func() bool { return live.Waiting(t, g.plain) == want })
			}
			first := send(plain, "GET / HTTP/1.1\r\nHost: %HOST%\r\n\r\n") // meets the limit
			waits(1)
			for _, dial := range []func() (net.Conn, error){plain, secure} {
				conn := send(dial, row.sent)
				waits(2)
				conn.Close()
				waits(1)
			}
			first.Close()
			waits(0)
			if n := len(g.logged("key is cooling")); n != 1 || len(upstream.Seen()) != 1 {
				t.Errorf("%d calls, %d cooldowns", len(upstream.Seen()), n)
			}
		})
	}
}

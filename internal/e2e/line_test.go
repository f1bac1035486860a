package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
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

const bobsToken = "demo-token-of-bob-02"

// A client's batch waits for keys, over connections of its own; another client's request that
// comes later has the next key, and then the batch goes on.
func TestClientsWaitInTurn(t *testing.T) {
	const keys, batch = 3, 30
	came, end := make(chan string, batch+2), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		came <- r.Header.Get("X-Who")
		<-end
	}))
	defer live.CloseServer(t, upstream)
	release := sync.OnceFunc(func() { close(end) })
	defer release()
	g := startGateway(t, fmt.Sprintf(`metrics /metrics
		keycycler {
			keys %s
			client_tokens batch:%s chat:%s
			max_wait 10m
			limit {
				concurrency 1
			}
		}
		reverse_proxy %s`, demoKeys(keys), adasToken, bobsToken, upstream.URL))
	client := live.Patient(&http.Transport{MaxConnsPerHost: 0})
	var served sync.WaitGroup
	ask := func(who, token string) {
		served.Go(func() {
			r := live.Request(t, http.MethodPost, g.plain+"/v1/x", `{}`)
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("X-Who", who)
			res, err := client.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Errorf("%s got %d", who, res.StatusCode)
			}
		})
	}
	for range batch {
		ask("batch", adasToken)
	}
	for range keys {
		live.Receive(t, "the first of the batch", came)
	}
	waiting := batch - keys
	for i, who := range []string{"batch", "chat", "batch", "chat"} {
		if who == "chat" {
			ask("chat", bobsToken)
			waiting++
		}
		live.Eventually(t, fmt.Sprintf("%d wait", waiting), func() bool { return live.Waiting(t, g.plain) == waiting })
		end <- struct{}{} // one of those under way
		waiting--
		if got := live.Receive(t, "who is next", came); got != who {
			t.Errorf("number %d was of the %s, want the %s", i+1, got, who)
		}
	}
	release()
	served.Wait()
}

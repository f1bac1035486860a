package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// limitedOnce starts an upstream whose first call meets a limit: whoever comes then
// waits.
func limitedOnce(t *testing.T) *provider {
	t.Helper()
	upstream := startProvider(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	upstream.limitFirst(1)
	return upstream
}

// waiting returns how many requests wait, as the metrics at that address say.
func waiting(t *testing.T, url string) (all int) {
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
			upstream := limitedOnce(t)
			g := newGateway(t)
			g.global = "servers {\nprotocols " + row.protocols + "\n}"
			g.start(fmt.Sprintf("metrics /metrics\nkeycycler {\nkeys sk-demo-1\nmax_wait 10m\nreplay {\nmemory 64KiB\ndisk 64KiB\n}\n}\nreverse_proxy %s", upstream.URL))
			plain := func() (net.Conn, error) { return net.Dial("tcp", strings.TrimPrefix(g.plain, "http://")) }
			secure := func() (net.Conn, error) { return dialTLS(g, "http/1.1") }
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
				eventually(t, fmt.Sprintf("%d wait", want), func() bool { return waiting(t, g.plain) == want })
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
			if n := len(g.logged("key is cooling")); n != 1 || len(upstream.seen()) != 1 {
				t.Errorf("%d calls, %d cooldowns", len(upstream.seen()), n)
			}
		})
	}
}

// A request in the line is answered when the process stops, also one that waits since
// before a reload.
func TestWhoWaitsIsAnsweredWhenTheProcessStops(t *testing.T) {
	upstream := limitedOnce(t)
	n := startNode(t, nodeConfig{name: "a", keys: 1, state: "memory", upstream: upstream.URL})
	config := func(comment string) string {
		return fmt.Sprintf(`{
			admin %s
			grace_period 1m
			log {
				level DEBUG
			}
		}
		%s {
			bind 127.0.0.1
			respond /comment %q
			keycycler {
				keys {env.KEY_0}
				max_wait 10m
				replay {
					memory 64KiB
					disk 64KiB
				}
			}
			reverse_proxy %s
		}`, strings.TrimPrefix(n.admin, "http://"), n.url, comment, upstream.URL)
	}
	answers := make(chan string, 10)
	ask := func(sent string) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(n.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		go io.WriteString(conn, strings.Replace(sent, "%HOST%", "127.0.0.1", 1))
		go func() {
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				answers <- err.Error()
				return
			}
			body, _ := io.ReadAll(res.Body)
			answers <- fmt.Sprint(res.StatusCode, res.Close, res.Header.Get("Retry-After"), strings.Contains(string(body), `"code":"service_unavailable"`))
		}()
	}
	waits := func(want int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d wait", want), func() bool { return waiting(t, n.admin) == want })
	}
	n.post(config("first"))
	ask("GET / HTTP/1.1\r\nHost: %HOST%\r\n\r\n")
	waits(1)
	n.post(config("second"))
	sent := []string{
		"GET / HTTP/1.1\r\nHost: %HOST%\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: %HOST%\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: %HOST%\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 300_000),
	}
	for i, s := range sent {
		ask(s)
		waits(i + 1)
	}
	began := time.Now()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for range len(sent) + 1 {
		select {
		case got := <-answers:
			if got != "503 true1true" {
				t.Errorf("who waited got %s", got)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("who waited got no answer")
		}
	}
	n.stop()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

//go:build unix

package nodes

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// A request in the line is answered when the process stops, also one that waits since
// before a reload.
func TestWhoWaitsIsAnsweredWhenTheProcessStops(t *testing.T) {
	t.Parallel()
	upstream := live.LimitedOnce(t)
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
		live.Eventually(t, fmt.Sprintf("%d wait", want), func() bool { return live.Waiting(t, n.admin) == want })
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

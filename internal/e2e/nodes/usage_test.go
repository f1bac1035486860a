//go:build unix

package nodes

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// startCounting is an upstream whose answers say what they have used.
func startCounting(t testing.TB) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"usage":{"prompt_tokens":10,"completion_tokens":4}}`)
	}))
	t.Cleanup(func() { live.CloseServer(t, s) })
	return s
}

// usesOf is what the node tells of the last month of a client, a model or a key.
func (n *node) usesOf(by, name string) (answers, output int64) {
	n.t.Helper()
	var all []struct {
		Name  string
		Month struct{ Answers, Output int64 }
	}
	n.api("GET", "pools/main/usage?by="+by, "", &all)
	for _, u := range all {
		if u.Name == name {
			return u.Month.Answers, u.Month.Output
		}
	}
	return 0, 0
}

// chat sends so many requests.
func (n *node) chat(times int) {
	n.t.Helper()
	for range times {
		r := live.Request(n.t, http.MethodPost, n.url+"/v1/chat/completions", `{"model":"demo"}`)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer token-of-ada-1234")
		if res, _ := live.Do(n.t, http.DefaultClient, r); res.StatusCode != http.StatusOK {
			n.t.Fatalf("status %d", res.StatusCode)
		}
	}
}

// tell waits until all nodes tell that so many answers were used, by whatever name.
func tell(t *testing.T, when string, want int64, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		for by, name := range map[string]string{"client": "ada", "model": "demo", "key": idOf(0)} {
			live.Eventually(t, when+" node "+n.config.name+" tells by "+by+" what all have used", func() bool {
				answers, output := n.usesOf(by, name)
				if answers > want {
					t.Fatalf("%s node %s tells of %d answers by %s, of %d", when, n.config.name, answers, by, want)
				}
				return answers == want && output == 4*want
			})
		}
	}
}

// All nodes tell what all have used: after one was killed and started again, after Redis has
// lost everything, and after all were stopped and started again.
func TestNodesKeepUsage(t *testing.T) {
	t.Parallel()
	redis, upstream := startRedis(t), startCounting(t)
	config := func(name string) nodeConfig {
		return nodeConfig{name: name, keys: 1, state: "redis " + redis.Addr(), upstream: upstream.URL, options: "client_tokens ada:token-of-ada-1234"}
	}
	a, b := startNode(t, config("a")), startNode(t, config("b"))
	a.chat(3)
	b.chat(5)
	tell(t, "at first", 8, a, b)

	b.kill()
	b = startNode(t, config("b again"))
	tell(t, "after one was killed", 8, a, b)
	b.chat(1)
	tell(t, "after that", 9, a, b)

	redis.Do("FLUSHALL")
	a.chat(1)
	tell(t, "after Redis was emptied", 10, startNode(t, config("c")), a, b)

	reloaded := a.config
	reloaded.options += "\nmax_attempts 3"
	a.reload(reloaded)
	a.chat(2)
	a.stop()
	b.chat(2)
	b.stop()
	tell(t, "after all were started again", 14, startNode(t, config("d")), startNode(t, config("e")))

	memory := config("f")
	memory.state = "memory"
	f := startNode(t, memory)
	f.chat(1)
	tell(t, "alone", 1, f)
	printed, _ := f.run("keycycler", "usage", "--address", strings.TrimPrefix(f.admin, "http://"))
	if !strings.Contains(printed, "ada") {
		t.Error(printed)
	}
}

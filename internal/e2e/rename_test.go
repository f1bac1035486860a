package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// namesakes are upstreams of which the first key's refuses each request, after it has read
// the body, and the second's serves it. They tell what they have got.
type namesakes struct {
	mu    sync.Mutex
	first string
}

func (n *namesakes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	size, err := io.Copy(sum, r.Body)
	stated := r.ContentLength < 0 || r.ContentLength == size
	got := fmt.Sprintf("%s %d %v %x %v %s", r.RequestURI, size, stated, sum.Sum(nil), err, r.Header.Get("Content-Digest"))
	n.mu.Lock()
	defer n.mu.Unlock()
	if strings.HasSuffix(r.Header.Get("Authorization"), "renamed") {
		n.first = got
		w.WriteHeader(http.StatusTeapot)
		return
	}
	fmt.Fprintln(w, n.first)
	fmt.Fprint(w, got)
}

// gotOf is what an upstream must have got.
func gotOf(path string, body []byte, digest string) string {
	return fmt.Sprintf("%s %d true %x <nil> %s", path, len(body), sha256.Sum256(body), digest)
}

// A regression would send a name of the model where it is not known, or a length that is
// not the body's, which breaks the connection.
func TestEachAttemptNamesTheModelOfItsKey(t *testing.T) {
	names := new(namesakes)
	plain := httptest.NewServer(names)
	t.Cleanup(plain.Close)
	http2 := httptest.NewUnstartedServer(names)
	http2.EnableHTTP2 = true
	http2.StartTLS()
	t.Cleanup(http2.Close)
	const pool = `route /%[1]s* {
		uri strip_prefix /%[1]s
		keycycler renames-%[1]s {
			keys sk-demo-%[1]s-renamed {
				model gpt-4o a-deployment-of-mine
			}
			keys sk-demo-%[1]s-2 {
				tier 2
			}
			on 418 retry
		}
		reverse_proxy %[2]s {
			transport http {
				tls_insecure_skip_verify
			}
		}
	}
	`
	g := startGateway(t, fmt.Sprintf(strings.Replace(pool, "tls_insecure_skip_verify", "", 1), "one", plain.URL)+fmt.Sprintf(pool, "two", http2.URL))
	for protocol, c := range g.protocolClients() {
		for _, upstream := range []string{"one", "two"} {
			for _, size := range []int{0, 1000, 60_000, 100_000, 1 << 20, 30 << 20} {
				for _, chunked := range []bool{false, true} {
					t.Run(fmt.Sprint(protocol, "/", upstream, "/", size, "/", chunked), func(t *testing.T) {
						sendsNames(t, c.client, c.url+"/"+upstream, size, chunked)
					})
				}
			}
		}
	}
}

func sendsNames(t *testing.T, client *http.Client, target string, size int, chunked bool) {
	const path, otherPath = "/openai/deployments/gpt-4o/chat?a=b", "/openai/deployments/a-deployment-of-mine/chat?a=b"
	body := []byte(`{"n":1,"model":"gpt\u002d4o","a":"` + strings.Repeat("gpt-4o, \\\"", size/10) + `"}`)
	other := bytes.Replace(body, []byte(`gpt\u002d4o`), []byte("a-deployment-of-mine"), 1)
	if size == 0 {
		body, other = nil, nil
	}
	r, err := http.NewRequest(http.MethodPost, target+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Content-Digest", "of-the-client")
	if chunked && size > 0 {
		r.Body, r.ContentLength = io.NopCloser(struct{ io.Reader }{bytes.NewReader(body)}), -1
	}
	digest := ""
	if size == 0 {
		digest = "of-the-client"
	}
	res, got := live.Do(t, client, r)
	want := gotOf(otherPath, other, digest) + "\n" + gotOf(path, body, "of-the-client")
	if res.StatusCode != http.StatusOK || string(got) != want {
		t.Errorf("%d, the upstreams got\n%s\nwant\n%s", res.StatusCode, got, want)
	}
}

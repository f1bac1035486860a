package e2e

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/live"
)

// talk sends a turn of a conversation and returns what the upstream got of it last.
func talk(t *testing.T, p *live.Provider, url, body string, header ...string) live.Attempt {
	t.Helper()
	r := live.Request(t, "POST", url+"/v1/chat/completions", body)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if res, answer := live.Do(t, http.DefaultClient, r); res.StatusCode != http.StatusOK {
		t.Fatalf("answered %d: %s", res.StatusCode, answer)
	}
	seen := p.Seen()
	return seen[len(seen)-1]
}

// Conversations keep their keys, whatever tells them apart. One whose key meets its limit
// moves, and a reload does not move it back. The placeholder shows a hash.
func TestSessionsThroughCaddy(t *testing.T) {
	p := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, "{}")
	})
	directives := func(attempts int) string {
		return fmt.Sprintf("keycycler {\n keys %s\n select session\n max_attempts %d\n}\nreverse_proxy %s {\n header_up X-Hash {http.keycycler.session}\n}",
			demoKeys(20), attempts, p.URL)
	}
	g := startGateway(t, directives(5))
	turn := func(c, n int) string {
		return fmt.Sprintf(`{"messages":[{"role":"user","content":"secret question %d"}%s]}`, c, strings.Repeat(`,{"role":"assistant","content":"no"}`, n))
	}
	used := make(map[string]bool)
	for c := range 12 {
		var keys []string
		for n := range 4 {
			for _, a := range []live.Attempt{
				talk(t, p, g.plain, turn(c, n)),
				talk(t, p, g.plain, testkit.Compress(t, "gzip", turn(c, 500*n)), "Content-Encoding", "gzip"),
			} {
				keys = append(keys, a.Key)
				if hash := a.Header.Get("X-Hash"); !regexp.MustCompile("^[0-9a-f]{16}$").MatchString(hash) {
					t.Errorf("the placeholder shows %q", hash)
				}
			}
		}
		slices.Sort(keys)
		if keys = slices.Compact(keys); len(keys) != 1 {
			t.Errorf("conversation %d went out with %v", c, keys)
		}
		used[keys[0]] = true
	}
	if len(used) < 3 {
		t.Errorf("12 conversations used %d of 20 keys", len(used))
	}

	before := talk(t, p, g.plain, turn(1, 0), "Session-Id", "s-1").Key
	p.Prove()
	p.Limit(before)
	after := talk(t, p, g.plain, turn(2, 0), "Session-Id", "s-1").Key
	if after == before {
		t.Fatalf("the limit of %s moves nobody", before)
	}
	g.load(directives(6))
	http.DefaultClient.CloseIdleConnections() // the old config ends them
	for n := range 5 {
		if got := talk(t, p, g.plain, turn(3, n), "Session-Id", "s-1").Key; got != after {
			t.Errorf("after the reload it went out with %s, want %s", got, after)
		}
	}
	if strings.Contains(g.log(), "secret question") {
		t.Error("the log shows a prompt")
	}
}

// One key serves until it meets its limit, then the next of the config.
func TestFirstThroughCaddy(t *testing.T) {
	p := live.StartProvider(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") })
	g := startGateway(t, "keycycler {\n keys "+demoKeys(5)+"\n select first\n}\nreverse_proxy "+p.URL)
	p.Prove()
	for _, key := range strings.Fields(demoKeys(5))[:4] {
		for range 5 {
			if got := talk(t, p, g.plain, "{}").Key; got != key {
				t.Errorf("a request went out with %s, want %s", got, key)
			}
		}
		p.Limit(key)
	}
}

var sealedText = regexp.MustCompile(`"encrypted_content":"([^"]*)"`)

// sealing is an upstream that seals its reasoning, for its key alone.
func sealing(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	key := r.Header.Get("Authorization")
	for _, sealed := range sealedText.FindAllSubmatch(body, -1) {
		if text, err := base64.StdEncoding.DecodeString(string(sealed[1])); err != nil || !strings.HasSuffix(string(text), key) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":{"message":"The encrypted content could not be verified.","type":"invalid_request_error","code":"invalid_encrypted_content"}}`)
			return
		}
	}
	text := fmt.Sprint(r.Header.Get("X-Turn"), strings.Repeat(" thinking", 300), key)
	fmt.Fprintf(w, `{"output":[{"type":"reasoning","summary":[],"encrypted_content":%q}]}`, base64.StdEncoding.EncodeToString([]byte(text)))
}

// broken returns how many of 60 conversations of two turns broke, since another key could
// not read what the first had sealed.
func broken(t *testing.T, option string) (n int) {
	p := live.StartProvider(t, sealing)
	g := startGateway(t, "keycycler {\n keys "+demoKeys(5)+"\n"+option+"\n}\nreverse_proxy "+p.URL)
	send := func(turn, body string) (int, string) {
		r := live.Request(t, "POST", g.plain+"/v1/responses", body)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Turn", turn)
		res, answer := live.Do(t, http.DefaultClient, r)
		return res.StatusCode, string(answer)
	}
	var items []string
	for c := range 60 {
		_, answer := send(fmt.Sprint(c), `{"store":false,"input":"hi"}`)
		items = append(items, sealedText.FindString(answer))
	}
	for c, item := range items {
		if status, _ := send("", fmt.Sprintf(`{"store":false,"input":[{"role":"user","content":"hi"},{"type":"reasoning",%s},{"role":"user","content":"%d"}]}`, item, c)); status != http.StatusOK {
			n++
		}
	}
	return n
}

// What a key has sealed goes back to it; without, most conversations break.
func TestSealedContentThroughCaddy(t *testing.T) {
	if n := broken(t, "select random"); n > 0 {
		t.Errorf("%d of 60 conversations broke", n)
	}
}

func TestSealedContentWithResourcesOff(t *testing.T) {
	n := broken(t, "select random\n resources off")
	if t.Logf("%d of 60 conversations broke", n); n < 20 {
		t.Errorf("%d of 60 conversations broke: the upstream is too kind", n)
	}
}

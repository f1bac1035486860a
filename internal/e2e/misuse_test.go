package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// knower is an upstream that takes one key alone, "" for any.
func knower(t *testing.T, key string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if key != "" && r.Header.Get("Authorization") != "Bearer "+key {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","code":"invalid_api_key"}}`)
			return
		}
		io.Copy(w, r.Body)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// A config that loads and cannot work says so in the log, in one line, as soon as a request
// shows it. What is near to it and works is not told of.
func TestWrongConfigsAreFoundOut(t *testing.T) {
	anybody := knower(t, "")
	const keys = "keys sk-misuse-1 sk-misuse-2 sk-misuse-3"
	const fallback = "{\n @out status 5xx\n handle_response @out {\n keycycler second {\n " + keys + "\n }\n reverse_proxy %s\n }\n }"
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }))
	t.Cleanup(down.Close)
	for _, test := range []struct {
		sentence, directives, line string
		more                       string // that the line has
	}{
		{
			"each address knows one key",
			fmt.Sprintf("keycycler {\n %s\n }\n reverse_proxy %s %s %s", keys, knower(t, "sk-misuse-1"), knower(t, "sk-misuse-2"), knower(t, "sk-misuse-3")),
			"keys are refused at one address of reverse_proxy and serve at another: give each key its upstream", `"serves_at":"127.0.0.1:`,
		},
		{
			"each address knows all keys",
			fmt.Sprintf("keycycler {\n %s\n }\n reverse_proxy %s %s", keys, anybody, knower(t, "")), "", "",
		},
		{
			"reverse_proxy replaces the key",
			fmt.Sprintf("keycycler {\n %s\n }\n reverse_proxy %s {\n header_up Authorization \"Bearer mine\"\n }", keys, anybody),
			"the key does not reach the upstream: a handler behind keycycler replaces or deletes its header", `"header":"Authorization"`,
		},
		{
			"reverse_proxy replaces the key, and the first attempt gets nowhere",
			fmt.Sprintf("keycycler {\n keys sk-misuse-9 {\n upstream http://127.0.0.1:%s\n }\n %s {\n upstream http://%s\n tier 2\n }\n first_byte 1m\n }\n reverse_proxy {\n dynamic keycycler\n header_up Authorization \"Bearer mine\"\n }", live.FreePort(t), keys, anybody),
			"the key does not reach the upstream: a handler behind keycycler replaces or deletes its header", `"header":"Authorization"`,
		},
		{
			"a handler between deletes the key",
			fmt.Sprintf("route {\n keycycler {\n %s\n provider azure\n }\n request_header -api-key\n reverse_proxy %s\n }", keys, anybody),
			"the key does not reach the upstream: a handler behind keycycler replaces or deletes its header", `"header":"Api-Key"`,
		},
		{
			"reverse_proxy sets another header, and one before sets the key's",
			fmt.Sprintf("route {\n request_header Authorization mine\n keycycler {\n %s\n }\n reverse_proxy %s {\n header_up X-Own 1\n }\n }", keys, anybody), "", "",
		},
		{
			"one keycycler behind another",
			fmt.Sprintf("route {\n keycycler outer {\n %s\n }\n keycycler inner {\n keys sk-misuse-4\n }\n reverse_proxy %s\n }", keys, anybody),
			"keycycler stands behind another keycycler: requests go out with the keys of this pool alone", `"pool":"inner","other_pool":"outer"`,
		},
		{
			"one behind another, which has client tokens",
			fmt.Sprintf("route {\n keycycler outer {\n %s\n }\n keycycler inner {\n keys sk-misuse-4\n client_tokens misuse-token-0123456\n }\n reverse_proxy %s\n }", keys, anybody),
			"keycycler stands behind another keycycler: requests go out with the keys of this pool alone", `"pool":"inner","other_pool":"outer"`,
		},
		{
			"a second pool for what the first one's upstream fails at",
			fmt.Sprintf("keycycler first {\n %s\n }\n reverse_proxy %s "+fallback, keys, strings.TrimPrefix(down.URL, "http://"), anybody), "", "",
		},
		{
			"no handler behind keycycler",
			fmt.Sprintf("keycycler {\n %s\n }", keys),
			"no handler stands behind keycycler: add reverse_proxy, or clients get an empty answer", "",
		},
		{
			"keys with upstreams, and addresses in reverse_proxy",
			fmt.Sprintf("keycycler {\n %s {\n upstream http://other.test\n }\n }\n reverse_proxy %s", keys, anybody),
			"a key goes to another address than its upstream: put 'dynamic keycycler' into reverse_proxy, in place of its addresses", `"upstream":"http://other.test"`,
		},
		{
			"and transport keycycler",
			fmt.Sprintf("keycycler {\n %s {\n upstream http://other.test\n }\n }\n reverse_proxy %s {\n transport keycycler\n }", keys, anybody),
			"a key goes to another address than its upstream: put 'dynamic keycycler' into reverse_proxy, in place of its addresses", `"goes_to":"127.0.0.1:`,
		},
		{
			"the address is the upstream's own",
			fmt.Sprintf("keycycler {\n %s {\n upstream http://%s\n }\n }\n reverse_proxy %[2]s", keys, anybody), "", "",
		},
		{
			"keys with upstreams, as they are meant",
			fmt.Sprintf("keycycler {\n %s {\n upstream http://%s\n }\n }\n reverse_proxy {\n dynamic keycycler\n }", keys, anybody), "", "",
		},
		{
			"keys with a proxy, and Caddy's own transport",
			fmt.Sprintf("keycycler {\n %s {\n proxy http://misuse:secret-word@proxy.test:3128\n }\n }\n reverse_proxy %s", keys, anybody),
			"a key does not go by its proxy: put 'transport keycycler' into reverse_proxy", `"proxy":"http://proxy.test:3128"`,
		},
		{
			"two providers under one name",
			fmt.Sprintf("keycycler /a {\n %s\n }\n keycycler /b {\n %[1]s\n provider azure\n }\n reverse_proxy %s", keys, anybody),
			"pools of one name have different providers: lists and metrics mix them up", `"other_provider":`,
		},
	} {
		t.Run(test.sentence, func(t *testing.T) {
			g := startGateway(t, test.directives)
			for range 30 {
				r := live.Request(t, http.MethodPost, g.plain+"/a", "x")
				live.Do(t, http.DefaultClient, r)
			}
			want, lines := 1, ""
			if test.line == "" {
				want = 0
			}
			for line := range strings.Lines(g.log()) {
				if warns := strings.Contains(line, `"level":"warn"`) || strings.Contains(line, `"level":"error"`); warns && strings.Contains(line, "http.handlers.keycycler") && !strings.Contains(line, `"upstream rests"`) {
					lines += line
				}
			}
			if strings.Count(lines, "\n") != want || !strings.Contains(lines, test.line) {
				t.Errorf("the log has not %d lines with %q:\n%s", want, test.line, lines)
			}
			if !strings.Contains(lines, test.more) {
				t.Errorf("the line does not have %s:\n%s", test.more, lines)
			}
		})
	}
}

package e2e

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

const (
	adasToken  = "demo-token-of-ada-01"
	wrongToken = "demo-token-of-nobody"

	// demoHash is bcrypt's of "demo", at its least cost.
	demoHash = "$2a$04$QMpU2jO3du4HHeaLPu4ZROMDkZmb0rUXQNviNKX5EZsLgQHZE66WG"
)

// checkNothingOfTheClient finds fault with calls that show what the client presented.
func checkNothingOfTheClient(t *testing.T, calls []live.Attempt, secrets ...string) {
	t.Helper()
	for _, c := range calls {
		if !strings.HasPrefix(c.Key, "sk-demo-secret-") {
			t.Errorf("the upstream got the key %q", c.Key)
		}
		for _, secret := range secrets {
			if strings.Contains(fmt.Sprint(c.Header), secret) {
				t.Errorf("the upstream got %q: %v", secret, c.Header)
			}
		}
	}
}

func fineUpstream(t *testing.T) *live.Provider {
	t.Helper()
	return live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "fine")
	})
}

// Over each version of HTTP a client needs a token, and may send it in any of the
// usual ways.
func TestClientTokensOverEveryProtocol(t *testing.T) {
	upstream := fineUpstream(t)
	g := startGateway(t, fmt.Sprintf("log_append client {http.keycycler.client}\nkeycycler {\n keys %s\n client_tokens ada:%s\n}\nreverse_proxy %s",
		demoKeys(3), adasToken, upstream.URL))
	for name, target := range g.protocolClients() {
		for _, test := range []struct {
			name, header, value, query string
			status                     int
		}{
			{"no token", "Accept", "*/*", "", 401},
			{"a wrong token", "Authorization", "Bearer " + wrongToken, "", 401},
			{"a bearer token", "Authorization", "bearer " + adasToken, "", 200},
			{"Anthropic's header", "x-api-key", adasToken, "", 200},
			{"Google's parameter", "Accept", "*/*", "?key=" + adasToken, 200},
			{"a preflight, which carries no token", "Access-Control-Request-Method", "POST", "", 401},
		} {
			before := len(upstream.Seen())
			r := live.Request(t, http.MethodPost, target.url+"/v1/chat/completions"+test.query, strings.Repeat("x", 100_000))
			r.Header.Set(test.header, test.value)
			if test.header == "Access-Control-Request-Method" {
				r.Method, r.Body, r.ContentLength = http.MethodOptions, nil, 0
			}
			res, body := live.Do(t, target.client, r)
			if res.StatusCode != test.status || res.Proto != name {
				t.Errorf("%s, %s: %s %s %s", name, test.name, res.Proto, res.Status, body)
			}
			if calls := len(upstream.Seen()) - before; calls != map[int]int{200: 1, 401: 0}[test.status] {
				t.Errorf("%s, %s: %d calls", name, test.name, calls)
			}
		}
	}
	checkNothingOfTheClient(t, upstream.Seen(), adasToken)
	if log := g.log(); !strings.Contains(log, `"user_id":"ada"`) || !strings.Contains(log, `"client":"ada"`) {
		t.Error("the access log does not name the client")
	}
}

// A body that nobody wants is not asked for: a client that waits for that is answered
// at once, and not when the server has given up waiting for the body.
func TestTheBodyOfAStrangerIsNotAskedFor(t *testing.T) {
	upstream := fineUpstream(t)
	g := startGateway(t, fmt.Sprintf("keycycler {\n keys %s\n client_tokens %s\n}\nreverse_proxy %s", demoKeys(1), adasToken, upstream.URL))
	conn := live.Dial(t, g.plain)
	io.WriteString(conn, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\nX-Api-Key: "+wrongToken+"\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Fatalf("%v, %v", res, err)
	}
	res.Body.Close()
}

// A browser's websocket handshake carries the token as a sub-protocol, which goes no
// further.
func TestAWebsocketNeedsAToken(t *testing.T) {
	upstream := live.StartProvider(t, echoUpgrade(t))
	g := startGateway(t, fmt.Sprintf("keycycler {\n keys %s\n client_tokens sk-client-demo\n}\nreverse_proxy %s", demoKeys(2), upstream.URL))
	for _, test := range []struct {
		request string
		status  int
	}{
		{strings.ReplaceAll(live.Handshake, "sk-client-demo", wrongToken), http.StatusUnauthorized},
		{live.Handshake, http.StatusSwitchingProtocols},
	} {
		conn := live.Dial(t, g.plain)
		io.WriteString(conn, test.request)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || res.StatusCode != test.status {
			t.Fatalf("%v, %v, want %d", res, err, test.status)
		}
		if got := res.Header.Get("Sec-WebSocket-Protocol"); test.status == http.StatusSwitchingProtocols && got != "realtime" {
			t.Errorf("the upstream was offered %q", got)
		}
		conn.Close()
	}
	live.Eventually(t, "the upstream's connection ends", func() bool { return len(upstream.Seen()) == 1 })
	checkNothingOfTheClient(t, upstream.Seen(), "sk-client-demo", wrongToken)
}

// Whoever else decides who may use the site: what the client showed him stays with
// him.
func TestOtherAuthenticationComesBefore(t *testing.T) {
	upstream := fineUpstream(t)
	doorman := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer demo-session-token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-User", "ada")
	}))
	defer live.CloseServer(t, doorman)
	basic := "basic_auth bcrypt {\n ada " + demoHash + "\n}"
	forward := "forward_auth " + doorman.URL + " {\n uri /check\n copy_headers X-User\n}"
	tokens := "client_tokens bob:" + adasToken
	type credentials map[string]string
	for _, test := range []struct {
		name         string
		before, also string
		send         credentials
		status       int
		user         string
	}{
		{"basic_auth, without a password", basic, "", nil, 401, ""},
		{"basic_auth, with a wrong one", basic, "", credentials{"Authorization": "Basic YWRhOndyb25n"}, 401, ""},
		{"basic_auth", basic, "", credentials{"Authorization": "Basic YWRhOmRlbW8="}, 200, "ada"},
		{"basic_auth and no token", basic, tokens, credentials{"Authorization": "Basic YWRhOmRlbW8="}, 401, "ada"},
		{"basic_auth and a wrong token", basic, tokens, credentials{"Authorization": "Basic YWRhOmRlbW8=", "X-Api-Key": wrongToken}, 401, "ada"},
		{"a token and no password", basic, tokens, credentials{"X-Api-Key": adasToken}, 401, ""},
		{"basic_auth and a token", basic, tokens, credentials{"Authorization": "Basic YWRhOmRlbW8=", "X-Api-Key": adasToken}, 200, "ada"},
		{"forward_auth, refused", forward, "", credentials{"Authorization": "Bearer demo-other"}, 401, ""},
		{"forward_auth", forward, "", credentials{"Authorization": "Bearer demo-session-token"}, 200, ""},
		{"forward_auth and a token", forward, tokens, credentials{"Authorization": "Bearer demo-session-token", "Api-Key": adasToken}, 200, "bob"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := startGateway(t, fmt.Sprintf("%s\nkeycycler {\n keys %s\n %s\n}\nreverse_proxy %s", test.before, demoKeys(2), test.also, upstream.URL))
			before := len(upstream.Seen())
			r := live.Request(t, http.MethodGet, g.plain+"/v1/models", "")
			for name, value := range test.send {
				r.Header.Set(name, value)
			}
			res, body := live.Do(t, http.DefaultClient, r)
			calls := upstream.Seen()[before:]
			if res.StatusCode != test.status || len(calls) != map[int]int{200: 1, 401: 0}[test.status] {
				t.Errorf("%s %s, %d calls", res.Status, body, len(calls))
			}
			checkNothingOfTheClient(t, calls, "YWRhOm", "demo-session-token", adasToken)
			if want := `"user_id":"` + test.user + `"`; !strings.Contains(g.log(), want) {
				t.Errorf("the log has no %s", want)
			}
		})
	}
}

// clientCertificate makes an authority, in a file, and a certificate of it.
func clientCertificate(t *testing.T) (authority string, certificate tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ada"}, NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	authority = filepath.Join(t.TempDir(), "clients.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return authority, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Client certificates: TLS turns away who has none, and with tokens both are needed.
func TestClientCertificatesComeBefore(t *testing.T) {
	upstream := fineUpstream(t)
	authority, certificate := clientCertificate(t)
	g := newGateway(t)
	own := "https://localhost:" + live.SitePort(t)
	g.sites = fmt.Sprintf("%s {\n bind 127.0.0.1\n tls internal {\n client_auth {\n trust_pool file %s\n }\n }\n import site\n}", own, authority)
	g.start(fmt.Sprintf("keycycler {\n keys %s\n client_tokens ada:%s\n}\nreverse_proxy %s", demoKeys(1), adasToken, upstream.URL))
	ask := func(token string, certificates ...tls.Certificate) (*http.Response, error) {
		transport := &http.Transport{
			DialContext: live.DialLoopback, DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certificates},
		}
		r := live.Request(t, http.MethodGet, own+"/v1/models", "")
		r.Header.Set("X-Api-Key", token)
		res, err := transport.RoundTrip(r)
		if err == nil {
			res.Body.Close()
		}
		return res, err
	}
	if res, err := ask(adasToken); err == nil {
		t.Errorf("without a certificate: %s", res.Status)
	}
	for token, status := range map[string]int{adasToken: 200, wrongToken: 401} {
		if res, err := ask(token, certificate); err != nil || res.StatusCode != status {
			t.Errorf("with a certificate and %s: %v, %v", token, res, err)
		}
	}
	if n := len(upstream.Seen()); n != 1 {
		t.Errorf("%d calls", n)
	}
}

// A token for using the pool is none for operating it, wherever the page stands: not
// even where keycycler has seen the token before.
func TestAClientTokenOpensNoStatusPage(t *testing.T) {
	nobody := "127.0.0.1:" + live.FreePort(t)
	pool := "keycycler {\n keys sk-demo-1\n client_tokens ada:" + adasToken + "\n}\n"
	login := "basic_auth bcrypt {\n ada " + demoHash + "\n}\n"
	doorman := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Basic YWRhOmRlbW8=" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer live.CloseServer(t, doorman)
	door := "forward_auth " + doorman.URL + " {\n uri /\n}\n"
	for _, test := range []struct {
		name, site string
		before     int // the status without a password
		status     int // with one
	}{
		{"behind the pool", "route {\n" + pool + "keycycler_status\n}", 403, 403},
		{"where errors are handled", pool + "reverse_proxy " + nobody + "\nhandle_errors {\n keycycler_status\n}", 502, 502}, // Caddy says what went wrong first
		{"in a route that is invoked", "route {\n" + pool + "invoke page\n}", 403, 403},
		{"behind a login and the pool", "route {\n" + login + pool + "keycycler_status\n}", 401, 200},
		{"behind forward_auth", "route {\n" + door + "keycycler_status\n}", 401, 200},
		{"behind the pool and a login: the pool has taken the password off", "route {\n" + pool + login + "keycycler_status\n}", 401, 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			g.sites = "&(page) {\n keycycler_status\n}"
			g.start(test.site)
			for password, want := range map[string]int{"": test.before, "YWRhOmRlbW8=": test.status} {
				r := live.Request(t, http.MethodGet, g.plain+"/", "")
				r.Header.Set("X-Api-Key", adasToken)
				if password != "" {
					r.Header.Set("Authorization", "Basic "+password)
				}
				if res, body := live.Do(t, http.DefaultClient, r); res.StatusCode != want || strings.Contains(string(body), "<html") != (want == 200) {
					t.Errorf("password %q: %s %.200s, want %d", password, res.Status, body, want)
				}
			}
		})
	}
}

// The recipe of clients.md lets preflights through, and nothing else.
func TestPreflights(t *testing.T) {
	upstream := fineUpstream(t)
	page, err := os.ReadFile("../../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	_, recipe, found := strings.Cut(string(page), "```caddyfile\n# preflights\n")
	recipe, _, closed := strings.Cut(recipe, "```")
	if !found || !closed {
		t.Fatal("clients.md has no recipe for preflights")
	}
	g := startGateway(t, fmt.Sprintf("%s\nkeycycler {\n keys %s\n client_tokens %s\n}\nreverse_proxy %s", recipe, demoKeys(1), adasToken, upstream.URL))
	for _, test := range []struct {
		method, token string
		status, calls int
	}{{"OPTIONS", "", 204, 0}, {"POST", "", 401, 0}, {"POST", adasToken, 200, 1}, {"GET", "", 401, 0}} {
		before := len(upstream.Seen())
		r := live.Request(t, test.method, g.plain+"/v1/chat/completions", "")
		r.Header.Set("Origin", "https://app.example.com")
		r.Header.Set("Authorization", "Bearer "+test.token)
		res, _ := live.Do(t, http.DefaultClient, r)
		if res.StatusCode != test.status || len(upstream.Seen())-before != test.calls || res.Header.Get("Access-Control-Allow-Origin") != "https://app.example.com" {
			t.Errorf("%s %q: %s %v", test.method, test.token, res.Status, res.Header)
		}
	}
}

// Added tokens work and removed ones stop, without a reload. That it takes no more than
// a second is TestTokenFilesAreWatched's.
func TestTokensRotate(t *testing.T) {
	upstream := fineUpstream(t)
	path := filepath.Join(t.TempDir(), "tokens")
	write := func(lines string) {
		if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ada:" + adasToken + "\n")
	g := startGateway(t, fmt.Sprintf("keycycler {\n keys %s\n client_tokens_file %s\n}\nreverse_proxy %s", demoKeys(1), path, upstream.URL))
	status := func(token string) int {
		r := live.Request(t, http.MethodGet, g.plain+"/", "")
		r.Header.Set("Authorization", "Bearer "+token)
		res, _ := live.Do(t, http.DefaultClient, r)
		return res.StatusCode
	}
	if status(adasToken) != 200 || status(wrongToken) != 401 {
		t.Fatal("the first tokens are not so")
	}
	for _, lines := range []string{"bob:" + wrongToken + "\n", "", "ada:" + adasToken + "\n"} {
		write(lines)
		want := map[string]int{adasToken: 401, wrongToken: 401}
		if _, token, ok := strings.Cut(strings.TrimSpace(lines), ":"); ok {
			want[token] = 200
		}
		live.Eventually(t, "the tokens have changed", func() bool { return status(adasToken) == want[adasToken] && status(wrongToken) == want[wrongToken] })
	}
}

// Nothing of a token is in a full run's DEBUG log: a right one, a wrong one, in every
// place where Caddy itself hides what it logs.
func TestNoTokenIsLogged(t *testing.T) {
	upstream := fineUpstream(t)
	t.Setenv("DEMO_TOKEN", adasToken)
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, bytes.Repeat([]byte("demo-token-in-file-1\n"), 2), 0o600); err != nil {
		t.Fatal(err)
	}
	g := newGateway(t)
	g.format = live.LogFilter(t)
	t.Setenv("DEMO_KEY", "sk-demo-secret-1")
	g.start(fmt.Sprintf("keycycler {\n keys {env.DEMO_KEY}\n client_tokens ada:{env.DEMO_TOKEN}\n client_tokens_file %s\n}\nreverse_proxy %s", path, upstream.URL))
	for _, token := range []string{adasToken, wrongToken, "demo-token-in-file-1"} {
		for _, name := range []string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "Ocp-Apim-Subscription-Key", "key", "api-key", "access_token"} {
			r := live.Request(t, http.MethodGet, g.plain+"/", "")
			switch {
			case name == "Authorization":
				r.Header.Set(name, "Bearer "+token)
			case name == strings.ToLower(name):
				r.URL.RawQuery = name + "=" + token
			default:
				r.Header.Set(name, token)
			}
			live.Do(t, http.DefaultClient, r)
		}
	}
	log := g.log()
	for _, wanted := range []string{"request has no valid client token", "client token stands twice", "upstream roundtrip", `"user_id":"ada"`} {
		if !strings.Contains(log, wanted) {
			t.Errorf("the log has no %q: this test looks at nothing", wanted)
		}
	}
	if at := strings.Index(log, "demo-token"); at >= 0 {
		t.Errorf("the log has a token: …%s…", log[max(at-300, 0):min(at+100, len(log))])
	}
}

package misuse

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestCarriage: what goes out is told from what was meant to, over both versions of HTTP.
func TestCarriage(t *testing.T) {
	const secret = "sk-demo-1"
	header := http.Header{"X-Other": {"x"}, "Authorization": {"Bearer " + secret}}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	for protocol, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: http2}
		defer transport.CloseIdleConnections()
		for _, test := range []struct {
			sentence string
			goesOut  http.Header
			lost     string
		}{
			{"it is left alone", header, ""},
			{"it is written otherwise", http.Header{"Api-Key": {secret}}, ""},
			{"it is replaced", http.Header{"Authorization": {"Bearer mine"}}, "Authorization"},
			{"it is deleted", http.Header{}, "Authorization"},
		} {
			ctx, seen := Look(context.Background(), header, secret)
			if seen.Lost() != "" {
				t.Errorf("%s: it is lost before anything went out", test.sentence)
			}
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header = test.goesOut.Clone()
			res, err := transport.RoundTrip(r)
			if err != nil || res.Proto != protocol {
				t.Fatalf("%s: %v", protocol, err)
			}
			res.Body.Close()
			if got := seen.Lost(); got != test.lost {
				t.Errorf("%s, %s: lost is %q", protocol, test.sentence, got)
			}
		}
	}
}

// A key in the query is not looked for, and one attempt is looked at each time.
func TestCarriageLooksSeldom(t *testing.T) {
	var c Carriage
	if _, seen := Look(context.Background(), http.Header{"Accept": {"x"}}, "sk-demo-1"); seen != nil || seen.Lost() != "" {
		t.Error("a key is looked for that no header has")
	}
	for range 2 {
		if !c.Due() || c.Due() {
			t.Error("not at one attempt alone")
		}
		c.Arm()
		c.Arm()
	}
}

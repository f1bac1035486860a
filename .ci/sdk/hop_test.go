package sdk

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
)

// hop stands between a client and the gateway, and counts.
type hop struct {
	url      string // an API base URL, like the gateway's
	requests atomic.Int64
}

// startHop starts a hop that speaks what the gateway at base speaks: HTTP/1.1, or
// TLS with HTTP/2.
func startHop(t *testing.T, base string) *hop {
	t.Helper()
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	target.Path = ""
	forward := &httputil.ReverseProxy{
		Transport: newTransport(t),
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
	}
	h := new(hop)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.requests.Add(1)
		forward.ServeHTTP(w, r)
	}))
	if target.Scheme == "https" {
		pair, err := tls.LoadX509KeyPair(edge.certFile, edge.keyFile)
		if err != nil {
			t.Fatal(err)
		}
		server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		server.EnableHTTP2 = true
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	h.url = server.URL + "/v1"
	return h
}

package upstream

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestGetUpstreams: where an attempt goes, and what is said where it cannot.
func TestGetUpstreams(t *testing.T) {
	secure := &reverseproxy.HTTPTransport{TLS: &reverseproxy.TLSConfig{ExceptPorts: []string{"8080"}}}
	plain := new(reverseproxy.HTTPTransport)
	for _, test := range []struct {
		site      string // "": no upstream; "-": no keycycler
		proxy     Proxy
		transport any
		says      string // "": it goes there
	}{
		{"https://east.test", "", new(Transport), ""},
		{"http://east.test", "", new(Transport), ""},
		{"https://east.test", "http://proxy", new(Transport), ""},
		{"https://east.test", "", secure, ""},
		{"http://east.test", "", plain, ""},
		{"http://east.test:8080", "", secure, ""},
		{"https://east.test", "", plain, "is https: add 'transport keycycler' (or 'tls' in its transport)"},
		{"https://east.test:8080", "", secure, "is https: add 'transport keycycler' (or 'tls' in its transport)"},
		{"http://east.test", "", secure, "is http, and the transport has TLS: add 'transport keycycler' (or take 'tls' out of its transport)"},
		{"https://east.test", "http://proxy", secure, "has a proxy: add 'transport keycycler'"},
		{"", "", plain, "has no upstream: give its block 'upstream <url>', or the pool"},
		{"-", "", plain, "dynamic keycycler: this request did not come through keycycler: put 'keycycler' before 'reverse_proxy'"},
	} {
		core, log := observer.New(zap.InfoLevel)
		d := &Dynamic{logger: zap.New(core), told: new(complaints), proxy: new(reverseproxy.Handler)}
		switch transport := test.transport.(type) {
		case *Transport:
			d.proxy.Transport = transport
		case *reverseproxy.HTTPTransport:
			d.proxy.Transport = transport
		}
		ctx := t.Context()
		var site Site
		if test.site != "-" {
			if test.site != "" {
				site, _ = ParseSite(test.site)
			}
			site.Proxy = test.proxy
			ctx = context.WithValue(ctx, Key, &Attempt{Site: site})
		}
		r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
		first, err := d.GetUpstreams(r)
		second, _ := d.GetUpstreams(r)
		switch {
		case err != nil:
			t.Error(err)
		case test.says == "" && (len(first) != 1 || first[0].Dial != site.Dial || first[0] == second[0] || log.Len() > 0):
			t.Errorf("%s: %v, %v, %v", test.site, first, second, log.All())
		case test.says != "" && (len(first) > 0 || log.Len() != 1 || !strings.HasSuffix(log.All()[0].Message, test.says)):
			t.Errorf("%s: %v, %v, want the log to say once: %s", test.site, first, log.All(), test.says)
		}
	}
}

// TestComplaintsDoNotFlood: one that was told is not told again for a while, and of many
// only some are.
func TestComplaintsDoNotFlood(t *testing.T) {
	var c complaints
	now, told := time.Now(), 0
	for range 100 {
		for i := range 100 {
			if c.due(now, fmt.Sprint(i)) {
				told++
			}
		}
	}
	if told != mostComplaints {
		t.Errorf("%d were told, want %d", told, mostComplaints)
	}
	if c.due(now.Add(quiet-1), "0") || !c.due(now.Add(quiet), "0") {
		t.Error("a complaint was told too early, or not again")
	}
}

func TestDynamicTakesNoOptions(t *testing.T) {
	for text, ok := range map[string]bool{"keycycler": true, "keycycler east": false, "keycycler {\n upstream x\n}": false, "keycycler {\n}": true} {
		if err := new(Dynamic).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestTransportTakesTheOptionsOfHTTP: all of them, and errors say whose they are.
func TestTransportTakesTheOptionsOfHTTP(t *testing.T) {
	var transport Transport
	if err := transport.UnmarshalCaddyfile(caddyfile.NewTestDispenser("keycycler {\n tls_insecure_skip_verify\n dial_timeout 1s\n versions h2c 2\n}")); err != nil {
		t.Fatal(err)
	}
	if !transport.TLSEnabled() || time.Duration(transport.DialTimeout) != time.Second || len(transport.Versions) != 2 {
		t.Errorf("%+v", transport.HTTPTransport)
	}
	for _, text := range []string{"keycycler east", "keycycler {\n upstream x\n}"} {
		err := new(Transport).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		if err == nil || !strings.Contains(err.Error(), "keycycler") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

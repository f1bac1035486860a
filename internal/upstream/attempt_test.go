package upstream

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestDirect: the base path comes before the path, and what is escaped stays so.
func TestDirect(t *testing.T) {
	for _, test := range []struct{ base, target, uri, path, raw string }{
		{"", "/v1/x?a=b", "/v1/x?a=b", "/v1/x", ""},
		{"/openai", "/v1/x?a=b", "/openai/v1/x?a=b", "/openai/v1/x", ""},
		{"/openai", "/v1/a%2Fb", "/openai/v1/a%2Fb", "/openai/v1/a/b", "/openai/v1/a%2Fb"},
		{"/a%2Fb", "/v1/x", "/a%2Fb/v1/x", "/a/b/v1/x", "/a%2Fb/v1/x"},
		{"/a%20b", "/v1/x%20y", "/a%20b/v1/x%20y", "/a b/v1/x y", ""},
		{"/openai", "/", "/openai/", "/openai/", ""},
		{"/openai", "//v1", "/openai//v1", "/openai//v1", ""},
		{"/openai", "*", "*", "*", ""},
	} {
		site, err := ParseSite("https://east.example.com" + test.base)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodOptions, test.target, nil)
		(&Attempt{Site: site}).Direct(r)
		if r.RequestURI != test.uri || r.URL.RequestURI() != test.uri || r.URL.Path != test.path || r.URL.RawPath != test.raw {
			t.Errorf("%s before %s: %q %q %q %q", test.base, test.target, r.RequestURI, r.URL.RequestURI(), r.URL.Path, r.URL.RawPath)
		}
	}
}

// TestDirectKeepsTheKeyOutOfTheRequestLine: a key in the query is not in RequestURI, which
// is logged.
func TestDirectKeepsTheKeyOutOfTheRequestLine(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/x", nil)
	r.URL.RawQuery = "key=sk-demo-1"
	(&Attempt{Site: Site{Base: "/base"}}).Direct(r)
	if r.RequestURI != "/base/v1/x" {
		t.Errorf("the request line shows %q", r.RequestURI)
	}
}

func TestOf(t *testing.T) {
	if Of(t.Context()) != nil || Of(t.Context()).Text() != "" || Unguided.Text() != "" {
		t.Error("there is an attempt where none is")
	}
	a := &Attempt{Site: Site{Scheme: "https", Host: "east.example.com", Base: "/x"}}
	if got := Of(context.WithValue(t.Context(), Key, a)); got != a || got.Text() != "https://east.example.com/x" {
		t.Errorf("%v: %q", got, got.Text())
	}
}

func TestParseProxy(t *testing.T) {
	for text, want := range map[string]string{
		"http://proxy:3128":                        "",
		"https://u:p@proxy:3128/":                  "",
		"socks5://127.0.0.1:1080":                  "",
		"socks5h://proxy":                          "",
		"proxy:3128":                               "the URL must begin with http://, https://, socks5:// or socks5h://",
		"ftp://u:secret@proxy":                     "the URL must begin with http://, https://, socks5:// or socks5h://",
		"http://u:secret@":                         "the URL names no host",
		"http://u:secret@proxy:x":                  "it is no URL such as http://proxy.example.com:3128",
		"http://u:secret@proxy/path?password=more": "the URL has a path, a query or a fragment: only a port may follow the host",
	} {
		got, err := ParseProxy(text)
		switch {
		case want == "" && (err != nil || string(got) != text):
			t.Errorf("%s: %v", text, err)
		case want != "" && (err == nil || err.Error() != want):
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// TestProxiesAreShownWithoutPasswords: whatever prints one.
func TestProxiesAreShownWithoutPasswords(t *testing.T) {
	site := Site{Scheme: "https", Host: "east.test", Dial: "east.test:443", Proxy: "socks5://ada:pass@word@proxy:1080"}
	text, err := site.Proxy.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%v %+v %#v %s %q %x %s %s", site, site, site, site.Proxy, site.Proxy, site.Proxy, site.Address(), text)
	if strings.Contains(shown, "ada") || strings.Contains(shown, "word") || !strings.Contains(shown, "socks5://proxy:1080") {
		t.Errorf("shown as %s", shown)
	}
	if got := site.Address(); got != "https://east.test:443 by socks5://proxy:1080" {
		t.Errorf("the address is %s", got)
	}
}

package upstream

import "testing"

func TestParseSite(t *testing.T) {
	for _, test := range []struct {
		text string
		want Site
		err  string
	}{
		{"https://east.example.com", Site{"https", "east.example.com", "east.example.com:443", "", ""}, ""},
		{"https://East.Example.com:443/openai/", Site{"https", "east.example.com", "east.example.com:443", "/openai", ""}, ""},
		{"http://127.0.0.1:8081/a%2Fb", Site{"http", "127.0.0.1:8081", "127.0.0.1:8081", "/a%2Fb", ""}, ""},
		{"http://[::1]", Site{"http", "[::1]", "[::1]:80", "", ""}, ""},
		{"https://[::1]:8443/v1", Site{"https", "[::1]:8443", "[::1]:8443", "/v1", ""}, ""},
		{"east.example.com", Site{}, "the URL must begin with https:// or http://"},
		{"ftp://east.example.com", Site{}, "the URL must begin with https:// or http://"},
		{"https://", Site{}, "the URL names no host"},
		{"https://:443", Site{}, "the URL names no host"},
		{"https://u:sk-demo-1@east.example.com", Site{}, "the URL holds a user or a password: the key is what is sent"},
		{"https://east.example.com/?key=sk-demo-1", Site{}, "the URL has a query or a fragment: only a base path may follow the host"},
		{"https://east.example.com:x", Site{}, "it is no URL such as https://east.example.com/base"},
	} {
		got, err := ParseSite(test.text)
		message := ""
		if err != nil {
			message = err.Error()
		}
		if got != test.want || message != test.err {
			t.Errorf("%s: %+v, %q; want %+v, %q", test.text, got, message, test.want, test.err)
		}
	}
}

func TestSitesOfOneAddress(t *testing.T) {
	a, _ := ParseSite("https://east.example.com/a")
	b, _ := ParseSite("https://east.example.com:443/b")
	c, _ := ParseSite("http://east.example.com:443/b")
	if a.Address() != b.Address() || a.Address() == c.Address() {
		t.Errorf("addresses %q, %q, %q", a.Address(), b.Address(), c.Address())
	}
	if a.Proxy = "http://proxy:3128"; a.Address() == b.Address() {
		t.Errorf("a proxy makes no difference to %q", a.Address())
	}
	if got := b.String(); got != "https://east.example.com/b" {
		t.Errorf("shown as %q", got)
	}
}

func TestBaseTwice(t *testing.T) {
	for _, test := range []struct{ base, path, want string }{
		{"/v1", "/v1/v1/chat/completions", "/v1"}, {"/openai/v1", "/openai/v1/v1/models", "/v1"},
		{"/v1", "/v1/chat/completions", ""}, {"/v1", "/v1/v1beta/models", ""}, {"/v1", "/v1/v1", ""}, {"", "/v1/v1/models", ""}, {"", "//x/", ""},
		{"/base", "/elsewhere/base/x", ""}, {"/openai/v1", "/openai/v1/openai/v1/x", ""},
	} {
		if got := (Site{Base: test.base}).twice(test.path); got != test.want {
			t.Errorf("%s, %s: %q, want %q", test.base, test.path, got, test.want)
		}
	}
}

package peek

import (
	"net/url"
	"strings"
	"testing"
)

func TestModelInURL(t *testing.T) {
	for _, test := range []struct {
		uri  string
		want string
	}{
		{"/v1/realtime?model=gpt-realtime", "gpt-realtime"},
		{"/v1/realtime?a=b&model=gpt%2Drealtime+2&c", "gpt-realtime 2"},
		{"/v1/realtime?mod%65l=x", "x"},
		{"/v1/realtime?model=a&model=b", "b"},
		{"/v1/realtime?model=a&model=", ""},
		{"/v1/realtime?model", ""},
		{"/v1/realtime?models=a", ""},
		{"/v1/realtime?model=%zz", ""},
		{"/v1/realtime?model=" + strings.Repeat("m", 257), ""},
		{"/v1/realtime", ""},
		{"/v1/realtime/sessions?model=a", ""},
		{"/v1/chat/completions?model=a", ""},
		{"/openai/deployments/d/realtime?model=a", "d"},
		{"/v1beta/models/g:generateContent?model=a", "g"},
	} {
		u, err := url.ParseRequestURI(test.uri)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := ModelInURL(u); got != test.want || ok != (test.want != "") {
			t.Errorf("%s: %q %v, want %q", test.uri, got, ok, test.want)
		}
	}
}

func TestRenameInURL(t *testing.T) {
	for _, test := range []struct {
		uri, name string
		want      string
	}{
		{"/openai/deployments/gpt/chat/completions?api-version=1&model=gpt", "mine", "/openai/deployments/mine/chat/completions?api-version=1&model=gpt"},
		{"/openai/deployments/gpt%2Dx/a%2Fb/%7Ec", "mine", "/openai/deployments/mine/a%2Fb/%7Ec"},
		{"/a%2Fb/deployments/gpt/chat", "ü?", "/a%2Fb/deployments/%C3%BC%3F/chat"},
		{"/v1beta/models/gemini:generateContent", "a/b", "/v1beta/models/a%2Fb:generateContent"},
		{"/v1beta/models/gemini:streamGenerateContent?alt=sse", "a:b", "/v1beta/models/a:b:streamGenerateContent?alt=sse"},
		{"/v1beta/models/g%C3%A4%3A:x", "m", "/v1beta/models/m:x"},
		{"/v1/realtime?b=%7E&model=gpt&c=+", "a b&c", "/v1/realtime?b=%7E&model=a+b%26c&c=+"},
		{"/v1/realtime?model=gpt&mod%65l=gpt", "m", "/v1/realtime?model=m&model=m"},
		{"/v1/realtime?", "m", "/v1/realtime?"},
		{"/v1/chat/completions?model=gpt", "m", "/v1/chat/completions?model=gpt"},
		{"/v1/models/gpt", "m", "/v1/models/gpt"},
		{"/", "m", "/"},
	} {
		u, err := url.ParseRequestURI(test.uri)
		if err != nil {
			t.Fatal(err)
		}
		got := RenameInURL(u, test.uri, func(old string) (string, bool) { return test.name, old != "" })
		if got != test.want || u.RequestURI() != test.want {
			t.Errorf("%s: the line is %s, the URL %s, want %s", test.uri, got, u.RequestURI(), test.want)
		}
	}
}

// The line is the client's, and the URL may have what the line must not.
func TestRenameInURLKeepsApartWhatDiffers(t *testing.T) {
	u, _ := url.Parse("/models/g:x?key=secret")
	other := func(old string) (string, bool) { return "m", old == "g" }
	if got := RenameInURL(u, "http://host/models/g:x", other); got != "http://host/models/m:x" || u.String() != "/models/m:x?key=secret" {
		t.Errorf("%s, %s", got, u)
	}
	if got := RenameInURL(u, "*", other); got != "*" {
		t.Error(got)
	}
}

// FuzzRenameInURL compares what the path and the line say, before and after.
func FuzzRenameInURL(f *testing.F) {
	f.Add("/openai/deployments/gpt%2dx/chat?model=a", "m/ü ")
	f.Add("/a%2fb/models/g%3A:x;y", "a:b")
	f.Add("/x/realtime?model=a;b&model=%41", "&")
	f.Fuzz(func(t *testing.T, uri, name string) {
		u, err := url.ParseRequestURI(uri)
		if err != nil || !IsModelName([]byte(name)) || strings.ContainsAny(uri, "#") || u.Host != "" || u.Opaque != "" || u.RequestURI() != uri {
			return
		}
		old, ok := ModelInURL(u)
		before := *u
		line := RenameInURL(u, uri, func(old string) (string, bool) { return name, old != "" })
		if line != u.RequestURI() {
			t.Errorf("%q as %q: the line is %q, the URL %q", uri, name, line, u.RequestURI())
		}
		again, err := url.ParseRequestURI(line)
		if err != nil || again.Path != u.Path {
			t.Fatalf("%q became %q: %v", uri, line, err)
		}
		switch {
		case !ok && line != uri && !isRealtime(&before):
			t.Errorf("%q became %q", uri, line)
		case ok && !strings.Contains(again.Path, name) && !isRealtime(&before):
			t.Errorf("%q names %q, and became %q", uri, old, line)
		}
	})
}

package credential

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// inject returns the request of an attempt with the key sk-demo-1.
func inject(t testing.TB, auth *provider.Auth, keep []string, r *http.Request) *http.Request {
	t.Helper()
	in := NewInjector(provider.Presets["openai"], auth, keep, testkit.TestKeys(t, "sk-demo-1", "sk-demo-2"))
	return in.request(r.Context(), r, 0)
}

func TestHeadersOfAnAttempt(t *testing.T) {
	for _, test := range []struct {
		name string
		auth *provider.Auth
		keep []string
		sent http.Header
		want http.Header // beside Authorization where auth is nil
	}{
		{"every credential of the client's is taken off", nil, nil,
			http.Header{"Authorization": {"Bearer client", "Basic client"}, "X-Api-Key": {"client"}, "Api-Key": {"client"}, "X-Goog-Api-Key": {"client"}, "Ocp-Apim-Subscription-Key": {"client"}},
			http.Header{}},
		{"underscores are dashes to some upstreams", nil, nil,
			http.Header{"X_api_key": {"client"}, "Ocp-Apim_subscription-Key": {"client"}, "Openai_project": {"project"}, "X_request_id": {"x"}},
			http.Header{"X_request_id": {"x"}}},
		{"also in the header that carries the key", &provider.Auth{Header: "X-Own"}, nil,
			http.Header{"X_own": {"client"}},
			http.Header{"X-Own": {"sk-demo-1"}}},
		{"what an upgrade to HTTP/2 needs", nil, nil,
			http.Header{"Http2-Settings": {"AAMAAABkAAQAAP__"}, "Upgrade": {"h2c"}},
			http.Header{"Upgrade": {"h2c"}}},
		{"so is what ties a key to an account", nil, nil,
			http.Header{"Openai-Organization": {"org"}, "Openai-Project": {"project"}, "Anthropic-Workspace-Id": {"workspace"}, "X-Goog-User-Project": {"project"}},
			http.Header{}},
		{"which can be kept, one by one", nil, []string{"OpenAI-Project"},
			http.Header{"Openai-Organization": {"org"}, "Openai-Project": {"project"}},
			http.Header{"Openai-Project": {"project"}}},
		{"however it is spelled", nil, []string{"openai-project", "OPENAI-ORGANIZATION"},
			http.Header{"Openai-Organization": {"org"}, "Openai-Project": {"project"}},
			http.Header{"Openai-Organization": {"org"}, "Openai-Project": {"project"}}},
		{"everything else stays", nil, nil,
			http.Header{"Accept": {"a", "b"}, "Openai-Beta": {"realtime=v1"}, "Cookie": {"c"}, "Proxy-Authorization": {"p"}, "X-Api-Key-Id": {"x"}},
			http.Header{"Accept": {"a", "b"}, "Openai-Beta": {"realtime=v1"}, "Cookie": {"c"}, "Proxy-Authorization": {"p"}, "X-Api-Key-Id": {"x"}}},
		{"no header at all", nil, nil, nil, http.Header{}},
		{"a header set to nothing stays so: reverse_proxy knows it", nil, nil,
			http.Header{"User-Agent": nil, "X-Forwarded-For": nil, "X-Empty": {}},
			http.Header{"User-Agent": nil, "X-Forwarded-For": nil, "X-Empty": {}}},
		{"more values than have room in one piece", nil, nil,
			http.Header{"X-Many": slices.Repeat([]string{"many"}, 100), "X-One": {"one"}},
			http.Header{"X-Many": slices.Repeat([]string{"many"}, 100), "X-One": {"one"}}},

		{"bearer", &provider.Auth{Bearer: true}, nil, http.Header{}, http.Header{"Authorization": {"Bearer sk-demo-1"}}},
		{"a header of another name, and no Authorization", &provider.Auth{Header: "x-api-key"}, nil,
			http.Header{"Authorization": {"Bearer client"}, "X-Api-Key": {"client"}},
			http.Header{"X-Api-Key": {"sk-demo-1"}}},
		{"a header with a prefix", &provider.Auth{Header: "Authorization", Prefix: "Token"}, nil,
			http.Header{"Authorization": {"Bearer client"}},
			http.Header{"Authorization": {"Token sk-demo-1"}}},
		{"a header that is not known to carry credentials replaces the client's", &provider.Auth{Header: "X-Own"}, nil,
			http.Header{"X-Own": {"client", "client"}, "Authorization": {"Bearer client"}},
			http.Header{"X-Own": {"sk-demo-1"}}},
		{"a query parameter, and no header", &provider.Auth{Query: "key"}, nil,
			http.Header{"Authorization": {"Bearer client"}, "Accept": {"a"}},
			http.Header{"Accept": {"a"}}},

		{"a key among the websocket sub-protocols", nil, nil,
			http.Header{"Sec-Websocket-Protocol": {"realtime, openai-insecure-api-key.client, openai-beta.realtime-v1"}},
			http.Header{"Sec-Websocket-Protocol": {"realtime, openai-beta.realtime-v1"}}},
		{"a key in a line of its own", nil, nil,
			http.Header{"Sec-Websocket-Protocol": {"realtime", "openai-insecure-api-key.client", "other"}},
			http.Header{"Sec-Websocket-Protocol": {"realtime, other"}}},
		{"nothing but keys among the sub-protocols: no header is left", nil, nil,
			http.Header{"Sec-Websocket-Protocol": {" openai-insecure-api-key.client ,", "openai-organization.o,openai-project.p"}},
			http.Header{}},
		{"a key among the sub-protocols in capitals", nil, nil,
			http.Header{"Sec-Websocket-Protocol": {"OpenAI-Insecure-API-Key.client, realtime"}},
			http.Header{"Sec-Websocket-Protocol": {"realtime"}}},
		{"sub-protocols that tie a key to an account can be kept", nil, []string{"OpenAI-Organization"},
			http.Header{"Sec-Websocket-Protocol": {"openai-organization.o,openai-project.p,openai-insecure-api-key.client"}},
			http.Header{"Sec-Websocket-Protocol": {"openai-organization.o"}}},

		{"a client cannot make reverse_proxy drop the key", nil, nil,
			http.Header{"Connection": {"authorization, X-Hop", "AUTHORIZATION ,keep-alive"}},
			http.Header{"Connection": {"X-Hop, keep-alive"}}},
		{"nor the header of another name", &provider.Auth{Header: "X-Own"}, nil,
			http.Header{"Connection": {"x-own"}},
			http.Header{"X-Own": {"sk-demo-1"}}},
		{"a Connection header that names something else stays as it is", nil, nil,
			http.Header{"Connection": {"Upgrade,X-Authorization"}},
			http.Header{"Connection": {"Upgrade,X-Authorization"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := testkit.Post("x")
			r.Header = test.sent
			before := fmt.Sprintf("%#v", test.sent)
			attempt := inject(t, test.auth, test.keep, r)
			want := test.want.Clone()
			if test.auth == nil {
				want["Authorization"] = []string{"Bearer sk-demo-1"}
			}
			if got := fmt.Sprintf("%#v", attempt.Header); got != fmt.Sprintf("%#v", want) {
				t.Errorf("header %s, want %#v", got, want)
			}
			if after := fmt.Sprintf("%#v", r.Header); after != before {
				t.Errorf("the client's header is %s now", after)
			}
		})
	}
}

func TestQueryOfAnAttempt(t *testing.T) {
	for _, test := range []struct {
		name  string
		auth  *provider.Auth
		query string
		want  string
	}{
		{"no query", nil, "", ""},
		{"nothing to take off", nil, "b=2&a=1&&c", "b=2&a=1&&c"},
		{"the client's key", nil, "key=client", ""},
		{"in the middle", nil, "b=%20x+y&key=client&a=1", "b=%20x+y&a=1"},
		{"several times, with and without a value", nil, "key&a=1&key=&key=c&key==", "a=1"},
		{"escaped", nil, "%6bey=client&k%65%79=client&a=1", "a=1"},
		{"behind a semicolon, which separates for some upstreams", nil, "a=1;key=client&b=2;%6bey=client;c=3&d=4;", "a=1&b=2;c=3&d=4;"},
		{"what only looks like it stays", nil, "keys=1&KEY=2&ke+y=3&%zzkey=4&a=key", "keys=1&KEY=2&ke+y=3&%zzkey=4&a=key"},
		{"empty parameters stay", nil, "&&key=client&a", "&&a"},

		{"keys and tokens of every kind", nil, "a=1&api-key=client&subscription-key=client&access_token=client&oauth_token=client&%24key=client&$key=client", "a=1"},
		{"what a provider wants to know stays", nil, "api-version=2024-10-21&deployment=d&alt=sse&api_key=a&$keys=k", "api-version=2024-10-21&deployment=d&alt=sse&api_key=a&$keys=k"},

		{"the pool's key alone", &provider.Auth{Query: "key"}, "", "key=sk-demo-1"},
		{"the pool's key behind the rest", &provider.Auth{Query: "key"}, "b=2&a=1", "b=2&a=1&key=sk-demo-1"},
		{"the client's parameter is replaced", &provider.Auth{Query: "api_key"}, "api_key=client&a=1&%61pi_key=client", "a=1&api_key=sk-demo-1"},
		{"the client's key is taken off all the same", &provider.Auth{Query: "api_key"}, "key=client", "api_key=sk-demo-1"},
		{"a name that has to be escaped", &provider.Auth{Query: "a b&c"}, "a+b%26c=client&a%20b%26c=client&x=1", "x=1&a+b%26c=sk-demo-1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/v1/models?"+test.query, nil)
			r.RequestURI = "/v1/models?" + test.query
			attempt := inject(t, test.auth, nil, r)
			if attempt.URL.RawQuery != test.want {
				t.Errorf("query %q, want %q", attempt.URL.RawQuery, test.want)
			}
			if strings.Contains(attempt.RequestURI, "client") || strings.Contains(attempt.RequestURI, "sk-demo") {
				t.Errorf("the request line, which is logged, is %q", attempt.RequestURI)
			}
			if r.URL.RawQuery != test.query || r.RequestURI != "/v1/models?"+test.query {
				t.Errorf("the client's request is %q, %q now", r.URL, r.RequestURI)
			}
		})
	}
}

func TestAKeyIsEscapedInAQuery(t *testing.T) {
	const secret = "a&b=c+d%/?#~"
	in := NewInjector(provider.Presets["openai"], &provider.Auth{Query: "key"}, nil, testkit.TestKeys(t, secret))
	r := httptest.NewRequest(http.MethodGet, "/?a=1", nil)
	attempt := in.request(r.Context(), r, 0)
	if got := attempt.URL.Query(); got.Get("key") != secret || got.Get("a") != "1" || len(got) != 2 {
		t.Errorf("the upstream reads %v", got)
	}
}

func TestEachSlotHasItsKey(t *testing.T) {
	in := NewInjector(provider.Presets["openai"], nil, nil, testkit.TestKeys(t, "sk-demo-1", "sk-demo-2", "sk-demo-3"))
	r := testkit.Post("x")
	for slot := range 3 {
		want := fmt.Sprintf("Bearer sk-demo-%d", slot+1)
		if got := in.request(r.Context(), r, rotator.Slot(slot)).Header.Get("Authorization"); got != want {
			t.Errorf("slot %d sends %q, want %q", slot, got, want)
		}
	}
}

func TestAnAttemptIsItsOwn(t *testing.T) {
	for _, values := range []int{1, 40} { // in one piece with the request, and not
		t.Run(fmt.Sprint(values, " values"), func(t *testing.T) {
			in := NewInjector(provider.Presets["openai"], nil, nil, testkit.TestKeys(t, "sk-demo-1"))
			r := testkit.Post("x")
			r.Host = "gateway.example"
			r.Header = http.Header{"A": {"a1", "a2"}, "B": {"b"}, "Many": slices.Repeat([]string{"m"}, values)}
			first, second := in.request(r.Context(), r, 0), in.request(r.Context(), r, 0)
			for name := range first.Header {
				first.Header[name] = append(first.Header[name], "appended")
				first.Header[name][0] = "overwritten"
			}
			for name, got := range first.Header {
				if got[0] != "overwritten" || slices.Contains(got[1:], "overwritten") || got[len(got)-1] != "appended" {
					t.Errorf("%s is %q: an append has reached another header", name, got)
				}
			}
			first.URL.Path, first.Host, first.Header["New"] = "/changed", "changed", []string{"new"}
			want := http.Header{"A": {"a1", "a2"}, "B": {"b"}, "Many": slices.Repeat([]string{"m"}, values)}
			if fmt.Sprint(r.Header) != fmt.Sprint(want) || r.URL.Path != "/v1/chat/completions" || r.Host != "gateway.example" {
				t.Errorf("the client's request is %v %s now", r.Header, r.URL)
			}
			want["Authorization"] = []string{"Bearer sk-demo-1"}
			if fmt.Sprint(second.Header) != fmt.Sprint(want) || second.URL.Path != "/v1/chat/completions" {
				t.Errorf("the next attempt is %v %s now", second.Header, second.URL)
			}
		})
	}
}

func TestWhatAnAttemptLeavesAlone(t *testing.T) {
	type ctxKey struct{}
	r := httptest.NewRequest(http.MethodPut, "http://gateway.example/a%2Fb?x=1", strings.NewReader("body"))
	r.Host = "gateway.example"
	r.Header.Del("User-Agent")
	r.RemoteAddr = "192.0.2.7:1234"
	r.TransferEncoding = []string{"chunked"}
	ctx := context.WithValue(context.Background(), ctxKey{}, "attempt")
	in := NewInjector(provider.Presets["openai"], nil, nil, testkit.TestKeys(t, "sk-demo-1"))
	attempt := in.request(ctx, r, 0)
	if _, ok := attempt.Header["User-Agent"]; ok {
		t.Error("an absent User-Agent has appeared")
	}
	if attempt.Context().Value(ctxKey{}) != "attempt" || r.Context().Value(ctxKey{}) != nil {
		t.Error("the attempt has not its own context")
	}
	if attempt.Host != r.Host || attempt.URL.String() != r.URL.String() || attempt.RequestURI != r.RequestURI ||
		attempt.Method != r.Method || attempt.RemoteAddr != r.RemoteAddr || attempt.ContentLength != r.ContentLength ||
		attempt.Body != r.Body || !slices.Equal(attempt.TransferEncoding, r.TransferEncoding) || attempt.Proto != r.Proto {
		t.Errorf("the attempt is %+v, the request %+v", attempt, r)
	}
}

func FuzzQuery(f *testing.F) {
	for _, query := range []string{"", "key=client", "a=1&key=2&b=%20", "%6bey=1&k+ey=2", "&&key&=&key=", "a=%zz&key=1", "key;a=1&b", "k%C3%A9y=1", "$key=1&%24key=2", "api-version=1&api-key=2"} {
		f.Add(query, "key")
		f.Add(query, "b")
	}
	f.Add("+", "+")
	f.Fuzz(func(t *testing.T, query, name string) {
		names := slices.Clone(provider.CredentialQuery)
		if name != "" {
			names = append(names, name)
		}
		got := withoutParameters(query, names)
		parts := func(query string) []string { return strings.Split(strings.ReplaceAll(query, ";", "&"), "&") } // some servers take both
		if !subsequence(parts(got), parts(query)) {
			t.Errorf("%q became %q: order or spelling has changed", query, got)
		}
		if hasParameter(got, names) {
			t.Errorf("%q became %q: a parameter is still there", query, got)
		}
		want, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		had := slices.ContainsFunc(provider.CredentialQuery, want.Has)
		if had != hasParameter(query, provider.CredentialQuery) {
			t.Errorf("%q: net/url says %v, hasParameter does not", query, had)
		}
		if strings.ContainsAny(name, "+%") {
			return // a parameter that is spelled so goes, too: some servers do not unescape names
		}
		for _, name := range names {
			want.Del(name)
		}
		parsed, err := url.ParseQuery(got)
		if err != nil || fmt.Sprint(parsed) != fmt.Sprint(want) {
			t.Errorf("%q became %q: %v, want %v, %v", query, got, parsed, want, err)
		}
	})
}

// subsequence tells whether all of a stand in b, in this order. Nothing at all
// splits into one empty part.
func subsequence(a, b []string) bool {
	if len(a) == 1 && a[0] == "" {
		return true
	}
	for _, part := range b {
		if len(a) > 0 && a[0] == part {
			a = a[1:]
		}
	}
	return len(a) == 0
}

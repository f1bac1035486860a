package credential

import (
	"net/http"
	"net/url"
	"slices"
	"testing"

	"golang.org/x/net/http/httpguts"

	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/testkit"
)

func TestCredentialsOf(t *testing.T) {
	for _, test := range []struct {
		name   string
		query  string
		header string
		want   []string
	}{
		{"nothing", "", "", nil},
		{"a bearer token", "", "Authorization:Bearer t", []string{"t"}},
		{"in whatever case the scheme is", "", "authorization:bEARER t", []string{"t"}},
		{"with white space around it", "", "Authorization: \tBearer   t \t", []string{"t"}},
		{"a bearer token with spaces within is no token, and is not cut", "", "Authorization:Bearer a b", []string{"a b"}},
		{"a list is not taken apart: a token may have commas", "", "Authorization:Bearer a,Bearer b", []string{"a,Bearer b"}},
		{"a scheme alone", "", "Authorization:Bearer", nil},
		{"a scheme and nothing", "", "Authorization:Bearer ", nil},
		{"a scheme that only begins so", "", "Authorization:Bearertoken t", nil},
		{"another scheme", "", "Authorization:Basic dXNlcjpkZW1v", nil},
		{"no scheme", "", "Authorization:t", nil},
		{"a header that stands twice", "", "Authorization:Basic x\nAuthorization:Bearer a\nAuthorization:Bearer b", []string{"a", "b"}},
		{"Anthropic's header", "", "x-api-key: t ", []string{"t"}},
		{"Azure's", "", "API-KEY:t", []string{"t"}},
		{"Azure's gateway's", "", "Ocp-Apim-Subscription-Key:t", []string{"t"}},
		{"Google's", "", "X-Goog-Api-Key:t", []string{"t"}},
		{"a word before it belongs to Authorization alone", "", "X-Api-Key:Bearer t", []string{"Bearer t"}},
		{"an empty header", "", "X-Api-Key:\nApi-Key: ", nil},
		{"several headers", "", "X-Api-Key:b\nAuthorization:Bearer a", []string{"a", "b"}},
		{"a header of another name", "", "X-Api-Keys:t\nCookie:key=t\nProxy-Authorization:Bearer t", nil},

		{"the query", "key=t", "", []string{"t"}},
		{"all its parameters", "key=a&%24key=b&access_token=c&oauth_token=d&api-key=e&subscription-key=f", "", []string{"a", "b", "c", "d", "e", "f"}},
		{"a parameter that stands twice", "key=a&model=x&key=b", "", []string{"a", "b"}},
		{"an escaped name", "%6bey=t", "", []string{"t"}},
		{"an escaped value", "key=%74%2B%3d", "", []string{"t+="}},
		{"a value with an equals sign", "key=t=", "", []string{"t="}},
		{"an escape that is none: no token is so", "key=%zz", "", []string{"%zz"}},
		{"a name in other case is another", "Key=t&KEY=t", "", nil},
		{"an empty parameter", "key=&key", "", nil},
		{"a semicolon divides nothing", "a;key=t", "", nil},
		{"other parameters", "keys=t&api_key=t&model=x", "", nil},

		{"a browser's websocket", "", "Sec-WebSocket-Protocol:realtime, openai-insecure-api-key.t, openai-beta.realtime-v1", []string{"t"}},
		{"over several lines", "", "Sec-WebSocket-Protocol:realtime\nSec-WebSocket-Protocol:openai-insecure-api-key.a,openai-insecure-api-key.b", []string{"a", "b"}},
		{"without a token", "", "Sec-WebSocket-Protocol:openai-insecure-api-key.", nil},
		{"other protocols", "", "Sec-WebSocket-Protocol:realtime, openai-organization.t", nil},

		{"headers come first, then protocols, then the query", "key=c", "Sec-WebSocket-Protocol:openai-insecure-api-key.b\nApi-Key:a", []string{"a", "b", "c"}},
	} {
		if got := slices.Collect(Of(testkit.Presenting(test.query, test.header))); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// Whatever a token is presented in is taken off before the request goes upstream, and
// whatever is taken off as a credential can present one.
func TestTokensStandWhereCredentialsAreTakenOff(t *testing.T) {
	const token = "demo-token-0123456789"
	var requests []*http.Request
	for _, name := range provider.CredentialHeaders {
		value := token
		if name == "Authorization" {
			value = "Bearer " + token
		}
		requests = append(requests, testkit.Presenting("", name+":"+value))
	}
	for _, prefix := range provider.CredentialProtocols {
		requests = append(requests, testkit.Presenting("", ProtocolHeader+":"+prefix+token))
	}
	for _, name := range provider.CredentialQuery {
		requests = append(requests, testkit.Presenting(url.QueryEscape(name)+"="+token, ""))
	}
	if len(requests) < 12 {
		t.Fatalf("only %d places", len(requests))
	}
	in := NewInjector(provider.Presets["openai"], nil, nil, testkit.TestKeys(t, "sk-demo-1"))
	for _, r := range requests {
		if got := slices.Collect(Of(r)); !slices.Equal(got, []string{token}) {
			t.Errorf("%v %s: presented %q", r.Header, r.URL, got)
		}
		if sent := in.request(t.Context(), r, 0); slices.Contains(slices.Collect(Of(sent)), token) {
			t.Errorf("%v %s goes upstream", sent.Header, sent.URL)
		}
	}
}

func FuzzCredentialsOf(f *testing.F) {
	f.Add("Bearer t", "realtime, openai-insecure-api-key.t", "key=t&%6bey=u")
	f.Add("bearer  a,b", "openai-insecure-api-key.", "access_token=%zz&key")
	f.Add("Basic x", ",,", "&&=&")
	in := NewInjector(provider.Presets["anthropic"], nil, nil, testkit.TestKeys(f, "sk-demo-pool-1"))
	f.Fuzz(func(t *testing.T, authorization, protocols, query string) {
		if !httpguts.ValidHeaderFieldValue(authorization) || !httpguts.ValidHeaderFieldValue(protocols) {
			return // no server passes these on
		}
		r := &http.Request{URL: &url.URL{Path: "/", RawQuery: query}, Header: http.Header{
			"Authorization": {authorization}, "X-Api-Key": {authorization}, ProtocolHeader: {protocols},
		}}
		for token := range Of(r) {
			if token == "" {
				t.Error("an empty token")
			}
		}
		// What counts as a token does not go upstream.
		sent := slices.Collect(Of(in.request(t.Context(), r, 0)))
		if !slices.Equal(sent, []string{"sk-demo-pool-1"}) {
			t.Errorf("%q went upstream", sent)
		}
	})
}

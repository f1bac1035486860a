package credential

import (
	"iter"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/keycycler/keycycler/internal/provider"
)

// MaxLen is the longest token that a client may have, in bytes.
const MaxLen = 4096

// Of yields what the request presents as its credentials, wherever they are
// taken off before it goes upstream (CredentialHeaders, CredentialProtocols and
// CredentialQuery). Empty ones are none.
func Of(r *http.Request) iter.Seq[string] {
	return func(yield func(string) bool) {
		_ = eachHeaderCredential(r.Header, yield) &&
			eachProtocolCredential(r.Header[ProtocolHeader], yield) &&
			eachQueryCredential(r.URL.RawQuery, yield)
	}
}

// eachHeaderCredential yields what headers carry: the bearer token of Authorization,
// the whole of the others. A header that stands more than once is read each time. Like
// its siblings it returns whether to go on.
func eachHeaderCredential(h http.Header, yield func(string) bool) bool {
	for _, name := range provider.CredentialHeaders {
		for _, value := range h[name] {
			if name == "Authorization" {
				value = bearerToken(value)
			}
			if value = textproto.TrimString(value); value != "" && !yield(value) {
				return false
			}
		}
	}
	return true
}

// bearerToken returns what follows the scheme Bearer, whose case is of no account (RFC
// 9110 §11.1); "" for any other scheme.
func bearerToken(value string) string {
	const scheme = "Bearer "
	value = textproto.TrimString(value)
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return ""
	}
	return value[len(scheme):]
}

// eachProtocolCredential yields what browsers send as websocket sub-protocols.
func eachProtocolCredential(offered []string, yield func(string) bool) bool {
	for _, line := range offered {
		for protocol := range strings.SplitSeq(line, ",") {
			protocol = textproto.TrimString(protocol)
			for _, prefix := range provider.CredentialProtocols {
				token, ok := strings.CutPrefix(protocol, prefix)
				if ok && token != "" && !yield(token) {
					return false
				}
			}
		}
	}
	return true
}

// eachQueryCredential yields what the raw query carries, decoded. What cannot be
// decoded, and what no token is as long as, counts as it stands: it is no token.
func eachQueryCredential(rawQuery string, yield func(string) bool) bool {
	if rawQuery == "" {
		return true
	}
	for part := range strings.SplitSeq(rawQuery, "&") {
		if !isParameter(part, provider.CredentialQuery) {
			continue
		}
		_, value, _ := strings.Cut(part, "=")
		if decoded, err := url.QueryUnescape(value); err == nil && len(value) <= 3*MaxLen {
			value = decoded
		}
		if value != "" && !yield(value) {
			return false
		}
	}
	return true
}

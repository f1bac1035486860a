package keycycler

import (
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/keycycler/keycycler/rotator"
)

// injector makes the request of an attempt: the client's, without what
// identifies the client, with a key of the pool's. It is immutable.
type injector struct {
	strip     []string // canonical header names
	protocols []string // prefixes of websocket sub-protocols
	header    string   // the canonical name of the header that carries the key, or
	query     string   // the query parameter that does

	// What the header holds, ready made, or the escaped parameter: by slot.
	values []string
}

func newInjector(p *provider, auth *Auth, keep []string, keys []rotator.Key) *injector {
	if auth == nil {
		auth = &p.auth
	}
	in := &injector{strip: slices.Clone(credentialHeaders), protocols: slices.Clone(credentialProtocols)}
	kept := func(name string) bool {
		return slices.ContainsFunc(keep, func(k string) bool { return strings.EqualFold(k, name) })
	}
	for _, name := range accountHeaders {
		if !kept(name) {
			in.strip = append(in.strip, name)
		}
	}
	for prefix, name := range accountProtocols {
		if !kept(name) {
			in.protocols = append(in.protocols, prefix)
		}
	}
	prefix := ""
	switch {
	case auth.Query != "":
		in.query = auth.Query
		prefix = url.QueryEscape(auth.Query) + "="
	case auth.Header != "":
		in.header = textproto.CanonicalMIMEHeaderKey(auth.Header)
		if auth.Prefix != "" {
			prefix = auth.Prefix + " "
		}
	default:
		in.header = "Authorization"
		prefix = "Bearer "
	}
	in.values = make([]string, len(keys))
	for i, k := range keys {
		secret := k.Secret()
		if in.query != "" {
			secret = url.QueryEscape(secret)
		}
		in.values[i] = prefix + secret
	}
	return in
}

// request returns a copy of r that carries the key at s. Header, URL and the
// header's values are its own: a handler that changes them changes nothing that
// the server, its access log or another attempt sees. The body is r's.
func (in *injector) request(ctx context.Context, r *http.Request, s rotator.Slot) *http.Request {
	attempt := r.WithContext(ctx)
	attempt.Header = in.copyHeader(r.Header, in.values[s])
	u := *r.URL
	attempt.URL = &u
	if in.query != "" || hasParameter(u.RawQuery, credentialQuery) {
		u.RawQuery = withoutParameters(u.RawQuery, credentialQuery, in.query)
		// reverse_proxy logs the request line: without the client's key, and
		// without ours.
		attempt.RequestURI = u.RequestURI()
		if in.query != "" {
			u.RawQuery = joinQuery(u.RawQuery, in.values[s])
		}
	}
	return attempt
}

// copyHeader copies h in one pass, without what is taken off and with the key.
func (in *injector) copyHeader(h http.Header, value string) http.Header {
	count := 1
	for _, values := range h {
		count += len(values)
	}
	all := make([]string, 0, count)
	header := make(http.Header, len(h)+1)
	for name, values := range h {
		if slices.Contains(in.strip, name) {
			continue
		}
		if values == nil {
			header[name] = nil // set to nothing on purpose: reverse_proxy knows this
			continue
		}
		start := len(all)
		all = append(all, values...)
		header[name] = all[start:len(all):len(all)]
	}
	if in.header != "" {
		start := len(all)
		all = append(all, value)
		header[in.header] = all[start:len(all):len(all)]
	}
	if offered, ok := header[protocolHeader]; ok {
		in.stripProtocols(header, offered)
	}
	return header
}

// protocolHeader is how net/http spells Sec-WebSocket-Protocol.
const protocolHeader = "Sec-Websocket-Protocol"

// stripProtocols takes credentials off the offered websocket sub-protocols.
func (in *injector) stripProtocols(header http.Header, offered []string) {
	var kept []string
	for _, line := range offered {
		for protocol := range strings.SplitSeq(line, ",") {
			protocol = strings.TrimSpace(protocol)
			secret := slices.ContainsFunc(in.protocols, func(prefix string) bool {
				return strings.HasPrefix(protocol, prefix)
			})
			if protocol != "" && !secret {
				kept = append(kept, protocol)
			}
		}
	}
	if len(kept) == 0 {
		delete(header, protocolHeader)
		return
	}
	header[protocolHeader] = []string{strings.Join(kept, ", ")}
}

// hasParameter tells whether the raw query has a parameter of this name.
func hasParameter(rawQuery, name string) bool {
	if rawQuery == "" {
		return false
	}
	for part := range strings.SplitSeq(rawQuery, "&") {
		if isParameter(part, name) {
			return true
		}
	}
	return false
}

// withoutParameters takes the parameters of these names out of a raw query and
// leaves the order and the spelling of the others as they are.
func withoutParameters(rawQuery string, names ...string) string {
	var kept []string
	for part := range strings.SplitSeq(rawQuery, "&") {
		if !slices.ContainsFunc(names, func(name string) bool { return name != "" && isParameter(part, name) }) {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "&")
}

// isParameter tells whether part of a raw query is a parameter of this name,
// however it is escaped.
func isParameter(part, name string) bool {
	spelled, _, _ := strings.Cut(part, "=")
	if spelled == name {
		return true
	}
	if !strings.ContainsAny(spelled, "%+") {
		return false
	}
	decoded, err := url.QueryUnescape(spelled)
	return err == nil && decoded == name
}

func joinQuery(rawQuery, parameter string) string {
	if rawQuery == "" {
		return parameter
	}
	return rawQuery + "&" + parameter
}

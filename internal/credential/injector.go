// Package credential takes the client's credentials off a request and puts the pool's on.
// It finds credentials in every spelling, refuses what would give a key away, and blots
// keys out of what an upstream repeats.
//
// It knows HTTP and how each provider wants its key. It calls nobody and keeps no state. A
// header or a parameter that carries a secret goes here.
package credential

import (
	"context"
	"iter"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/rotator"
)

// Injector makes the request of an attempt: the client's, without what
// identifies the client, with a key of the pool's. It is immutable.
type Injector struct {
	carrier
	provider  *provider.Preset
	imitation *carrier // where the upstream imitates OpenAI's API, if the key travels otherwise there

	strip      []string // canonical header names
	lengths    uint64   // of them, as a set
	protocols  []string // prefixes of websocket sub-protocols
	parameters []string // of the query
}

// carrier is a way for the pool's keys to travel.
type carrier struct {
	header string // the canonical name of the header that carries the key, or
	query  string // the query parameter that does

	credentials credentials
}

// credentials are what attempts send, by slot: what the header holds, ready made, or
// the escaped parameter. They stand in one text, since there may be very many. Why that
// is behind a pointer, rotator.Key says.
type credentials struct {
	text *string
	ends []int
}

func makeCredentials(keys []rotator.Key, of func(secret string) string) credentials {
	var text strings.Builder
	ends := make([]int, len(keys))
	for i, k := range keys {
		text.WriteString(of(k.Secret()))
		ends[i] = text.Len()
	}
	all := strings.Clone(text.String()) // without what the builder has left
	return credentials{&all, ends}
}

func (c credentials) at(s rotator.Slot) string {
	start := 0
	if s > 0 {
		start = c.ends[s-1]
	}
	return (*c.text)[start:c.ends[s]]
}

func NewInjector(p *provider.Preset, auth *provider.Auth, keep []string, keys []rotator.Key) *Injector {
	in := &Injector{
		provider:   p,
		strip:      append([]string{settingsHeader}, provider.CredentialHeaders...),
		protocols:  slices.Clone(provider.CredentialProtocols),
		parameters: slices.Clone(provider.CredentialQuery),
	}
	if auth == nil {
		auth = &p.Auth
		if p.OpenAI != "" && !auth.Bearer {
			imitation := newCarrier(&provider.Auth{Bearer: true}, keys)
			in.imitation = &imitation
		}
	}
	in.carrier = newCarrier(auth, keys)
	if in.query != "" {
		in.parameters = append(in.parameters, in.query)
	}
	kept := func(name string) bool {
		return slices.ContainsFunc(keep, func(k string) bool { return strings.EqualFold(k, name) })
	}
	for _, name := range provider.AccountHeaders {
		if !kept(name) {
			in.strip = append(in.strip, name)
		}
	}
	for prefix, name := range provider.AccountProtocols {
		if !kept(name) {
			in.protocols = append(in.protocols, prefix)
		}
	}
	if in.header != "" && !slices.Contains(in.strip, in.header) {
		in.strip = append(in.strip, in.header)
	}
	for _, name := range in.strip {
		in.lengths |= 1 << (len(name) % 64)
	}
	return in
}

func newCarrier(auth *provider.Auth, keys []rotator.Key) carrier {
	var c carrier
	prefix := ""
	switch {
	case auth.Query != "":
		c.query = auth.Query
		prefix = url.QueryEscape(auth.Query) + "="
	case auth.Header != "":
		c.header = textproto.CanonicalMIMEHeaderKey(auth.Header)
		if auth.Prefix != "" {
			prefix = auth.Prefix + " "
		}
	default:
		c.header = "Authorization"
		prefix = "Bearer "
	}
	c.credentials = makeCredentials(keys, func(secret string) string {
		if c.query != "" {
			secret = url.QueryEscape(secret)
		}
		return prefix + secret
	})
	return c
}

// carrierAt returns how the key travels to this path.
func (in *Injector) carrierAt(path string) *carrier {
	if in.imitation != nil && in.provider.Imitates(path) {
		return in.imitation
	}
	return &in.carrier
}

// InURL tells whether keys travel in the URL, which upstreams repeat in their headers.
func (in *Injector) InURL() bool {
	return in.query != "" || in.imitation != nil && in.imitation.query != ""
}

// Outgoing is an attempt's request and what hangs on it, in one allocation.
type Outgoing struct {
	Request http.Request
	url     url.URL
	values  [16]string // of the header, where that many are enough
}

// Fill makes o a copy of r, of this context, that carries the key at s. Header, URL and
// the header's values are its own: a handler that changes them changes nothing that the
// server, its access log or another attempt sees. The body is r's.
func (in *Injector) Fill(ctx context.Context, o *Outgoing, r *http.Request, s rotator.Slot) {
	o.Request, o.url = *r.WithContext(ctx), *r.URL
	attempt, u := &o.Request, &o.url
	attempt.URL = u
	c := in.carrierAt(u.Path)
	value := c.credentials.at(s)
	attempt.Header = in.copyHeader(r.Header, c.header, value, o.values[:0])
	if c.query != "" || hasParameter(u.RawQuery, in.parameters) {
		u.RawQuery = withoutParameters(u.RawQuery, in.parameters)
		// reverse_proxy logs the request line: without the client's key, and
		// without ours.
		attempt.RequestURI = u.RequestURI()
		if c.query != "" {
			u.RawQuery = joinQuery(u.RawQuery, value)
		}
	}
}

// copyHeader copies h in one pass, without what is taken off and with the value in
// the header called carrier, unless that is "". The values go into all, and where
// that is full into larger slices.
func (in *Injector) copyHeader(h http.Header, carrier, value string, all []string) http.Header {
	header := make(http.Header, len(h)+1)
	for name, values := range h {
		switch {
		case in.strips(name):
			continue
		case values == nil:
			header[name] = nil // set to nothing on purpose: reverse_proxy knows this
			continue
		case name == "Connection":
			if values = endToEnd(values, carrier); values == nil {
				continue
			}
		case name == ProtocolHeader:
			if values = in.offered(values); values == nil {
				continue
			}
		}
		start := len(all)
		if len(values) == 1 {
			all = append(all, values[0])
		} else {
			all = append(all, values...)
		}
		header[name] = all[start:len(all):len(all)]
	}
	if carrier != "" {
		start := len(all)
		all = append(all, value)
		header[carrier] = all[start:len(all):len(all)]
	}
	return header
}

// endToEnd returns the lines of a Connection header without the name of the header
// that carries the key, or nil where they have no other. Proxies drop what is named there (RFC 9110 §7.6.1): a client could make them drop
// the key, and the upstream's complaint would cool key after key.
func endToEnd(lines []string, name string) []string {
	if name == "" || !httpguts.HeaderValuesContainsToken(lines, name) {
		return lines
	}
	var kept []string
	for _, line := range lines {
		for token := range strings.SplitSeq(line, ",") {
			if token = textproto.TrimString(token); !strings.EqualFold(token, name) {
				kept = append(kept, token)
			}
		}
	}
	return joined(kept)
}

// joined returns a header's values in one line, and no line for none.
func joined(values []string) []string {
	if len(values) == 0 {
		return nil
	}
	return []string{strings.Join(values, ", ")}
}

// strips tells whether the header of this name is taken off. Most are known not to
// be by their length.
func (in *Injector) strips(name string) bool {
	return in.lengths&(1<<(len(name)%64)) != 0 && slices.Contains(in.strip, dashed(name))
}

// dashed returns a canonical header name as those read it that hand headers on as
// variables (CGI, WSGI, FastCGI): to them X_Api_Key and X-Api-Key are one.
func dashed(name string) string {
	if !strings.Contains(name, "_") {
		return name
	}
	return textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))
}

// settingsHeader is how net/http spells HTTP2-Settings. Without it no upgrade to
// HTTP/2 is asked for (RFC 7540 §3.2.1): an upstream that took one would give the
// client a connection on which nobody looks at the requests any more.
const settingsHeader = "Http2-Settings"

// ProtocolHeader is how net/http spells Sec-WebSocket-Protocol.
const ProtocolHeader = "Sec-Websocket-Protocol"

// offered returns the websocket sub-protocols that these lines offer, without
// credentials, or nil where there are no others.
func (in *Injector) offered(lines []string) []string {
	var kept []string
	for _, line := range lines {
		for protocol := range strings.SplitSeq(line, ",") {
			protocol = strings.TrimSpace(protocol)
			secret := slices.ContainsFunc(in.protocols, func(prefix string) bool {
				return len(protocol) >= len(prefix) && strings.EqualFold(protocol[:len(prefix)], prefix)
			})
			if protocol != "" && !secret {
				kept = append(kept, protocol)
			}
		}
	}
	return joined(kept)
}

// hasParameter tells whether the raw query has a parameter of one of these names.
func hasParameter(rawQuery string, names []string) bool {
	if rawQuery == "" {
		return false
	}
	for _, part := range queryParts(rawQuery) {
		if isParameter(part, names) {
			return true
		}
	}
	return false
}

// queryParts yields the parts of a raw query, each with the separator before it, ""
// for the first. The semicolon is none any more, but older upstreams take it for one.
func queryParts(rawQuery string) iter.Seq2[string, string] {
	return func(yield func(separator, part string) bool) {
		separator := ""
		for {
			end := strings.IndexAny(rawQuery, "&;")
			if end < 0 {
				yield(separator, rawQuery)
				return
			}
			if !yield(separator, rawQuery[:end]) {
				return
			}
			separator, rawQuery = rawQuery[end:end+1], rawQuery[end+1:]
		}
	}
}

// withoutParameters takes the parameters of these names out of a raw query and
// leaves the order and the spelling of the others as they are.
func withoutParameters(rawQuery string, names []string) string {
	var kept strings.Builder
	first := true
	for separator, part := range queryParts(rawQuery) {
		if isParameter(part, names) {
			continue
		}
		if !first {
			kept.WriteString(separator)
		}
		first = false
		kept.WriteString(part)
	}
	return kept.String()
}

// isParameter tells whether part of a raw query is a parameter of one of these
// names, however it is escaped.
func isParameter(part string, names []string) bool {
	spelled, _, _ := strings.Cut(part, "=")
	if slices.Contains(names, spelled) {
		return true
	}
	if !strings.ContainsAny(spelled, "%+") {
		return false
	}
	decoded, err := url.QueryUnescape(spelled)
	return err == nil && slices.Contains(names, decoded)
}

func joinQuery(rawQuery, parameter string) string {
	if rawQuery == "" {
		return parameter
	}
	return rawQuery + "&" + parameter
}

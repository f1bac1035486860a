package upstream

import (
	"bytes"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
)

// Body is the body of an attempt's request, as far as a transport can send it again by
// itself.
type Body interface {
	io.ReadCloser

	// Whole returns a copy of the body, if it is there from its start to its end, has so
	// many bytes, and nobody has read from it. It stands for having read it.
	Whole(length int64) ([]byte, bool)

	// Again returns the body from its start, for the same attempt. Who has read it until
	// now gets nothing any more. It fails where the attempt is over, or the start is lost.
	Again() (Body, error)
}

// hand gives net/http the request's body so that it can be sent again on a connection
// that takes it, where the upstream has not begun to process it; and, if it is no longer
// than most, in memory: then it goes out in one write with the header. A body is left as it
// is whose length is not stated, that has a trailer, or that another handler has wrapped.
func hand(r *http.Request, most int) {
	if r.Body == nil || r.ContentLength <= 0 || len(r.Trailer) > 0 || len(r.Header["Expect"]) > 0 {
		return
	}
	body, ok := unwrap(r.Body).(Body)
	if !ok {
		return
	}
	if r.ContentLength <= int64(most) {
		if text, ok := body.Whole(r.ContentLength); ok {
			handWhole(r, text)
			return
		}
	}
	handAgain(r, body)
}

// handAgain lets the request's body be sent from its start again.
func handAgain(r *http.Request, body Body) {
	again := 0
	r.GetBody = func() (_ io.ReadCloser, err error) {
		if again++; again > mostAgain {
			return nil, ErrUntaken
		}
		body, err = body.Again()
		return body, err
	}
	onlyOnce(r)
}

// mostAgain is how often net/http gets a body again: it does not count by itself how often
// an upstream closes one connection of HTTP/2 after the other (GOAWAY).
const mostAgain = 7

// handWhole gives the request a body that is this text, which nobody else has.
func handWhole(r *http.Request, text []byte) {
	r.Trailer = nil // HTTP/2 would end the body by a frame of its own
	r.Body = io.NopCloser(bytes.NewReader(text))
	again := 0
	r.GetBody = func() (io.ReadCloser, error) {
		if again++; again > mostAgain {
			return nil, ErrUntaken
		}
		return io.NopCloser(bytes.NewReader(text)), nil
	}
	onlyOnce(r)
}

// repeatable are the headers by which net/http takes a POST for one that may be sent again
// after the upstream has had it, if the connection has closed without an answer. Providers
// would run it, and bill it, twice.
var repeatable = []string{"Idempotency-Key", "X-Idempotency-Key"}

// onlyOnce keeps net/http from that: it knows these headers by this spelling alone.
func onlyOnce(r *http.Request) {
	for _, name := range repeatable {
		if values, ok := r.Header[name]; ok {
			delete(r.Header, name)
			r.Header[strings.ToLower(name)] = values
		}
	}
}

// unwrap takes off what reverse_proxy puts around a body: one reader that is about trailers
// and one that does not close what it has not read.
func unwrap(body io.ReadCloser) io.ReadCloser {
	for range 2 {
		v := reflect.ValueOf(body)
		if v.Kind() != reflect.Pointer || !wraps(v.Type().Elem()) {
			break
		}
		body = v.Elem().Field(0).Interface().(io.ReadCloser)
	}
	return body
}

// known tells of types of bodies whether they are reverse_proxy's wrappers.
var known sync.Map // reflect.Type → bool

// wraps tells whether the type is one of reverse_proxy's two wrappers of bodies.
func wraps(t reflect.Type) bool {
	if is, ok := known.Load(t); ok {
		return is.(bool)
	}
	is := t.PkgPath() == proxyPackage && (t.Name() == "requestBodyWithTrailers" || t.Name() == "bodyNopCloserIfNotRead") &&
		t.Field(0).Anonymous && t.Field(0).Type == reflect.TypeFor[io.ReadCloser]()
	known.Store(t, is)
	return is
}

// proxyPackage is where they are from.
const proxyPackage = "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

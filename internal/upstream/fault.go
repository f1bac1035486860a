package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// Fault is how an attempt failed at its upstream. No key is to blame for it.
type Fault uint8

const (
	None        Fault = iota // it did not, or for other reasons: the client's, another handler's
	Connect                  // there was no connection, or the upstream did not take the request: nothing has run
	Timeout                  // no header of an answer came in time: the request may have run
	Reset                    // the connection broke before one came: likewise
	Unavailable              // there was an answer: 502, 503 or 504

	Faults = int(Unavailable) + 1
)

var faultNames = [Faults]string{"", "connect", "timeout", "reset", "unavailable"}

// String returns the name by which metrics and logs have it.
func (f Fault) String() string { return faultNames[f] }

// ErrNoAnswer is the fault of an answer whose body is too long to be kept.
var ErrNoAnswer = errors.New("the upstream is not available")

// FaultOf tells from the error that the next handler has returned how the attempt failed,
// and the status of which it speaks, 0 for none. Nothing has been written to its client.
// reach is how far the attempt has come: what nobody has seen is judged by the error's type.
//
// Only what reverse_proxy says of its transport counts. That the client's body failed, or
// that the client has left, is for the caller to know: net/http tells it in many ways.
func FaultOf(err error, reach Reach) (f Fault, status int) {
	var e caddyhttp.HandlerError
	if !errors.As(err, &e) || !strings.HasPrefix(e.Trace, "reverseproxy.") || isClients(err) {
		return None, 0
	}
	switch text := e.Err.Error(); {
	case text == "no upstreams available": // errNoUpstream: health checks say so
		return Connect, e.StatusCode
	case strings.HasPrefix(text, "upstream response matched retry_match"):
		return FaultOfStatus(e.StatusCode), e.StatusCode
	case !strings.HasPrefix(e.Trace, "reverseproxy.statusError"), reach == Untried, isRequests(text):
		return None, 0
	}
	return faultOfTransport(e.Err, reach), 0
}

// faultOfTransport tells what an error of the transport means.
func faultOfTransport(err error, reach Reach) Fault {
	if reach == Dialing || isDial(err) || errors.Is(err, ErrUntaken) || isRefused(err.Error()) {
		return Connect
	}
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return Timeout
	}
	return Reset
}

// FaultOfStatus tells what an answer of the upstream says of it.
func FaultOfStatus(status int) Fault {
	if status >= http.StatusBadGateway && status <= http.StatusGatewayTimeout {
		return Unavailable
	}
	return None
}

// isClients tells whether the client has caused the error.
func isClients(err error) bool {
	var tooLarge *http.MaxBytesError
	return errors.As(err, &tooLarge) || errors.Is(err, context.Canceled)
}

// isRequests tells whether the transport found fault with the request.
func isRequests(text string) bool {
	return strings.Contains(text, "http: ContentLength=") || text == "http2: request body larger than specified content length"
}

// isDial tells whether no connection came about.
func isDial(err error) bool {
	var (
		dial        reverseproxy.DialError
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		op          *net.OpError
	)
	return errors.As(err, &dial) || errors.As(err, &certificate) || errors.As(err, &record) ||
		errors.As(err, &op) && op.Op == "remote error" || // an alert
		errors.Is(err, http.ErrSchemeMismatch) || strings.Contains(err.Error(), "net/http: TLS handshake timeout")
}

// isRefused tells whether the upstream says that it has not looked at the request
// (RFC 9113 §8.7). Mostly net/http sends it again by itself.
func isRefused(text string) bool {
	return strings.Contains(text, "REFUSED_STREAM") || strings.Contains(text, "graceful shutdown GOAWAY")
}

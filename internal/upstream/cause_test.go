package upstream

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// TestACanceledAttemptSaysWhy: over HTTP/2 net/http says that the context was canceled, for
// which reverse_proxy says that the client has left.
func TestACanceledAttemptSaysWhy(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		reached, goOn := make(chan struct{}), make(chan struct{})
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			reached <- struct{}{}
			<-goOn
		}))
		s.EnableHTTP2 = h2
		s.StartTLS()
		transport := &Transport{HTTPTransport: reverseproxy.HTTPTransport{Transport: s.Client().Transport.(*http.Transport)}}
		for _, because := range []error{ErrFirstByte, context.Canceled} {
			ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), Key, Unguided))
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				<-reached
				cancel(because)
			}()
			_, err = transport.RoundTrip(r)
			cancel(nil)
			if err != because {
				t.Errorf("HTTP/2 %t, %v: %v", h2, because, err)
			}
		}
		close(goOn)
		s.Close()
	}
}

// TestErrFirstByte: reverse_proxy answers such errors with 504.
func TestErrFirstByte(t *testing.T) {
	timeout, ok := ErrFirstByte.(net.Error)
	if !ok || !timeout.Timeout() || errors.Is(ErrFirstByte, context.Canceled) {
		t.Errorf("%v is no timeout", ErrFirstByte)
	}
}

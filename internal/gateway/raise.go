package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/respond"
)

// A request that no key serves can become an error of Caddy's, for handle_errors. There
// are two statuses, whatever the upstream said, so that one handle_errors catches all of
// it: a pool without a key is not the place for which a client's 401 would be true.

// errExhausted is the error of a pool that has no key for a request.
var errExhausted = errors.New("keycycler: no key is ready for the request")

// raiseRefusal returns the error instead of the pool's own answer.
func (x *exchange) raiseRefusal(f provider.Refusal) error {
	if f.Wait > 0 {
		x.report.Wait = f.Seconds()
	}
	return caddyhttp.Error(f.Status(), errExhausted)
}

// raiseAnswer returns the error instead of the upstream's answer. wait is for how long the
// pool holds the request back, in seconds, or "".
func (x *exchange) raiseAnswer(says *respond.Kept, wait string) error {
	if wait == "" {
		wait = wholeNumber(says.RetryAfter())
	}
	x.report.Wait = wait
	status := http.StatusTooManyRequests
	if says.Status() >= http.StatusInternalServerError {
		status = http.StatusServiceUnavailable
	}
	return caddyhttp.Error(status, fmt.Errorf("keycycler: every key refused the request: the upstream said %d", says.Status()))
}

// wholeNumber returns text if it is a number of seconds, and "" for a date and anything else.
func wholeNumber(text string) string {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

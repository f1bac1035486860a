package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

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
	x.report.Retry(inSeconds(f.Wait))
	return caddyhttp.Error(f.Status(), errExhausted)
}

// raiseAnswer returns the error instead of the upstream's answer.
func (x *exchange) raiseAnswer(says *respond.Kept) error {
	retry := says.RetryAfter()
	if _, err := strconv.ParseUint(retry, 10, 32); err != nil {
		retry = "" // a date, or nothing
	}
	if x.pause > 0 {
		retry = inSeconds(x.pause)
	}
	x.report.Retry(retry)
	status := http.StatusTooManyRequests
	if says.Status() >= http.StatusInternalServerError {
		status = http.StatusServiceUnavailable
	}
	return caddyhttp.Error(status, fmt.Errorf("keycycler: every key refused the request: the upstream said %d", says.Status()))
}

// inSeconds returns a wait as whole seconds, "" for none.
func inSeconds(wait time.Duration) string {
	if wait <= 0 {
		return ""
	}
	return strconv.FormatInt(int64(wholeSeconds(wait)/time.Second), 10)
}

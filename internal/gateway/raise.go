package gateway

import (
	"errors"
	"fmt"
	"math"
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
	x.report.Wait = inSeconds(f.Wait)
	return caddyhttp.Error(f.Status(), errExhausted)
}

// raiseAnswer returns the error instead of the upstream's answer.
func (x *exchange) raiseAnswer(says *respond.Kept) error {
	if x.report.Wait = inSeconds(x.pause); x.pause == 0 {
		// What is no number is a date, or nothing.
		stated, _ := strconv.ParseUint(says.RetryAfter(), 10, 32)
		x.report.Wait = uint32(stated)
	}
	status := http.StatusTooManyRequests
	if says.Status() >= http.StatusInternalServerError {
		status = http.StatusServiceUnavailable
	}
	return caddyhttp.Error(status, fmt.Errorf("keycycler: every key refused the request: the upstream said %d", says.Status()))
}

// inSeconds returns a wait as whole seconds, 0 for none.
func inSeconds(wait time.Duration) uint32 {
	if wait <= 0 {
		return 0
	}
	return uint32(min(wholeSeconds(wait)/time.Second, math.MaxUint32))
}

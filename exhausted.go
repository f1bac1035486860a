package keycycler

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// maxSDKWait is the longest Retry-After that every official SDK waits for. Past it
// some of them (openai-node) try again within seconds instead, unless
// `x-should-retry: false` says that it is no use.
const maxSDKWait = 60 * time.Second

// refusal is what a client is told that got no answer.
type refusal struct {
	wait     time.Duration // until the first key is ready, in whole seconds, at least one
	class    ttl.Class     // why the keys cool: InvalidKey or QuotaExhausted where that is all there is
	disabled bool          // no key will be ready by itself: an operator has disabled all
}

// reason is what the log calls it.
func (f refusal) reason() string {
	if f.disabled {
		return rotator.Disabled.String()
	}
	return f.class.String()
}

// newRefusal reads the pool's state: invalid keys and spent quotas are told apart
// from rate limits only where no key would come back by itself.
func newRefusal(c rotator.Census) refusal {
	cooling := func(class ttl.Class) int { return c.Cooling[class] }
	f := refusal{class: ttl.RateLimited, wait: wholeSeconds(c.Soonest)}
	if c.Ready > 0 {
		f.wait = wholeSeconds(0) // the request has had its attempts, or its time
	}
	switch enabled := c.Keys - c.Disabled; enabled {
	case 0:
		f.disabled, f.wait = true, 0
	case cooling(ttl.InvalidKey):
		f.class = ttl.InvalidKey
	case cooling(ttl.InvalidKey) + cooling(ttl.QuotaExhausted):
		f.class = ttl.QuotaExhausted
	}
	return f
}

// wholeSeconds rounds up: a client that obeys never comes too early. SDKs take a
// Retry-After of 0 for none, so one second is the least.
func wholeSeconds(d time.Duration) time.Duration {
	const second = time.Second
	if d > math.MaxInt64-second {
		return d.Truncate(second)
	}
	return max((d + second - 1).Truncate(second), second)
}

// refuse writes the answer of a pool that has no key for this request.
func (p *provider) writeRefusal(w http.ResponseWriter, f refusal) error {
	body := p.refuse(f)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	status := http.StatusTooManyRequests
	if f.disabled {
		status = http.StatusServiceUnavailable
	} else {
		h.Set("Retry-After", strconv.FormatInt(int64(f.wait/time.Second), 10))
	}
	if f.disabled || f.wait > maxSDKWait {
		h.Set("X-Should-Retry", "false")
	}
	w.WriteHeader(status)
	_, err := w.Write(body)
	return err
}

// openAIError gives OpenAI's error object, for which its SDKs raise their own
// RateLimitError (https://platform.openai.com/docs/guides/error-codes).
func openAIError(f refusal) []byte {
	type object struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    string  `json:"code"`
	}
	o := object{Type: "requests", Code: "rate_limit_exceeded"}
	again := fmt.Sprintf("Please try again in %s.", f.wait)
	switch {
	case f.disabled:
		o.Type, o.Code = "server_error", "no_api_key_enabled"
		o.Message = "Every API key of this gateway is disabled."
	case f.class == ttl.InvalidKey:
		o.Type, o.Code = "invalid_request_error", "invalid_api_key"
		o.Message = "The upstream refused every API key of this gateway as invalid. " + again
	case f.class == ttl.QuotaExhausted:
		o.Type, o.Code = "insufficient_quota", "insufficient_quota"
		o.Message = "The quota of every API key of this gateway is spent. " + again
	default:
		o.Message = "Rate limit reached for every API key of this gateway. " + again
	}
	body, err := json.Marshal(map[string]object{"error": o})
	if err != nil {
		panic(err) // strings alone
	}
	return append(body, '\n')
}

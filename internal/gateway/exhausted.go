package gateway

import (
	"math"
	"net/http"
	"time"

	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// shortageOf is what the log is told of it.
func shortageOf(f provider.Refusal) observe.Shortage {
	out := observe.Shortage{Class: f.Class.String(), Wait: f.Wait}
	switch {
	case f.Disabled:
		out.Class = rotator.Disabled.String()
	case f.Limited:
		out.Class = reason.Name(reason.Limit)
	}
	return out
}

// newRefusal reads the pool's state: invalid keys and spent quotas are told apart
// from rate limits only where no key would come back by itself.
func newRefusal(c rotator.Census) provider.Refusal {
	cooling := func(class ttl.Class) int { return c.Cooling[class] }
	f := provider.Refusal{Class: ttl.RateLimited, Wait: wholeSeconds(c.Soonest)}
	if c.Ready > 0 || c.Busy > 0 || c.Unstated > 0 {
		// The request has had its attempts, or its time; or a key may be ready at any moment,
		// since nobody knows for how long it is not.
		f.Wait = wholeSeconds(0)
	}
	f.Some = c.Cooling[reason.Limit] > 0
	switch enabled := c.Keys - c.Disabled; enabled {
	case 0:
		f.Disabled, f.Wait = true, 0
	case c.Cooling[reason.Limit]:
		f.Limited = true
	case cooling(ttl.InvalidKey):
		f.Class = ttl.InvalidKey
	case cooling(ttl.InvalidKey) + cooling(ttl.QuotaExhausted):
		f.Class = ttl.QuotaExhausted
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

// WriteRefusal answers a request without the upstream.
func (g *Gateway) writeRefusal(w http.ResponseWriter, r *http.Request, f provider.Refusal) error {
	if r.ProtoMajor == 1 && (f.Stopped || r.Header.Get("Expect") != "") {
		// The server would wait for the body before it sends this answer, and the
		// client for 100 Continue before it sends the body. One that stops takes no
		// further request.
		w.Header().Set("Connection", "close")
	}
	f.Path = r.URL.Path
	return g.Provider.WriteRefusal(w, f)
}

package keycycler

import (
	"math"
	"net/http"
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// shortageOf is what the log is told of it.
func shortageOf(f refusal) shortage {
	out := shortage{f.class.String(), f.wait}
	switch {
	case f.disabled:
		out.class = rotator.Disabled.String()
	case f.limited:
		out.class = reasonName(reasonLimit)
	}
	return out
}

// newRefusal reads the pool's state: invalid keys and spent quotas are told apart
// from rate limits only where no key would come back by itself.
func newRefusal(c rotator.Census) refusal {
	cooling := func(class ttl.Class) int { return c.Cooling[class] }
	f := refusal{class: ttl.RateLimited, wait: wholeSeconds(c.Soonest)}
	if c.Ready > 0 || c.Busy > 0 {
		f.wait = wholeSeconds(0) // the request has had its attempts, or its time; or a key may be ready at any moment
	}
	f.some = c.Cooling[reasonLimit] > 0
	switch enabled := c.Keys - c.Disabled; enabled {
	case 0:
		f.disabled, f.wait = true, 0
	case c.Cooling[reasonLimit]:
		f.limited = true
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

// writeRefusal answers a request without the upstream.
func (g *gateway) writeRefusal(w http.ResponseWriter, r *http.Request, f refusal) error {
	if r.ProtoMajor == 1 && (f.stopped || r.Header.Get("Expect") != "") {
		// The server would wait for the body before it sends this answer, and the
		// client for 100 Continue before it sends the body. One that stops takes no
		// further request.
		w.Header().Set("Connection", "close")
	}
	f.path = r.URL.Path
	return g.Provider.writeRefusal(w, f)
}

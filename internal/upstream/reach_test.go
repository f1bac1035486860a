package upstream_test

import (
	"net/http/httptrace"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/internal/upstream"
)

// expired counts how often an attempt was ended.
type expired int

func (e *expired) Expire(error) bool { *e++; return true }

// An attempt ends when net/http has paused before it sends the request again. Connections
// that were closed meanwhile are no reason, nor is one that takes long to come about.
func TestWhatNetHTTPInsistsOn(t *testing.T) {
	const quick, slow = 100 * time.Millisecond, time.Second
	for _, row := range []struct {
		sentence     string
		dials, calls []time.Duration // how long each connection takes, and how long it takes none
		stays        bool            // there is no other address
		want         upstream.Reach
	}{
		{"at first", []time.Duration{slow}, nil, false, upstream.Connected},
		{"one that was closed", []time.Duration{quick, slow}, []time.Duration{quick}, false, upstream.Connected},
		{"two that were", []time.Duration{quick, quick, slow}, []time.Duration{quick, quick}, false, upstream.Connected},
		{"sent again after a pause", []time.Duration{quick, quick, quick}, []time.Duration{quick, slow}, false, upstream.Untaken},
		{"there is no other address", []time.Duration{quick, quick, quick}, []time.Duration{quick, slow}, true, upstream.Connected},
	} {
		synctest.Test(t, func(t *testing.T) {
			watch, ended := new(upstream.Watch), new(expired)
			attempt := upstream.Expirer(ended)
			if row.stays {
				attempt = nil
			}
			trace := httptrace.ContextClientTrace(watch.In(t.Context(), attempt))
			for i, dial := range row.dials {
				trace.GetConn("")
				time.Sleep(dial)
				trace.GotConn(httptrace.GotConnInfo{})
				if i < len(row.calls) {
					time.Sleep(row.calls[i])
				}
			}
			if watch.Reach() != row.want || (*ended > 0) != (row.want == upstream.Untaken) {
				t.Errorf("%s: it came as far as %d, and was ended %d times", row.sentence, watch.Reach(), *ended)
			}
			watch.End()
			time.Sleep(slow)
			if before := *ended; trace.GetConn != nil {
				if trace.GetConn(""); *ended != before {
					t.Errorf("%s: it is ended when it is over", row.sentence)
				}
			}
		})
	}
}

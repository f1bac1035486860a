package shared

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	minPause = 20 * time.Millisecond
	maxPause = 2 * time.Second
)

// pause is the growing time between tries. The zero value is ready for use.
type pause struct{ last time.Duration }

func (p *pause) reset() { p.last = 0 }

// next doubles the pause, up to maxPause, and takes up to half of it away, so that
// processes which have lost the same Redis do not come back in step.
func (p *pause) next() time.Duration {
	p.last = min(max(2*p.last, minPause), maxPause)
	return p.last - rand.N(p.last/2)
}

// wait sleeps for the next pause, or less when something comes out of wake. It
// reports false when ctx ends.
func (p *pause) wait(ctx context.Context, wake <-chan struct{}) bool {
	timer := time.NewTimer(p.next())
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-timer.C:
	}
	return true
}

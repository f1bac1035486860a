package gateway

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/rotator"
)

// dryModels are the models of which the log was last told that no key is ready, by name:
// one line per change and model, however many requests meet it. They are among those
// that observe.Exhausted returns, and so bounded as these are.
type dryModels struct {
	mu   sync.Mutex               // held while the log is told, so that its lines have the changes' order
	told atomic.Pointer[[]string] // never changed; nil: none
}

// names returns the models.
func (d *dryModels) names() []string {
	if told := d.told.Load(); told != nil {
		return *told
	}
	return nil
}

// concerns tells whether a key for the model may be news. A name that none stands for may
// be one of those that share a scope.
func (d *dryModels) concerns(model string) bool {
	told := d.names()
	return len(told) > 0 && model != "" && (slices.Contains(told, model) || slices.Contains(told, rotator.Overflow))
}

// tellExhaustedModel tells that no key is ready for the request's model: once, but where a
// key is at the limit of the config, which may come and go many times a second.
func (x *exchange) tellExhaustedModel(now time.Time, census rotator.Census, f provider.Refusal) {
	switch {
	case f.Some:
		x.g.announcer.ExhaustedLimit(x.scope, census.Keys, shortageOf(f))
	case !slices.Contains(x.g.dryModels.names(), x.scope):
		x.g.tellModels(now)
	}
}

// tellModels tells what has changed since it was last called.
func (g *Gateway) tellModels(now time.Time) {
	d := &g.dryModels
	d.mu.Lock()
	defer d.mu.Unlock()
	before, after := d.names(), make([]string, 0, 1)
	for _, m := range observe.Exhausted(g.KeyPool(), now) {
		if m.Cooling[reason.Limit] > 0 {
			continue
		}
		after = append(after, m.Model)
		if !slices.Contains(before, m.Model) {
			g.announcer.ExhaustedModel(m.Model, m.Keys, shortageOf(newRefusal(m.Census)))
		}
	}
	for _, model := range before {
		if !slices.Contains(after, model) {
			g.announcer.ReadyModel(model)
		}
	}
	d.told.Store(&after)
}

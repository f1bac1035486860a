package gateway

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keycycler/keycycler/internal/catalog"
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

// concerns tells whether a key for the model may be news: it may be of a pattern or, where
// none stands for it, of those that share a scope, as rotator.Overflow says.
func (d *dryModels) concerns(model string) bool {
	return model != "" && slices.ContainsFunc(d.names(), func(told string) bool { return catalog.Fits(told, model) })
}

// has tells whether the log was told of the model, or of a pattern that it is of.
func (d *dryModels) has(model string) bool {
	return slices.ContainsFunc(d.names(), func(told string) bool {
		return told == model || told != rotator.Overflow && catalog.Fits(told, model)
	})
}

// tellExhaustedModel tells that no key is ready for the request's model: once, but where a
// key is at the limit of the config, which may come and go many times a second.
func (x *exchange) tellExhaustedModel(now time.Time, census rotator.Census, f provider.Refusal) {
	switch {
	case f.Some:
		x.g.announcer.ExhaustedLimit(cmp.Or(x.scope, x.model), census.Keys, shortageOf(f))
	case !x.g.dryModels.has(cmp.Or(x.scope, x.model)):
		x.g.tellModels(now)
	}
}

// tellModels tells what has changed since it was last called.
func (g *Gateway) tellModels(now time.Time) {
	d := &g.dryModels
	d.mu.Lock()
	defer d.mu.Unlock()
	before, after := d.names(), make([]string, 0, 1)
	for _, m := range observe.Exhausted(g.roster.Load().Index, now) {
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

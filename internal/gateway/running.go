package gateway

import (
	"slices"
	"sync"

	"github.com/keycycler/keycycler/internal/blame"
)

// running are the gateways of all configs: mostly one config's, during a reload two.
var running gateways

// gateways is a list of them. It is safe for concurrent use.
type gateways struct {
	mu  sync.Mutex
	all []*Gateway // in the order in which they came
}

// add lists a gateway, and gives it its guard: that of a pool which has its name and keys
// of its own. So a reload forgets nothing of what the guard has not decided yet.
func (l *gateways) add(g *Gateway) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g.guard = new(blame.Guard)
	for _, other := range slices.Backward(l.all) {
		if other.Pool == g.Pool && other.roster.Load().Shares(g.roster.Load().Index) {
			g.guard = other.guard
			break
		}
	}
	l.all = append(l.all, g)
}

func (l *gateways) remove(g *Gateway) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = slices.DeleteFunc(l.all, func(other *Gateway) bool { return other == g })
}

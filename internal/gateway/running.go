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

// add lists a gateway, and gives it its pace: that of a pool which has a key of its own, and asks in the same way. So
// a reload forgets nothing, and two pools of the same keys find out together.
func (l *gateways) add(g *Gateway) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g.pace = new(blame.Pace)
	g.pace.Heed(g.KeyPool().Clearings())
	for _, other := range slices.Backward(l.all) {
		if other.State == g.State && other.roster.Load().AsksLike(g.roster.Load()) {
			g.pace = other.pace
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

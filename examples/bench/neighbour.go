package main

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// busyRate is how many keys a second the neighbour cools.
	busyRate = 300

	// spared is how many keys it leaves alone: those that are used.
	spared = 20
)

// neighbour is another node of the pool, which cools keys that the measured one has
// too. All that the measured one sees of it comes through Redis.
type neighbour struct {
	*gateway
	ids    []string // of keys that it cools
	active atomic.Bool
	cancel context.CancelFunc
	done   chan error
}

// startNeighbour starts the node, on the load's cores, and its cooling, which pauses
// until it is active.
func (l *lab) startNeighbour(c gatewayConfig) (*neighbour, error) {
	c.name = "neighbour"
	g, err := startGateway(l.ctx, l.binary, l.dir, l.loadCores, c)
	if err != nil {
		return nil, err
	}
	ids, err := g.admin.ids(l.ctx, poolName, 1<<20)
	if err != nil {
		g.stop()
		return nil, err
	}
	if len(ids) <= spared {
		g.stop()
		return nil, fmt.Errorf("the neighbour knows %d keys, too few to cool others than are used", len(ids))
	}
	ctx, cancel := context.WithCancel(l.ctx)
	n := &neighbour{gateway: g, ids: ids[spared:], cancel: cancel, done: make(chan error, 1)}
	go func() { n.done <- n.cool(ctx) }()
	return n, nil
}

// cool cools one key after the other, each for longer than the last time: a cooldown
// that does not extend another is no news.
func (n *neighbour) cool(ctx context.Context) error {
	ticks := time.NewTicker(time.Second / busyRate)
	defer ticks.Stop()
	for seconds := 36000; ; {
		for _, id := range n.ids {
			select {
			case <-ctx.Done():
				return nil
			case <-ticks.C:
			}
			if !n.active.Load() {
				continue
			}
			body := fmt.Sprintf(`{"seconds":%d}`, seconds)
			if _, err := n.admin.ask(ctx, http.MethodPost, keysPath(poolName)+"/"+id+"/cool", body); err != nil && ctx.Err() == nil {
				return fmt.Errorf("cooling a key at the neighbour: %w", err)
			}
			seconds++
		}
	}
}

// stop ends the cooling and the node, and returns why the cooling had ended before.
func (n *neighbour) stop() error {
	n.cancel()
	err := <-n.done
	n.gateway.stop()
	return err
}

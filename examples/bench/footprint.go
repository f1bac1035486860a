package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// footprint is something to compare that is no matter of requests.
type footprint struct {
	name    string
	about   string
	measure func(*lab) ([]footprintRow, error)
}

// footprintRow is one line of what they come to.
type footprintRow struct {
	What      string  `json:"what"`
	Unit      string  `json:"unit"`
	Bare      float64 `json:"bare"`
	Keycycler float64 `json:"keycycler"`
}

// idleConnections are those that memory is measured with.
const idleConnections = 1000

// manyKeys are those that a start, and the memory of a key, are measured with.
const manyKeys = 100_000

var footprints = []footprint{
	{"memory", "heap, stacks and resident memory of 1,000 idle connections and of 1,000 open streams", measureMemory},
	{"keys-memory", "heap for a key, of 100,000", measureKeysMemory},
	{"start", "from the process' start until it listens, with 20 keys and with 100,000", measureStarts},
}

// startOne starts a gateway for a footprint, which the caller ends with discard.
func (l *lab) startOne(keycycler bool, keys int) (*gateway, error) {
	c := gatewayConfig{name: "footprint", keycycler: keycycler, upstream: l.upstreamAddress}
	if keycycler {
		var err error
		if c.keysFile, err = writeKeys(l.dir, keyPrefix, keys, 0); err != nil {
			return nil, err
		}
	}
	return startGateway(l.ctx, l.binary, l.dir, l.gatewayCores, c)
}

// discard ends a gateway and removes its files.
func (g *gateway) discard() {
	g.stop()
	os.RemoveAll(filepath.Dir(g.log)) //nolint:errcheck // the lab's directory goes, too
}

// usage is what a gateway holds.
type usage struct{ heap, resident float64 }

func (l *lab) usageOf(g *gateway) (u usage, err error) {
	// Twice: what pools keep is let go by the second collection.
	if _, err = g.admin.heap(l.ctx); err != nil {
		return u, err
	}
	heap, err := g.admin.heap(l.ctx)
	if err != nil {
		return u, err
	}
	resident, err := residentMemory(g.pid())
	return usage{float64(heap), float64(resident)}, err
}

// measureMemory measures what connections add.
func measureMemory(l *lab) ([]footprintRow, error) {
	l.printf("memory: %d connections", idleConnections)
	var idle, active [2]usage
	for i, keycycler := range []bool{false, true} {
		var err error
		if idle[i], active[i], err = l.memoryOf(keycycler); err != nil {
			return nil, err
		}
	}
	const heap, resident = "KB of heap and stack", "KB resident"
	return []footprintRow{
		{"an idle connection", heap, idle[0].heap, idle[1].heap},
		{"an idle connection", resident, idle[0].resident, idle[1].resident},
		{"an open stream", heap, active[0].heap, active[1].heap},
		{"an open stream", resident, active[0].resident, active[1].resident},
	}, nil
}

// memoryOf returns the KB that a connection which has had its answer adds to a fresh
// gateway, and those that a stream does which is open.
func (l *lab) memoryOf(keycycler bool) (idle, active usage, err error) {
	if idle, err = l.addedBy(keycycler, jsonPath, func(c *plainClient) error { _, err := c.do(); return err }); err != nil {
		return idle, active, err
	}
	active, err = l.addedBy(keycycler, holdPath, (*plainClient).hold)
	return idle, active, err
}

// addedBy returns the KB that a connection adds on which this was done.
func (l *lab) addedBy(keycycler bool, path string, do func(*plainClient) error) (u usage, err error) {
	g, err := l.startOne(keycycler, pool20)
	if err != nil {
		return u, err
	}
	defer g.discard()
	connect := func(n int) error {
		c, err := newPlainClient(l.ctx, ask{address: g.address, path: path, body: body(smallBody)}, n)
		if err != nil {
			return err
		}
		// Held until the gateway is gone.
		l.held = append(l.held, c)
		return do(c)
	}
	defer l.letGo()
	// The first requests set up what all share.
	for n := range 10 {
		if err := connect(n); err != nil {
			return u, err
		}
	}
	before, err := l.usageOf(g)
	if err != nil {
		return u, err
	}
	for n := range idleConnections {
		if err := connect(n); err != nil {
			return u, err
		}
	}
	after, err := l.usageOf(g)
	added := func(a, b float64) float64 { return (a - b) / idleConnections / 1024 }
	return usage{added(after.heap, before.heap), added(after.resident, before.resident)}, err
}

// letGo closes what is held.
func (l *lab) letGo() {
	for _, c := range l.held {
		c.close()
	}
	l.held = nil
}

// measureKeysMemory measures the heap that a key takes, itself included.
func measureKeysMemory(l *lab) ([]footprintRow, error) {
	l.printf("keys-memory: %d keys", manyKeys)
	var heaps [2]float64
	for i, keys := range []int{1, manyKeys} {
		g, err := l.startOne(true, keys)
		if err != nil {
			return nil, err
		}
		u, err := l.usageOf(g)
		g.discard()
		if err != nil {
			return nil, err
		}
		heaps[i] = u.heap
	}
	return []footprintRow{{"a key", "bytes of heap", 0, (heaps[1] - heaps[0]) / (manyKeys - 1)}}, nil
}

// measureStarts measures how long starts take, in turn.
func measureStarts(l *lab) ([]footprintRow, error) {
	l.printf("start: %d of each", startRounds)
	kinds := []struct {
		keycycler bool
		keys      int
	}{{false, 0}, {true, pool20}, {true, manyKeys}}
	times := make([][]float64, len(kinds))
	for range startRounds {
		for i, kind := range kinds {
			g, err := l.startOne(kind.keycycler, kind.keys)
			if err != nil {
				return nil, err
			}
			g.discard()
			times[i] = append(times[i], float64(g.started.Microseconds())/1000)
		}
	}
	rows := make([]footprintRow, 0, len(kinds)-1)
	for i, kind := range kinds[1:] {
		what := fmt.Sprintf("a start with %s keys", grouped(kind.keys))
		rows = append(rows, footprintRow{what, "ms until it listens", median(times[0]), median(times[i+1])})
	}
	return rows, nil
}

// startRounds is how many starts of each kind there are.
const startRounds = 7

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// rig is what one start of a scenario runs: its gateways, and a load for each subject.
type rig struct {
	lab       *lab
	scenario  scenario
	subjects  []subject
	gateways  []*gateway
	loads     []*load // by subject
	neighbour *neighbour
}

// setUp starts a scenario's gateways and connects the load to each.
func (l *lab) setUp(s scenario) (r *rig, err error) {
	r = &rig{lab: l, scenario: s, subjects: s.subjects()}
	defer func() {
		if err != nil {
			r.tearDown() //nolint:errcheck // the other error tells
		}
	}()
	c, err := l.keycyclerConfig(s)
	if err != nil {
		return r, err
	}
	for i := range gateways {
		if err := r.start(c, i); err != nil {
			return r, err
		}
	}
	if s.redis == busyRedis {
		if r.neighbour, err = l.startNeighbour(c); err != nil {
			return r, err
		}
	}
	if s.cooling > 0 {
		if err := r.cool(s.keys * (100 - s.cooling) / 100); err != nil {
			return r, fmt.Errorf("cooling keys: %w", err)
		}
	}
	for _, subject := range r.subjects {
		if err := r.connect(subject); err != nil {
			return r, fmt.Errorf("connecting to %s: %w", subject.name, err)
		}
	}
	return r, nil
}

// keycyclerConfig returns the config of the scenario's keycycler.
func (l *lab) keycyclerConfig(s scenario) (gatewayConfig, error) {
	c := gatewayConfig{name: "gateway", keycycler: true, http2: s.http2, options: s.options, proxied: s.proxy, carrier: l.options.carrier, upstream: l.upstreamAddress}
	path, err := writeKeys(l.dir, keyPrefix, s.keys, s.limited)
	if err != nil {
		return c, err
	}
	c.keysFile = path
	if s.priced {
		prices := filepath.Join(l.dir, "prices.json")
		c.options += "\n\t\tprices " + prices
		if err := os.WriteFile(prices, []byte(`{"demo-*": {"input": 2.5, "output": 10}}`), 0o600); err != nil {
			return c, err
		}
	}
	if s.redis == noRedis {
		return c, nil
	}
	server, err := l.withRedis()
	if err != nil {
		return c, err
	}
	c.redis = server.address
	return c, nil
}

// start starts the i-th gateway: all but the last are what the scenario compares with.
func (r *rig) start(c gatewayConfig, i int) error {
	if i < gateways-1 {
		if err := r.rebase(&c); err != nil {
			return err
		}
	}
	g, err := startGateway(r.lab.ctx, r.lab.binary, r.lab.dir, r.lab.gatewayCores, c)
	if err != nil {
		return err
	}
	r.gateways = append(r.gateways, g)
	return nil
}

// cool cools the scenario's keys but so many, in all gateways that have them: what
// cooldowns take is memory, too.
func (r *rig) cool(ready int) error {
	last := gateways - 1
	for _, g := range r.gateways[:last] {
		if g.config.spareFile == "" {
			continue
		}
		if err := g.admin.leaveReady(r.lab.ctx, sparePool, ready); err != nil {
			return err
		}
	}
	return r.gateways[last].admin.leaveReady(r.lab.ctx, poolName, ready)
}

// rebase makes the config of the scenario's keycycler that of what it is compared with.
func (r *rig) rebase(c *gatewayConfig) (err error) {
	many := c.keysFile
	switch r.scenario.to {
	case bareCaddy:
		c.keycycler, c.keysFile = false, ""
	case tenKeys:
		c.keysFile, err = writeKeys(r.lab.dir, fewPrefix, fewKeys, 0)
	case memoryState:
	case usageOff:
		c.options = "usage off"
	}
	c.redis = ""
	if r.scenario.ballast {
		c.spareFile = many
	}
	return err
}

// pid returns the process of the subject's gateway.
func (r *rig) pid(i int) int { return r.gateways[r.subjects[i].gateway].pid() }

// connect makes the subject's load.
func (r *rig) connect(s subject) error {
	l := new(load)
	r.loads = append(r.loads, l)
	g := r.gateways[s.gateway]
	a := ask{address: g.address, path: s.path, body: body(r.scenario.body)}
	connect, err := r.dialer(g, a)
	if err != nil {
		return err
	}
	for i := range r.scenario.connections {
		c, err := connect(i)
		if err != nil {
			return err
		}
		l.workers = append(l.workers, &worker{client: c})
	}
	return nil
}

// dialer returns what makes a client for the worker of that number.
func (r *rig) dialer(g *gateway, a ask) (func(worker int) (client, error), error) {
	if !r.scenario.http2 {
		return func(worker int) (client, error) { return newPlainClient(r.lab.ctx, a, worker) }, nil
	}
	authority, err := os.ReadFile(g.root)
	if err != nil {
		return nil, err
	}
	transport, err := newHTTP2Transport(authority)
	if err != nil {
		return nil, err
	}
	return func(worker int) (client, error) { return newHTTP2Client(r.lab.ctx, transport, a, worker), nil }, nil
}

// body returns a JSON document of that many bytes.
func body(length int) []byte {
	const begin, end = `{"model":"demo-model","messages":[{"role":"user","content":"`, `"}]}`
	return []byte(begin + string(bytes.Repeat([]byte("x"), length-len(begin)-len(end))) + end)
}

// tearDown ends everything, and removes the gateways' files.
func (r *rig) tearDown() error {
	for _, l := range r.loads {
		l.close()
	}
	var errs []error
	if r.neighbour != nil {
		errs = append(errs, r.neighbour.stop())
	}
	for _, g := range r.gateways {
		g.stop()
		errs = append(errs, os.RemoveAll(filepath.Dir(g.log)))
	}
	return errors.Join(errs...)
}

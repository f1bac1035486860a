package main

import (
	"errors"
	"sync"
	"time"
)

// together drives the subjects of the group at the same time, on the core that their
// gateways share, and notes what a request costs each. So the machine's speed, which on
// a shared one changes by half within seconds, is the same for all of them, and their
// ratio can be told to a percent. They share the load, too.
func (r *rig) together(group []int, samples []sample, length time.Duration, rate float64) error {
	time.Sleep(settling)
	if r.neighbour != nil {
		r.neighbour.active.Store(true)
		defer r.neighbour.active.Store(false)
	}
	before, err := r.cpuTimes(group)
	if err != nil {
		return err
	}
	answered, err := r.driveGroup(group, length, rate/float64(len(group)))
	if err != nil {
		return err
	}
	after, err := r.cpuTimes(group)
	if err != nil {
		return err
	}
	costs := make([]float64, len(group))
	for at := range group {
		costs[at] = float64(after[at]-before[at]) / float64(answered[at])
	}
	last := len(group) - 1
	bare := mean(costs[:last])
	for at, i := range group {
		if at < last && samples[i].CPU > 0 {
			continue // bare Caddy was in another group before
		}
		samples[i].CPU, samples[i].Cost = costs[at], costs[at]/bare
	}
	return nil
}

// cpuTimes returns what the gateways of the group have used so far.
func (r *rig) cpuTimes(group []int) ([]time.Duration, error) {
	times := make([]time.Duration, len(group))
	for at, i := range group {
		var err error
		if times[at], err = cpuTime(r.pid(i)); err != nil {
			return nil, err
		}
	}
	return times, nil
}

// driveGroup drives each subject of the group with its share of the connections, and
// returns how many requests were answered.
func (r *rig) driveGroup(group []int, length time.Duration, rate float64) ([]int, error) {
	answered, errs := make([]int, len(group)), make([]error, len(group))
	var all sync.WaitGroup
	for at, i := range group {
		all.Go(func() {
			var b burst
			b, errs[at] = r.loads[i].share(len(group)).drive(length, rate)
			answered[at] = len(b.latencies)
		})
	}
	all.Wait()
	return answered, errors.Join(errs...)
}

// allocation is what a gateway allocates for each request.
type allocation struct {
	Objects float64 `json:"objects"`
	Bytes   float64 `json:"bytes"`
}

// allocated measures what the subject's gateway allocates for a request. Asking for it
// allocates, too: how much, two questions in a row tell.
func (r *rig) allocated(i int, length time.Duration) (allocation, error) {
	a := r.gateways[r.subjects[i].gateway].admin
	var counts [3]memory
	requests := 0
	for at := range counts {
		if at == len(counts)-1 {
			b, err := r.loads[i].drive(length, 0)
			if err != nil {
				return allocation{}, err
			}
			requests = len(b.latencies)
		}
		var err error
		if counts[at], err = a.memory(r.lab.ctx); err != nil {
			return allocation{}, err
		}
	}
	each := func(of func(memory) uint64) float64 {
		asking, all := of(counts[1])-of(counts[0]), of(counts[2])-of(counts[1])
		return (float64(all) - float64(asking)) / float64(requests)
	}
	return allocation{
		Objects: each(func(m memory) uint64 { return m.Mallocs }),
		Bytes:   each(func(m memory) uint64 { return m.TotalAlloc }),
	}, nil
}

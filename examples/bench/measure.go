package main

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"
)

// sample is what one round of one subject came to.
type sample struct {
	// Of a slice in which bare Caddy, the same again and this subject were driven at the
	// same time.
	CPU  float64 `json:"cpu_ns"` // of the gateway, for each request
	Cost float64 `json:"cost"`   // CPU, to the mean of both bare Caddys'

	// Of a slice in which it was driven alone.
	Alone        float64 `json:"alone_cpu_ns"`           // of the gateway, for each request
	Instructions float64 `json:"instructions,omitempty"` // likewise, outside of the kernel
	Writes       float64 `json:"writes"`                 // write calls of the gateway, for each request
	Rate         float64 `json:"requests_per_second"`
	P50          float64 `json:"p50_ns"`
	P99          float64 `json:"p99_ns"`
	Requests     int     `json:"requests"`
	Chunks       float64 `json:"chunks,omitempty"` // of an answer, on average
}

// result is what a scenario came to.
type result struct {
	scenario scenario
	subjects []subject
	starts   int
	samples  [][]sample     // by subject, then by round
	memory   [][]allocation // by subject, then by start
	skipped  string         // why it was not measured, or ""
}

// openShare is how much of what bare Caddy can do an open load asks for.
const openShare = 0.5

// whole is the share of a stream's chunks that must travel alone for the cost of one to
// mean something.
const whole = 0.95

// settling is how long a gateway rests before it is driven: what the one before left
// to do is done.
const settling = 20 * time.Millisecond

// add measures a scenario for the report.
func (l *lab) add(r *report, s scenario) error {
	l.printf("%s: %s", s.name, s.about)
	result, err := l.measure(s)
	if errors.Is(err, errNoRedis) {
		result.skipped = err.Error()
		l.printf("%s: skipped: %s", s.name, err)
		err = nil
	}
	if err != nil {
		return err
	}
	r.add(result, l.random(s))
	return nil
}

// random returns the scenario's own source of chance: what is measured besides does not
// change it.
func (l *lab) random(s scenario) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(s.name))
	return rand.New(rand.NewPCG(l.options.seed, h.Sum64()))
}

// measure drives the scenario's subjects in turn, at each of the starts.
func (l *lab) measure(s scenario) (result, error) {
	r := result{scenario: s, subjects: s.subjects(), starts: l.options.starts}
	r.samples = make([][]sample, len(r.subjects))
	r.memory = make([][]allocation, len(r.subjects))
	random := l.random(s)
	for i := range l.options.starts {
		if err := l.measureStart(&r, random, i == 0); err != nil {
			return r, err
		}
	}
	if came := median(r.values(cyclerName, chunksOf)); came < whole*float64(s.chunks) {
		l.printf("%s: %.1f chunks came of %d: this machine is too slow for one at a time", s.name, came, s.chunks)
	}
	return r, nil
}

func (l *lab) measureStart(r *result, random *rand.Rand, first bool) (err error) {
	rig, err := l.setUp(r.scenario)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rig.tearDown()) }()
	rate, err := rig.warmUp(l.options.warmup)
	if err != nil {
		return err
	}
	for i, s := range r.subjects {
		a, err := rig.allocated(i, l.options.slice)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		r.memory[i] = append(r.memory[i], a)
	}
	for _, order := range schedule(len(r.subjects), l.options.rounds, random) {
		round, err := rig.round(order, l.options.slice, rate)
		if err != nil {
			return err
		}
		for i, s := range round {
			r.samples[i] = append(r.samples[i], s)
		}
	}
	if first && l.options.profile != "" {
		return rig.profile(l.options.profile, rate)
	}
	return nil
}

// warmUp drives each subject once, and returns the rate of an open load: 0 for a
// closed one.
func (r *rig) warmUp(length time.Duration) (rate float64, err error) {
	for i, s := range r.subjects {
		// The first answers dial, fill caches and meet limits.
		if _, err := r.slice(i, length, 0); err != nil {
			return 0, fmt.Errorf("warming up %s: %w", s.name, err)
		}
		if !r.scenario.open || s.name != bareName {
			continue
		}
		warm, err := r.slice(i, length, 0)
		if err != nil {
			return 0, fmt.Errorf("warming up %s: %w", s.name, err)
		}
		rate = openShare * warm.Rate
	}
	return rate, nil
}

// round drives each subject alone, in this order, and each kind of keycycler together
// with bare Caddy.
func (r *rig) round(order []int, length time.Duration, rate float64) ([]sample, error) {
	samples := make([]sample, len(r.subjects))
	for _, i := range order {
		s, err := r.slice(i, length, rate)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.subjects[i].name, err)
		}
		samples[i] = s
	}
	for _, group := range r.scenario.groups() {
		if err := r.together(group, samples, length, rate); err != nil {
			return nil, err
		}
	}
	return samples, nil
}

// slice drives one subject and measures its gateway meanwhile.
func (r *rig) slice(i int, length time.Duration, rate float64) (s sample, err error) {
	time.Sleep(settling)
	if r.neighbour != nil {
		r.neighbour.active.Store(r.subjects[i].keycycler)
		defer r.neighbour.active.Store(false)
	}
	pid := r.pid(i)
	wrote, err := writeCalls(pid)
	if err != nil {
		return s, err
	}
	counted, countErr := count(pid, instructions)
	before, err := cpuTime(pid)
	if err != nil {
		return s, err
	}
	b, err := r.loads[i].drive(length, rate)
	if err != nil {
		return s, err
	}
	after, err := cpuTime(pid)
	if err != nil {
		return s, err
	}
	s = b.sample(after - before)
	now, err := writeCalls(pid)
	if err != nil {
		return s, err
	}
	s.Writes = float64(now-wrote) / float64(s.Requests)
	if countErr == nil {
		total, err := counted.stop()
		s.Instructions = float64(total) / float64(s.Requests)
		return s, err
	}
	return s, nil
}

// sample returns what the burst came to, which took that much of the gateway's CPU.
func (b *burst) sample(cpu time.Duration) sample {
	n := len(b.latencies)
	return sample{
		Alone:    float64(cpu) / float64(n),
		Rate:     float64(n) / b.took.Seconds(),
		P50:      float64(percentile(b.latencies, 50)),
		P99:      float64(percentile(b.latencies, 99)),
		Requests: n,
		Chunks:   float64(b.chunks) / float64(n),
	}
}

// memoryOf returns what the subject allocates for a request.
func (r *result) memoryOf(name string) (a allocation) {
	of := func(what func(allocation) float64) float64 {
		i := slices.IndexFunc(r.subjects, func(s subject) bool { return s.name == name })
		values := make([]float64, len(r.memory[i]))
		for j, m := range r.memory[i] {
			values[j] = what(m)
		}
		return median(values)
	}
	return allocation{
		Objects: of(func(a allocation) float64 { return a.Objects }),
		Bytes:   of(func(a allocation) float64 { return a.Bytes }),
	}
}

// values returns one number of each of the subject's samples.
func (r *result) values(name string, of func(sample) float64) []float64 {
	i := slices.IndexFunc(r.subjects, func(s subject) bool { return s.name == name })
	values := make([]float64, len(r.samples[i]))
	for j, s := range r.samples[i] {
		values[j] = of(s)
	}
	return values
}

// What a sample is asked for.
func cpuOf(s sample) float64          { return s.CPU }
func costOf(s sample) float64         { return s.Cost }
func writesOf(s sample) float64       { return s.Writes }
func rateOf(s sample) float64         { return s.Rate }
func p50Of(s sample) float64          { return s.P50 }
func p99Of(s sample) float64          { return s.P99 }
func chunksOf(s sample) float64       { return s.Chunks }
func instructionsOf(s sample) float64 { return s.Instructions }

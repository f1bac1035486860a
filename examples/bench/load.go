package main

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// load drives one gateway with as many workers as clients.
type load struct {
	workers []*worker
}

// worker sends requests with one client.
type worker struct {
	client    client
	latencies []time.Duration
	chunks    int // of all answers
	err       error
}

// burst is what one driving of a gateway came to.
type burst struct {
	latencies []time.Duration // sorted; as many as requests
	chunks    int             // of all answers
	took      time.Duration   // until the last answer
}

// pace says when requests are due.
type pace struct {
	start time.Time
	until time.Time
	every time.Duration // 0: as soon as the one before is answered
	next  atomic.Int64  // the number of the request that is due next
}

func (l *load) close() {
	for _, w := range l.workers {
		w.client.close()
	}
}

// share returns a load of one n-th of the workers, rounded up.
func (l *load) share(n int) *load { return &load{l.workers[:(len(l.workers)+n-1)/n]} }

// drive sends requests for so long: so many a second, or with 0 as many as there are
// answers. Requests that have begun are waited for.
func (l *load) drive(length time.Duration, perSecond float64) (burst, error) {
	p := &pace{start: time.Now()}
	p.until = p.start.Add(length)
	if perSecond > 0 {
		p.every = time.Duration(float64(time.Second) / perSecond)
	}
	var all sync.WaitGroup
	for _, w := range l.workers {
		all.Go(func() { w.drive(p) })
	}
	all.Wait()
	return l.gather(time.Since(p.start))
}

// gather collects what the workers have seen.
func (l *load) gather(took time.Duration) (burst, error) {
	b := burst{took: took}
	for _, w := range l.workers {
		if w.err != nil {
			return b, w.err
		}
		b.latencies = append(b.latencies, w.latencies...)
		b.chunks += w.chunks
	}
	if len(b.latencies) == 0 {
		return b, errors.New("no request was answered: take longer slices")
	}
	slices.Sort(b.latencies)
	return b, nil
}

func (w *worker) drive(p *pace) {
	w.latencies, w.chunks = w.latencies[:0], 0
	for w.err == nil {
		since, ok := p.wait()
		if !ok {
			return
		}
		var chunks int
		chunks, w.err = w.client.do()
		w.chunks += chunks
		w.latencies = append(w.latencies, time.Since(since))
	}
}

// wait waits until a request is due, and returns since when its latency counts. That
// is since it was due, where nobody was free to send it: the gateway was to blame. It
// is since it was sent, where the timer came late.
func (p *pace) wait() (since time.Time, ok bool) {
	now := time.Now()
	if p.every == 0 {
		return now, now.Before(p.until)
	}
	due := p.start.Add(p.every * time.Duration(p.next.Add(1)-1))
	if !due.Before(p.until) {
		return due, false
	}
	if early := due.Sub(now); early > 0 {
		time.Sleep(early)
		return time.Now(), true
	}
	return due, true
}

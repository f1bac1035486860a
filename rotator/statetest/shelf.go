package statetest

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/keycycler/keycycler/rotator/keep"
)

// Shelf is what a backend that keeps counts does, in the fewest words. It passes RunStore. It
// is safe for concurrent use. The zero value is empty.
type Shelf struct {
	mu    sync.Mutex
	spans map[keep.Span]Shelved
	n     int // changes of any span
	calls int // of its methods
}

// Shelved is what there is of a span, to be kept by who copies it.
type Shelved struct {
	version string
	had     map[string]int64
	sums    map[string]keep.Counts
}

func (s Shelved) clone() Shelved {
	return Shelved{s.version, maps.Clone(s.had), maps.Clone(s.sums)}
}

// Flush forgets everything.
func (s *Shelf) Flush() { s.Return(nil) }

// Copy returns all there is now, and Return makes that all there is.
func (s *Shelf) Copy() map[keep.Span]Shelved {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[keep.Span]Shelved)
	for span, c := range s.spans {
		all[span] = c.clone()
	}
	return all
}

// Return makes all that there is what it was at that time.
func (s *Shelf) Return(all map[keep.Span]Shelved) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spans = make(map[keep.Span]Shelved)
	for span, c := range all {
		s.spans[span] = c.clone()
	}
}

// Calls returns how often its methods were called since it was called last.
func (s *Shelf) Calls() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, s.calls = s.calls, 0
	return n
}

// call counts a call, and locks until it has ended.
func (s *Shelf) call() (end func()) {
	s.mu.Lock()
	if s.calls++; s.spans == nil {
		s.spans = make(map[keep.Span]Shelved)
	}
	return s.mu.Unlock
}

// put writes what is there of a span now.
func (s *Shelf) put(span keep.Span, c Shelved) {
	s.n++
	c.version = fmt.Sprint("v", s.n)
	s.spans[span] = c
}

// Add implements keep.Store.
func (s *Shelf) Add(_ context.Context, node string, batches []keep.Batch) (had []int64, err error) {
	defer s.call()()
	for _, b := range batches {
		c, there := s.spans[b.Span]
		switch {
		case !there && b.Known:
			had = append(had, keep.Lost)
			continue
		case !there:
			c = Shelved{had: make(map[string]int64), sums: make(map[string]keep.Counts)}
		}
		if b.Seq == c.had[node]+1 {
			c.had[node] = b.Seq
			c.add(b.Cells)
			s.put(b.Span, c)
		}
		had = append(had, c.had[node])
	}
	return had, nil
}

func (s Shelved) add(cells []keep.Cell) {
	var names [len(keep.Kinds)]int
	for name := range s.sums {
		names[kindOf(name)]++
	}
	for _, cell := range cells {
		name, kind := cell.Name, kindOf(cell.Name)
		if _, known := s.sums[name]; !known && names[kind] >= keep.MaxNames[kind] {
			name = name[:1] + keep.Other
		}
		if _, known := s.sums[name]; !known {
			names[kind]++
		}
		s.sums[name] = s.sums[name].Plus(cell.Counts)
	}
}

func kindOf(name string) int { return strings.IndexByte(keep.Kinds, name[0]) }

// Read implements keep.Store: a few spans at a time.
func (s *Shelf) Read(_ context.Context, spans []keep.Span, versions []string) (all []keep.Snapshot, err error) {
	defer s.call()()
	for i, span := range spans[:min(len(spans), 40)] {
		c := s.spans[span]
		r := keep.Snapshot{Version: c.version, Same: c.version != "" && c.version == versions[i]}
		if !r.Same {
			r.Had = maps.Clone(c.had)
			for name, sum := range c.sums {
				r.Cells = append(r.Cells, keep.Cell{Name: name, Counts: sum})
			}
		}
		all = append(all, r)
	}
	return all, nil
}

// Restore implements keep.Store.
func (s *Shelf) Restore(_ context.Context, span keep.Span, version string, to keep.Snapshot) error {
	defer s.call()()
	if s.spans[span].version == version {
		c := Shelved{had: maps.Clone(to.Had), sums: make(map[string]keep.Counts)}
		for _, cell := range to.Cells {
			c.sums[cell.Name] = cell.Counts
		}
		s.put(span, c)
	}
	return nil
}

// Counter counts for a node, as far as a keep.Source must. It is safe for concurrent use.
type Counter struct {
	mu    sync.Mutex
	all   map[keep.Span]map[string]keep.Counts
	taken map[keep.Span]map[string]keep.Counts
}

// Count counts something.
func (c *Counter) Count(span keep.Span, name string, n keep.Counts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all, c.taken = make(map[keep.Span]map[string]keep.Counts), make(map[keep.Span]map[string]keep.Counts)
	}
	if c.all[span] == nil {
		c.all[span], c.taken[span] = make(map[string]keep.Counts), make(map[string]keep.Counts)
	}
	c.all[span][name] = c.all[span][name].Plus(n)
}

// Take implements keep.Source.
func (c *Counter) Take() map[keep.Span][]keep.Cell {
	c.mu.Lock()
	defer c.mu.Unlock()
	news := make(map[keep.Span][]keep.Cell)
	for span, names := range c.all {
		for name, n := range names {
			if more := n.Minus(c.taken[span][name]); more != (keep.Counts{}) {
				news[span] = append(news[span], keep.Cell{Name: name, Counts: more})
				c.taken[span][name] = n
			}
		}
	}
	return news
}

// Taken implements keep.Source.
func (c *Counter) Taken(span keep.Span) (all []keep.Cell) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, n := range c.taken[span] {
		all = append(all, keep.Cell{Name: name, Counts: n})
	}
	return all
}

// All calls yield for all that was counted.
func (c *Counter) All(yield func(keep.Span, keep.Cell)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for span, names := range c.all {
		for name, n := range names {
			yield(span, keep.Cell{Name: name, Counts: n})
		}
	}
}

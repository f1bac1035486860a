package rotator

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// sizes runs a benchmark at every size and share of cooling keys.
func sizes(b *testing.B, run func(b *testing.B, p *Pool, cooling int), options ...Option) {
	for _, n := range []int{10, 1_000, 100_000} {
		keys := makeKeys(b, n)
		for _, percent := range []int{0, 50, 99} {
			b.Run(fmt.Sprintf("keys=%d/cooling=%d", n, percent), func(b *testing.B) {
				p, err := NewPool(keys, NewState(start), start, options...)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				run(b, p, n*percent/100)
			})
		}
	}
}

// coolRandomly makes n keys of the pool cool for an hour.
func coolRandomly(p *Pool, n int) {
	for _, i := range rand.Perm(p.Len())[:n] {
		p.Cool(start, Slot(i), Cooldown{For: time.Hour})
	}
}

func BenchmarkPick(b *testing.B) { sizes(b, benchmarkPick) }

func BenchmarkPickTurn(b *testing.B) { sizes(b, benchmarkPick, WithTurns()) }

func benchmarkPick(b *testing.B, p *Pool, cooling int) {
	coolRandomly(p, cooling)
	now := start.Add(time.Second)
	for b.Loop() {
		if _, ok := p.Pick(now, nil); !ok {
			b.Fatal("no key")
		}
	}
}

// BenchmarkDraw is a request of a busy pool: as many are under way as there are keys, and
// never more than a hundred.
func BenchmarkDraw(b *testing.B) {
	for name, option := range map[string]Option{"random": func(*Pool) {}, "turns": WithTurns()} {
		b.Run(name, func(b *testing.B) { sizes(b, benchmarkDraw, option) })
	}
}

func benchmarkDraw(b *testing.B, p *Pool, cooling int) {
	coolRandomly(p, cooling)
	now, open := start.Add(time.Second), make([]Slot, min(p.Len(), 100))
	for i := range open {
		open[i], _ = p.Take(now, Want{})
	}
	for i := 0; b.Loop(); i++ {
		p.End(open[i%len(open)])
		s, ok := p.Take(now, Want{})
		if !ok {
			b.Fatal("no key")
		}
		open[i%len(open)] = s
	}
}

// BenchmarkPickIn is a request of a scope in which the share cools, while a tenth
// of the keys cools for all.
func BenchmarkPickIn(b *testing.B) {
	sizes(b, func(b *testing.B, p *Pool, cooling int) {
		coolRandomly(p, min(p.Len()/10, p.Len()-cooling-1))
		for i, s := range rand.Perm(p.Len()) {
			if i < cooling && p.Census(start).Ready > 0 {
				p.Cool(start, Slot(s), Cooldown{For: time.Hour, Scope: "gpt-x"})
			}
		}
		p.Clear(start, 0) // at least one is ready
		now := start.Add(time.Second)
		for b.Loop() {
			if _, ok := p.PickIn(now, "gpt-x", nil); !ok {
				b.Fatal("no key")
			}
		}
	})
}

// BenchmarkPickInOther is a request of a scope in which nothing cools, while
// something does in so many others.
func BenchmarkPickInOther(b *testing.B) {
	for _, scopes := range []int{0, 1, MaxScopes, MaxScopes + 1} {
		b.Run(fmt.Sprintf("scopes=%d", scopes), func(b *testing.B) {
			p, err := NewPool(makeKeys(b, 1000), NewState(start), start)
			if err != nil {
				b.Fatal(err)
			}
			for i := range scopes {
				p.Cool(start, Slot(i), Cooldown{For: time.Hour, Scope: fmt.Sprint("model ", i)})
			}
			b.ReportAllocs()
			for b.Loop() {
				p.PickIn(start, "gpt-x", nil)
			}
		})
	}
}

// BenchmarkPickTried is the last of 15 attempts: 14 keys have been tried.
func BenchmarkPickTried(b *testing.B) {
	p, err := NewPool(makeKeys(b, 1_000), NewState(start), start)
	if err != nil {
		b.Fatal(err)
	}
	tried := span(100, 114)
	b.ReportAllocs()
	for b.Loop() {
		p.Pick(start, tried)
	}
}

// BenchmarkCool is what a rejection costs: a key is picked and cooled, and, since
// the clock moves on by as much, the cooldown of another one ends. The share of
// cooling keys stays the same.
func BenchmarkCool(b *testing.B) {
	sizes(b, func(b *testing.B, p *Pool, cooling int) {
		now := start
		step := func() {
			now = now.Add(time.Millisecond)
			s, ok := p.Pick(now, nil)
			if !ok || !p.Cool(now, s, Cooldown{For: time.Duration(cooling+1) * time.Millisecond}) {
				b.Fatal("no key")
			}
		}
		for range cooling + 1 {
			step()
		}
		for b.Loop() {
			step()
		}
	})
}

// BenchmarkCoolIn is BenchmarkCool in a scope. The first cooldown of all has copied
// the pool's draw.
func BenchmarkCoolIn(b *testing.B) {
	sizes(b, func(b *testing.B, p *Pool, cooling int) {
		now := start
		step := func() {
			now = now.Add(time.Millisecond)
			s, ok := p.PickIn(now, "gpt-x", nil)
			if !ok || !p.Cool(now, s, Cooldown{For: time.Duration(cooling+1) * time.Millisecond, Scope: "gpt-x"}) {
				b.Fatal("no key")
			}
		}
		for range cooling + 1 {
			step()
		}
		for b.Loop() {
			step()
		}
	})
}

// BenchmarkCoolBesideScopes is a cooldown for all requests, which each lane must
// know.
func BenchmarkCoolBesideScopes(b *testing.B) {
	for _, scopes := range []int{0, 1, 8, MaxScopes + 1} {
		b.Run(fmt.Sprintf("scopes=%d", scopes), func(b *testing.B) {
			p, err := NewPool(makeKeys(b, 10_000), NewState(start), start)
			if err != nil {
				b.Fatal(err)
			}
			for i := range scopes {
				p.Cool(start, Slot(i), Cooldown{For: 1e6 * time.Hour, Scope: fmt.Sprint("model ", i)})
			}
			now := start
			for b.Loop() {
				now = now.Add(time.Millisecond)
				s, _ := p.Pick(now, nil)
				p.Cool(now, s, Cooldown{For: time.Second})
			}
		})
	}
}

// BenchmarkOpenLane is what the first cooldown in a scope costs, and its end.
func BenchmarkOpenLane(b *testing.B) {
	for _, n := range []int{10, 1_000, 100_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			p, err := NewPool(makeKeys(b, n), NewState(start), start)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				p.Cool(start, 0, Cooldown{For: time.Hour, Scope: "gpt-x"})
				p.Clear(start, 0)
			}
		})
	}
}

// BenchmarkCensus is a metrics scrape.
func BenchmarkCensus(b *testing.B) {
	p, err := NewPool(makeKeys(b, 100_000), NewState(start), start)
	if err != nil {
		b.Fatal(err)
	}
	coolRandomly(p, 50_000)
	b.ReportAllocs()
	for b.Loop() {
		p.Census(start)
	}
}

// BenchmarkPickParallel and BenchmarkMutexParallel belong together: the second
// is the least that a pool with one lock can cost.
func BenchmarkPickParallel(b *testing.B) {
	p, err := NewPool(makeKeys(b, 1_000), NewState(start), start)
	if err != nil {
		b.Fatal(err)
	}
	coolRandomly(p, 500)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p.Pick(start, nil)
		}
	})
}

func BenchmarkMutexParallel(b *testing.B) {
	var mu sync.Mutex
	var picked [1_000]int
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			mu.Lock()
			picked[rand.IntN(len(picked))]++
			mu.Unlock()
		}
	})
}

// BenchmarkNewPool reports what a pool and its state keep in memory for each key,
// beyond the key itself, while none cools.
func BenchmarkNewPool(b *testing.B) {
	keys := makeKeys(b, 100_000)
	before := heapInUse()
	p, err := NewPool(keys, NewState(start), start)
	if err != nil {
		b.Fatal(err)
	}
	perKey := float64(heapInUse()-before) / float64(len(keys))
	runtime.KeepAlive(p)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewPool(keys, NewState(start), start); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(perKey, "B/key")
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

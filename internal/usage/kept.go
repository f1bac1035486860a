package usage

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/keep"
)

// kinds are how names begin where usage is kept, by what it is told by.
var kinds = map[string]string{"client": "c", "model": "m", "key": "k"}

// Keep makes the keeper keep what the ledger counts, and bring what other nodes have
// counted, until drop is called. Without one it stays in this process. refresh brings what
// is new at the others, as far as that comes before ctx ends.
func (l *Ledger) Keep(by *rotator.Keeper) (refresh func(ctx context.Context), drop func()) {
	by.Keep(l.book)
	return func(ctx context.Context) { by.Refresh(ctx, l.book) }, func() { by.Drop(l.book) }
}

// counts are the numbers as they are kept. Their order is that of what is kept already: new
// ones come last.
func (c Counts) kept() keep.Counts {
	return keep.Counts{
		c.Answers, c.Unknown, c.Tokens[Input], c.Tokens[Cached], c.Tokens[CacheWrite], c.Tokens[Output], c.Tokens[Reasoning],
		int64(c.Cost), c.Unpriced,
	}
}

func countsOf(k keep.Counts) Counts {
	return Counts{Answers: k[0], Unknown: k[1], Tokens: [types]int64{k[2], k[3], k[4], k[5], k[6]}, Cost: USD(k[7]), Unpriced: k[8]}
}

// Take implements keep.Source.
func (l *Ledger) Take() map[keep.Span][]keep.Cell {
	l.mu.Lock()
	unkept := l.unkept
	l.unkept = false
	l.mu.Unlock()
	all := make(map[keep.Span][]keep.Cell)
	if unkept {
		l.eachSeries(func(name string, s *series) {
			l.take(all, name, false, s.minutes, &s.keptMinute)
			l.take(all, name, true, s.days, &s.keptDay)
		})
	}
	return all
}

// take adds what has come into buckets since the last of them was as it is in kept: into that
// one, and into later ones. l.mu is held.
func (l *Ledger) take(all map[keep.Span][]keep.Cell, name string, day bool, buckets []Bucket, kept *Bucket) {
	for _, b := range since(buckets, kept.number) {
		c := b.kept()
		if b.number == kept.number {
			c = c.Minus(kept.kept())
		}
		if c[0] > 0 {
			span := keep.Span{Pool: l.pool, Day: day, Number: b.number}
			all[span] = append(all[span], keep.Cell{Name: name, Counts: c})
		}
	}
	if n := len(buckets); n > 0 {
		*kept = buckets[n-1]
	}
}

// Taken implements keep.Source.
func (l *Ledger) Taken(span keep.Span) (all []keep.Cell) {
	l.eachSeries(func(name string, s *series) {
		buckets, kept := s.minutes, s.keptMinute
		if span.Day {
			buckets, kept = s.days, s.keptDay
		}
		if kept.number == span.Number {
			all = append(all, keep.Cell{Name: name, Counts: kept.kept()})
		} else if i, ok := find(buckets, span.Number); ok && span.Number < kept.number {
			all = append(all, keep.Cell{Name: name, Counts: buckets[i].kept()})
		}
	})
	return all
}

// eachSeries hands over all there is, by the name by which it is kept. l.mu is held meanwhile,
// for a few at a time.
func (l *Ledger) eachSeries(do func(name string, s *series)) {
	of := func(by string) func(string, *series) {
		return func(name string, s *series) { do(kinds[by]+name, s) }
	}
	each(l, l.clients, of("client"))
	each(l, l.models, of("model"))
	each(l, l.keys, func(id rotator.ID, s *series) { do(kinds["key"]+id.String(), s) })
}

// others calls yield for what others have counted since the earliest minute and day that are
// told.
func (l *Ledger) others(by string, now time.Time, yield func(name string, day bool, b Bucket)) {
	minute, day := numbers(now)
	l.book.Others(func(s keep.Span, c keep.Cell) {
		if c.Name[:1] == kinds[by] && (s.Day && s.Number > day-days || !s.Day && s.Number > minute-minutes) {
			yield(c.Name[1:], s.Day, Bucket{s.Number, countsOf(c.Counts)})
		}
	})
}

// joined finds the one of a name among these, or adds one.
func joined[T any](all *[]T, nameOf func(*T) string, anew func(name string) T) func(name string) *T {
	var index map[string]int
	return func(name string) *T {
		if index == nil {
			index = make(map[string]int, len(*all))
			for i := range *all {
				index[nameOf(&(*all)[i])] = i
			}
		}
		i, ok := index[name]
		if !ok {
			i, index[name] = len(*all), len(*all)
			*all = append(*all, anew(name))
		}
		return &(*all)[i]
	}
}

// joinLines adds to lines what others have counted.
func (l *Ledger) joinLines(lines *[]Line, by string, now time.Time) {
	line := joined(lines, func(l *Line) string { return l.Name }, func(name string) Line { return Line{Name: name} })
	l.others(by, now, func(name string, day bool, b Bucket) {
		if at := line(name); day {
			at.Days = join(at.Days, b)
		} else {
			at.Minutes = join(at.Minutes, b)
		}
	})
}

// joinSums adds to sums what others have counted.
func (l *Ledger) joinSums(sums *[]Sum, by string, now time.Time) {
	sum := joined(sums, func(s *Sum) string { return s.Name }, func(name string) Sum { return Sum{Name: name} })
	l.others(by, now, func(name string, day bool, b Bucket) {
		if at := sum(name); day {
			at.Month.Add(b.Counts)
		} else {
			at.Hour.Add(b.Counts)
		}
	})
}

// join adds a bucket to others.
func join(all []Bucket, b Bucket) []Bucket {
	i, ok := find(all, b.number)
	if !ok {
		return slices.Insert(all, i, b)
	}
	all[i].Add(b.Counts)
	return all
}

// find returns where the bucket of that number is, or belongs.
func find(all []Bucket, number int64) (int, bool) {
	return slices.BinarySearchFunc(all, number, func(b Bucket, n int64) int { return cmp.Compare(b.number, n) })
}

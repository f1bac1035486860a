package usage

import (
	"slices"
	"strings"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// Line is what one client, model or key has used.
type Line struct {
	Name    string
	Minutes []Bucket // of the last hour in which there was something, oldest first
	Days    []Bucket // of the last 30, today among them, likewise
}

// By returns what was used by client, by model or by key (its id), ordered by name, and
// whether it can be told by that.
func (l *Ledger) By(by string, now time.Time) (lines []Line, ok bool) {
	lines, ok = told(l, by, now, func(name string, minutes, days []Bucket) Line {
		return Line{name, slices.Clone(minutes), slices.Clone(days)}
	})
	l.joinLines(&lines, by, now)
	slices.SortFunc(lines, func(a, b Line) int { return strings.Compare(a.Name, b.Name) })
	return lines, ok
}

// Sum is what one client, model or key has used, in all.
type Sum struct {
	Name        string
	Hour, Month Counts // the last 60 minutes, the last 30 days
}

// Sums returns the same as By, summed up, in any order.
func (l *Ledger) Sums(by string, now time.Time) (sums []Sum, ok bool) {
	sums, ok = told(l, by, now, func(name string, minutes, days []Bucket) Sum { return Sum{name, sum(minutes), sum(days)} })
	l.joinSums(&sums, by, now)
	return sums, ok
}

func sum(buckets []Bucket) (c Counts) {
	for _, b := range buckets {
		c.Add(b.Counts)
	}
	return c
}

// told tells what was used by client, by model or by key.
func told[T any](l *Ledger, by string, now time.Time, tell func(name string, minutes, days []Bucket) T) ([]T, bool) {
	itself := func(name string) string { return name }
	switch by {
	case "client":
		return toldOf(l, l.clients, itself, now, tell), true
	case "model":
		return toldOf(l, l.models, itself, now, tell), true
	case "key":
		return toldOf(l, l.keys, rotator.ID.String, now, tell), true
	}
	return nil, false
}

func toldOf[K comparable, T any](l *Ledger, all map[K]*series, name func(K) string, now time.Time, tell func(name string, minutes, days []Bucket) T) (told []T) {
	minute, day := numbers(now)
	each(l, all, func(k K, s *series) {
		if d := since(s.days, day-days+1); len(d) > 0 {
			told = append(told, tell(name(k), since(s.minutes, minute-minutes+1), d))
		}
	})
	return told
}

// each hands over all there is. Requests that want to count need not wait until all is told:
// the lock is taken anew for a few names at a time.
func each[K comparable](l *Ledger, all map[K]*series, do func(K, *series)) {
	l.mu.Lock()
	l.settle()
	names := make([]K, 0, len(all))
	for k := range all {
		names = append(names, k)
	}
	l.mu.Unlock()
	few := func(names []K) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, k := range names {
			if s := all[k]; s != nil {
				do(k, s)
			}
		}
	}
	for names := range slices.Chunk(names, 100) {
		few(names)
	}
}

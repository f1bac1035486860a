package observe

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/rotator"
)

// historyLength is how many minutes a history goes back.
const historyLength = 60

// History counts by minute, for the last hour, what a pool's keys served, and its
// rejections by what they meant. It outlives configs. It is safe for concurrent use.
type History struct {
	// Of each minute, by its number modulo the length: the number in the upper half, and
	// in the lower one how many were served. Every request counts itself here.
	served [historyLength]atomic.Uint64

	mu      sync.Mutex
	minutes [historyLength]Minute // likewise
}

// Minute is what was served and rejected in one minute.
type Minute struct {
	number     int64 // minutes since 1970
	served     int
	rejections [rotator.MaxReasons]int
}

// Start is when the minute began.
func (m Minute) Start() time.Time { return time.Unix(60*m.number, 0).UTC() }

// histories holds the process's histories by the pools' names: as many as there
// are in configs.
var histories sync.Map

func HistoryOf(pool string) *History {
	h, _ := histories.LoadOrStore(pool, new(History))
	return h.(*History)
}

// Note counts a rejection.
func (h *History) Note(now time.Time, r rotator.Reason) {
	number := now.Unix() / 60
	h.mu.Lock()
	defer h.mu.Unlock()
	m := &h.minutes[number%historyLength]
	if m.number != number {
		*m = Minute{number: number}
	}
	m.rejections[r]++
}

// Serve counts a request that a key served.
func (h *History) Serve(now time.Time) {
	number := uint64(now.Unix() / 60)
	at := &h.served[number%historyLength]
	for {
		held := at.Load()
		next := held + 1
		if held>>32 != number {
			next = number<<32 | 1
		}
		if at.CompareAndSwap(held, next) {
			return
		}
	}
}

// Last returns the minutes of the last hour, oldest first, the one that now is in
// at the end.
func (h *History) Last(now time.Time) []Minute {
	newest := now.Unix() / 60
	all := make([]Minute, historyLength)
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range all {
		number := newest - historyLength + 1 + int64(i)
		all[i] = Minute{number: number}
		if m := h.minutes[number%historyLength]; m.number == number {
			all[i] = m
		}
		if served := h.served[number%historyLength].Load(); int64(served>>32) == number {
			all[i].served = int(uint32(served))
		}
	}
	return all
}

// Served returns how many requests keys served.
func (m Minute) Served() int { return m.served }

// ByName returns the counts that are not 0, by what the rejections meant.
func (m Minute) ByName() map[string]int { return byName(m.rejections) }

// byName returns the counts that are not 0, by the reasons' names.
func byName(counts [rotator.MaxReasons]int) map[string]int {
	named := make(map[string]int)
	for r, n := range counts {
		if n > 0 {
			named[reason.Name(rotator.Reason(r))] += n
		}
	}
	return named
}

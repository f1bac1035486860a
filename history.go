package keycycler

import (
	"sync"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// historyLength is how many minutes a history goes back.
const historyLength = 60

// history counts a pool's rejections by minute and by what they meant, for the
// last hour. It outlives configs. It is safe for concurrent use.
type history struct {
	mu      sync.Mutex
	minutes [historyLength]minute // by the number of the minute, modulo the length
}

// minute is the rejections of one minute.
type minute struct {
	number     int64 // minutes since 1970
	rejections [rotator.MaxReasons]int
}

// start is when the minute began.
func (m minute) start() time.Time { return time.Unix(60*m.number, 0).UTC() }

// histories holds the process's histories by the pools' names: as many as there
// are in configs.
var histories sync.Map

func historyOf(pool string) *history {
	h, _ := histories.LoadOrStore(pool, new(history))
	return h.(*history)
}

// note counts a rejection.
func (h *history) note(now time.Time, r rotator.Reason) {
	number := now.Unix() / 60
	h.mu.Lock()
	defer h.mu.Unlock()
	m := &h.minutes[number%historyLength]
	if m.number != number {
		*m = minute{number: number}
	}
	m.rejections[r]++
}

// last returns the minutes of the last hour, oldest first, the one that now is in
// at the end.
func (h *history) last(now time.Time) []minute {
	newest := now.Unix() / 60
	all := make([]minute, historyLength)
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range all {
		number := newest - historyLength + 1 + int64(i)
		all[i] = minute{number: number}
		if m := h.minutes[number%historyLength]; m.number == number {
			all[i] = m
		}
	}
	return all
}

// byName returns the counts that are not 0, by what the rejections meant.
func (m minute) byName() map[string]int {
	counts := make(map[string]int)
	for r, n := range m.rejections {
		if n > 0 {
			counts[reasonName(rotator.Reason(r))] += n
		}
	}
	return counts
}

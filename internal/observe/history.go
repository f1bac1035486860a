package observe

import (
	"sync"
	"time"

	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/rotator"
)

// historyLength is how many minutes a history goes back.
const historyLength = 60

// History counts a pool's rejections by minute and by what they meant, for the
// last hour. It outlives configs. It is safe for concurrent use.
type History struct {
	mu      sync.Mutex
	minutes [historyLength]Minute // by the number of the minute, modulo the length
}

// Minute is the rejections of one minute.
type Minute struct {
	number     int64 // minutes since 1970
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
	}
	return all
}

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

package meter

import (
	"strings"
	"sync"
)

// Habits is how much of what requests let answers have at most the answers use, by model:
// many clients state far more than they need. What a key is held for is about that much. The
// zero value knows nothing, and expects all of it. It is safe for concurrent use.
type Habits struct {
	mu     sync.Mutex
	models map[string]float64 // the share; of MaxModels models, and the others as Others
}

// How fast a share follows the answers: soon where they use more, slowly where they use less.
// So about nine of ten use no more than is expected.
const (
	rise = 1. / 4
	fall = 1. / 32
)

// Expect returns how many tokens an answer of the model will use, which may have so many at
// most: 0 to most, and at least one of them.
func (h *Habits) Expect(model string, most int64) int64 {
	if most <= 0 {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	share, known := h.models[model]
	if !known {
		if share, known = h.models[Others]; !known || len(h.models) < MaxModels {
			return most
		}
	}
	return min(max(int64(share*float64(most)), 1), most)
}

// Learn notes that an answer of the model has used so many tokens, which might have so many at
// most; 0: its request has not said.
func (h *Habits) Learn(model string, most, used int64) {
	if most <= 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	share, known := h.models[model]
	switch {
	case known:
	case h.models == nil:
		h.models = make(map[string]float64)
	case len(h.models) >= MaxModels:
		model = Others
		share, known = h.models[model]
	}
	if !known {
		model, share = strings.Clone(model), 1
	}
	pace := fall
	now := min(float64(used)/float64(most), 1)
	if now > share {
		pace = rise
	}
	h.models[model] = share + (now-share)*pace
}

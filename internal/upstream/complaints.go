package upstream

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// complaints are what was told of late. The zero value is ready; it is safe for
// concurrent use.
type complaints struct {
	mu   sync.Mutex
	told map[string]time.Time
}

// A complaint is not told again for so long, and in that time at most so many are.
const (
	quiet          = 10 * time.Minute
	mostComplaints = 5
)

// tell logs what is wrong with the config, if it is to be told now.
func (c *complaints) tell(logger *zap.Logger, text string) {
	if c.due(time.Now(), text) {
		logger.Error(text)
	}
}

// due tells whether this is to be told now.
func (c *complaints) due(now time.Time, text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for old, at := range c.told {
		if now.Sub(at) >= quiet {
			delete(c.told, old)
		}
	}
	if _, ok := c.told[text]; ok || len(c.told) >= mostComplaints {
		return false
	}
	if c.told == nil {
		c.told = make(map[string]time.Time)
	}
	c.told[text] = now
	return true
}

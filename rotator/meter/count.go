package meter

import (
	"math"
	"slices"
	"time"
)

// Forever is later than any time that is known beforehand.
const Forever = math.MaxInt64

// Count is what goes out with a key, or with a key for one model. The meter's lock guards it.
type Count struct {
	windows  []*Window // one for each length that a pool has a limit for, of requests and of tokens
	underWay int       // requests for the model: those of a key are counted by the meter
	held     int64     // tokens of these, as they were estimated
}

// window returns the one of that length, nil if there is none.
func (c *Count) window(tokens bool, per time.Duration) *Window {
	for _, w := range c.windows {
		if w.tokens == tokens && w.per == int64(per) {
			return w
		}
	}
	return nil
}

// measure makes it have such a window, in place of those that nobody wants any more.
func (c *Count) measure(tokens bool, per time.Duration, wanted func(tokens bool, per time.Duration) bool) {
	if c.window(tokens, per) != nil {
		return
	}
	w := NewWindow(per)
	w.tokens = tokens
	if i := slices.IndexFunc(c.windows, func(old *Window) bool { return old.tokens == tokens }); i >= 0 {
		w.Learn(c.windows[i])
	}
	c.windows = append(slices.DeleteFunc(c.windows, func(old *Window) bool { return !wanted(old.tokens, time.Duration(old.per)) }), w)
}

// like returns a count with such windows, in which nothing is counted.
func (c *Count) like() *Count {
	fresh := new(Count)
	for _, w := range c.windows {
		empty := NewWindow(time.Duration(w.per))
		empty.tokens = w.tokens
		fresh.windows = append(fresh.windows, empty)
	}
	return fresh
}

// idle tells whether nothing is under way, or was lately.
func (c *Count) idle(at int64) bool {
	return c.underWay <= 0 && !slices.ContainsFunc(c.windows, func(w *Window) bool { return w.RoomFrom(0, 0) > at })
}

// begin counts a request for which so many tokens are held.
func (c *Count) begin(at, tokens int64) {
	c.held += tokens
	c.add(false, at, at, 1)
}

// settle ends a request for which so many tokens were held.
func (c *Count) settle(began, at, held int64, u Used) {
	c.held -= held
	c.add(true, began, at, u.Input)
	c.add(true, at, at, u.Output)
}

// add counts requests or tokens of an instant in the windows that it has not left by now.
func (c *Count) add(tokens bool, at, now, n int64) {
	for _, w := range c.windows {
		if w.tokens == tokens && n > 0 && w.end(at) > now {
			w.Add(at, uint32(min(n, math.MaxUint32)))
		}
	}
}

// requestFrom returns from when on the window of requests leaves room for one.
func (c *Count) requestFrom(at int64, l *Limit) int64 {
	w := c.window(false, l.Per)
	if l.Shared && w != nil {
		return w.leasedFrom(at, l.Requests)
	}
	return w.RoomFrom(int64(l.Requests), 1)
}

// tokensFrom returns from when on the window of tokens, and what is held, leave room for so
// many; Forever: not before a request ends.
func (c *Count) tokensFrom(at int64, l *Limit, tokens int64) int64 {
	if c.held+tokens > l.Tokens {
		return Forever
	}
	w := c.window(true, l.TokensPer)
	from := w.RoomFrom(l.Tokens-c.held, tokens)
	if l.Shared && w != nil && w.ceiling > 0 && from <= at && !w.lends(w.used(at)+c.held, tokens) {
		return at + int64(AskAgain)
	}
	return from
}

// roomFrom returns from when on the windows, and what is held, leave room for a request of
// so many tokens; Forever: not before one ends.
func (c *Count) roomFrom(at int64, l *Limit, tokens int64) int64 {
	from := int64(never)
	if l.Requests > 0 {
		from = c.requestFrom(at, l)
	}
	if l.Tokens > 0 {
		from = max(from, c.tokensFrom(at, l, tokens))
	}
	return from
}

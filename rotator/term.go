package rotator

import "math"

// term is a cooldown of a key, for all requests or for those of one scope, and the
// clearing that came last.
type term struct {
	until   int64 // nanoseconds since the state's epoch; not after now means ready, 0: there is none
	learned int64 // when that was learned
	cleared int64 // when a cooldown was last ended before its time: what was learned until then is void
	kept    int64 // in a scope, until when that matters: what it ended would have lasted no longer
	source  string
	reason  Reason
	ahead   int32  // by how much the deadline is later than the one that journals were told last: up to echo
	doubt   *doubt // what this process has seen besides; nil: nothing
}

// never is before everything that is learned or cleared.
const never = math.MinInt64

func (t *term) cool(until, learned int64, r Reason, source string) {
	t.until, t.learned, t.reason, t.source, t.ahead = until, learned, r, source, 0
}

// void reports whether a clearing ends the cooldown.
func (t *term) void(cleared int64) bool { return t.until != 0 && t.learned <= cleared }

// matters reports whether others must know what is known in a scope.
func (t *term) matters(at int64) bool { return max(t.until, t.kept) > at }

// end takes the deadline away.
func (t *term) end() {
	t.until, t.learned, t.reason, t.source, t.ahead = 0, never, 0, "", 0
	t.rest(never, false)
	t.tidy(0)
}

// hear lets cool set what a journal has brought. It reports whether the other journals
// should be told, too.
func (t *term) hear(until int64, cool func()) (news bool) {
	told := t.until - int64(t.ahead)
	cool()
	if news = until > addSaturating(told, int64(echo)); !news {
		t.ahead = int32(until - told)
	}
	return news
}

// after is an instant that all nodes find to be after the other, though their clocks
// differ.
func after(at int64) int64 { return addSaturating(at, int64(clockError)) }

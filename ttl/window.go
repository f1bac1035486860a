package ttl

// window is one of several limits that a provider reports together, each with
// headers of its own.
type window struct {
	limit, remaining, reset field
	// period, if the answer has it, says that a bare number in reset counts
	// milliseconds (Azure).
	period field
}

// standing is how much of a window's limit is left.
type standing uint8

const (
	unknown   standing = iota
	spent              // nothing is left
	left               // something is left
	unlimited          // the window is not in force: -1
)

// byWindow reads the headers of several windows. The one that holds the key up
// is the one that is spent; of several, the one that ends last. Where none is
// known to be spent, the first one whose remainder is not stated may be; where
// all have something left, the request asked for more than is left in the last
// one, which is the one that counts more than one per request.
func byWindow(a answer, w *wait) (stated, bool) {
	latest, found, anySpent := stated{}, false, false
	for i := range w.windows {
		if a.standing(&w.windows[i]) != spent {
			continue
		}
		anySpent = true
		if s, ok := a.windowEnd(&w.windows[i], spent); ok && (!found || s.seconds > latest.seconds) {
			latest, found = s, true
		}
	}
	if anySpent {
		return latest, found
	}
	for i := range w.windows {
		isLast := i == len(w.windows)-1
		if st := a.standing(&w.windows[i]); st == unknown || st == left && isLast {
			if s, ok := a.windowEnd(&w.windows[i], st); ok {
				return s, true
			}
		}
	}
	return stated{}, false
}

func (a answer) standing(w *window) standing {
	for _, value := range a.values(w.limit) {
		if trim(value) == "-1" {
			return unlimited
		}
	}
	for _, value := range a.values(w.remaining) {
		value = trim(value)
		if value == "-1" {
			return unlimited
		}
		if v, ok := number(value); ok && v == 0 {
			return spent
		} else if ok {
			return left
		}
	}
	return unknown
}

// windowEnd returns when the window's wait is over. The headers state when the
// whole limit is available again, for a limit that fills up steadily. For a
// long and empty window that is far too late: 10,000 requests a day, all used,
// state a day, and serve one request every nine seconds. So past an hour the
// wait is that for one of the limit's parts.
func (a answer) windowEnd(w *window, st standing) (stated, bool) {
	seconds, ok := a.windowReset(w)
	if ok && st == spent && seconds > 3600 {
		seconds /= a.windowLimit(w)
	}
	return stated{seconds, w.reset.name}, ok
}

func (a answer) windowReset(w *window) (float64, bool) {
	scale := 1.0
	if len(a.values(w.period)) > 0 {
		scale = 1e-3
	}
	for _, value := range a.values(w.reset) {
		if v, ok := a.reset(trim(value), scale); ok {
			return v, true
		}
	}
	return 0, false
}

// windowLimit returns the window's limit, 1 where it states none.
func (a answer) windowLimit(w *window) float64 {
	for _, value := range a.values(w.limit) {
		if v, ok := number(trim(value)); ok && v >= 1 {
			return v
		}
	}
	return 1
}

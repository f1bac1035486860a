package ttl

import "slices"

// window is one of several limits that a provider reports together, each with
// headers of its own. What is left of it stands in one of remaining, status and
// used.
type window struct {
	of               string // what it limits, "" where it states no numbers
	limit, remaining field  // numbers
	status           field  // a word, "rejected" where nothing is left
	used             field  // a percentage
	reset            field  // when it begins anew, or is full again
	// relief, if the answer says "allowed" there, stands in for the window:
	// requests go on at another price.
	relief field
	// steady tells that the limit fills up steadily and that reset is when it
	// is full.
	steady bool
}

// standing is how much of a window's limit is left.
type standing uint8

const (
	unknown   standing = iota
	spent              // nothing is left
	left               // something is left
	unlimited          // the window is not in force: -1
)

// bySpent reads the headers of several windows: of those that are spent, the
// one that ends last.
func bySpent(a answer, w *wait) (stated, bool) {
	latest, found, _ := a.lastSpent(w.windows)
	return latest, found
}

// lastSpent returns the end of the spent window that ends last, and whether any
// is spent, even one whose end nobody can read.
func (a answer) lastSpent(windows []window) (latest stated, found, anySpent bool) {
	for i := range windows {
		if !a.spent(&windows[i]) {
			continue
		}
		anySpent = true
		if s, ok := a.windowEnd(&windows[i], spent); ok && (!found || s.seconds > latest.seconds) {
			latest, found = s, true
		}
	}
	return latest, found, anySpent
}

// byWindow reads the headers of several windows. The one that holds the key up
// is the one that is spent; of several, the one that ends last. Where none is
// known to be spent, the first one whose remainder is not stated may be; where
// all have something left, the request asked for more than is left in the last
// one, which is the one that counts more than one per request.
func byWindow(a answer, w *wait) (stated, bool) {
	if latest, found, anySpent := a.lastSpent(w.windows); anySpent {
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

// byFirst reads the headers of several windows as byWindow does, but where none
// is spent, the first one to begin anew counts.
func byFirst(a answer, w *wait) (stated, bool) {
	if latest, found, anySpent := a.lastSpent(w.windows); anySpent {
		return latest, found
	}
	first, found := stated{}, false
	for i := range w.windows {
		st := a.standing(&w.windows[i])
		if s, ok := a.windowEnd(&w.windows[i], st); ok && st != unlimited && (!found || s.seconds < first.seconds) {
			first, found = s, true
		}
	}
	return first, found
}

// spent tells whether nothing is left of the window.
func (a answer) spent(w *window) bool {
	switch {
	case w.status.key != "":
		return a.is(w.status, "rejected") && !a.is(w.relief, "allowed", "allowed_warning")
	case w.used.key != "":
		v, ok := a.numberIn(w.used)
		return ok && v >= 100
	}
	return slices.ContainsFunc(a.values(w.remaining), mayBeSpent) && a.standing(w) == spent
}

func (a answer) is(f field, values ...string) bool {
	for _, line := range a.values(f) {
		if slices.Contains(values, trim(line)) {
			return true
		}
	}
	return false
}

// standing reads a window that counts.
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

// windowEnd returns when the window's wait is over. OpenAI's headers state when
// the whole limit is available again, for a limit that fills up steadily. For a
// long and empty window that is far too late: 10,000 requests a day, all used,
// state a day, and serve one request every nine seconds. So past an hour the
// wait is that for one of the limit's parts.
func (a answer) windowEnd(w *window, st standing) (stated, bool) {
	seconds, ok := a.windowReset(w)
	if ok && st == spent && w.steady && seconds > 3600 {
		if limit, stated := a.numberIn(w.limit); stated && limit >= 1 {
			seconds /= limit
		}
	}
	return stated{seconds, w.reset.name}, ok
}

// The presence of one of these says that bare numbers in the resets of the
// windows beside them count milliseconds (Azure).
var (
	requestsPeriod = named("x-ratelimit-renewalperiod-requests")
	tokensPeriod   = named("x-ratelimit-renewalperiod-tokens")
)

func (a answer) windowReset(w *window) (float64, bool) {
	scale := 1.0
	if w.steady && len(a.values(requestsPeriod))+len(a.values(tokensPeriod)) > 0 {
		scale = 1e-3
	}
	for _, value := range a.values(w.reset) {
		if v, ok := a.reset(trim(value), scale); ok {
			return v, true
		}
	}
	return 0, false
}

package ttl

import (
	"strings"

	"github.com/keycycler/keycycler/ttl/date"
)

// saying is a way in which a message states a time: the words, in lower case,
// that it puts before it, and how to read what comes after them.
type saying struct {
	words string
	read  func(a answer, text string) (seconds float64, ok bool)
}

var sayings = []saying{
	{"try again in", spoken},
	{"try again after", spoken},
	{"retry in", spoken},
	{"retry after", spoken},
	{"reset in", spoken},
	{"resets in", spoken},
	{"reset after", spoken},
	{"wait", spoken},             // GitHub Models: "Please wait 38 seconds"
	{"replenished in", spoken},   // Azure API Management
	{"retrydelay", spoken},       // a body of Gemini's, quoted in a message
	{"regain access on", onDate}, // Anthropic
	{"reset at", onDate},
	{"resets at", onDate},
	{"reset on", onDate},
	{"resets on", onDate},
	{"resets", onDate}, // "resets 3pm (UTC)"
	{"try again at", onDate},
	{"retry at", onDate},
	{"available at", onDate},
	{"available again at", onDate},
	{"available in", spoken},
	{"available again in", spoken},
	{"renews in", spoken},
	{"将在", when}, // Zhipu: "… will be reset at …"
	{"将于", when},
	{"请在", when},
	{"请于", when},
	{"请等待", spoken},
	{"请", spoken},
	{"重置时间", when},
	{"恢复时间", when},
}

// inWords reads the message: "Please try again in 6m0s." The first time that
// it states counts.
func inWords(a answer, w *wait) (stated, bool) {
	text := a.body.message
	first, found := stated{}, false
	for i := range sayings {
		if seconds, at, ok := sayings[i].find(a, text); ok {
			// What stands before it is all that the other words may search.
			text = text[:at]
			first, found = stated{seconds, w.source}, true
		}
	}
	return first, found
}

// find returns the first time that the words state, and where the words begin.
// A time never contains the words, so the text is read once.
func (s *saying) find(a answer, text string) (seconds float64, at int, ok bool) {
	for rest := text; ; {
		_, after, found := strings.Cut(rest, s.words)
		if !found {
			return 0, 0, false
		}
		if v, ok := s.read(a, after); ok {
			return v, len(text) - len(after) - len(s.words), true
		}
		rest = after
	}
}

// spoken reads the duration that comes next: " 20s", ": 20s", " about 5
// minutes", `":"34s"`, " 5.03:23:11".
func spoken(_ answer, text string) (float64, bool) {
	text = strings.TrimLeft(text, ` :~"：约`)
	for _, filler := range []string{"for ", "at least ", "about ", "approximately ", "another "} {
		text = strings.TrimPrefix(text, filler)
	}
	if v, ok := date.Elapsed(text); ok {
		return v, true
	}
	return span(text)
}

// onDate reads the date that comes next: " 2026-04-01 at 00:00 UTC"; or the time of
// day, " 10:00 UTC", which is the next one. Without a zone it states nothing, unless it
// is known whose time it is.
func onDate(a answer, text string) (float64, bool) {
	text = strings.TrimLeft(text, ` :"：（`)
	local, known := a.localTime()
	if t, ok := date.Moment(text, a.now, local, known); ok {
		return a.until(date.Unix(t)), true
	}
	sinceMidnight, ahead, ok := date.OfDay(text)
	if !ok {
		return 0, false
	}
	return a.nextAt(sinceMidnight, ahead), true
}

// when reads a date or a duration.
func when(a answer, text string) (float64, bool) {
	if v, ok := onDate(a, text); ok {
		return v, true
	}
	return spoken(a, text)
}

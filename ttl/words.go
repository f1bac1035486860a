package ttl

import "strings"

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
	text = strings.TrimLeft(text, ` :~"`)
	for _, filler := range []string{"for ", "at least ", "about ", "approximately ", "another "} {
		text = strings.TrimPrefix(text, filler)
	}
	if v, ok := clock(text); ok {
		return v, true
	}
	return span(text)
}

// clock reads a duration as .NET prints it, [d.]hh:mm:ss. A time of day looks
// the same, but for the word after it.
func clock(text string) (seconds float64, ok bool) {
	p := dateParser{rest: text}
	var days int
	if n := digits(text); n < len(text) && text[n] == '.' {
		days = p.number(1, 8)
		p.oneOf(".")
	}
	var d civil
	p.clock(&d)
	rest := strings.TrimLeft(p.rest, " ")
	if p.bad || d.hour > 23 || d.minute > 59 || d.second > 59 || startsWord(rest) || strings.HasPrefix(rest, ":") {
		return 0, false
	}
	return float64(days)*86400 + float64(d.hour*3600+d.minute*60+d.second), true
}

// onDate reads the date that comes next: " 2026-04-01 at 00:00 UTC". Without a
// zone it states nothing, since nobody knows whose time it is.
func onDate(a answer, text string) (float64, bool) {
	p := dateParser{rest: strings.TrimLeft(text, ` :"`)}
	d := p.isoDate()
	for _, joint := range []string{" at ", ", ", " ", "t"} {
		if rest, found := strings.CutPrefix(p.rest, joint); found {
			p.rest = rest
			break
		}
	}
	p.wallClock(&d)
	zone := strings.TrimLeft(p.rest, " (")
	t, ok := d.time()
	if p.bad || !ok || !isUTC(zone[:letters(zone)]) {
		return 0, false
	}
	return a.until(unix(t)), true
}

func isUTC(zone string) bool { return zone == "utc" || zone == "gmt" || zone == "z" }

package date

import (
	"slices"
	"strings"
	"time"
)

// Moment reads the date and the time that a text begins with, as providers write them:
// "2026-04-01 at 00:00 UTC", "2026-08-03 23:59:59 +0800 CST", "2026-03-06t22:19:54z",
// "Jun 3, 9am (UTC)". Where the text names no zone, local is how many seconds the provider's clock is ahead
// of UTC, if that is known; otherwise it states nothing.
func Moment(text string, now time.Time, local int, known bool) (time.Time, bool) {
	p := parser{rest: text}
	d := p.spokenDate(now)
	for _, joint := range []string{" at ", ", ", " ", "t", "T"} {
		if rest, found := strings.CutPrefix(p.rest, joint); found {
			p.rest = rest
			break
		}
	}
	p.timeOfDay(&d)
	t, ok := d.time()
	if offset, named := zone(p.rest); named {
		local, known = offset, true
	} else if strange(p.rest) {
		known = false
	}
	return t.Add(-time.Duration(local) * time.Second), ok && known && !p.bad
}

// spokenDate reads "2026-04-01", "June 2, 2026", "3 Jun", "2026年6月2日" and "6月2日". One
// without a year is the next of its kind, or has been within a day.
func (p *parser) spokenDate(now time.Time) (d civil) {
	n := Digits(p.rest)
	switch after := p.rest[n:]; {
	case strings.HasPrefix(after, "-"):
		return p.isoDate()
	case strings.HasPrefix(after, "年"), strings.HasPrefix(after, "月"):
		d = p.chineseDate()
	case n == 0:
		d.month = p.monthName()
		p.oneOf(" ")
		d.day = p.dayOfMonth()
		d.year = p.yearIfAny()
	default:
		d.day = p.dayOfMonth()
		p.oneOf(" ")
		d.month = p.monthName()
		d.year = p.yearIfAny()
	}
	if d.year == 0 {
		d.year = now.UTC().Year() - 1
		for range 2 {
			if t, _ := d.time(); t.Before(now.AddDate(0, 0, -2)) {
				d.year++
			}
		}
	}
	return d
}

func (p *parser) chineseDate() (d civil) {
	if n := Digits(p.rest); strings.HasPrefix(p.rest[n:], "年") {
		d.year = p.number(4, 4)
		p.rest = p.rest[len("年"):]
	}
	d.month = time.Month(p.number(1, 2))
	after, isMonth := strings.CutPrefix(p.rest, "月")
	p.rest = after
	d.day = p.number(1, 2)
	after, isDay := strings.CutPrefix(p.rest, "日")
	p.rest = after
	p.bad = p.bad || !isMonth || !isDay || d.month < time.January || d.month > time.December
	return d
}

// monthName reads "jun", "sept." or "june".
func (p *parser) monthName() time.Month {
	name := p.rest[:Word(p.rest)]
	p.rest = strings.TrimPrefix(p.rest[len(name):], ".")
	for m := time.January; m <= time.December && len(name) >= 3; m++ {
		if strings.HasPrefix(strings.ToLower(m.String()), name) {
			return m
		}
	}
	p.bad = true
	return 0
}

// dayOfMonth reads "3" and "3rd".
func (p *parser) dayOfMonth() int {
	day := p.number(1, 2)
	if ending := p.rest[:Word(p.rest)]; slices.Contains([]string{"st", "nd", "rd", "th"}, ending) {
		p.rest = p.rest[len(ending):]
	}
	return day
}

// yearIfAny reads ", 2026" and " 2026", 0 where neither comes next.
func (p *parser) yearIfAny() int {
	after := strings.TrimLeft(p.rest, ", ")
	if Digits(after) != 4 {
		return 0
	}
	p.rest = after
	return p.number(4, 4)
}

// timeOfDay reads "10:00", "10:00:00.5", "4:12 pm" and "3pm".
func (p *parser) timeOfDay(d *civil) {
	n := Digits(p.rest)
	if n > 0 && halfOfDay(p.rest[n:]) != 0 {
		d.hour = p.number(1, 2)
	} else {
		if n == 1 && strings.HasPrefix(p.rest[n:], ":") {
			p.rest = "0" + p.rest
		}
		p.wallClock(d)
	}
	if rest, found := strings.CutPrefix(p.rest, "."); found && Digits(rest) > 0 {
		p.rest = rest[Digits(rest):]
	}
	p.inHalf(d)
}

// inHalf reads the half of the day, if one comes next.
func (p *parser) inHalf(d *civil) {
	half := halfOfDay(p.rest)
	switch {
	case half == 0:
		return
	case d.hour < 1 || d.hour > 12:
		p.bad = true
	case half == 'p':
		d.hour = d.hour%12 + 12
	default:
		d.hour %= 12
	}
	p.rest = strings.TrimPrefix(p.rest, " ")[len("am"):]
}

// halfOfDay returns 'a' or 'p' for a text that begins with " am" or "pm", and otherwise 0.
func halfOfDay(text string) byte {
	text = strings.TrimPrefix(text, " ")
	if Word(text) == 2 && text[1]|0x20 == 'm' && (text[0]|0x20 == 'a' || text[0]|0x20 == 'p') {
		return text[0] | 0x20
	}
	return 0
}

// OfDay reads the time of day that a text begins with, and its zone: "10:00 UTC", "3pm
// (GMT+8)", "midnight UTC". It returns the seconds since midnight, and by how many the
// zone is ahead of UTC.
func OfDay(text string) (sinceMidnight, ahead int, ok bool) {
	p, d := parser{rest: text}, civil{}
	if rest, found := strings.CutPrefix(text, "midnight"); found {
		p.rest = rest
	} else {
		p.timeOfDay(&d)
	}
	ahead, named := zone(p.rest)
	return d.hour*3600 + d.minute*60 + d.second, ahead, named && !p.bad && d.hour < 24 && d.minute < 60
}

// Elapsed reads a duration as .NET prints it, [d.]hh:mm:ss. A time of day looks
// the same, but for the word after it.
func Elapsed(text string) (seconds float64, ok bool) {
	p := parser{rest: text}
	var days int
	if n := Digits(text); n < len(text) && text[n] == '.' {
		days = p.number(1, 8)
		p.oneOf(".")
	}
	var d civil
	p.clock(&d)
	rest := strings.TrimLeft(p.rest, " ")
	if p.bad || d.hour > 23 || d.minute > 59 || d.second > 59 || Letters(rest) > 0 || strings.HasPrefix(rest, ":") {
		return 0, false
	}
	return float64(days)*86400 + float64(d.hour*3600+d.minute*60+d.second), true
}

// China is how far ahead of UTC the clocks of China are, in seconds.
const China = 8 * 3600

// Pacific returns how far California's clock is ahead of UTC at this time, in seconds
// since 1970: daylight saving lasts from March's second Sunday to November's first, at
// two o'clock by the clock that is left.
func Pacific(at float64) int {
	year := time.Unix(int64(at), 0).UTC().Year()
	begin := sunday(year, time.March, 8).Add(10 * time.Hour)
	end := sunday(year, time.November, 1).Add(9 * time.Hour)
	if at >= Unix(begin) && at < Unix(end) {
		return -7 * 3600
	}
	return -8 * 3600
}

// sunday returns the first Sunday from that day on.
func sunday(year int, month time.Month, day int) time.Time {
	t := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	return t.AddDate(0, 0, (7-int(t.Weekday()))%7)
}

// zone reads the zone that a text begins with: "z", "utc", "(gmt+8)", "+0800", "-05:00".
func zone(text string) (offset int, ok bool) {
	text = strings.TrimLeft(text, " (（")
	switch name := text[:Word(text)]; {
	case strings.EqualFold(name, "z"), strings.EqualFold(name, "utc"), strings.EqualFold(name, "gmt"):
		offset, _ = shift(text[len(name):])
		return offset, true
	case name == "beijing", strings.HasPrefix(text, "北京时间"):
		return China, true
	}
	return shift(text)
}

// shift reads "+8", "+0800" and "-05:00", in seconds.
func shift(text string) (offset int, ok bool) {
	if text == "" || text[0] != '+' && text[0] != '-' {
		return 0, false
	}
	p := parser{rest: text[1:]}
	n := Digits(p.rest)
	hours, minutes := p.number(1, 4), 0
	if n > 2 {
		hours, minutes = hours/100, hours%100
	} else if strings.HasPrefix(p.rest, ":") {
		p.rest = p.rest[1:]
		minutes = p.number(2, 2)
	}
	if p.bad || hours > 14 || minutes > 59 {
		return 0, false
	}
	offset = hours*3600 + minutes*60
	if text[0] == '-' {
		offset = -offset
	}
	return offset, true
}

// strange tells whether a text begins with an abbreviation that could be a zone's.
func strange(text string) bool {
	text = strings.TrimLeft(text, " (（")
	n := Word(text)
	return (n == 3 || n == 4) && strings.HasSuffix(text[:n], "t") && text[:n] != "cst"
}

// Package date reads dates and times as servers and people write them: HTTP's, RFC 3339's
// and what comes near it, "Jun 3 at 9am (UTC)", "6月2日 08:00".
//
// It knows how they are written, and nothing of answers. A form of a date goes here.
package date

import (
	"strings"
	"time"
)

// Timestamp reads a whole value as a point in time, in seconds since 1970: an
// HTTP-date (RFC 9110, section 5.6.7), a time as in RFC 3339, or what comes near it.
func Timestamp(s string, now time.Time) (float64, bool) {
	if len(s) >= len("2006-01-02T15:04:05Z") && s[4] == '-' {
		if looksLikeRFC3339(s) { // time.Parse allocates where it fails
			if t, err := time.Parse(time.RFC3339, s); err == nil {
				return Unix(t), true
			}
		}
		t, ok := Moment(s, now, 0, false)
		return Unix(t), ok
	}
	t, ok := HTTP(s, now)
	return Unix(t), ok
}

// looksLikeRFC3339 tells of a text that is long enough whether it has the capital T and a
// zone where RFC 3339 has them.
func looksLikeRFC3339(s string) bool {
	return s[10] == 'T' && (s[len(s)-1] == 'Z' || s[len(s)-3] == ':')
}

// Unix returns t in seconds since 1970.
func Unix(t time.Time) float64 {
	return float64(t.Unix()) + float64(t.Nanosecond())/1e9
}

// HTTP reads the three forms of RFC 9110, section 5.6.7. Unlike
// http.ParseTime it also takes the zone "UTC", which is seen in the wild. The
// weekday is not looked at: senders that compute it wrongly still mean the
// date. now decides the century of a year of two digits.
func HTTP(s string, now time.Time) (time.Time, bool) {
	if s == "" || s[0] != ',' && Letters(s[:1]) == 0 {
		return time.Time{}, false // all three begin with a weekday
	}
	p := parser{rest: s}
	var d civil
	if weekday, rest, found := strings.Cut(s, ","); found {
		p.bad = Letters(weekday) != len(weekday)
		p.rest = strings.TrimLeft(rest, " ")
		d = p.fixdate(now)
	} else {
		d = p.asctime()
	}
	if p.bad || p.rest != "" {
		return time.Time{}, false
	}
	return d.time()
}

// civil is a date and a time of day in UTC.
type civil struct {
	year, day, hour, minute, second int
	month                           time.Month
}

func (d civil) time() (time.Time, bool) {
	midnight := time.Date(d.year, d.month, d.day, 0, 0, 0, 0, time.UTC)
	if midnight.Day() != d.day || d.hour > 23 || d.minute > 59 || d.second > 60 {
		return time.Time{}, false // 30 February; 60 is a leap second
	}
	seconds := d.hour*3600 + d.minute*60 + d.second
	return midnight.Add(time.Duration(seconds) * time.Second), true
}

// parser takes a date apart from the left. After the first thing that does
// not fit, bad is set and the results mean nothing.
type parser struct {
	rest string
	bad  bool
}

// fixdate reads "01 Jun 2026 12:01:30 GMT" and "01-Jun-26 12:01:30 GMT".
func (p *parser) fixdate(now time.Time) (d civil) {
	d.day = p.number(2, 2)
	p.oneOf(" -")
	d.month = p.month()
	p.oneOf(" -")
	d.year = p.year(now.Year())
	p.oneOf(" ")
	p.clock(&d)
	p.oneOf(" ")
	p.zone()
	return d
}

// asctime reads "Mon Jun  1 12:01:30 2026".
func (p *parser) asctime() (d civil) {
	p.rest = p.rest[Letters(p.rest):]
	p.oneOf(" ")
	d.month = p.month()
	p.oneOf(" ")
	p.rest = strings.TrimLeft(p.rest, " ")
	d.day = p.number(1, 2)
	p.oneOf(" ")
	p.clock(&d)
	p.oneOf(" ")
	d.year = p.number(4, 4)
	return d
}

// isoDate reads "2026-04-01".
func (p *parser) isoDate() (d civil) {
	d.year = p.number(4, 4)
	p.oneOf("-")
	d.month = time.Month(p.number(2, 2))
	p.oneOf("-")
	d.day = p.number(2, 2)
	p.bad = p.bad || d.month < time.January || d.month > time.December
	return d
}

// wallClock reads "00:00" and "00:00:00".
func (p *parser) wallClock(d *civil) {
	d.hour = p.number(2, 2)
	p.oneOf(":")
	d.minute = p.number(2, 2)
	if !p.bad && len(p.rest) > 1 && p.rest[0] == ':' && IsDigit(p.rest[1]) {
		p.oneOf(":")
		d.second = p.number(2, 2)
	}
}

func (p *parser) clock(d *civil) {
	d.hour = p.number(2, 2)
	p.oneOf(":")
	d.minute = p.number(2, 2)
	p.oneOf(":")
	d.second = p.number(2, 2)
}

// number reads all the digits that come next, of which there must be least to
// most.
func (p *parser) number(least, most int) int {
	n := Digits(p.rest)
	if n < least || n > most {
		p.bad = true
		return 0
	}
	value := int(Whole(p.rest[:n]))
	p.rest = p.rest[n:]
	return value
}

// year reads a year of four digits or two.
func (p *parser) year(thisYear int) int {
	if Digits(p.rest) == 2 {
		return fullYear(p.number(2, 2), thisYear)
	}
	return p.number(4, 4)
}

// oneOf skips one character, which must be in set, of one or two.
func (p *parser) oneOf(set string) {
	if p.rest == "" || p.rest[0] != set[0] && p.rest[0] != set[len(set)-1] {
		p.bad = true
		return
	}
	p.rest = p.rest[1:]
}

func (p *parser) month() time.Month {
	const names = "janfebmaraprmayjunjulaugsepoctnovdec"
	for i, n := 0, Letters(p.rest); n == 3 && i < len(names); i += 3 {
		if s := p.rest; s[0]|0x20 == names[i] && s[1]|0x20 == names[i+1] && s[2]|0x20 == names[i+2] {
			p.rest = s[3:]
			return time.Month(i/3 + 1)
		}
	}
	p.bad = true
	return 0
}

// zone reads all that is left, which must name UTC.
func (p *parser) zone() {
	p.bad = p.bad || p.rest != "GMT" && p.rest != "UTC"
	p.rest = ""
}

// fullYear completes a year of two digits to the one nearest to thisYear. RFC
// 9110, section 5.6.7 demands the half of it: what looks more than 50 years
// ahead lies in the past.
func fullYear(year, thisYear int) int {
	year += thisYear - thisYear%100
	switch {
	case year > thisYear+50:
		return year - 100
	case year < thisYear-49:
		return year + 100
	default:
		return year
	}
}

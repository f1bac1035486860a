package ttl

import (
	"strings"
	"time"
	"unicode/utf8"
)

// moment reads the date and the time that a text begins with, as providers write them:
// "2026-04-01 at 00:00 UTC", "2026-08-03 23:59:59 +0800 CST", "2026-03-06t22:19:54z",
// "Jun 3, 9am (UTC)". Where the text names no zone, local is how many seconds the provider's clock is ahead
// of UTC, if that is known; otherwise it states nothing.
func moment(text string, now time.Time, local int, known bool) (time.Time, bool) {
	p := dateParser{rest: text}
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
func (p *dateParser) spokenDate(now time.Time) (d civil) {
	n := digits(p.rest)
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
		d.year = now.Year()
		if t, _ := d.time(); t.Before(now.AddDate(0, 0, -2)) {
			d.year++
		}
	}
	return d
}

func (p *dateParser) chineseDate() (d civil) {
	if n := digits(p.rest); strings.HasPrefix(p.rest[n:], "年") {
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
func (p *dateParser) monthName() time.Month {
	name := p.rest[:letters(p.rest)]
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
func (p *dateParser) dayOfMonth() int {
	day := p.number(1, 2)
	if n := letters(p.rest); n == 2 && strings.Contains("st nd rd th", p.rest[:n]) {
		p.rest = p.rest[n:]
	}
	return day
}

// yearIfAny reads ", 2026" and " 2026", 0 where neither comes next.
func (p *dateParser) yearIfAny() int {
	after := strings.TrimLeft(p.rest, ", ")
	if digits(after) != 4 {
		return 0
	}
	p.rest = after
	return p.number(4, 4)
}

// timeOfDay reads "10:00", "10:00:00.5", "4:12 pm" and "3pm".
func (p *dateParser) timeOfDay(d *civil) {
	n := digits(p.rest)
	if n > 0 && halfOfDay(p.rest[n:]) != 0 {
		d.hour = p.number(1, 2)
	} else {
		if n == 1 && strings.HasPrefix(p.rest[n:], ":") {
			p.rest = "0" + p.rest
		}
		p.wallClock(d)
	}
	if rest, found := strings.CutPrefix(p.rest, "."); found && digits(rest) > 0 {
		p.rest = rest[digits(rest):]
	}
	p.inHalf(d)
}

// inHalf reads the half of the day, if one comes next.
func (p *dateParser) inHalf(d *civil) {
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
	if letters(text) == 2 && text[1]|0x20 == 'm' && (text[0]|0x20 == 'a' || text[0]|0x20 == 'p') {
		return text[0] | 0x20
	}
	return 0
}

// china is how far ahead of UTC the clocks of China are, in seconds.
const china = 8 * 3600

// zone reads the zone that a text begins with: "z", "utc", "(gmt+8)", "+0800", "-05:00".
func zone(text string) (offset int, ok bool) {
	text = strings.TrimLeft(text, " (")
	switch name := text[:letters(text)]; {
	case strings.EqualFold(name, "z"), strings.EqualFold(name, "utc"), strings.EqualFold(name, "gmt"):
		offset, _ = shift(text[len(name):])
		return offset, true
	case name == "beijing", strings.HasPrefix(name, "北京时间"):
		return china, true
	}
	return shift(text)
}

// shift reads "+8", "+0800" and "-05:00", in seconds.
func shift(text string) (offset int, ok bool) {
	if text == "" || text[0] != '+' && text[0] != '-' {
		return 0, false
	}
	p := dateParser{rest: text[1:]}
	n := digits(p.rest)
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
	text = strings.TrimLeft(text, " (")
	n := letters(text)
	return (n == 3 || n == 4) && strings.HasSuffix(text[:n], "t") && text[:n] != "cst"
}

// localTime returns how far the provider's clock is ahead of UTC, where the answer tells
// whose it is: Zhipu, DashScope and others keep China's time and do not say so.
func (a answer) localTime() (offset int, known bool) {
	return china, a.china || a.body.chinese || fromChina.code(a.body) != ""
}

// fromChina are codes of providers there, whatever the language of their messages.
var fromChina = rule{codes: []string{"1302", "1303", "1304", "1305", "1308", "1309", "1310", "1313", "1316", "AccountQuotaExceeded"}, base: []string{"2056"}}

// inChinese tells whether the text has a Chinese character in it.
func inChinese(text string) bool {
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		if '一' <= r && r <= '鿿' {
			return true
		}
		i += size
	}
	return false
}

// nextAt returns the seconds until a clock that is offset ahead of UTC shows this many
// seconds since midnight.
func (a answer) nextAt(sinceMidnight, offset int) float64 {
	const day = 86400
	now := a.sent() + float64(offset)
	wait := float64(sinceMidnight) - (now - day*float64(int64(now)/day))
	if wait <= 0 {
		wait += day
	}
	return wait
}

// atMidnight reads an answer that speaks of a day's allowance, and does not say more,
// where it is known when the provider's day begins.
func atMidnight(a answer, w *wait) (stated, bool) {
	message := a.body.message
	switch {
	case a.body.values[isQuotaID] != nil: // Gemini
		return stated{a.nextAt(0, pacific(a.sent())), w.source}, true
	case strings.Contains(message, "daily free allocation"): // Cloudflare
		return stated{a.nextAt(0, 0), w.source}, true
	case daily.code(a.body) != "" || part(message, daily.phrases) != "":
		return stated{a.nextAt(0, china), w.source}, true
	}
	return stated{}, false
}

// daily is how providers in China speak of a day's allowance. 1304 is Zhipu's.
var daily = rule{codes: []string{"1304"}, phrases: []string{
	"当日调用", "今日调用", "每日调用", "当日额度", "今日额度", "每日额度", "当天额度", "每天额度", "今日免费额度", "每日免费额度", "daily request limit reached", // Baidu
}}

// pacific returns how far California's clock is ahead of UTC at this time, in seconds
// since 1970: daylight saving lasts from March's second Sunday to November's first, at
// two o'clock by the clock that is left.
func pacific(at float64) int {
	year := time.Unix(int64(at), 0).UTC().Year()
	begin := sunday(year, time.March, 8).Add(10 * time.Hour)
	end := sunday(year, time.November, 1).Add(9 * time.Hour)
	if at >= unix(begin) && at < unix(end) {
		return -7 * 3600
	}
	return -8 * 3600
}

// sunday returns the first Sunday from that day on.
func sunday(year int, month time.Month, day int) time.Time {
	t := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	return t.AddDate(0, 0, (7-int(t.Weekday()))%7)
}

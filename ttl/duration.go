package ttl

import (
	"strings"

	"github.com/keycycler/keycycler/ttl/date"
)

// duration reads a whole value as a duration in Go's notation, as OpenAI and
// those who speak like it send it: "6m0s", "1.984999999s", "120ms"; and with
// days, as in "1d2h30m". There is no sign, no space, and no number without a
// unit. The result is in seconds.
func duration(s string) (seconds float64, ok bool) {
	for s != "" {
		value, n := decimal(s)
		scale, m := unit(s[n:])
		if n == 0 || m == 0 {
			return 0, false
		}
		seconds += value * scale
		s = s[n+m:]
		ok = true
	}
	return seconds, ok && finite(seconds)
}

// span reads the duration that a text, in lower case, begins with: "20s. Rate
// limit", "6m0s.", "33 seconds", "1 minute and 30 seconds", or a number of
// seconds without a unit. A word that is not a unit makes it nothing ("5
// business days"). The result is in seconds.
func span(text string) (seconds float64, ok bool) {
	text = strings.TrimLeft(text, " ~")
	smallest := 0.0
	for {
		value, n := amount(text)
		if n == 0 {
			break
		}
		rest := strings.TrimLeft(text[n:], " ")
		scale, m := unit(rest)
		if m == 0 && !ok && endsNumber(text[n:]) && date.Letters(rest) == 0 {
			return value, finite(value)
		}
		// Units only get smaller within one duration; what follows otherwise
		// is another figure.
		if m == 0 || ok && scale >= smallest {
			break
		}
		seconds, smallest, ok = seconds+value*scale, scale, true
		text = strings.TrimPrefix(strings.TrimLeft(rest[m:], " ,"), "and ")
	}
	return seconds, ok && finite(seconds)
}

// endsNumber tells whether a number without a unit really ends before rest,
// and is not the start of a date, a time or a number with separators.
func endsNumber(rest string) bool {
	if rest == "" {
		return true
	}
	if !strings.ContainsRune(" \t\r\n.,;!)]\"'<", rune(rest[0])) {
		return false
	}
	return len(rest) == 1 || !date.IsDigit(rest[1])
}

// unit returns how many seconds the unit that s begins with has, and the
// length of its name; 0 and 0 where there is none.
func unit(s string) (seconds float64, length int) {
	n := date.Word(s)
	switch s[:n] {
	case "ns":
		return 1e-9, n
	case "us", "µs", "μs":
		return 1e-6, n
	case "ms", "msec", "msecs", "millisecond", "milliseconds":
		return 1e-3, n
	case "s", "sec", "secs", "second", "seconds":
		return 1, n
	case "m", "min", "mins", "minute", "minutes":
		return 60, n
	case "h", "hr", "hrs", "hour", "hours":
		return 3600, n
	case "d", "day", "days":
		return 86400, n
	case "week", "weeks":
		return 604800, n
	}
	return unitInChinese(s)
}

// unitInChinese is unit for a script without spaces between words.
func unitInChinese(s string) (seconds float64, length int) {
	for _, u := range []struct {
		name    string
		seconds float64
	}{{"毫秒", 1e-3}, {"秒", 1}, {"分", 60}, {"小时", 3600}, {"个小时", 3600}, {"天", 86400}} {
		if strings.HasPrefix(s, u.name) {
			length = len(u.name)
			if strings.HasPrefix(s[length:], "钟") {
				length += len("钟")
			}
			return u.seconds, length
		}
	}
	return 0, 0
}

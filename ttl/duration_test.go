package ttl

import (
	"math"
	"strings"
	"testing"
)

// none stands in tables for what is not stated.
var none = math.NaN()

func agrees(got float64, ok bool, want float64) bool {
	if math.IsNaN(want) {
		return !ok
	}
	return ok && near(got, want)
}

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		why, value string
		want       float64
	}{
		{"digits", "120", 120},
		{"zero is a statement", "0", 0},
		{"a fraction", "0.25", 0.25},
		{"leading zeros mean nothing", "007", 7},
		{"an exponent, as SDKs test it", "1e100", 1e100},
		{"an exponent with a sign", "15E-1", 1.5},
		{"past int64", "9223372036854775808", 9223372036854775808},
		{"past float64 states nothing", "1e400", none},
		{"as many digits as that", strings.Repeat("9", 400), none},
		{"below float64 is not zero", "1e-400", none},
		{"empty", "", none},
		{"negative", "-1", none},
		{"a sign that ParseFloat takes", "+5", none},
		{"infinity", "inf", none},
		{"infinity with a sign", "+Inf", none},
		{"not a number", "nan", none},
		{"hexadecimal", "0x1p4", none},
		{"an underscore between digits", "1_000", none},
		{"a list is no number", "7, 60", none},
		{"a comma between thousands", "1,000", none},
		{"a fraction without a whole", ".5", none},
		{"a whole without a fraction", "5.", none},
		{"two fractions", "1.2.3", none},
		{"an exponent without digits", "1e", none},
		{"space inside", "1 0", none},
		{"digits of another script", "\u0663", none},
		{"a unit", "60s", none},
	} {
		if got, ok := number(c.value); !agrees(got, ok, c.want) {
			t.Errorf("%s: number(%q) = %v, %v", c.why, c.value, got, ok)
		}
	}
}

func TestGrouped(t *testing.T) {
	for _, c := range []struct {
		why, text string
		want      float64
	}{
		{"digits", "30000 / min", 30000},
		{"thousands", "30,000. Requested", 30000},
		{"millions", "1,000,000", 1000000},
		{"a comma after it", "30000, Used 5", 30000},
		{"another number after a comma", "3,14", 3},
		{"a longer one", "3,1415", 3},
		{"no number", ",000", none},
	} {
		if got, n := grouped(c.text); !agrees(got, n > 0, c.want) {
			t.Errorf("%s: grouped(%q) = %v, %v", c.why, c.text, got, n)
		}
	}
}

func TestDuration(t *testing.T) {
	for _, c := range []struct {
		why, value string
		want       float64
	}{
		{"minutes and seconds, not 6", "6m0s", 360},
		{"milliseconds, neither 120 nor minutes", "120ms", 0.12},
		{"days", "1d", 86400},
		{"days, hours and minutes", "1d2h30m", 95400},
		{"a long fraction", "1.984999999s", 1.984999999},
		{"a fraction of the last part", "2m59.56s", 179.56},
		{"hours", "17h24m", 62640},
		{"microseconds", "5us", 5e-6},
		{"microseconds with the micro sign", "5\u00b5s", 5e-6},
		{"microseconds with the Greek letter", "5\u03bcs", 5e-6},
		{"nanoseconds", "1500000000ns", 1.5},
		{"past the range of time.Duration", "99999999999999h", 99999999999999 * 3600},
		{"past float64", strings.Repeat("9", 308) + "d", none},
		{"empty", "", none},
		{"no unit", "60", none},
		{"no unit at the end", "6m0", none},
		{"no number", "ms", none},
		{"negative", "-1s", none},
		{"a sign", "+1s", none},
		{"an unknown unit", "3w", none},
		{"an exponent is a unit nobody knows", "1e3s", none},
		{"space inside", "6m 0s", none},
		{"not a number", "NaNs", none},
		{"something after it", "6m0s!", none},
		{"Chinese after it", "6m0s后", none},
	} {
		if got, ok := duration(c.value); !agrees(got, ok, c.want) {
			t.Errorf("%s: duration(%q) = %v, %v", c.why, c.value, got, ok)
		}
	}
}

func TestSpan(t *testing.T) {
	for _, c := range []struct {
		why, text string
		want      float64
	}{
		{"the end of a sentence is no fraction", "20s. rate limit reached", 20},
		{"a fraction", "1.574s.", 1.574},
		{"milliseconds", "174ms. visit", 0.174},
		{"several units", "10h17m5.723541104s. quota", 37025.723541104},
		{"a unit in words", "33 seconds.", 33},
		{"one of a unit", "1 minute", 60},
		{"units in words", "1 hour, 2 minutes and 30 seconds, then", 3750},
		{"hours and days in words", "2 days 3 hours", 183600},
		{"about so long", "~30 seconds", 30},
		{"no unit at the end of the text", "30", 30},
		{"no unit at the end of a sentence", "30. thanks", 30},
		{"no unit in brackets", "30)", 30},
		{"the figure after it is another one", "20s, 3 requests a minute", 20},
		{"a larger unit begins another duration", "20s 5 minutes", 20},
		{"the same unit does, too", "20s 20s", 20},
		{"cut off after the unit", "3s", 3},
		{"zero", "0s.", 0},
		{"microseconds before a word of Chinese", "5µs后", 5e-6},
		{"a number before a word of Chinese", "5后", none},
		{"another unit", "5 business days", none},
		{"a date", "2026-04-01 at 00:00 utc", none},
		{"a time of day", "10:30 utc", none},
		{"commas between thousands", "86,400 seconds", 86400},
		{"commas between thousands, and a fraction", "1,234.5 seconds", 1234.5},
		{"a comma between other digits", "1,5 seconds", none},
		{"commas at uneven distances", "1,0000 seconds", none},
		{"weeks", "1 week", 604800},
		{"an underscore", "1_000 seconds", none},
		{"in words altogether", "a few seconds", none},
		{"negative", "-5s", none},
		{"infinite", strings.Repeat("9", 400) + " seconds", none},
		{"infinite without a unit", strings.Repeat("9", 400), none},
		{"nothing", "", none},
	} {
		if got, ok := span(c.text); !agrees(got, ok, c.want) {
			t.Errorf("%s: span(%q) = %v, %v", c.why, c.text, got, ok)
		}
	}
}

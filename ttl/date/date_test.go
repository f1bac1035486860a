package date

import (
	"math"
	"testing"
	"time"
)

var (
	none = math.NaN()
	june = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
)

func agrees(got float64, ok bool, want float64) bool {
	return ok == !math.IsNaN(want) && (!ok || math.Abs(got-want) < 1e-6)
}

func TestTimestamp(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	const at = 1780315290 // 1 June 2026, 12:01:30 UTC
	for _, c := range []struct {
		why, value string
		want       float64
	}{
		{"the preferred form", "Mon, 01 Jun 2026 12:01:30 GMT", at},
		{"the form of RFC 850", "Monday, 01-Jun-26 12:01:30 GMT", at},
		{"the form of asctime", "Mon Jun  1 12:01:30 2026", at},
		{"asctime with a day of two digits", "Thu Jun 11 12:01:30 2026", at + 10*86400},
		{"UTC, which http.ParseTime refuses", "Mon, 01 Jun 2026 12:01:30 UTC", at},
		{"a zone as in mail", "Mon, 01 Jun 2026 12:01:30 +0000", none},
		{"an offset east", "Mon, 01 Jun 2026 14:31:30 +0230", none},
		{"an offset west", "Mon, 01 Jun 2026 07:01:30 -0500", none},
		{"a day of one digit", "Mon, 1 Jun 2026 12:01:30 GMT", none},
		{"the wrong weekday", "Fri, 01 Jun 2026 12:01:30 GMT", at},
		{"a weekday of another language", "Mo, 01 Jun 2026 12:01:30 GMT", at},
		{"letters of the wrong case", "mon, 01 JUN 2026 12:01:30 GMT", at},
		{"a leap second", "Wed, 31 Dec 2008 23:59:60 GMT", 1230768000},
		{"a leap day", "Thu, 29 Feb 2024 00:00:00 GMT", 1709164800},
		{"two digits, 50 years ahead", "Monday, 01-Jun-76 12:01:30 GMT", 3358238490},
		{"two digits, more than 50 years ahead", "Monday, 01-Jun-77 12:01:30 GMT", 234014490},
		{"RFC 3339", "2026-06-01T12:01:30Z", at},
		{"RFC 3339 with a fraction and a zone", "2026-06-01T14:01:30.5+02:00", at + 0.5},
		{"a day that the month does not have", "Mon, 30 Feb 2026 12:01:30 GMT", none},
		{"no day of the month", "Mon, 00 Jun 2026 12:01:30 GMT", none},
		{"no such hour", "Mon, 01 Jun 2026 24:01:30 GMT", none},
		{"no such minute", "Mon, 01 Jun 2026 12:60:30 GMT", none},
		{"no such second", "Mon, 01 Jun 2026 12:01:61 GMT", none},
		{"no such month", "Mon, 01 Juni 2026 12:01:30 GMT", none},
		{"a year of three digits", "Mon, 01 Jun 226 12:01:30 GMT", none},
		{"no zone", "Mon, 01 Jun 2026 12:01:30", none},
		{"a zone that says little", "Mon, 01 Jun 2026 12:01:30 EST", none},
		{"something after it", "Mon, 01 Jun 2026 12:01:30 GMT 5", none},
		{"something after asctime", "Mon Jun  1 12:01:30 2026 GMT", none},
		{"two dates", "Mon, 01 Jun 2026 12:01:30 GMT, Mon, 01 Jun 2026 12:01:30 GMT", none},
		{"hours of one digit", "Mon, 01 Jun 2026 2:01:30 GMT", none},
		{"RFC 3339 without a zone", "2026-06-01T12:01:30.000", none},
		{"a date alone", "2026-06-01", none},
		{"a word", "soon", none},
		{"a number", "1780315290", none},
		{"empty", "", none},
	} {
		if got, ok := Timestamp(c.value, now); !agrees(got, ok, c.want) {
			t.Errorf("%s: Timestamp(%q) = %v, %v, want %v", c.why, c.value, got, ok, c.want)
		}
	}
}

func TestFullYear(t *testing.T) {
	for _, c := range []struct {
		why                  string
		year, thisYear, want int
	}{
		{"this year", 26, 2026, 2026},
		{"50 years ahead is still ahead", 76, 2026, 2076},
		{"51 years ahead is past", 77, 2026, 1977},
		{"the next century", 5, 2099, 2105},
		{"50 years ahead, past the turn of it", 49, 2099, 2149},
		{"49 years back is back", 50, 2099, 2050},
		{"the last century", 99, 2001, 1999},
	} {
		if got := fullYear(c.year, c.thisYear); got != c.want {
			t.Errorf("%s: fullYear(%d, %d) = %d, want %d", c.why, c.year, c.thisYear, got, c.want)
		}
	}
}

// Every HTTP-date that the time package reads is read here, and as the same
// time. It leaves unchecked that the weekday fits, as is done here.
func FuzzHTTPDate(f *testing.F) {
	const gmt = "Mon, 02 Jan 2006 15:04:05 GMT"
	for _, s := range []string{
		"Mon, 01 Jun 2026 12:01:30 GMT", "Mon, 1 Jun 2026 12:01:30 UTC", "Mon, 01 Jun 2026 12:01:30 +0000",
		"Monday, 01-Jun-26 12:01:30 GMT", "Mon Jun  1 12:01:30 2026", "Tue, 31 Feb 2026 12:01:60 GMT",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := HTTP(s, june)
		if ok && (math.IsInf(Unix(got), 0) || math.IsNaN(Unix(got))) {
			t.Fatalf("HTTP(%q) = %v", s, got)
		}
		for _, layout := range []string{gmt, time.ANSIC} {
			// A layout forgives spaces and fractions that are not in it.
			want, err := time.Parse(layout, s)
			if err != nil || want.Format(layout) != s {
				continue
			}
			if !ok || !got.Equal(want) {
				t.Fatalf("HTTP(%q) = %v, %v, time.Parse = %v", s, got, ok, want)
			}
		}
	})
}

// A date without a year is the next of its kind, or was there just now, whatever the date where
// the machine stands.
func TestDateWithoutAYear(t *testing.T) {
	for _, c := range []struct{ now, text, want string }{
		{"2026-06-01T12:00:00Z", "jun 3, 9am (utc)", "2026-06-03T09:00:00Z"},
		{"2026-06-01T12:00:00Z", "jan 2, 00:00 utc", "2027-01-02T00:00:00Z"},
		{"2026-06-01T12:00:00Z", "may 31, 11pm (utc)", "2026-05-31T23:00:00Z"},
		{"2027-01-01T07:00:00+08:00", "dec 31, 11:30pm (utc)", "2026-12-31T23:30:00Z"},
		{"2027-01-01T00:00:05Z", "dec 31, 11:59pm (utc)", "2026-12-31T23:59:00Z"},
		{"2026-12-31T23:00:00-05:00", "jan 1, 5am (utc)", "2027-01-01T05:00:00Z"},
		{"2026-12-31T20:00:00Z", "jan 1, 5am (utc)", "2027-01-01T05:00:00Z"},
		{"2028-01-05T00:00:00Z", "29 feb, 10:00 z", "2028-02-29T10:00:00Z"},
		{"2027-06-01T00:00:00Z", "29 feb, 10:00 z", "2028-02-29T10:00:00Z"},
	} {
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		at, ok := Moment(c.text, now, 0, true)
		if got := at.Format(time.RFC3339); !ok || got != c.want {
			t.Errorf("%s, read at %s: %s, want %s", c.text, c.now, got, c.want)
		}
	}
}

// A moment in words lies in a year that can be meant, and moves with the clock of its
// zone alone; a time of day lies within a day.
func FuzzMoment(f *testing.F) {
	for _, s := range []string{
		"2026-04-01 at 00:00 utc", "2026-08-03 23:59:59 +0800 cst", "jun 3 at 9am (utc)", "june 2nd, 2026 at 00:00:00.5",
		"2 sept. 2026 4:12 pm", "6月2日 08:00", "2026年6月2日08:00:00", "midnight utc", "12am (gmt+8)", "29 feb 10:00 z", "5.03:23:11",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, ok := Moment(s, june, 0, true)
		if year := at.Year(); ok && (year < -1 || year > 10000) {
			t.Fatalf("Moment(%q) = %v", s, at)
		}
		east, _ := Moment(s, june, 3600, true)
		if d := at.Sub(east); ok && d != 0 && d != time.Hour {
			t.Fatalf("Moment(%q) = %v, %v with another clock", s, at, east)
		}
		if since, ahead, ok := OfDay(s); ok && (since < 0 || since >= 86400+60 || ahead < -15*3600 || ahead > 15*3600) {
			t.Fatalf("OfDay(%q) = %d, %d", s, since, ahead)
		}
		if seconds, ok := Elapsed(s); ok && (seconds < 0 || seconds > 1e14) {
			t.Fatalf("Elapsed(%q) = %v", s, seconds)
		}
	})
}

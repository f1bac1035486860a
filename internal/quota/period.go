package quota

import (
	"sort"
	"time"
	_ "time/tzdata" // where the machine has no table of zones
)

// Calendar is a part of the calendar.
type Calendar uint8

// Parts of the calendar.
const (
	Sliding Calendar = iota // none: any window of a length
	Day
	Month
)

// Period is the time for which a limit counts. It is comparable; of two locations, the same
// one counts as the same.
type Period struct {
	Per      time.Duration // of any window; 0 with a part of the calendar
	Calendar Calendar
	Zone     *time.Location // whose days and months these are
}

// longestShift is by how much clocks are set back: by one hour, or by two in the Antarctic.
const longestShift = 2 * time.Hour

// Longest returns how long the period is, of the calendar's the longest there is.
func (p Period) Longest() time.Duration {
	const day = 24 * time.Hour
	switch p.Calendar {
	case Day:
		return day + longestShift
	case Month:
		return 31*day + longestShift
	}
	return p.Per
}

// same tells whether what was counted in the other period holds for this one.
func (p Period) same(other Period) bool {
	return p.Per == other.Per && p.Calendar == other.Calendar && (p.Calendar == Sliding || p.Zone.String() == other.Zone.String())
}

// number returns a number that is higher in each later day or month.
func (p Period) number(t time.Time) int {
	year, month, day := t.Date()
	if p.Calendar == Month {
		day = 0
	}
	return (year*100+int(month))*100 + day
}

// longestPeriod is longer than any day or month, in seconds: zones have left out whole days.
const longestPeriod = 33 * 24 * 60 * 60

// next returns the beginning of the calendar's next day or month. It looks for the first
// second that has another date, so whatever clocks do around midnight is right.
func (p Period) next(at int64) int64 {
	t := time.Unix(at/int64(time.Second), 0).In(p.Zone)
	now := p.number(t)
	n := sort.Search(longestPeriod, func(i int) bool { return p.number(t.Add(time.Duration(i)*time.Second)) > now })
	return t.Unix()*int64(time.Second) + int64(n)*int64(time.Second)
}

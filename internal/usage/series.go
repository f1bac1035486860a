package usage

import (
	"slices"
	"time"
)

// How far back a series goes, in minutes and in days.
const (
	minutes = 60
	days    = 30
)

// Counts is what was used.
type Counts struct {
	Answers int64 // in all
	Unknown int64 // of them, that do not say what they used
	Tokens  [types]int64
}

// add counts an answer. t may be nil: it does not say.
func (c *Counts) add(t *Tokens) {
	c.Answers++
	if t == nil {
		c.Unknown++
		return
	}
	for i := range t {
		c.Tokens[i] += t.Known(Type(i))
	}
}

// Add adds what other counts.
func (c *Counts) Add(other Counts) {
	c.Answers, c.Unknown = c.Answers+other.Answers, c.Unknown+other.Unknown
	for i, n := range other.Tokens {
		c.Tokens[i] += n
	}
}

// Bucket is what was used in a minute or in a day.
type Bucket struct {
	number int64 // minutes or days since 1970
	Counts
}

// Minute is when the bucket began, if it is a minute, and Day if it is a day.
func (b Bucket) Minute() time.Time { return time.Unix(60*b.number, 0).UTC() }
func (b Bucket) Day() time.Time    { return time.Unix(24*60*60*b.number, 0).UTC() }

// numbers returns which minute and which day it is.
func numbers(now time.Time) (minute, day int64) {
	minute = now.Unix() / 60
	return minute, minute / (24 * 60)
}

// series is what one name has used: as long as there was something, oldest first.
type series struct{ minutes, days []Bucket }

func (s *series) add(minute, day int64, t *Tokens) {
	s.minutes = note(s.minutes, minute, minutes, t)
	s.days = note(s.days, day, days, t)
}

// note counts an answer in the bucket of that number, and drops those that are too old. A
// clock that was set back does not reopen what is past.
func note(all []Bucket, number, most int64, t *Tokens) []Bucket {
	if n := len(all); n == 0 || all[n-1].number < number {
		old := len(all) - len(since(all, number-most+1))
		all = append(slices.Delete(all, 0, old), Bucket{number: number})
	}
	all[len(all)-1].add(t)
	return all
}

// since returns the buckets from that number on.
func since(all []Bucket, number int64) []Bucket {
	i, _ := slices.BinarySearchFunc(all, number, func(b Bucket, n int64) int { return int(b.number - n) })
	return all[i:]
}

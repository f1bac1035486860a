package usage

import (
	"math"
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

	Cost     USD   // of the answers of models that have a price
	Unpriced int64 // answers that say what they used, of models that have none
}

// oneAnswer counts one answer, and what it costs. t may be nil: it does not say.
func oneAnswer(t *Tokens, cost USD) Counts {
	if t == nil {
		return Counts{Answers: 1, Unknown: 1}
	}
	c := Counts{Answers: 1, Cost: max(cost, 0)}
	for i := range t {
		c.Tokens[i] = t.Known(Type(i))
	}
	if cost == NoPrice {
		c.Unpriced = 1
	}
	return c
}

// Add adds what other counts.
func (c *Counts) Add(other Counts) { c.add(&other) }

// add is Add for what need not be copied: each answer is counted in several places.
func (c *Counts) add(other *Counts) {
	c.Answers, c.Unknown, c.Unpriced = c.Answers+other.Answers, c.Unknown+other.Unknown, c.Unpriced+other.Unpriced
	c.Cost = c.Cost.plus(other.Cost)
	for i := range c.Tokens {
		c.Tokens[i] = plus(c.Tokens[i], other.Tokens[i])
	}
}

// plus adds tokens. What would be too much stays the most: an upstream may state any number.
func plus(n, more int64) int64 { return min(n, math.MaxInt64-more) + more }

// All is the number of tokens, of all kinds.
func (c *Counts) All() (n int64) {
	for t := Input; t <= Output; t++ {
		n = plus(n, c.Tokens[t])
	}
	return n
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
	return minute, dayOf(minute)
}

func dayOf(minute int64) int64 { return minute / (24 * 60) }

// series is what one name has used: as long as there was something, oldest first.
type series struct {
	minutes, days       []Bucket
	keptMinute, keptDay Bucket // the last ones that Take has seen, as they were then
}

func (s *series) add(minute int64, c *Counts) {
	bucket(&s.minutes, minute, minutes).add(c)
	bucket(&s.days, dayOf(minute), days).add(c)
}

// bucket returns the bucket of that number, which is the last one, and drops those that are
// too old. A clock that was set back does not reopen what is past.
func bucket(all *[]Bucket, number, most int64) *Counts {
	if n := len(*all); n == 0 || (*all)[n-1].number < number {
		begin(all, number, most)
	}
	return &(*all)[len(*all)-1].Counts
}

func begin(all *[]Bucket, number, most int64) {
	old := len(*all) - len(since(*all, number-most+1))
	*all = append(slices.Delete(*all, 0, old), Bucket{number: number})
}

// since returns the buckets from that number on.
func since(all []Bucket, number int64) []Bucket {
	i, _ := slices.BinarySearchFunc(all, number, func(b Bucket, n int64) int { return int(b.number - n) })
	return all[i:]
}

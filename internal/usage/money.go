package usage

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// USD is an amount of money in nano-USD, 10⁻⁹ USD: whole numbers, so that sums are exact, in
// whatever order they are made. The largest is 9.2 thousand million USD.
type USD int64

// What stands for the cost of an answer that has none.
const (
	NotPriced USD = -1 // nobody has said what models cost
	NoPrice   USD = -2 // nobody has said what this model costs
)

// nano is how many nano-USD are one.
const nano = 1_000_000_000

// plus adds. What would be too much stays the most: an upstream may state any number.
func (u USD) plus(more USD) USD {
	if more > math.MaxInt64-u {
		return math.MaxInt64
	}
	return u + more
}

// String is the amount, 0 or more, in USD: exact, as a decimal that JSON takes for a number.
func (u USD) String() string {
	text := fmt.Sprintf("%d.%09d", u/nano, u%nano)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// Shown is the same, and "" where nobody knows.
func (u USD) Shown() string {
	if u < 0 {
		return ""
	}
	return u.String()
}

// Float is the amount in USD, as near as such a number can be.
func (u USD) Float() float64 { return float64(u) / nano }

// Brief is the amount for people, who look at a column of them: of what is less than 1 USD
// they see hundredths of a cent, else cents. What is more than nothing never looks like it.
func (u USD) Brief() string {
	switch {
	case u == 0:
		return "0"
	case u < nano/10_000:
		return "<0.0001"
	case u < nano-nano/20_000:
		return strconv.FormatFloat(u.Float(), 'f', 4, 64)
	case u < 100_000*nano:
		return strconv.FormatFloat(u.Float(), 'f', 2, 64)
	default:
		return strconv.FormatFloat(u.Float(), 'f', 0, 64)
	}
}

// MarshalJSON implements json.Marshaler: a number of USD.
func (u USD) MarshalJSON() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalJSON implements json.Unmarshaler. What is less than a nano-USD is dropped.
func (u *USD) UnmarshalJSON(text []byte) error {
	whole, rest, _ := strings.Cut(string(text), ".")
	n, err := strconv.ParseInt(whole+(rest + "000000000")[:9], 10, 64)
	if err != nil {
		return errors.New("that is no amount of USD")
	}
	*u = USD(n)
	return nil
}

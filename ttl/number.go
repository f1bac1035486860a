package ttl

import (
	"math"
	"strconv"

	"github.com/keycycler/keycycler/ttl/date"
)

// number reads a whole value as digits, perhaps with a fraction and an
// exponent. strconv.ParseFloat alone would take signs, "inf", "nan", "0x1p4"
// and "1_000" as well, none of which anybody means in a header, and what
// is too large or too small for a float64 is no statement either.
func number(s string) (float64, bool) {
	n := decimalLen(s)
	power, m := exponent(s[n:])
	if n == 0 || n+m != len(s) || s[0] != '0' && float64(date.Digits(s))+power > 309 {
		return 0, false // or surely too large: an error of ParseFloat's would allocate
	}
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil && (v != 0 || s[0] == '0')
}

// decimal reads the digits, perhaps with a fraction, that s begins with, and
// returns their length, 0 where there are none. The value is infinite where it
// exceeds a float64.
func decimal(s string) (value float64, length int) {
	n := decimalLen(s)
	if n == 0 {
		return 0, 0
	}
	v, _ := strconv.ParseFloat(s[:n], 64) // the only possible error comes with an infinite value
	return v, n
}

func decimalLen(s string) int {
	n := date.Digits(s)
	if n == 0 || n == len(s) || s[n] != '.' {
		return n
	}
	if fraction := date.Digits(s[n+1:]); fraction > 0 {
		return n + 1 + fraction
	}
	return n
}

// exponent reads the exponent that s begins with, and returns its length, 0 where there is none.
func exponent(s string) (value float64, length int) {
	if s == "" || s[0]|0x20 != 'e' {
		return 0, 0
	}
	n := 1
	if n < len(s) && (s[n] == '+' || s[n] == '-') {
		n++
	}
	d := date.Digits(s[n:])
	if d == 0 {
		return 0, 0
	}
	if value = date.Whole(s[n : n+d]); s[n-1] == '-' {
		value = -value
	}
	return value, n + d
}

// grouped reads the whole number that s begins with, with or without commas
// between thousands: "30000" and "30,000" are the same, "30000, " is a number
// and a comma. It returns the number's length, 0 where there is none.
func grouped(s string) (value float64, length int) {
	n := date.Digits(s)
	value = date.Whole(s[:n])
	if n == 0 || n > 3 {
		return value, n
	}
	for len(s) > n+3 && s[n] == ',' && date.Digits(s[n+1:min(len(s), n+5)]) == 3 {
		value = value*1000 + date.Whole(s[n+1:n+4])
		n += 4
	}
	return value, n
}

// amount reads the digits that s begins with as decimal does, and with commas
// between thousands.
func amount(s string) (value float64, length int) {
	v, n := grouped(s)
	if n <= date.Digits(s) {
		return decimal(s)
	}
	if n < len(s) && s[n] == '.' {
		if fraction := date.Digits(s[n+1:]); fraction > 0 {
			f, _ := strconv.ParseFloat(s[n:n+1+fraction], 64) // ".5": cannot fail
			return v + f, n + 1 + fraction
		}
	}
	return v, n
}

func finite(v float64) bool { return !math.IsInf(v, 0) && !math.IsNaN(v) }

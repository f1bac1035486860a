package date

import "unicode"

// Digits returns how many ASCII digits s begins with.
func Digits(s string) int {
	n := 0
	for n < len(s) && IsDigit(s[n]) {
		n++
	}
	return n
}

// IsDigit tells whether c is an ASCII digit.
func IsDigit(c byte) bool { return '0' <= c && c <= '9' }

// Letters returns how many bytes of ASCII letters and of characters beyond ASCII s begins
// with.
func Letters(s string) int {
	n := 0
	for n < len(s) && ('a' <= s[n]|0x20 && s[n]|0x20 <= 'z' || s[n] >= 0x80) {
		n++
	}
	return n
}

// spaceless is where the scripts begin that have no spaces between words, and their signs.
const spaceless = '\u0e00'

// Word returns how many bytes of a word s begins with. Chinese right behind it ends it, and so
// does each sign.
func Word(s string) int {
	for i, r := range s {
		if r >= spaceless || !unicode.IsLetter(r) {
			return i
		}
	}
	return len(s)
}

// Whole returns the value of a string of digits.
func Whole(s string) float64 {
	value := 0.0
	for i := range len(s) {
		value = value*10 + float64(s[i]-'0')
	}
	return value
}

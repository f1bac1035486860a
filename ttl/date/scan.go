package date

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

// Letters returns how many bytes of ASCII letters and micro signs s begins
// with.
func Letters(s string) int {
	n := 0
	for n < len(s) && ('a' <= s[n]|0x20 && s[n]|0x20 <= 'z' || s[n] >= 0x80) {
		n++
	}
	return n
}

// Whole returns the value of a string of digits.
func Whole(s string) float64 {
	value := 0.0
	for i := range len(s) {
		value = value*10 + float64(s[i]-'0')
	}
	return value
}

package directive

import "testing"

func TestCount(t *testing.T) {
	for _, row := range []struct {
		text string
		want int64
		ok   bool
	}{
		{"90000", 90_000, true}, {"90k", 90_000, true}, {"2m", 2_000_000, true}, {"0", 0, true},
		{"", 0, false}, {"k", 0, false}, {"90kk", 0, false}, {"9mk", 0, false}, {"1.5k", 0, false}, {"-3", 0, false}, {"-3k", 0, false},
		{"many", 0, false}, {"9223372036854775807", 9223372036854775807, true}, {"9223372036854775807k", 0, false}, {"99999999999999999999", 0, false}, {"90 k", 0, false},
	} {
		if n, ok := Count(row.text); n != row.want || ok != row.ok {
			t.Errorf("%q: %d, %t", row.text, n, ok)
		}
	}
}

func TestNumber(t *testing.T) {
	for text, want := range map[string]float64{"90000": 90_000, "90k": 90_000, "90K": 90_000, "1.5m": 1_500_000, "1.1k": 1100, "0.5": 0.5, "0": 0} {
		if n, ok := Number(text); n != want || !ok {
			t.Errorf("%q: %v, %t", text, n, ok)
		}
	}
	for _, text := range []string{"", "k", "90kk", "-3", "1e3", "many", "1.2.3", "90 k", "NaN", "Inf"} {
		if n, ok := Number(text); ok {
			t.Errorf("%q is %v", text, n)
		}
	}
}

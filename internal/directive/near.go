package directive

import (
	"maps"
	"slices"
	"strings"
)

// Instead says what to write in the place of a word that is none of the names: the one that
// it is like, or else what all says.
func Instead(text string, names []string, all string) string {
	if near := Near(text, names); near != "" {
		return "did you mean '" + near + "'?"
	}
	return all
}

// Known is Instead for the keys of a map, all of which it tells where none is near.
func Known[V any](text string, m map[string]V) string {
	return Instead(text, slices.Sorted(maps.Keys(m)), "one of "+Names(m))
}

// Near returns the name that whoever wrote the text has probably meant: the first of those
// with the fewest slips, of which there may be one in three letters. It returns "" where
// none is like that. What is near to a name of ours is no secret.
func Near(text string, names []string) (near string) {
	text = strings.ToLower(text)
	most := max(len(text)/3, 1)
	for _, name := range names {
		if len(name)-len(text) > most || len(text)-len(name) > most {
			continue
		}
		if n := slips(text, name); n <= most {
			near, most = name, n-1
		}
	}
	return near
}

// slips counts the letters that are one too many, missing, wrong, or swapped with the next
// one, where b was meant and a was written.
func slips(a, b string) int {
	counts := make([][]int, len(a)+1)
	for i := range counts {
		counts[i] = make([]int, len(b)+1)
		for j := range counts[i] {
			counts[i][j] = slipsTo(counts, a, b, i, j)
		}
	}
	return counts[len(a)][len(b)]
}

// slipsTo counts those of the first i and j letters, from the counts of fewer.
func slipsTo(counts [][]int, a, b string, i, j int) int {
	if i == 0 || j == 0 {
		return i + j
	}
	wrong := counts[i-1][j-1]
	if a[i-1] != b[j-1] {
		wrong++
	}
	least := min(wrong, counts[i-1][j]+1, counts[i][j-1]+1)
	if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
		least = min(least, counts[i-2][j-2]+1)
	}
	return least
}

// perUnits are durations by what people write behind a slash.
var perUnits = map[string]string{
	"s": "1s", "sec": "1s", "second": "1s", "m": "1m", "min": "1m", "minute": "1m", "h": "1h", "hour": "1h", "d": "1d", "day": "1d",
}

// AsRate says what to write for a rate such as 500/min: a number, and a duration behind it.
// It returns "" for what is no such rate.
func AsRate(text string) string {
	n, unit, ok := strings.Cut(text, "/")
	per, known := perUnits[strings.ToLower(unit)]
	if _, isNumber := Count(n); !ok || !known || !isNumber {
		return ""
	}
	return ": did you mean '" + n + " " + per + "'?"
}

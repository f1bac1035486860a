package ttl

import (
	"cmp"
	"slices"
	"strings"
)

// Ahead returns how long it takes until the key has an allowance again, where
// the headers of a success (2xx) say that nothing of it is left: the key's next
// request would be rejected. Of several limits that are used up the one that
// lasts longest counts. seconds is as stated: finite, at least 0, and not to be
// raised to a minimum, since the time passes anyway; source is the header's
// name in lower case. ok is false where something is left, or nothing stated.
//
// It costs next to nothing on an answer that states no such thing.
func (d *Dialect) Ahead(r Response) (seconds float64, source string, ok bool) {
	if _, spent := d.Speaks(r.Status, r.Header); !spent {
		return 0, "", false
	}
	a := answer{header: r.Header, lengths: lengthsOf(r.Header), now: r.Now, body: &noBody}
	latest := stated{}
	for i := range d.ahead {
		if s, found := d.ahead[i].read(a, &d.ahead[i]); found && (!ok || s.seconds > latest.seconds) {
			latest, ok = s, true
		}
	}
	return latest.seconds, latest.source, ok
}

// mayBeSpent tells of a sign's value that it may say that nothing is left. The commonest
// do not: "9999", "allowed", and `"api";r=999;t=295`.
func mayBeSpent(value string) bool {
	switch {
	case value == "":
		return false
	case value[0] == '"':
		return strings.Contains(value, "=0")
	default:
		return (value[0] == '0' || decimalLen(value) != len(value)) && value != "allowed"
	}
}

// signs are the headers that tell whether a limit is used up.
type signs struct {
	keys    []string
	lengths uint64 // of them, as a set: most headers are known by theirs to be none
}

// signsOf returns those of the rows.
func signsOf(rows []wait) (s signs) {
	for _, row := range rows {
		if row.field.key != "" {
			s.add(row.field.key)
		}
		for _, w := range row.windows {
			s.add(cmp.Or(w.status.key, w.used.key, w.remaining.key))
		}
	}
	return s
}

func (s *signs) add(key string) { s.keys, s.lengths = append(s.keys, key), s.lengths|1<<(len(key)%64) }

func (s *signs) have(key string) bool {
	return s.lengths&(1<<(len(key)%64)) != 0 && slices.Contains(s.keys, key)
}

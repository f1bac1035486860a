package status

import (
	"strconv"
	"strings"
	"time"
)

// days is how many hours are shown as days from there on.
const days = 72

// duration says how long that is, to the second and, beyond ten hours, to the hour,
// rounded up: what remains is never shown as nothing.
func duration(d time.Duration) string {
	seconds := int64((d + time.Second - 1) / time.Second)
	minutes, hours := seconds/60, seconds/3600
	switch {
	case minutes == 0:
		return count(seconds) + " s"
	case hours == 0:
		return join(minutes, "min", seconds%60, "s")
	case hours < 10:
		return join(hours, "h", minutes%60, "min")
	case hours < days:
		return count(up(seconds, 3600)) + " h"
	default:
		return count(up(seconds, 24*3600)) + " d"
	}
}

// up divides and rounds up.
func up(n, by int64) int64 { return (n + by - 1) / by }

// join says a duration in two units, or in one if there is nothing of the smaller.
func join(large int64, unit string, small int64, smallUnit string) string {
	text := count(large) + " " + unit
	if small > 0 {
		text += " " + count(small) + " " + smallUnit
	}
	return text
}

// short says how long that is where it is no matter of seconds.
func short(d time.Duration) string {
	if d < time.Second {
		return strconv.FormatInt(max(1, d.Milliseconds()), 10) + " ms"
	}
	return duration(d.Truncate(time.Second))
}

// ago says how long ago the instant was.
func ago(now, then time.Time) string {
	switch d := now.Sub(then).Truncate(time.Second); {
	case then.IsZero():
		return "never"
	case d <= 0:
		return "just now"
	case d >= time.Minute && d < time.Hour:
		return duration(d.Truncate(time.Minute)) + " ago" // what is past need not be told to the second
	default:
		return duration(d) + " ago"
	}
}

// count writes the number, which is at least 0, with commas: 10,000.
func count[T int | int64 | uint64](n T) string {
	text := strconv.FormatUint(uint64(max(n, 0)), 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// plural is "1 key", "2 keys".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}

// share says how many percent of the whole that is. Only none is 0, and only all is
// 100: one key of 10,000 shows.
func share(part, whole int) string {
	if part <= 0 || whole <= 0 {
		return "0 %"
	}
	switch tenths := (part*2000 + whole) / (2 * whole); {
	case tenths == 0:
		return "<0.1 %"
	case tenths == 1000 && part < whole:
		return ">99.9 %"
	default:
		return strings.TrimSuffix(strconv.FormatFloat(float64(tenths)/10, 'f', 1, 64), ".0") + " %"
	}
}

// backend says how a pool's state fares.
func backend(p *Pool) string {
	name := p.Backend
	switch name {
	case "memory":
		return "State in memory, of this node alone"
	case "redis":
		name = "Redis"
	case "file":
		name = "The state file"
	}
	if !p.Healthy {
		return away(name, p)
	}
	text := name + " is healthy"
	if p.Lag > 0 {
		text += ", " + short(p.Lag) + " behind other nodes"
	}
	if p.Queue > 0 {
		text += ", " + plural(p.Queue, "change") + " to be written"
	}
	return text
}

// away says so, and what becomes of the changes in the meantime.
func away(name string, p *Pool) string {
	text := name + " is away"
	if p.Backend == "file" {
		text = name + " cannot be written"
	}
	if p.Err != "" {
		text += ": " + strings.TrimSuffix(p.Err, ".")
	}
	text += ". This node goes on with what it knows"
	if p.Queue > 0 {
		text += "; " + plural(p.Queue, "change") + " to be written"
	}
	return text + "."
}

// noneReady says why the pool has no ready key, and when that will be over.
func noneReady(p *Pool) string {
	switch {
	case p.Keys == 0:
		return "has no keys."
	case p.Soonest > 0:
		return "has no ready key. The first is back in " + duration(p.Soonest) + "."
	case p.Disabled == p.Keys:
		return "has no ready key: all are disabled."
	default:
		return "has no ready key."
	}
}

// noneFor says for which models the pool has no ready key, and when that will be over for
// the first.
func noneFor(models []Model) string {
	text, first := "has no ready key for "+models[0].Name, models[0].Back
	for _, m := range models[1:] {
		first = min(first, m.Back)
	}
	if more := len(models) - 1; more > 0 {
		text += " and " + plural(more, "more model")
	}
	if first > 0 {
		text += ". The first is back in " + duration(first)
	}
	return text + "."
}

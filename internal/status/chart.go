package status

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// The charts are SVG that is stretched to where it stands, in units of its own.
const (
	barWidth = 1000 // of the bar of states
	minWidth = 8    // of its parts: one key of 10,000 shows

	hour        = 60   // minutes
	step        = 10   // from minute to minute
	chartHeight = 1000 // of the busiest minute
	minHeight   = 25   // of what there is at all
)

// part is a piece of the bar of states.
type part struct {
	State    string
	Count    string
	Share    string
	X, Width int
}

// bar divides the pool's keys by state.
func bar(p *Pool) []part {
	parts := make([]part, len(states))
	x := 0
	for i, n := range []int{p.Ready, p.Cooling, p.Disabled} {
		width := 0
		if n > 0 && p.Keys > 0 {
			width = max(n*barWidth/p.Keys, minWidth)
		}
		parts[i] = part{states[i], count(n), share(n, p.Keys), x, width}
		x += width
	}
	// What rounding and small parts have made too much or too little, the widest bears.
	widest := slices.IndexFunc(parts, func(p part) bool { return p.Width == slices.MaxFunc(parts, byWidth).Width })
	if x > 0 {
		parts[widest].Width += barWidth - x
		for i := widest + 1; i < len(parts); i++ {
			parts[i].X += barWidth - x
		}
	}
	return parts
}

func byWidth(a, b part) int { return cmp.Compare(a.Width, b.Width) }

// timeline is what the last hour has rejected, and what it has served. Each has a scale
// of its own: a few rejections show beside very many that were served.
type timeline struct {
	Label  string // the whole, in words
	Peak   string // of the minute that rejected most
	Bars   []stack
	Legend []legend

	Served     string // how many, in words; "": none
	ServedPeak string // of the minute that served most
	ServedBars []minuteBar
}

// minuteBar is what one minute has served.
type minuteBar struct {
	X, Y, Height int
	Title        string
}

// stack is one minute that had rejections.
type stack struct {
	X     int
	Title string
	Parts []piece
}

// piece is what one class has of a minute.
type piece struct {
	Tone      string
	Y, Height int
}

// legend is a class, and how many it had in the hour.
type legend struct {
	Tone, Class, Count string
	n                  int
}

// tones are the classes that have a colour of their own. The others share one.
var tones = []string{"rate_limited", "quota_exhausted", "invalid_key", "overloaded", "request_too_large", "operator"}

func tone(class string) string {
	if slices.Contains(tones, class) {
		return class
	}
	return "other"
}

// newTimeline draws the minutes, which end now.
func newTimeline(minutes []Minute) timeline {
	minutes = minutes[max(0, len(minutes)-hour):]
	totals := make(map[string]int)
	peak, sum := 0, 0
	for _, m := range minutes {
		n := 0
		for class, rejections := range m.Rejections {
			totals[class] += rejections
			n += rejections
		}
		peak, sum = max(peak, n), sum+n
	}
	t := timeline{Legend: legendOf(totals), Peak: plural(peak, "rejection")}
	t.serve(minutes)
	t.Label = "Rejections of the last hour: " + t.words(sum)
	for i, m := range minutes {
		if s := t.stack(hour-len(minutes)+i, m, peak); len(s.Parts) > 0 {
			t.Bars = append(t.Bars, s)
		}
	}
	return t
}

// serve draws what the minutes have served.
func (t *timeline) serve(minutes []Minute) {
	peak, sum := 0, 0
	for _, m := range minutes {
		peak, sum = max(peak, m.Served), sum+m.Served
	}
	if sum == 0 {
		return
	}
	t.Served, t.ServedPeak = count(sum)+" served in the last hour", count(peak)
	for i, m := range minutes {
		if m.Served > 0 {
			at := hour - len(minutes) + i
			height := max(m.Served*chartHeight/peak, minHeight)
			t.ServedBars = append(t.ServedBars, minuteBar{at * step, chartHeight - height, height, minuteName(hour-1-at) + ": " + count(m.Served) + " served"})
		}
	}
}

// Quiet tells whether none was rejected.
func (t *timeline) Quiet() bool { return len(t.Legend) == 0 }

func (t *timeline) words(sum int) string {
	if t.Quiet() {
		return "none"
	}
	text := make([]string, len(t.Legend))
	for i, l := range t.Legend {
		text[i] = l.Count + " " + l.Class
	}
	return count(sum) + ", of them " + strings.Join(text, ", ")
}

// legendOf orders the classes that there are: the most frequent come first, and are
// drawn lowest.
func legendOf(totals map[string]int) []legend {
	var all []legend
	for _, class := range slices.Sorted(maps.Keys(totals)) {
		if n := totals[class]; n > 0 {
			all = append(all, legend{tone(class), class, count(n), n})
		}
	}
	slices.SortStableFunc(all, func(a, b legend) int { return cmp.Compare(b.n, a.n) })
	return all
}

// stack draws the i-th of 60 minutes.
func (t *timeline) stack(i int, m Minute, peak int) stack {
	s := stack{X: i * step}
	var words []string
	y := chartHeight
	for _, l := range t.Legend {
		n := m.Rejections[l.Class]
		if n <= 0 {
			continue
		}
		height := min(y, max(n*chartHeight/peak, minHeight))
		y -= height
		s.Parts = append(s.Parts, piece{l.Tone, y, height})
		words = append(words, count(n)+" "+l.Class)
	}
	s.Title = minuteName(hour-1-i) + ": " + strings.Join(words, ", ")
	s.Title += "; " + count(m.Served) + " served"
	return s
}

// minuteName is said relatively: operators, nodes and browsers have clocks and zones
// of their own.
func minuteName(ago int) string {
	if ago == 0 {
		return "This minute"
	}
	return duration(time.Duration(ago)*time.Minute) + " ago"
}

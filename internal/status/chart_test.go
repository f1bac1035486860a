package status

import (
	"slices"
	"testing"
	"time"
)

func TestBar(t *testing.T) {
	for _, test := range []struct {
		name   string
		pool   Pool
		widths [3]int // ready, cooling, disabled
	}{
		{"no keys", Pool{}, [3]int{}},
		{"all ready", Pool{Keys: 3, Ready: 3}, [3]int{1000, 0, 0}},
		{"a third each", Pool{Keys: 3, Ready: 1, Cooling: 1, Disabled: 1}, [3]int{334, 333, 333}},
		{"one of very many shows", Pool{Keys: 10_000, Ready: 9_999, Disabled: 1}, [3]int{992, 0, 8}},
		{"a few at both sides", Pool{Keys: 10_000, Ready: 1, Cooling: 9_998, Disabled: 1}, [3]int{8, 984, 8}},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := 0
			for i, p := range bar(&test.pool) {
				if p.Width != test.widths[i] || p.Width > 0 && p.X != x {
					t.Errorf("%s is %d wide at %d, want %d at %d", p.State, p.Width, p.X, test.widths[i], x)
				}
				x += p.Width
			}
		})
	}
}

func TestTimeline(t *testing.T) {
	minutes := make([]Minute, 70) // ten too many
	minutes[5].Rejections = map[string]int{"rate_limited": 1000}
	minutes[10] = Minute{Rejections: map[string]int{"rate_limited": 1, "novel": 3}, Served: 9}
	minutes[68].Rejections = map[string]int{"rate_limited": 0}
	minutes[40].Served = 1
	minutes[69] = Minute{Rejections: map[string]int{"rate_limited": 8}, Served: 1000}
	line := newTimeline(minutes)
	if line.Label != "Rejections of the last hour: 12, of them 9 rate_limited, 3 novel" || line.Peak != "8 rejections" || line.Quiet() {
		t.Errorf("label %q, peak %q", line.Label, line.Peak)
	}
	if len(line.Bars) != 2 || len(line.Legend) != 2 || line.Legend[1].Tone != "other" {
		t.Fatalf("bars %+v, legend %+v", line.Bars, line.Legend)
	}
	first, last := line.Bars[0], line.Bars[1]
	if first.X != 0 || first.Title != "59 min ago: 1 rate_limited, 3 novel; 9 served" || first.Parts[0] != (piece{"rate_limited", 875, 125}) || first.Parts[1] != (piece{"other", 500, 375}) {
		t.Errorf("first %+v", first)
	}
	if last.X != 590 || last.Title != "This minute: 8 rate_limited; 1,000 served" || last.Parts[0] != (piece{"rate_limited", 0, 1000}) {
		t.Errorf("last %+v", last)
	}
	want := []minuteBar{
		{0, 975, 25, "59 min ago: 9 served"}, // less would not be seen
		{300, 975, 25, "29 min ago: 1 served"},
		{590, 0, 1000, "This minute: 1,000 served"},
	}
	if line.Served != "1,010 served in the last hour" || line.ServedPeak != "1,000" || !slices.Equal(line.ServedBars, want) {
		t.Errorf("%q, at most %s, %+v", line.Served, line.ServedPeak, line.ServedBars)
	}
}

// A node that has just started knows fewer minutes: they end now all the same.
func TestTimelineOfAFewMinutes(t *testing.T) {
	line := newTimeline([]Minute{{Start: time.Unix(0, 0), Rejections: map[string]int{"operator": 1}}, {}})
	if line.Bars[0].X != 580 || line.Bars[0].Title != "1 min ago: 1 operator; 0 served" {
		t.Errorf("bars %+v", line.Bars)
	}
	if line = newTimeline(nil); !line.Quiet() || line.Served != "" || line.Label != "Rejections of the last hour: none" {
		t.Errorf("label %q of no minutes", line.Label)
	}
}

// What is too little to be seen is drawn all the same, and nothing above the top.
func TestTimelineIsWithinItsHeight(t *testing.T) {
	counts := map[string]int{"rate_limited": 100_000}
	for _, class := range tones[1:] {
		counts[class] = 1
	}
	for _, p := range newTimeline([]Minute{{Rejections: counts}}).Bars[0].Parts {
		if p.Y < 0 || p.Height < 0 || p.Y+p.Height > chartHeight {
			t.Errorf("%+v", p)
		}
	}
}

package quota

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// spent is something that was counted.
type spent struct{ at, n int64 }

// A window counts each part until its last instant has left it: never less than what is in
// the window, and nothing that left it more than a part ago.
func TestWindow(t *testing.T) {
	testWindow(t, 64*time.Second)
	testWindow(t, time.Second+7) // of no whole parts
}

func testWindow(t *testing.T, per time.Duration) {
	width := (int64(per) + windowParts - 1) / windowParts
	r := rand.New(rand.NewPCG(1, 2))
	w, now, all := newWindow(per), int64(1_700_000_000e9), []spent{}
	for range 20_000 {
		now += r.Int64N(int64(per) / int64(1+r.IntN(100)))
		if r.IntN(3) > 0 {
			s := spent{now, r.Int64N(1000)}
			w.add(s.at, s.n)
			all = append(all, s)
		}
		if len(all) > 500 {
			all = all[250:]
		}
		least, most := int64(0), int64(0)
		for _, s := range all {
			if s.at > now-int64(per) {
				least += s.n
			}
			if s.at > now-int64(per)-width {
				most += s.n
			}
		}
		if got := w.used(now); got < least || got > most {
			t.Fatalf("%d are counted, of %d to %d", got, least, most)
		}
		checkRoom(t, w, now)
	}
}

// checkRoom compares when the window says that there is room with when there is.
func checkRoom(t *testing.T, w *window, now int64) {
	t.Helper()
	used := w.used(now)
	if got := w.from(now, used+1); got != never {
		t.Fatalf("more than all has left at %d", got)
	}
	if used == 0 {
		if got := w.clear(now); got > now {
			t.Fatalf("an empty window is clear at %d, now is %d", got, now)
		}
		return
	}
	for _, n := range []int64{1, (used + 1) / 2, used} {
		at := w.from(now, n)
		before, after := *w, *w
		if left := after.used(at); left > used-n {
			t.Fatalf("%d of %d are to have left, and %d are counted", n, used, left)
		}
		if left := before.used(at - 1); left <= used-n {
			t.Fatalf("%d of %d have left before", n, used)
		}
	}
	end := *w
	if at := w.clear(now); end.used(at) != 0 || end.used(at-1) < 0 {
		t.Fatal("it is not clear when it says")
	}
}

// What is given back is as if it had never been; what has left or was never there changes
// nothing.
func TestWindowRemoves(t *testing.T) {
	const per, start = 32 * time.Second, int64(1_000_000e9)
	w := newWindow(per)
	w.add(start, 5)
	w.add(start+3e9, 7)
	w.remove(start, 2)
	if got := w.used(start + 3e9); got != 10 {
		t.Errorf("%d are left, want 10", got)
	}
	w.remove(start, 9)
	w.remove(start+1e9, 9)
	w.remove(start-100e9, 9)
	w.remove(start+100e9, 9)
	if got := w.used(start + 3e9); got != 7 {
		t.Errorf("%d are left, want 7", got)
	}
	if got := w.used(start + 1000e9); got != 0 {
		t.Errorf("%d are left in the end", got)
	}
	w.remove(start, 1)
	if w.total != 0 {
		t.Errorf("%d are counted of nothing", w.total)
	}
}

// A window of another length counts what was counted, as late as it can have been.
func TestWindowLearns(t *testing.T) {
	const start = int64(1_000_000e9)
	old := newWindow(time.Minute)
	for i := range int64(50) {
		old.add(start+i*1e9, 1)
	}
	for _, per := range []time.Duration{time.Second, 10 * time.Second, time.Hour, 24 * time.Hour} {
		w := newWindow(per)
		w.learn(old)
		least := min(int64(per)/1e9, 50)
		if got := w.used(start + 50e9); got < least || got > 50 {
			t.Errorf("%s: %d are counted, want %d to 50", per, got, least)
		}
		if got := w.used(start + 50e9 + 2*int64(per) + int64(time.Minute)); got != 0 {
			t.Errorf("%s: %d are counted for ever", per, got)
		}
	}
}

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// A day and a month end when the calendar says so, whatever clocks do.
func TestCalendar(t *testing.T) {
	for _, row := range []struct {
		what     string
		calendar Calendar
		zone     string
		at, want string
	}{
		{"a day", Day, "UTC", "2026-11-28T12:00:00Z", "2026-11-29T00:00:00Z"},
		{"its last instant", Day, "UTC", "2026-11-28T23:59:59.999999999Z", "2026-11-29T00:00:00Z"},
		{"its first", Day, "UTC", "2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z"},
		{"a zone east of UTC", Day, "Asia/Kolkata", "2026-11-28T18:29:59Z", "2026-11-28T18:30:00Z"},
		{"clocks are set forward: 23 hours", Day, "Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		{"clocks are set back: 25 hours", Day, "Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{"in the hour that comes twice, the first time", Day, "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T23:00:00Z"},
		{"and the second time", Day, "Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T23:00:00Z"},
		{"midnight is left out: the day begins at one", Day, "Africa/Cairo", "2026-04-23T12:00:00Z", "2026-04-23T22:00:00Z"},
		{"and ends at midnight", Day, "Africa/Cairo", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"},
		{"midnight comes twice: the first counts", Day, "America/Havana", "2026-11-01T03:59:59Z", "2026-11-01T04:00:00Z"},
		{"and the second does not", Day, "America/Havana", "2026-11-01T04:30:00Z", "2026-11-02T05:00:00Z"},
		{"a day that was left out", Day, "Pacific/Apia", "2011-12-30T09:00:00Z", "2011-12-30T10:00:00Z"},
		{"the day after a leap day's eve", Day, "UTC", "2028-02-28T10:00:00Z", "2028-02-29T00:00:00Z"},
		{"a month", Month, "UTC", "2026-11-28T12:00:00Z", "2026-12-01T00:00:00Z"},
		{"of 31 days, from its first instant", Month, "UTC", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"its last instant", Month, "UTC", "2026-12-31T23:59:59.999999999Z", "2027-01-01T00:00:00Z"},
		{"of 28 days", Month, "UTC", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"},
		{"of 29 days", Month, "UTC", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"},
		{"with a change of clocks in it", Month, "Europe/Berlin", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"},
		{"a zone west of UTC", Month, "America/Los_Angeles", "2026-12-01T07:59:59Z", "2026-12-01T08:00:00Z"},
	} {
		at, err := time.Parse(time.RFC3339Nano, row.at)
		if err != nil {
			t.Fatal(err)
		}
		got := time.Unix(0, Period{Calendar: row.calendar, Zone: zone(t, row.zone)}.next(at.UnixNano())).UTC().Format(time.RFC3339Nano)
		if got != row.want {
			t.Errorf("%s: %s ends %s, want %s", row.what, row.at, got, row.want)
		}
	}
}

// Through four years of each zone, days and months follow each other without a gap, and none
// is longer than is said.
func TestCalendarsHaveNoGaps(t *testing.T) {
	for _, name := range []string{"UTC", "Europe/Berlin", "America/Sao_Paulo", "Africa/Cairo", "Asia/Beirut", "Australia/Lord_Howe", "America/Havana", "Antarctica/Troll"} {
		for _, c := range []Calendar{Day, Month} {
			p := Period{Calendar: c, Zone: zone(t, name)}
			at := time.Date(2024, 1, 1, 0, 0, 0, 0, p.Zone).UnixNano()
			for periods := 0; periods < 48; periods++ {
				next := p.next(at)
				begun, last := time.Unix(0, at).In(p.Zone), time.Unix(0, next-1).In(p.Zone)
				if length := time.Duration(next - at); length > p.Longest() || p.number(begun) != p.number(last) {
					t.Fatalf("%s: %s to %s, %s", name, begun, last, length)
				}
				at = next
			}
		}
	}
}

func TestDated(t *testing.T) {
	p := Period{Calendar: Day, Zone: time.UTC}
	d := newCounter(p)
	at := time.Date(2026, 11, 28, 23, 0, 0, 0, time.UTC).UnixNano()
	midnight := at + int64(time.Hour)
	if got := d.clear(at); got != at {
		t.Errorf("a new one is clear at %d", got)
	}
	d.add(at, 3)
	for _, row := range []struct{ what, got, want any }{
		{"what is counted", d.used(midnight - 1), int64(3)},
		{"when some has left", d.from(at, 1), midnight},
		{"when all has", d.from(at, 3), midnight},
		{"when more has", d.from(at, 4), never},
		{"when it is clear", d.clear(at), midnight},
		{"what is counted the next day", d.used(midnight), int64(0)},
	} {
		if row.got != row.want {
			t.Errorf("%s: %v, want %v", row.what, row.got, row.want)
		}
	}
}

// What is brought back may be anything that a file says: it counts as more than any limit, and
// leaves nothing behind.
func TestBringsBackAnything(t *testing.T) {
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC).UnixNano()
	for _, p := range []Period{{Per: time.Hour}, {Calendar: Day, Zone: time.UTC}} {
		c, left := newCounter(p), int64(0)
		for i := range int64(2 * windowParts) {
			c.bringBack(at, math.MaxInt64, int64(time.Hour)-i*int64(time.Minute)/2)
			if used := c.used(at); used < 1e17 || used+1e17 < used {
				t.Fatalf("%+v: %d are used", p, used)
			}
		}
		c.tail(at, func(n, _ int64) { left += n })
		if used := c.used(at); left != used {
			t.Errorf("%+v: %d are told, of %d", p, left, used)
		}
		if used := c.used(at + int64(p.Longest()) + int64(time.Hour)); used != 0 {
			t.Errorf("%+v: %d are left in the end", p, used)
		}
	}
}

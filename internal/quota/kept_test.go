package quota

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/disk"
)

// life is a process whose clients' use is kept in a file.
type life struct {
	*testing.T
	book *Book
	plan *Plan
	path string
	file *disk.Journal
}

func begin(t *testing.T, path string, p *Plan) *life {
	t.Helper()
	file, err := disk.Open(disk.Options{Path: path, State: rotator.NewState(time.Now())})
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Begin(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return &life{t, newBook(10), p.Kept("main", file), path, file}
}

// kill returns the file that a process leaves which is killed a second after it has last counted
// something.
func (l *life) kill() (path string) {
	l.Helper()
	time.Sleep(time.Second)
	text, err := os.ReadFile(l.path)
	if err != nil {
		l.Fatal(err)
	}
	if err := l.file.Close(); err != nil {
		l.Error(err)
	}
	path = filepath.Join(l.TempDir(), "keys.state")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		l.Fatal(err)
	}
	return path
}

// ask sends a request that uses so much, if it may, and tells what the client is told then.
func (l *life) ask(client string, n Need) (over Over, told map[string][]string) {
	l.Helper()
	at := time.Now().UnixNano()
	s, over := enters(l.T, l.book, l.plan, client, at, Need{})
	told = make(map[string][]string)
	if over.Kind == None {
		served(s, at, n)
	}
	s.Tell(at, told)
	return over, told
}

// What clients have used of their limits outlives processes that are killed: each tells what one
// process would that has been there all the time, and refuses the same for as long.
func TestUseOutlivesTheProcess(t *testing.T) {
	zone := time.FixedZone("UTC+1", 3600)
	plan := planOf(
		sliding(Requests, 100, time.Minute), sliding(Tokens, 2000, time.Hour), sliding(TokenBudget, 9_000, 20*time.Hour),
		Limit{TokenBudget, 40_000, Period{Calendar: Day, Zone: zone}}, Limit{USDBudget, 9e18, Period{Calendar: Month, Zone: time.UTC}},
	)
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 3))
				whole := &life{T: t, book: newBook(10), plan: plan}
				l := begin(t, filepath.Join(t.TempDir(), "keys.state"), plan)
				refused := 0
				for step := range 200 {
					client := []string{"ada", "grace"}[r.IntN(2)]
					need := Need{r.Int64N(200), r.Int64N(1e17)}
					want, wantTold := whole.ask(client, need)
					got, gotTold := l.ask(client, need)
					if want.News, got.News = false, false; got != want || fmt.Sprint(gotTold) != fmt.Sprint(wantTold) {
						t.Fatalf("step %d: %+v %v, want %+v %v", step, got, gotTold, want, wantTold)
					}
					if got.Kind != None {
						refused++
					}
					if r.IntN(8) == 0 {
						path := l.kill()
						time.Sleep(time.Duration(r.Int64N(int64(time.Hour))))
						l = begin(t, path, plan)
					}
					time.Sleep(time.Duration(r.Int64N(int64(2 * time.Minute))))
				}
				if refused == 0 {
					t.Error("nothing was ever refused")
				}
			})
		})
	}
}

// A budget of which 80 % was used has 20 % left after a restart, until the month is over.
func TestBudgetAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plan := planOf(Limit{TokenBudget, 1000, Period{Calendar: Month, Zone: time.UTC}})
		l := begin(t, filepath.Join(t.TempDir(), "keys.state"), plan)
		l.ask("ada", Need{800, 0})
		l = begin(t, l.kill(), plan)
		if over, _ := l.ask("ada", Need{200, 0}); over.Kind != None {
			t.Errorf("the rest of it meets %+v", over)
		}
		over, _ := l.ask("ada", Need{1, 0})
		now := time.Now().UTC()
		if want := time.Until(time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)); over.Kind != TokenBudget || time.Duration(over.Wait) != want {
			t.Errorf("more meets %+v, want one for %s", over, want)
		}
		if over, _ := l.ask("grace", Need{1, 0}); over.Kind != None {
			t.Errorf("another client meets %+v", over)
		}
		path := l.kill()
		time.Sleep(time.Duration(over.Wait))
		if over, _ := begin(t, path, plan).ask("ada", Need{1, 0}); over.Kind != None {
			t.Errorf("in the next month a request meets %+v", over)
		}
	})
}

// A reload in which a limit stays, goes, comes back or changes doubles nothing.
func TestKeptUseAfterAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		month := planOf(Limit{TokenBudget, 1000, Period{Calendar: Month, Zone: time.UTC}})
		l := begin(t, filepath.Join(t.TempDir(), "keys.state"), month)
		l.ask("ada", Need{600, 0})
		l = begin(t, l.kill(), month)
		l.ask("ada", Need{100, 0})
		left := func(when string, p *Plan, want int64) {
			t.Helper()
			time.Sleep(time.Second)
			l.plan = p.Kept("main", l.file)
			l.ask("ada", Need{})
			l.book.Meters(func(_ string, m *Meter) {
				if used := m.Used(time.Now().UnixNano()); m.Kind() == TokenBudget && used != want {
					t.Errorf("%s, %d are used, want %d", when, used, want)
				}
			})
		}
		anew := func(limits ...Limit) *Plan { return planOf(limits...) }
		left("after a reload", anew(Limit{TokenBudget, 2000, Period{Calendar: Month, Zone: time.UTC}}), 700)
		left("without the limit", anew(sliding(Requests, 5, time.Hour)), 0)
		left("with it again", anew(Limit{TokenBudget, 1000, Period{Calendar: Month, Zone: time.UTC}}), 700)
		l = begin(t, l.kill(), month)
		left("after another restart", month, 700)
	})
}

// A config that fails when its first requests have come takes clients' use from nobody: the one
// before goes on with its limits, and keeps where it did what was used before, meanwhile and later.
func TestKeptUseAfterAConfigThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		month := Period{Calendar: Month, Zone: time.UTC}
		l := begin(t, filepath.Join(t.TempDir(), "keys.state"), planOf(Limit{TokenBudget, 1000, month}))
		l.ask("ada", Need{100, 0})
		file, err := disk.Open(disk.Options{Path: filepath.Join(t.TempDir(), "other.state"), State: rotator.NewState(time.Now())})
		if err != nil {
			t.Fatal(err)
		}
		runs := l.plan
		l.plan = planOf(Limit{TokenBudget, 50_000, month}, sliding(Requests, 1, time.Hour)).Kept("main", file)
		l.ask("ada", Need{200, 0})
		fails := l.plan
		fails.End()
		if err := file.Close(); err != nil {
			t.Error(err)
		}
		l.plan = runs
		l.ask("ada", Need{300, 0})
		l.plan = fails // of which a request comes late
		l.ask("ada", Need{100, 0})
		l.plan = runs
		l = begin(t, l.kill(), planOf(Limit{TokenBudget, 1000, month}))
		if over, _ := l.ask("ada", Need{300, 0}); over.Kind != None {
			t.Errorf("the rest of it meets %+v", over)
		}
		if over, _ := l.ask("ada", Need{1, 0}); over.Kind != TokenBudget {
			t.Errorf("more meets %+v", over)
		}
	})
}

// absurd are limits of each kind that counts what answers say, and so much of it as an upstream
// may say: more than any number of which there are two.
var absurd = []struct {
	what  string
	limit Limit
	used  Need
}{
	{"dollars of a day", Limit{USDBudget, 100e9, Period{Calendar: Day, Zone: time.UTC}}, Need{0, math.MaxInt64}},
	{"the most that a budget may have", Limit{USDBudget, 1e17, Period{Calendar: Month, Zone: time.UTC}}, Need{0, math.MaxInt64}},
	{"dollars of any day", sliding(USDBudget, 1e17, 24*time.Hour), Need{0, math.MaxInt64}},
	{"tokens of a month", Limit{TokenBudget, 1e15, Period{Calendar: Month, Zone: time.UTC}}, Need{math.MaxInt64, 0}},
	{"tokens of an hour", sliding(Tokens, 1e12, time.Hour), Need{math.MaxInt64 - 5, 0}},
	{"what wraps the second time", sliding(Tokens, 1000, time.Hour), Need{math.MaxInt64/2 + 1, 0}},
}

// What an upstream says, however much it is, leaves its client nothing until that has left: also
// when that comes again and again, behind what was used before, and when it is brought back.
func TestAbsurdStatements(t *testing.T) {
	for _, row := range absurd {
		t.Run(row.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				most, per := row.limit.Most, row.limit.Period.Longest()
				l := begin(t, filepath.Join(t.TempDir(), "keys.state"), planOf(row.limit))
				l.ask("ada", Need{1, 1})
				l = begin(t, l.kill(), planOf(row.limit))
				var underWay []*Stay
				for range 6 {
					s, _ := enters(t, l.book, l.plan, "ada", time.Now().UnixNano(), Need{1, 1})
					underWay = append(underWay, s)
				}
				for i, s := range underWay {
					served(s, time.Now().UnixNano(), row.used)
					l.refuses("ada", most)
					time.Sleep(min(per/windowParts, 2*time.Minute) * time.Duration(i%2)) // two in each part of a window
				}
				for range 2 {
					l = begin(t, l.kill(), planOf(row.limit))
					l.refuses("ada", most)
				}
				if err := l.file.Close(); err != nil { // it would be looked at all the while
					t.Error(err)
				}
				time.Sleep(per + per/windowParts + time.Second)
				if over, _ := l.ask("ada", Need{1, 1}); over.Kind != None {
					t.Errorf("when all has left, a request meets %+v", over)
				}
				if used := l.meter().Used(time.Now().UnixNano()); used != 1 {
					t.Errorf("then %d are used, want 1", used)
				}
			})
		})
	}
}

// Nor is what a node lacks of its part ever less than nothing, however often that is wanted.
func TestAbsurdWants(t *testing.T) {
	b, p := newBook(10), planOf(sliding(USDBudget, 1e17, time.Hour))
	s, _ := enters(t, b, p, "ada", start, Need{Cost: 1})
	served(s, start, Need{0, 1})
	m := b.find(p, "ada", start).meter(USDBudget)
	m.SetCeiling(1)
	for range 100 {
		enters(t, b, p, "ada", start, Need{Cost: 1e17 - 1})
	}
	if n := m.Wanted(start); n < 1e17 {
		t.Errorf("%d are wanted", n)
	}
}

// refuses checks that there is no room for any request, and that what is used is more than all.
func (l *life) refuses(client string, most int64) {
	l.Helper()
	over, _ := l.ask(client, Need{})
	if over.Kind == None || over.Wait <= 0 {
		l.Fatalf("a request meets %+v", over)
	}
	if used := l.meter().Used(time.Now().UnixNano()); used < most {
		l.Fatalf("%d are used, of %d", used, most)
	}
}

// meter returns the only one.
func (l *life) meter() (only *Meter) {
	l.book.Meters(func(_ string, m *Meter) { only = m })
	return only
}

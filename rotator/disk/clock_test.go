package disk

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// machine has a clock that can be set.
type machine struct{ ahead atomic.Int64 }

func (m *machine) set(by time.Duration) { m.ahead.Add(int64(by)) }

func (m *machine) wall(o *Options) {
	o.Wall = func() time.Time { return time.Now().Add(time.Duration(m.ahead.Load())) }
}

// A cooldown of 5 hours, 10 minutes old when its process is killed; the next one starts 20
// minutes later. The clock is set before that, or in between.
func TestClockThatIsSet(t *testing.T) {
	const (
		cooldown = 5 * time.Hour
		ran      = 10 * time.Minute
		down     = 20 * time.Minute
		left     = cooldown - ran - down
	)
	for _, row := range []struct {
		sentence        string
		running, ending time.Duration // by how much the clock is set while the process runs, and after that
		want            time.Duration
	}{
		{"a clock that is right", 0, 0, left},
		{"set forward while the process runs: nothing changes", 3 * time.Hour, 0, left},
		{"set back while it runs: nothing changes", -3 * time.Hour, 0, left},
		{"set back by days while it runs: nothing changes", -50 * time.Hour, 0, left},
		{"set forward by days while it runs: nothing changes", 50 * time.Hour, 0, left},
		{"set back while no process runs: longer by the time that none ran, and no longer", 0, -3 * time.Hour, left + down},
		{"set back by less than none ran: longer by that", 0, -5 * time.Minute, left + 5*time.Minute},
		{"set back while it runs, and again while none runs", -7 * time.Hour, -3 * time.Hour, left + down},
		{"set forward while no process runs: shorter by that, which nobody can know", 0, 3 * time.Hour, left - 3*time.Hour},
		{"set forward past its end: it is over", 0, 30 * time.Hour, 0},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var m machine
				p := start(t, statePath(t), 2, m.wall)
				p.Cool(0, cooldown)
				time.Sleep(ran / 2)
				m.set(row.running)
				time.Sleep(ran/2 - gather)
				p.Disable(1) // the last time that is known
				time.Sleep(gather)
				synctest.Wait()
				path := p.kill()
				time.Sleep(down)
				m.set(row.ending)
				again := start(t, path, 2, m.wall)
				again.cools("", 0, row.want)
			})
		})
	}
}

// While anything cools the time is written every minute: a process that was killed after
// hours without news is known to have run that long.
func TestTheTimeIsWrittenWhileAnythingCools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m machine
		p := start(t, statePath(t), 1, m.wall)
		p.Cool(0, 24*time.Hour)
		time.Sleep(8*time.Hour + beat/2)
		left := p.Left(0)
		path := p.kill()
		m.set(-9 * time.Hour)
		again := start(t, path, 1, m.wall)
		if got := again.Left(0); got < left || got > left+beat {
			t.Errorf("%s are left, want %s and at most %s more", got, left, beat)
		}
		time.Sleep(20 * time.Hour)
		size := len(content(t, path))
		time.Sleep(20 * time.Hour)
		if after := len(content(t, path)); after != size {
			t.Errorf("when nothing cools any more the file has grown from %d to %d bytes", size, after)
		}
	})
}

// A machine that stood still says so to the state: the file's cooldowns end by that time, too.
func TestTimeThatWasSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, statePath(t), 1)
		p.Cool(0, 5*time.Hour)
		settle()
		p.State.Skip(2 * time.Hour)
		p.end()
		start(t, p.path, 1).cools("", 0, 3*time.Hour-2*gather)
	})
}

// What waits to be written when a machine is found to have stood still ends when it would have.
// A file that cannot be written for a while kept it in the queue, and it became longer by that.
func TestWhatWaitsWhenTimeIsSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, statePath(t), 1)
		p.Cool(0, 5*time.Hour) // is written a quarter of a second later
		p.State.Skip(2 * time.Hour)
		p.end()
		start(t, p.path, 1).cools("", 0, 3*time.Hour)
	})
}

// Lives that follow each other add nothing to a cooldown.
func TestManyRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, statePath(t), 1)
		p.Cool(0, 100*time.Hour)
		began := time.Now()
		for range 50 {
			time.Sleep(90 * time.Second)
			p.end()
			time.Sleep(time.Second)
			p = start(t, p.path, 1)
		}
		want := 100*time.Hour - time.Since(began)
		if left := p.Left(0); (left - want).Abs() > 100*time.Millisecond {
			t.Errorf("%s are left, want %s", left, want)
		}
	})
}

//go:build unix

package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// member gives a benchmark a pool, with a file or in memory alone.
func member(b *testing.B, keys int, withFile bool) *statetest.Member {
	b.Helper()
	if withFile {
		return start(b, filepath.Join(b.TempDir(), "keys.state"), keys).Member
	}
	return statetest.Join(b, statetest.Node{State: newState()}, statetest.Keys(b, keys))
}

// A request that meets no refusal: it is the same with a file and without.
func BenchmarkRequest(b *testing.B) {
	for _, file := range []bool{false, true} {
		b.Run(fmt.Sprintf("file=%t", file), func(b *testing.B) {
			m := member(b, 1000, file)
			b.ReportAllocs()
			for b.Loop() {
				now := time.Now()
				d, ok := m.Pool.Draw(now, rotator.Want{})
				if !ok {
					b.Fatal("no key is ready")
				}
				m.Pool.Serve(now, now, d.Slot, "")
				m.Pool.Settled(d)
			}
		})
	}
}

// A refusal that cools its key.
func BenchmarkRefusal(b *testing.B) {
	for _, file := range []bool{false, true} {
		b.Run(fmt.Sprintf("file=%t", file), func(b *testing.B) {
			m := member(b, 1000, file)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.Cool(rotator.Slot(i%1000), time.Hour+time.Duration(i)*time.Millisecond)
			}
		})
	}
}

// crowded writes a file in which so many keys cool, and one as a kill would have left it.
func crowded(t testing.TB, keys int) (path, killed string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "keys.state")
	p := start(t, path, keys)
	now := p.Now()
	for s := range rotator.Slot(keys) {
		p.Pool.Cool(now, s, rotator.Cooldown{For: time.Hour, Spare: time.Minute, Equal: true, Reason: 1, Source: "retry-after"})
	}
	statetest.Until(t, time.Minute, "all of it is written", func() bool { return p.journal.Health().Written >= uint64(keys) })
	killed = filepath.Join(t.TempDir(), "killed.state")
	if err := os.WriteFile(killed, []byte(content(t, path)), 0o600); err != nil {
		t.Fatal(err)
	}
	p.end()
	return path, killed
}

// How long a start takes to know 100,000 keys that cool: the file is read, and the state
// knows.
func BenchmarkLoad(b *testing.B) {
	const keys = 100_000
	path, _ := crowded(b, keys)
	b.ReportMetric(float64(len(content(b, path)))/1e6, "MB")
	for b.Loop() {
		j, err := Open(Options{Path: path, State: newState(), Reasons: reasons})
		if err != nil {
			b.Fatal(err)
		}
		if cooling, _, _ := j.Known(); cooling != keys {
			b.Fatalf("%d keys cool", cooling)
		}
	}
}

// cpuTime is for how long the process has worked.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// All of them are known before the first request, after an end and after a kill, and again.
func TestAHundredThousandKeys(t *testing.T) {
	const keys = 100_000
	ended, killed := crowded(t, keys)
	for _, path := range []string{ended, killed, killed} {
		begin, before := time.Now(), cpuTime(t)
		j, err := Open(Options{Path: path, State: newState(), Reasons: reasons})
		took, cpu := time.Since(begin), cpuTime(t)-before
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d keys that cool: %.1f MB, read in %s, of which this process has worked %s", keys, float64(len(content(t, path)))/1e6, took, cpu)
		m := statetest.Join(t, statetest.Node{State: j.state, Journal: j}, statetest.Keys(t, keys))
		if m.Ready() != 0 {
			t.Fatalf("%d keys are ready", m.Ready())
		}
		if err := j.Begin(); err != nil {
			t.Fatal(err)
		}
		size := len(content(t, path))
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if after := len(content(t, path)); after > size+1000 {
			t.Errorf("a restart has added %d bytes", after-size)
		}
	}
}

package disk

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// turns is what the process was told of its journal's health.
func (p *process) turns() (healthy []bool) {
	for _, h := range p.changes() {
		healthy = append(healthy, h.Healthy)
	}
	return healthy
}

// outage checks that the file could not be written for a while, that this was told once,
// and its end once, and that nothing was lost by it.
func (p *process) outage(keys int) {
	p.t.Helper()
	if turns := p.turns(); len(turns) != 2 || turns[0] || !turns[1] {
		p.t.Fatalf("changes %+v", p.changes())
	}
	if h := p.journal.Health(); !h.Healthy || h.Err != nil || h.Queue != 0 || h.Fails == 0 {
		p.t.Errorf("afterwards %+v", h)
	}
	want := p.memory()
	again := start(p.t, p.kill(), keys)
	if got := again.memory(); got != want {
		p.t.Errorf("before it ended it knew\n%s\nand now\n%s", want, got)
	}
}

// The directory is gone, and a file stands where it was.
func TestTheDirectoryIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, statePath(t), 3)
		p.Cool(0, 10*time.Hour)
		settle()
		dir := filepath.Dir(p.path)
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		write(t, dir, "not a directory")
		p.Cool(1, 10*time.Hour)
		settle()
		if h := p.journal.Health(); h.Healthy || h.Err == nil || h.Queue == 0 {
			t.Errorf("in the outage %+v", h)
		}
		time.Sleep(10 * time.Minute)
		if fails := p.journal.Health().Fails; fails < 10 || fails > 20 {
			t.Errorf("in ten minutes it was tried %d times, want about 15", fails)
		}
		p.Disable(2)
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(maxPause + time.Second)
		p.outage(3)
	})
}

// A directory that is gone is made again at once.
func TestTheDirectoryIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, statePath(t), 3)
		p.Cool(0, 10*time.Hour)
		settle()
		if err := os.RemoveAll(filepath.Dir(p.path)); err != nil {
			t.Fatal(err)
		}
		p.Cool(1, 5*time.Hour)
		settle()
		want := p.memory()
		if again := start(t, p.kill(), 3); again.memory() != want {
			t.Errorf("before it ended it knew\n%s\nand now\n%s", want, again.memory())
		}
	})
}

// Somebody removes the file, or puts another one there: it is written anew.
func TestTheFileIsGone(t *testing.T) {
	for name, act := range map[string]func(string) error{
		"removed":  os.Remove,
		"replaced": func(path string) error { return errors.Join(os.Remove(path), os.WriteFile(path, []byte("x\n"), 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, statePath(t), 3)
				p.Cool(0, 10*time.Hour)
				p.Pool.Own(p.Now(), 2, rotator.ResourceOf([]byte("file-1")))
				settle()
				if err := act(p.path); err != nil {
					t.Fatal(err)
				}
				p.Cool(1, 5*time.Hour)
				time.Sleep(2 * minPause)
				if p.changes()[0].Err == nil || !errors.Is(p.changes()[0].Err, errGone) {
					t.Errorf("%+v", p.changes())
				}
				p.outage(3)
			})
		})
	}
}

// What was left of a file that was to take the other's place is of no account.
func TestALeftover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, statePath(t), 2)
		p.Cool(0, time.Hour)
		p.end()
		text, _ := sample()
		write(t, p.path+".new", text[:len(text)/2])
		if err := os.Chmod(p.path+".new", 0o666); err != nil {
			t.Fatal(err)
		}
		again := start(t, p.path, 2)
		again.bloat()
		if found, _ := filepath.Glob(p.path + "*"); len(found) != 2 {
			t.Errorf("there are %v", found)
		}
		if info, err := os.Stat(p.path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	})
}

// Two processes cannot have the same file. The second one may be made before the first has
// ended, as when a service manager starts them after each other: it knows what the first
// wrote last.
func TestOneProcessAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := start(t, statePath(t), 3)
		second := open(t, first.path, 3)
		if err := second.journal.Begin(); !errors.Is(err, errInUse) || !strings.HasPrefix(err.Error(), first.path+": another process uses it") {
			t.Fatalf("error %v", err)
		}
		first.Cool(0, time.Hour)
		first.Disable(1)
		first.end()
		if err := second.journal.Begin(); err != nil {
			t.Fatal(err)
		}
		second.cools("", 0, time.Hour)
		if !second.Disabled(1) {
			t.Error("the key is not disabled")
		}
		if err := second.journal.Begin(); err != nil {
			t.Errorf("once more: %v", err)
		}
	})
}

// What is opened and never begins, as for a check of a config, leaves no trace.
func TestACheckLeavesNoTrace(t *testing.T) {
	p := open(t, statePath(t), 2)
	p.Cool(0, time.Hour)
	p.end()
	if err := p.journal.Begin(); err != nil {
		t.Errorf("a closed journal begins: %v", err)
	}
	if _, err := os.Stat(filepath.Dir(p.path)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a directory: %v", err)
	}
}

// What can never be a file is an error at once.
func TestNoFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(Options{Path: dir, State: newState()}); err == nil || !strings.Contains(err.Error(), dir+" is no file") {
		t.Errorf("a directory: %v", err)
	}
	write(t, filepath.Join(dir, "file"), "x")
	if _, err := Open(Options{Path: filepath.Join(dir, "file", "keys.state"), State: newState()}); err == nil {
		t.Error("a file is no directory")
	}
}

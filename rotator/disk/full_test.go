//go:build linux || darwin

package disk

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// childEnv is set in a process of its own.
const childEnv = "KEYCYCLER_TEST_FULL"

// inChild runs the test in a process of its own, since the limit is the process's: what the
// testing package writes would meet it, too. It reports whether this is the one.
func inChild(t *testing.T) bool {
	t.Helper()
	if os.Getenv(childEnv) != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), childEnv+"=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// limitFiles makes the disk full for files of this process that are larger than that, until
// free is called.
func limitFiles(t *testing.T, most uint64) (free func()) {
	t.Helper()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: most, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
			t.Fatal(err)
		}
	}
}

// The disk is full while the process learns more: what does not fit is not there in part,
// and when there is room again all of it is.
func TestTheDiskIsFull(t *testing.T) {
	if !inChild(t) {
		return
	}
	synctest.Test(t, func(t *testing.T) {
		const keys = 100
		p := start(t, statePath(t), keys)
		p.Cool(0, 10*time.Hour)
		settle()
		before := content(t, p.path)
		free := limitFiles(t, uint64(len(before)+300))
		for s := range rotator.Slot(keys) {
			p.Cool(s, time.Duration(s)*time.Hour)
		}
		time.Sleep(5 * time.Minute)
		full := content(t, p.path)
		free()
		if h := p.journal.Health(); h.Healthy || !errors.Is(h.Err, syscall.EFBIG) {
			t.Errorf("in the outage %+v", h)
		}
		if full != before {
			t.Errorf("the file is\n%s\nand was\n%s", full, before)
		}
		time.Sleep(maxPause + time.Second)
		p.outage(keys)
	})
}

// It is full when the process starts, and there is no file yet.
func TestTheDiskIsFullAtTheStart(t *testing.T) {
	if !inChild(t) {
		return
	}
	synctest.Test(t, func(t *testing.T) {
		free := limitFiles(t, 10)
		p := start(t, statePath(t), 2)
		p.Cool(0, 10*time.Hour)
		time.Sleep(time.Minute)
		free()
		time.Sleep(maxPause + time.Second)
		p.outage(2)
	})
}

package disk

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// process of several nodes: as pools of one process they share its state and its file. When
// all have left, the process ends; the next node is another process, which has nothing but
// the file.
func backend(path string) statetest.Backend {
	var running *Journal
	nodes := 0
	return func(t testing.TB) statetest.Node {
		if nodes == 0 {
			j, err := Open(Options{Path: path, State: newState(), Reasons: reasons})
			if err != nil {
				t.Fatal(err)
			}
			if err := j.Begin(); err != nil {
				t.Fatal(err)
			}
			running = j
		}
		nodes++
		leave := sync.OnceFunc(func() {
			if nodes--; nodes == 0 {
				if err := running.Close(); err != nil {
					t.Error(err)
				}
			}
		})
		t.Cleanup(leave)
		return statetest.Node{State: running.state, Journal: running, Close: leave}
	}
}

func TestConformance(t *testing.T) {
	statetest.Run(t, func(t testing.TB) statetest.Backend { return backend(filepath.Join(t.TempDir(), "keys.state")) })
}

var _ rotator.Journal = (*Journal)(nil)

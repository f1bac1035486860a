package disk

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/statetest"
)

func newState() *rotator.State { return rotator.NewState(time.Now()) }

// All that the engine's journals carry outlives the process, however it ends.
func TestWhatOutlivesTheProcess(t *testing.T) {
	for _, how := range []string{"ended", "killed"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, statePath(t), 6)
				p.Pool.Cool(p.Now(), 0, rotator.Cooldown{For: time.Hour, Spare: time.Minute, Equal: true, Reason: 1, Source: "body:error.details"})
				p.Pool.Cool(p.Now(), 1, rotator.Cooldown{For: 9 * time.Hour, Spare: time.Hour, Reason: 2})
				p.CoolIn("modèle y, 2", 2, 3*time.Hour)
				p.Disable(3)
				p.Cool(4, time.Hour)
				p.Clear(4)
				p.Disable(4)
				p.Enable(4)
				file := rotator.ResourceOf([]byte("file-abc"))
				p.Pool.Own(p.Now(), 5, file)
				settle()
				path := p.path
				if how == "killed" {
					path = p.kill()
				} else {
					p.end()
				}
				time.Sleep(30 * time.Minute)
				again := start(t, path, 6)
				left := 30*time.Minute - 2*gather
				again.cools("", 0, left)
				again.cools("", 1, left+8*time.Hour)
				again.cools("modèle y, 2", 2, left+2*time.Hour)
				again.cools("", 4, 0)
				for s, want := range []bool{false, false, false, true, false, false} {
					if again.Disabled(rotator.Slot(s)) != want {
						t.Errorf("key %d: disabled is %t", s, !want)
					}
				}
				again.checkStatus(0, 1, "body:error.details")
				again.checkStatus(1, 2, "")
				if key, ok := again.Pool.Owner(again.Now(), file); !ok || key != again.Pool.Key(5).ID() {
					t.Errorf("the file's key is %s, %t", key, ok)
				}
			})
		})
	}
}

func (p *process) checkStatus(s rotator.Slot, reason rotator.Reason, source string) {
	p.t.Helper()
	if st := p.Pool.Status(p.Now(), s); st.Reason != reason || st.Source != source {
		p.t.Errorf("key %d cools for reason %d, source %q", s, st.Reason, st.Source)
	}
}

// Lives of random length, in which anything happens, end in either way: each begins with
// what the one before it knew.
func TestRandomLives(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 1))
				p := start(t, statePath(t), 8)
				for range 12 {
					for range r.IntN(60) {
						p.anything(r)
					}
					settle()
					want, path := p.memory(), p.path
					if r.IntN(2) == 0 {
						path = p.kill()
					} else {
						p.end()
					}
					p = start(t, path, 8)
					if got := p.memory(); got != want {
						t.Fatalf("before it ended it knew\n%s\nand now\n%s\nthe file:\n%s", want, got, content(t, path))
					}
				}
			})
		})
	}
}

// anything is one of all that can happen to a key.
func (p *process) anything(r *rand.Rand) {
	s, scope := rotator.Slot(r.IntN(8)), []string{"", "", "gpt-x", "gpt-y"}[r.IntN(4)]
	d := time.Duration(r.IntN(7200)) * time.Second
	switch r.IntN(8) {
	case 0, 1, 2:
		d += p.LeftIn(scope, s) // what comes back earlier is not told
		p.Pool.Cool(p.Now(), s, rotator.Cooldown{For: d, Spare: d / time.Duration(1+r.IntN(3)), Equal: r.IntN(2) == 0, Reason: 1, Source: "retry-after", Scope: scope})
	case 3:
		p.Clear(s)
	case 4:
		p.Disable(s)
	case 5:
		p.Enable(s)
	case 6:
		p.Serve(scope, s, p.Now())
	case 7:
		time.Sleep(d / 100)
	}
}

// exact is how exactly memory tells times: each restart costs a millisecond, and what happens
// in these tests is multiples of this.
const exact = 10 * time.Millisecond

// memory is what the process knows, as text.
func (p *process) memory() string {
	now, all := p.Now(), make(map[string]string)
	p.State.Known(now, p.journal, func(c rotator.Change) bool {
		about := c.ID.String() + " " + c.Scope
		text := ""
		if left := c.Until.Sub(now).Round(exact); left > 0 {
			text += fmt.Sprint(left, " ", c.Reason, c.Source, c.Equal)
			if spare := c.Spare.Sub(now).Round(exact); !c.Spare.IsZero() && spare > 0 {
				text += fmt.Sprint(" spare ", spare)
			}
		}
		if c.Off.Disabled() {
			text += " disabled"
		}
		if text != "" {
			all[about] = text
		}
		return true
	})
	var text strings.Builder
	for _, about := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&text, "%s: %s\n", about, all[about])
	}
	return text.String()
}

// A process that starts with a file that is up to date writes nothing of it again.
func TestARestartWritesNothingAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys = 200
		p := start(t, statePath(t), keys)
		for s := range rotator.Slot(keys) {
			p.Cool(s, time.Hour)
			p.Pool.Own(p.Now(), s, rotator.ResourceOf([]byte{byte(s)}))
		}
		p.end()
		before := content(t, p.path)
		again := start(t, p.path, keys)
		settle()
		if after := content(t, p.path); len(after) > len(before)+100 {
			t.Errorf("the file has grown from %d to %d bytes", len(before), len(after))
		}
		if again.Ready() != 0 || again.State.Resources() != keys {
			t.Errorf("%d keys are ready, and %d resources known", again.Ready(), again.State.Resources())
		}
	})
}

// What the state knows before it has a file comes into the file: a config without one was
// there before.
func TestAFileThatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := newState()
		before := statetest.Join(t, statetest.Node{State: state}, statetest.Keys(t, 3))
		before.Cool(0, time.Hour)
		before.Disable(1)
		made := rotator.ResourceOf([]byte("batch_1"))
		before.Pool.Own(before.Now(), 2, made)
		p := start(t, statePath(t), 3, func(o *Options) { o.State = state })
		before.Pool.Close(before.Now())
		p.end()
		again := start(t, p.path, 3)
		again.cools("", 0, time.Hour)
		if _, ok := again.Pool.Owner(again.Now(), made); !ok || !again.Disabled(1) {
			t.Errorf("the resource's key is known: %t, the key is disabled: %t", ok, again.Disabled(1))
		}
	})
}

// bloat records so much that is of no use any more that the file is written anew.
func (p *process) bloat() {
	p.t.Helper()
	for i := range 2 * small / 80 {
		id := rotator.ID{1, 2, byte(i >> 16), byte(i >> 8), byte(i)}
		p.journal.Record(rotator.Change{ID: id, Until: p.Now().Add(time.Millisecond), Learned: p.Now(), Source: "retry-after"})
	}
	settle()
	p.Cool(0, 2*time.Hour)
	settle()
}

// What is known of keys that no pool holds at the moment is not lost.
func TestKeysThatAreAwayAreNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, statePath(t), 4)
		p.Cool(3, 10*time.Hour)
		p.Disable(2)
		p.end()
		p = start(t, p.path, 1)
		p.Cool(0, time.Hour)
		settle()
		p.bloat()
		if size := len(content(t, p.path)); size > small {
			t.Errorf("the file was not written anew: it has %d bytes", size)
		}
		p.end()
		p = start(t, p.path, 4)
		p.cools("", 3, 10*time.Hour-6*gather)
		if !p.Disabled(2) {
			t.Error("the key is not disabled any more")
		}
	})
}

// The file is written anew when most of it is of no use, and what counts stays.
func TestTheFileDoesNotGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys = 500
		p := start(t, statePath(t), keys)
		p.Disable(0)
		largest := int64(0)
		for round := range 100 {
			for s := range rotator.Slot(keys) {
				p.Cool(s, time.Duration(round+1)*time.Minute)
			}
			settle()
			if info, err := os.Stat(p.path); err != nil {
				t.Fatal(err)
			} else {
				largest = max(largest, info.Size())
			}
		}
		left := p.Left(keys - 1)
		p.end()
		if largest > small+keys*150 {
			t.Errorf("the file has grown to %d bytes", largest)
		}
		t.Logf("50,000 cooldowns of 500 keys: %d bytes at most", largest)
		again := start(t, p.path, keys)
		again.cools("", keys-1, left)
		if !again.Disabled(0) {
			t.Error("the key is not disabled any more")
		}
		if info, err := os.Stat(p.path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if found, _ := filepath.Glob(p.path + "*"); len(found) != 2 {
			t.Errorf("there are %v: want the file and its lock", found)
		}
	})
}

// A request that meets no refusal tells the file nothing, and allocates nothing for it.
func TestARequestTellsTheFileNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, statePath(t), 10)
		settle()
		before, written := content(t, p.path), p.journal.Health().Written
		allocations := testing.AllocsPerRun(1000, func() {
			d, ok := p.Pool.Draw(p.Now(), rotator.Want{})
			if !ok {
				t.Fatal("no key is ready")
			}
			p.Pool.Serve(p.Now(), p.Now(), d.Slot, "")
			p.Pool.Settled(d)
		})
		settle()
		if h := p.journal.Health(); allocations > 0 || h.Written != written || content(t, p.path) != before {
			t.Errorf("%v allocations, %d changes were written", allocations, h.Written-written)
		}
	})
}

// Of what comes by the thousand the file keeps as much as a process remembers, and nothing
// that lasts goes for it.
func TestOwnersAreBounded(t *testing.T) {
	all := newContents(0)
	for i := range 50 {
		r := rotator.ResourceOf([]byte{byte(i)})
		if i%2 == 0 {
			r = r.Passing()
		}
		all.owners[r] = use{used: int64(100 + i)}
	}
	all.trimOwners(true, 10)
	passing, oldest := 0, int64(1000)
	for r, o := range all.owners {
		if r.Passes() {
			passing, oldest = passing+1, min(oldest, o.used)
		}
	}
	if passing != 10 || len(all.owners) != 35 || oldest != 130 {
		t.Errorf("%d of %d pass, the oldest is of %d", passing, len(all.owners), oldest)
	}
}

// No key stands in the file.
func TestTheFileTellsNoKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, statePath(t), 3)
		p.Cool(0, time.Hour)
		p.Pool.Own(p.Now(), 1, rotator.ResourceOf([]byte("file-abcdef")))
		p.end()
		text := content(t, p.path)
		if strings.Contains(text, "sk-") || strings.Contains(text, "statetest") || strings.Contains(text, "file-") {
			t.Error(text)
		}
		if !strings.Contains(text, p.Pool.Key(0).ID().String()) || !strings.Contains(text, "quota_exhausted\t-\tretry-after") {
			t.Errorf("the file does not say which key cools why:\n%s", text)
		}
	})
}

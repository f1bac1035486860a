package disk

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/statetest"
)

var reasons = []string{"rate_limited", "quota_exhausted", "invalid_key"}

// process is one that keeps its state in a file.
type process struct {
	*statetest.Member
	t       testing.TB
	journal *Journal
	path    string
	ended   bool

	mu   sync.Mutex
	told []Health
	lost []Damage
}

// changes and damages are what the process was told.
func (p *process) changes() []Health {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.told)
}

func (p *process) damages() []Damage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.lost)
}

func (p *process) hear(h Health) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = append(p.told, h)
}

func (p *process) lose(d Damage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = append(p.lost, d)
}

// open starts a process that has not begun to write.
func open(t testing.TB, path string, keys int, edit ...func(*Options)) *process {
	t.Helper()
	p := &process{t: t, path: path}
	o := Options{
		Path: path, State: rotator.NewState(time.Now()), Reasons: reasons,
		Changed: p.hear,
		Damaged: p.lose,
	}
	for _, e := range edit {
		e(&o)
	}
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	p.journal = j
	p.Member = statetest.Join(t, statetest.Node{State: o.State, Journal: j}, statetest.Keys(t, keys))
	t.Cleanup(p.end)
	return p
}

// start starts a process.
func start(t testing.TB, path string, keys int, edit ...func(*Options)) *process {
	t.Helper()
	p := open(t, path, keys, edit...)
	if err := p.journal.Begin(); err != nil {
		t.Fatal(err)
	}
	return p
}

// end ends it as a service manager does.
func (p *process) end() {
	p.t.Helper()
	if p.ended {
		return
	}
	p.ended = true
	p.Leave()
	if err := p.journal.Close(); err != nil {
		p.t.Error(err)
	}
}

// settle lets pass what the journal gathers for, in a bubble. What it writes at the same
// moment is written then.
func settle() {
	time.Sleep(2 * gather)
	synctest.Wait()
}

// kill returns a file as the process would leave it if it were killed.
func (p *process) kill() (path string) {
	p.t.Helper()
	text, err := os.ReadFile(p.path)
	if err != nil {
		p.t.Fatal(err)
	}
	p.end()
	path = filepath.Join(p.t.TempDir(), filepath.Base(p.path))
	write(p.t, path, string(text))
	return path
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func content(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// statePath is where a test's file is, in a directory that is made.
func statePath(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "made", "keys.state")
}

// cools checks for how much longer a key cools in a scope, to the millisecond.
func (p *process) cools(scope string, s rotator.Slot, want time.Duration) {
	p.t.Helper()
	if left := p.LeftIn(scope, s); (left - want).Abs() > time.Millisecond {
		p.t.Errorf("key %d cools in %q for %s, want %s", s, scope, left, want)
	}
}

// lines are records with their checksums.
func lines(bodies ...string) string {
	var text []byte
	for _, body := range bodies {
		text = appendLine(text, func(b []byte) []byte { return append(b, body...) })
	}
	return string(text)
}

package keyset

import (
	"context"
	"crypto/sha256"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
)

const (
	// watchInterval is how often files are looked at. A change is read when the
	// file has stayed as it is from one look to the next.
	watchInterval = 200 * time.Millisecond

	// maxUnsettled is after how many looks that found another change a file is read
	// all the same: keys and tokens that were removed must not live on for as long as
	// somebody goes on changing the file.
	maxUnsettled = 3
)

// filePlaceholder begins a placeholder that stands for a file's content.
const filePlaceholder = "{file."

// Inputs are what a config reads besides its own text, and what can change without
// it: files, and inline texts with {file.…} placeholders.
type Inputs struct {
	Paths []string // may be placeholders themselves
	Texts []string // those without {file.…} are of no account
}

// canChange tells whether there is anything to watch.
func (in Inputs) canChange() bool {
	return len(in.Paths) > 0 || slices.ContainsFunc(in.Texts, standsForFile)
}

func standsForFile(text string) bool { return strings.Contains(text, filePlaceholder) }

// watcher looks whether inputs have changed. It looks at what a path leads to, again
// and again, instead of being told by the file system: so it sees renames, swaps of
// any symbolic link on the way, files that are absent for a moment, and file systems
// that tell nothing.
type watcher struct {
	inputs   Inputs
	reread   func() error
	tell     func(error) // of a failure to read again, once until it is another
	loaded   []Snapshot  // as they were when they were read last
	before   []Snapshot  // as they were at the last look
	changing int         // so many looks in a row found another change
	failed   string      // what was told last
}

// Watch calls reread whenever the inputs have changed since they were as in state,
// and tell when that fails. Call stop when that shall end; it is nil where nothing can
// change.
func (in Inputs) Watch(state []Snapshot, reread func() error, tell func(error)) (stop func()) {
	if !in.canChange() {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{inputs: in, reread: reread, tell: tell, loaded: state, before: state}
	var done sync.WaitGroup
	done.Go(func() { w.run(ctx) })
	return func() {
		cancel()
		done.Wait()
	}
}

// run looks until ctx ends.
func (w *watcher) run(ctx context.Context) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.look()
		}
	}
}

// look reads the inputs again when they have changed, and are no longer changing: an
// editor may be half-way through.
func (w *watcher) look() {
	now := w.inputs.Sources()
	if same(now, w.before) {
		w.changing = 0
	} else {
		w.changing++
	}
	w.before = now
	if same(now, w.loaded) || w.changing > 0 && w.changing < maxUnsettled {
		return
	}
	w.changing = 0
	err := w.reread()
	w.loaded = now
	switch {
	case err == nil:
		w.failed = ""
	case err.Error() != w.failed:
		w.failed = err.Error()
		w.tell(err)
	}
}

// Snapshot is an input, as it was at one moment.
type Snapshot struct {
	file   os.FileInfo // nil where there is none
	secret [sha256.Size]byte
}

// Sources looks at all inputs that can change.
func (in Inputs) Sources() []Snapshot {
	var all []Snapshot
	repl := caddy.NewReplacer()
	for _, text := range in.Paths {
		var s Snapshot
		if path, err := Expand(repl, text); err == nil {
			s.file, _ = os.Stat(path)
		}
		all = append(all, s)
	}
	for _, text := range in.Texts {
		if standsForFile(text) {
			secret, _ := Expand(repl, text)
			all = append(all, Snapshot{secret: sha256.Sum256([]byte(secret))})
		}
	}
	return all
}

// same tells whether nothing has changed between two looks.
func same(a, b []Snapshot) bool {
	return slices.EqualFunc(a, b, func(a, b Snapshot) bool {
		if a.file == nil || b.file == nil {
			return a.file == nil && b.file == nil && a.secret == b.secret
		}
		return os.SameFile(a.file, b.file) && a.file.Size() == b.file.Size() && a.file.ModTime().Equal(b.file.ModTime())
	})
}

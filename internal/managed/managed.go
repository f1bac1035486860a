// Package managed changes the managed files of a pool: it adds keys and takes them away, so
// that the pool has or has not got them when the call is over.
//
// It knows what may be done to which file, and in what words it is refused. The text of a
// file, and how one is written, are keyfile's; where keys come from is keyset's.
package managed

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/keyfile"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/rotator"
)

// Files changes the managed files of one pool. It is safe for concurrent use.
type Files struct {
	mu     sync.Mutex // held while the source is read, or its files are written
	source *keyset.Source
	reload func() error
	log    *zap.Logger

	reading sync.Mutex // held while the source is read, within mu
	stopped bool
}

// New returns what changes the source's files. reload makes the pool read the source again;
// it is called one at a time.
func New(source *keyset.Source, reload func() error, log *zap.Logger) *Files {
	return &Files{source: source, reload: reload, log: log}
}

// Reread makes the pool read its keys again.
func (f *Files) Reread() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.read()
}

// read makes the pool read its keys again, until Stop. f.mu is held.
func (f *Files) read() error {
	f.reading.Lock()
	defer f.reading.Unlock()
	if f.stopped {
		return errStopped
	}
	return f.reload()
}

// errStopped says that nobody reads the keys for this pool any more.
var errStopped = errors.New("the config was unloaded meanwhile")

// Stop makes the pool read nothing any more. It waits for a read that is under way, and not for
// who changes a file.
func (f *Files) Stop() {
	f.reading.Lock()
	defer f.reading.Unlock()
	f.stopped = true
}

// Files implements observe.ManagedFiles.
func (f *Files) Files() []string {
	var names []string
	for text, group := range f.source.Files() {
		if group.Managed && !slices.Contains(names, text) {
			names = append(names, text)
		}
	}
	return names
}

func refusef(status int, format string, args ...any) error {
	return &observe.RefusalError{Status: status, Err: fmt.Errorf(format, args...)}
}

// file returns the managed file that the config has by that text.
func (f *Files) file(text string) (keyset.Managed, error) {
	all := f.source.Managed()
	i := slices.IndexFunc(all, func(m keyset.Managed) bool { return m.Text == text })
	if i < 0 {
		return keyset.Managed{}, refusef(http.StatusConflict, "the path of the managed file %s is not known", text)
	}
	return all[i], nil
}

// Add implements observe.ManagedFiles.
func (f *Files) Add(file string, keys []observe.NewKey) (added observe.KeysAdded, err error) {
	entries, err := entriesOf(keys)
	if err != nil {
		return added, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	m, err := f.file(file)
	if err != nil {
		return added, err
	}
	err = keyfile.Update(m.Path, func(text []byte, exists bool) ([]byte, error) {
		if !exists && m.Met {
			return nil, refusef(http.StatusConflict, "it was there and is gone: nothing is made in its place. Bring it back, or reload the config")
		}
		added = observe.KeysAdded{File: filepath.Base(m.Path), Added: []string{}, Skipped: []observe.KeySkipped{}}
		return f.with(&added, m, text, entries)
	})
	if err != nil {
		return observe.KeysAdded{}, explain(file, err)
	}
	f.log.Info("keys were added by an operator", zap.String("file", added.File), zap.Int("keys", len(added.Added)), zap.Int("skipped", len(added.Skipped)))
	return added, f.heed()
}

// heed makes the pool read what was written.
func (f *Files) heed() error {
	if err := f.read(); err != nil {
		return refusef(http.StatusInternalServerError, "the file is written, but the keys were not read again: %w", err)
	}
	return nil
}

// explain says which file an error is about, and what to do unless it says that itself.
func explain(file string, err error) error {
	if refusal, ok := errors.AsType[*observe.RefusalError](err); ok {
		return &observe.RefusalError{Status: refusal.Status, Err: fmt.Errorf("%s: %w", file, refusal.Err)}
	}
	return refusef(http.StatusInternalServerError, "%s cannot be written: %w%s", file, err, remedy(err))
}

// remedy says what to do about a file that cannot be written.
func remedy(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf(": let the user that Caddy runs as, number %d, read it and make files in its folder", os.Getuid())
	case errors.Is(err, fs.ErrNotExist):
		return ": make its folder"
	}
	return ""
}

// with returns the text with those of the entries that the pool has not got, if the pool
// takes it.
func (f *Files) with(added *observe.KeysAdded, m keyset.Managed, text []byte, entries []keyfile.Entry) ([]byte, error) {
	now, err := f.source.Would(map[string][]byte{m.Path: text})
	if err != nil {
		return nil, refusef(http.StatusConflict, "the keys that are there cannot be read: %w", err)
	}
	fresh := sift(added, now, entries)
	if err := namesClash(now, entries, fresh); err != nil || len(fresh) == 0 {
		return text, err
	}
	text = keyfile.Add(text, fresh)
	if _, err := f.source.Would(map[string][]byte{m.Path: text}); err != nil {
		return nil, refusef(http.StatusConflict, "nothing was added: %w", err)
	}
	return text, nil
}

// sift returns those of the entries that the pool has not got, each once, and notes what
// becomes of each.
func sift(added *observe.KeysAdded, now *keyset.Set, entries []keyfile.Entry) []keyfile.Entry {
	fresh, met := make([]keyfile.Entry, 0, len(entries)), make(map[rotator.ID]int)
	for i, e := range entries {
		id, at := e.Key.ID(), now.Find(e.Key.ID())
		if first, twice := met[id]; twice {
			at = fmt.Sprintf("keys[%d]", first)
		}
		if at != "" {
			added.Skipped = append(added.Skipped, observe.KeySkipped{Index: i, ID: id.String(), Origin: at})
			continue
		}
		met[id] = i
		fresh = append(fresh, e)
		added.Added = append(added.Added, id.String())
	}
	return fresh
}

// namesClash tells which of the fresh entries have a name that another key has: by their
// places among all that are to be added, since they have no lines yet.
func namesClash(now *keyset.Set, all, fresh []keyfile.Entry) error {
	taken, wrong, next := now.Named(), []string(nil), 0
	for i, e := range all {
		if next == len(fresh) || fresh[next].Key != e.Key {
			continue
		}
		next++
		if at, clashes := taken[e.Name]; clashes && e.Name != "" {
			wrong = append(wrong, fmt.Sprintf("keys[%d]: the key's name is that of another key, at %s: a name stands for one key", i, at))
		}
		taken[e.Name] = fmt.Sprintf("keys[%d]", i)
	}
	return nothingAdded(http.StatusConflict, wrong)
}

// maxTold is of how many keys that are none is told at a time.
const maxTold = 10

// entriesOf checks keys that come from outside.
func entriesOf(keys []observe.NewKey) ([]keyfile.Entry, error) {
	if len(keys) == 0 {
		return nil, refusef(http.StatusBadRequest, "there is no key")
	}
	entries := make([]keyfile.Entry, len(keys))
	var wrong []string
	for i, key := range keys {
		var err error
		if entries[i], err = keyfile.NewEntry(key.Key, key.Name); err != nil {
			wrong = append(wrong, fmt.Sprintf("keys[%d]: %s", i, err))
		}
	}
	return entries, nothingAdded(http.StatusBadRequest, wrong)
}

// nothingAdded is the refusal for what is wrong, the first of it; nil where nothing is.
func nothingAdded(status int, wrong []string) error {
	if len(wrong) == 0 {
		return nil
	}
	if more := len(wrong) - maxTold; more > 0 {
		wrong = append(wrong[:maxTold], fmt.Sprintf("and %d more", more))
	}
	return refusef(status, "nothing was added: %s", strings.Join(wrong, "; "))
}

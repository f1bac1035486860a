package observe

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"

	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/rotator"
)

// ManagedFiles changes the managed files of a pool. It is safe for concurrent use.
type ManagedFiles interface {
	// Files returns the managed files, as the config has them.
	Files() []string

	// Add adds those of the keys to one of the files that the pool has not got: all of them,
	// or none if there is an error. The pool has them when it returns.
	Add(file string, keys []NewKey) (KeysAdded, error)

	// Remove takes the key out of the files, and the pool has it no more when it returns. It
	// is an error where the key also stands elsewhere, and then nothing changes.
	Remove(id rotator.ID) (KeyRemoved, error)

	// Reread makes the pool read its keys again.
	Reread() error
}

// RefusalError is why keys were not added or removed. It shows nothing of a key.
type RefusalError struct {
	Status int // of HTTP
	Err    error
}

func (r *RefusalError) Error() string { return r.Err.Error() }

func (r *RefusalError) Unwrap() error { return r.Err }

func refusef(status int, format string, args ...any) error {
	return &RefusalError{status, fmt.Errorf(format, args...)}
}

// Files returns the managed files of all gateways of the pool.
func (v *View) Files() (all []string) {
	for _, p := range v.Pools {
		if p.Managed == nil {
			continue
		}
		for _, file := range p.Managed.Files() {
			if !slices.Contains(all, file) {
				all = append(all, file)
			}
		}
	}
	return all
}

// Add adds keys to a managed file of the pool.
func (v *View) Add(keys NewKeys) (KeysAdded, error) {
	file, err := v.fileFor(keys.File)
	if err != nil {
		return KeysAdded{}, err
	}
	i := slices.IndexFunc(v.Pools, func(p *Pool) bool { return p.Managed != nil && slices.Contains(p.Managed.Files(), file) })
	added, err := v.Pools[i].Managed.Add(file, keys.Keys)
	if err == nil {
		Live.reread(v.Pools[i])
	}
	return added, err
}

// fileFor returns the managed file that is called so, by what the config has or by its base
// name; "" is the only one.
func (v *View) fileFor(name string) (string, error) {
	all := v.Files()
	if len(all) == 0 {
		return "", refusef(http.StatusConflict, "pool %s has no file that keycycler may write: add 'managed' to the block of a keys_file", v.Name())
	}
	named := slices.DeleteFunc(slices.Clone(all), func(file string) bool {
		return name != "" && file != name && filepath.Base(file) != name
	})
	switch {
	case len(named) == 1:
		return named[0], nil
	case len(named) == 0:
		return "", refusef(http.StatusNotFound, "pool %s has no managed file %s: there is %s", v.Name(), directive.Shown(name), strings.Join(all, ", "))
	}
	return "", refusef(http.StatusConflict, "pool %s has several managed files, say which: %s", v.Name(), strings.Join(named, ", "))
}

// Remove takes the key out of the managed files of the pool. Where gateways of its name have
// files of their own, it does so for each.
func (v *View) Remove(id rotator.ID) (removed KeyRemoved, err error) {
	holders := slices.DeleteFunc(slices.Clone(v.Pools), func(p *Pool) bool { return !p.holds(id) })
	for _, p := range holders {
		if p.Managed == nil {
			at, _ := p.Keys().Find(id)
			return removed, refusef(http.StatusConflict, "key %s stands at %s, which is not managed: take it away there", id, at.Label().Origin)
		}
	}
	removed.ID = id.String()
	for _, p := range holders {
		if !p.holds(id) { // its file was the one before
			continue
		}
		one, err := p.Managed.Remove(id)
		if err != nil {
			return removed, err
		}
		removed.Files = append(removed.Files, one.Files...)
		Live.reread(p)
	}
	return removed, nil
}

func (p *Pool) holds(id rotator.ID) bool {
	_, has := p.Keys().Find(id)
	return has
}

// reread lets all other pools read their keys again that have managed files: one of them may
// be the one that was written. What fails there is told there, by who watches the files.
func (r *registry) reread(but *Pool) {
	r.mu.Lock()
	pools := slices.Clone(r.pools)
	r.mu.Unlock()
	for _, p := range pools {
		if p != but && p.Managed != nil {
			_ = p.Managed.Reread()
		}
	}
}

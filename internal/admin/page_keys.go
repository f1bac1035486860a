package admin

import (
	"errors"
	"fmt"
	"slices"

	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/keyfile"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/status"
	"github.com/keycycler/keycycler/rotator"
)

// errProviders is for people who have no flag to say it by.
var errProviders = errors.New("paste those of one, or use 'caddy keycycler import --provider'")

// Remove implements status.Source.
func (pageSource) Remove(pool, id string) error {
	parsed, _ := rotator.ParseID(id) // what is no id is no key's
	v := viewOf(pool)
	if v == nil {
		return fmt.Errorf("pool %s: %w", directive.Shown(pool), status.ErrNotFound)
	}
	if _, ok := v.Find(parsed); !ok {
		return fmt.Errorf("key %s: %w", directive.Shown(id), status.ErrNotFound)
	}
	_, err := v.Remove(parsed)
	return err
}

// Add implements status.Source.
func (pageSource) Add(pool, file, text string) (status.Added, error) {
	v := viewOf(pool)
	if v == nil {
		return status.Added{}, fmt.Errorf("pool %s: %w", directive.Shown(pool), status.ErrNotFound)
	}
	found := keyfile.Parse([]byte(text))
	if err := found.Check(); err != nil {
		return status.Added{}, err
	}
	if err := found.Only(""); err != nil {
		return status.Added{}, fmt.Errorf("%w: %w", err, errProviders)
	}
	keys := observe.NewKeys{File: file}
	for _, e := range found.Entries {
		keys.Keys = append(keys.Keys, observe.NewKey{Key: e.Key.Secret(), Name: e.Name})
	}
	done, err := v.Add(keys)
	if err != nil {
		return status.Added{}, errors.New(found.InLines(err.Error()))
	}
	added := status.Added{Keys: len(done.Added)}
	for _, skipped := range done.Skipped {
		added.Skipped = append(added.Skipped, found.Entries[skipped.Index].Line)
	}
	for _, note := range found.Twice {
		added.Skipped = append(added.Skipped, note.Line)
	}
	slices.Sort(added.Skipped)
	return added, nil
}

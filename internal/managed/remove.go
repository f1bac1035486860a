package managed

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/keyfile"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/rotator"
)

// Remove implements observe.ManagedFiles.
func (f *Files) Remove(id rotator.ID) (removed observe.KeyRemoved, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	removed.ID = id.String()
	for _, m := range f.source.Managed() {
		lines, err := f.removeFrom(m, id)
		if err != nil {
			return removed, f.halfway(removed.Files, explain(m.Text, err))
		}
		if lines > 0 {
			removed.Files = append(removed.Files, filepath.Base(m.Path))
		}
	}
	if len(removed.Files) == 0 {
		return removed, f.elsewhere(id)
	}
	f.log.Info("key was removed by an operator", zap.Stringer("key_id", id), zap.Strings("files", removed.Files))
	return removed, f.heed()
}

// halfway adds to an error which files are without the key already. The pool has it from the
// other one.
func (f *Files) halfway(done []string, err error) error {
	if len(done) == 0 {
		return err
	}
	return fmt.Errorf("%w; %s is without the key already", err, strings.Join(done, ", "))
}

// removeFrom takes the key out of one file, if it stands nowhere else but in managed ones,
// and returns how many lines it had.
func (f *Files) removeFrom(m keyset.Managed, id rotator.ID) (lines int, err error) {
	text, err := keyfile.Read(m.Path)
	if _, lines = keyfile.Remove(text, id); lines == 0 || err != nil {
		return 0, err
	}
	err = keyfile.Update(m.Path, func(text []byte, _ bool) ([]byte, error) {
		rest, n := keyfile.Remove(text, id)
		if lines = n; n == 0 {
			return text, nil
		}
		return rest, f.without(id)
	})
	return lines, err
}

// without tells why the key would stay, if all managed files were without it.
func (f *Files) without(id rotator.ID) error {
	texts := make(map[string][]byte)
	for _, m := range f.source.Managed() {
		text, err := keyfile.Read(m.Path)
		if err != nil {
			return err
		}
		texts[m.Path], _ = keyfile.Remove(text, id)
	}
	rest, err := f.source.Would(texts)
	if err != nil {
		return refusef(http.StatusConflict, "nothing was removed: %w", err)
	}
	if at := rest.Find(id); at != "" {
		return refusef(http.StatusConflict, "nothing was removed: key %s also stands at %s, which is not managed: take it away there first", id, at)
	}
	return nil
}

// elsewhere says where a key stands that no managed file has.
func (f *Files) elsewhere(id rotator.ID) error {
	now, err := f.source.Would(nil)
	if err != nil {
		return refusef(http.StatusConflict, "nothing was removed: %w", err)
	}
	at := now.Find(id)
	if at == "" {
		return refusef(http.StatusNotFound, "the pool has no key %s", id)
	}
	return refusef(http.StatusConflict, "key %s stands at %s, which is not managed: take it away there", id, at)
}

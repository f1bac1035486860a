package keyset

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/rotator"
)

// Managed is a file that keycycler may write.
type Managed struct {
	Text string // as the config has it, for people
	Path string
	Met  bool // it was there when the keys were read
}

// errKeyPath does not say what stands there: a key.
var errKeyPath = errors.New("the path (not shown) begins as keys do: write ./… for a file")

// Manages tells whether there are managed files.
func (s *Source) Manages() bool {
	for _, group := range s.Files() {
		if group.Managed {
			return true
		}
	}
	return false
}

// Managed returns the managed files whose paths are known.
func (s *Source) Managed() (all []Managed) {
	repl := caddy.NewReplacer()
	for text, group := range s.Files() {
		if !group.Managed {
			continue
		}
		if path, err := managedPath(repl, text); err == nil {
			all = append(all, Managed{text, path, s.met[path]})
		}
	}
	return all
}

// managedPath is Expand of a path that a file may be made at.
func managedPath(repl *caddy.Replacer, text string) (string, error) {
	path, err := Expand(repl, text)
	if err == nil && directive.HasKeyPrefix(path) && !strings.ContainsAny(path, `./\`) {
		err = errKeyPath
	}
	return path, err
}

// addManaged adds the keys of a managed file, or of the text that stands for it. One that was
// never there has none; one that is there no more is an error, as it is of any file.
func (s *Source) addManaged(set *Set, repl *caddy.Replacer, text string, texts map[string][]byte) error {
	path, err := managedPath(repl, text)
	if err != nil {
		return err
	}
	if text, ok := texts[path]; ok {
		return set.addLines(bytes.NewReader(text), path)
	}
	err = set.addFile(repl, text)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !s.met[path]:
		return nil
	case err == nil && s.met == nil:
		s.met = make(map[string]bool)
	}
	if err == nil {
		s.met[path] = true
	}
	return err
}

// Would returns the keys as they would be if managed files had these texts, by their paths.
func (s *Source) Would(texts map[string][]byte) (*Set, error) { return s.load(zap.NewNop(), texts) }

// Find returns where the key stands, for people; "" where it is none of the set's.
func (s *Set) Find(id rotator.ID) string {
	i, ok := s.index[id]
	if !ok {
		return ""
	}
	return s.Origins.Of(i)
}

// Named returns where the keys with names stand, for people.
func (s *Set) Named() map[string]string {
	all := make(map[string]string)
	for i, name := range s.Names {
		if name != "" {
			all[name] = s.Origins.Of(i)
		}
	}
	return all
}

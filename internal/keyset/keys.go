// Package keyset reads keys and tokens from the config and from files, and watches the
// files.
//
// It knows Caddy's placeholders and what a key looks like, and nothing of what is done
// with it. A source of keys goes here.
package keyset

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/catalog"
	"github.com/keycycler/keycycler/internal/upstream"
	"github.com/keycycler/keycycler/rotator"
)

// maxKeysFile bounds what is read of a keys file, in bytes: a million long keys.
// It is there for files that have no end.
const maxKeysFile = 256 << 20

// byteOrderMark is what some editors put before UTF-8 text.
var byteOrderMark = []byte("\xef\xbb\xbf")

// isUTF16 tells whether a file begins as one of UTF-16 does, which PowerShell writes.
func isUTF16(line []byte) bool {
	return bytes.HasPrefix(line, []byte("\xff\xfe")) || bytes.HasPrefix(line, []byte("\xfe\xff"))
}

// Set collects keys, each once, in order.
type Set struct {
	Keys    []rotator.Key
	Groups  []string           // of the keys, in the same order; "": none. At the end nil, where there is no group
	Ranks   []rotator.Rank     // likewise; at the end nil, where all are alike
	Rank    rotator.Rank       // of the first key, and of all where Ranks is nil
	Places  []*Place           // likewise; nil: none. At the end nil, where there is none
	Names   []string           // likewise, for people; "": none. At the end nil, where there is none
	Origins Origins            // of the keys
	group   Group              // of the keys that are added next
	index   map[rotator.ID]int // of the keys
	log     *zap.Logger
}

// Group is keys that have something in common. Files and texts may be placeholders.
type Group struct {
	Name  string // of those that share their limits; "": each has limits of its own
	Rank  rotator.Rank
	Place *Place // where they work, and what they serve; nil: nothing is said of that
	Label string // the name of its only key; "": none
	Texts []string
	Files []string

	Managed bool // keycycler may write the files; they need not exist, nor hold a key
}

// Place is where keys work and what they serve there. Groups that have the same one share
// it: two places at different addresses differ.
type Place struct {
	Site  upstream.Site  // the zero Site: where the config of reverse_proxy says
	Offer *catalog.Offer // nil: all models
}

// Source is where keys come from.
type Source struct {
	Groups *[]Group // behind a pointer, so that what prints a struct around it stops there
	Log    *zap.Logger

	met map[string]bool // managed files that were there
}

// Format writes nothing of the source, whatever the verb: it may hold keys in plain text.
func (s *Source) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "keys of %d groups", len(*s.Groups)) }

// Texts returns the texts of all keys, and their groups.
func (s *Source) texts() iter.Seq2[string, Group] {
	return s.each(func(g Group) []string { return g.Texts })
}

// Files is texts for files.
func (s *Source) Files() iter.Seq2[string, Group] {
	return s.each(func(g Group) []string { return g.Files })
}

func (s *Source) each(of func(Group) []string) iter.Seq2[string, Group] {
	return func(yield func(text string, g Group) bool) {
		for _, g := range *s.Groups {
			for _, text := range of(g) {
				if !yield(text, g) {
					return
				}
			}
		}
	}
}

// Inputs returns what the keys are read from.
func (s *Source) Inputs() Inputs {
	var in Inputs
	for path := range s.Files() {
		in.Paths = append(in.Paths, path)
	}
	for text := range s.texts() {
		in.Texts = append(in.Texts, text)
	}
	return in
}

// Load returns the keys that stand in the config and those of files, in this order,
// those of no group first. It is not safe for concurrent use where files are managed.
func (s *Source) Load() (*Set, error) { return s.load(s.Log, nil) }

// load is Load as it would be if managed files had these texts, by their paths.
func (s *Source) load(log *zap.Logger, texts map[string][]byte) (*Set, error) {
	set := &Set{index: make(map[rotator.ID]int), log: log}
	repl := caddy.NewReplacer()
	n := 0
	for text, group := range s.texts() {
		n++
		set.group = group
		if err := set.addInline(repl, text, n); err != nil {
			return nil, err
		}
	}
	var files []string
	for text, group := range s.Files() {
		files, set.group = append(files, text), group
		add := set.addFile
		if group.Managed {
			add = func(repl *caddy.Replacer, text string) error { return s.addManaged(set, repl, text, texts) }
		}
		if err := add(repl, text); err != nil {
			return nil, fmt.Errorf("keys_file: %w", err)
		}
	}
	if len(set.Keys) == 0 && !s.Manages() {
		return nil, noKeys(files)
	}
	if err := set.checkNames(); err != nil {
		return nil, err
	}
	set.trim()
	return set, nil
}

// trim drops what says nothing, and room that is not needed: there may be very many
// keys.
func (s *Set) trim() {
	s.Keys, s.Ranks, s.Origins.at = trimmed(s.Keys), trimmed(s.Ranks), trimmed(s.Origins.at)
	s.Groups, s.Places, s.Names = trimmedSome(s.Groups), trimmedSome(s.Places), trimmedSome(s.Names)
	if len(s.Ranks) == 0 {
		s.Ranks = nil
		return
	}
	s.Rank = s.Ranks[0]
	if !slices.ContainsFunc(s.Ranks, func(r rotator.Rank) bool { return r != s.Ranks[0] }) {
		s.Ranks = nil
	}
}

// RankOf returns how key i is preferred.
func (s *Set) RankOf(i int) rotator.Rank {
	if s.Ranks == nil {
		return s.Rank
	}
	return s.Ranks[i]
}

func trimmed[T any](all []T) []T { return append(make([]T, 0, len(all)), all...) }

// trimmedSome is trimmed, and nil where all are the zero T.
func trimmedSome[T comparable](all []T) []T {
	var none T
	if !slices.ContainsFunc(all, func(v T) bool { return v != none }) {
		return nil
	}
	return trimmed(all)
}

func noKeys(files []string) error {
	if len(files) == 0 {
		return errors.New("no keys: set keys or keys_file")
	}
	return fmt.Errorf("keys_file: no key in %s", strings.Join(files, ", "))
}

// addInline adds the n-th key of the config, after its placeholders are replaced.
func (s *Set) addInline(repl *caddy.Replacer, text string, n int) error {
	at := origin{n: int32(n)}
	secret, err := Expand(repl, text)
	if err == nil {
		secret, err = parseInline(secret)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.Origins.where(at), err)
	}
	return s.add(secret, s.group.Label, at)
}

// Expand replaces placeholders. An empty one is an error that names it. An unknown
// one is an error too, and is not named: it may be a key with braces in it.
func Expand(repl *caddy.Replacer, text string) (string, error) {
	if _, err := repl.ReplaceOrErr(text, false, true); err != nil {
		return "", errors.New(`unknown placeholder: there are {env.<name>} and {file.<path>}; a brace that is none is written \{`)
	}
	return repl.ReplaceOrErr(text, true, true)
}

// addFile adds the keys of a file, whose path may be a placeholder.
func (s *Set) addFile(repl *caddy.Replacer, text string) error {
	return ReadFile(repl, text, text, s.addLines)
}

// ReadFile hands a file, whose path may be a placeholder, to read, with its path. An
// error of opening it calls it shown: what a placeholder holds may be a secret instead
// of a path.
func ReadFile(repl *caddy.Replacer, text, shown string, read func(r io.Reader, path string) error) error {
	path, err := Expand(repl, text)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		var failed *fs.PathError
		if errors.As(err, &failed) {
			failed.Path = shown
		}
		return fmt.Errorf("%w%s", err, remedy(err, path))
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return fmt.Errorf("%s: it is a directory: name a file in it", shown)
	}
	return read(f, path)
}

// remedy says what to do about a file that cannot be opened.
func remedy(err error, path string) string {
	switch dir, dirErr := os.Getwd(); {
	case strings.ContainsAny(path, "*?"):
		return ": a path is that of one file: write the option once for each"
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf(": let the user that Caddy runs as, number %d, read it", os.Getuid())
	case !errors.Is(err, fs.ErrNotExist):
		return ""
	case filepath.IsAbs(path) || dirErr != nil:
		return ": make it, or correct the path"
	default:
		return fmt.Sprintf(": a path like this one begins where Caddy was started, in %s", dir)
	}
}

// addLines adds one key a line; path names the source in errors.
func (s *Set) addLines(r io.Reader, path string) error {
	s.Origins.files = append(s.Origins.files, keysFile{path, s.group.Managed})
	file := int32(len(s.Origins.files))
	where := func(n int) string { return s.Origins.where(origin{file, int32(n)}) }
	return EachLine(r, path, where, func(text string, n int) error {
		secret, name, err := ParseLine(text)
		if err != nil {
			return fmt.Errorf("%s: %w", where(n), err)
		}
		return s.add(secret, name, origin{file, int32(n)})
	})
}

// EachLineOf calls add for each line that holds something, and with where it stands.
func EachLineOf(r io.Reader, path string, add func(text, where string) error) error {
	at := func(n int) string { return fmt.Sprintf("%s:%d", path, n) }
	return EachLine(r, path, at, func(text string, n int) error { return add(text, at(n)) })
}

// EachLine calls add for each line that has a key, with the line's number, from 1
// on. In errors at names a line, and whole all of them.
func EachLine(r io.Reader, whole string, at func(n int) string, add func(secret string, n int) error) error {
	limited := &io.LimitedReader{R: r, N: maxKeysFile + 1}
	lines := bufio.NewScanner(limited)
	lines.Buffer(nil, rotator.MaxKeyLen+1024)
	n := 0
	for lines.Scan() {
		n++
		line := lines.Bytes()
		if n == 1 {
			if isUTF16(line) {
				return fmt.Errorf("%s: the file is UTF-16: save it as UTF-8", whole)
			}
			line = bytes.TrimPrefix(line, byteOrderMark)
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if err := add(string(line), n); err != nil {
			return err
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("%s: the line is longer than a key may be, %d bytes", at(n+1), rotator.MaxKeyLen)
	case err != nil:
		return err
	case limited.N <= 0:
		return fmt.Errorf("%s: the file is larger than %d MiB", whole, maxKeysFile>>20)
	}
	return nil
}

// add keeps the key unless it is there already.
func (s *Set) add(secret, name string, at origin) error {
	key, err := rotator.NewKey(secret)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Origins.where(at), err)
	}
	if first, doubled := s.index[key.ID()]; doubled {
		s.log.Warn("key stands twice: kept once",
			zap.Stringer("key_id", key), zap.String("at", s.Origins.where(at)), zap.String("first", s.Origins.where(s.Origins.at[first])))
		return nil
	}
	s.index[key.ID()] = len(s.Keys)
	s.Keys, s.Origins.at = append(s.Keys, key), append(s.Origins.at, at)
	s.Groups, s.Ranks = append(s.Groups, s.group.Name), append(s.Ranks, s.group.Rank)
	s.Places, s.Names = append(s.Places, s.group.Place), append(s.Names, name)
	return nil
}

// checkNames tells whether each name stands for one key, and is none.
func (s *Set) checkNames() error {
	named := make(map[string]int)
	for i, name := range s.Names {
		if name == "" {
			continue
		}
		if _, isKey := s.index[rotator.IDOf(name)]; isKey {
			return fmt.Errorf("%s: %w", s.Origins.where(s.Origins.at[i]), errTwo)
		}
		if first, doubled := named[name]; doubled {
			return fmt.Errorf("%s: the key's name is that of another key, at %s: a name stands for one key",
				s.Origins.where(s.Origins.at[i]), s.Origins.where(s.Origins.at[first]))
		}
		named[name] = i
	}
	return nil
}

package managed

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// pool is one whose files are changed: what it has read last, and how often it has read.
type pool struct {
	*Files
	source *keyset.Source
	has    []rotator.Key
	reads  int
}

// poolOf reads the managed files and, before them, the fixed ones.
func poolOf(t testing.TB, managed []string, fixed ...string) *pool {
	t.Helper()
	rank := rotator.Rank{Tier: 1, Weight: 1}
	groups := []keyset.Group{{Rank: rank, Texts: []string{"sk-demo-inline"}}, {Rank: rank, Files: fixed}, {Rank: rank, Files: managed, Managed: true}}
	p := &pool{source: &keyset.Source{Groups: &groups, Log: zap.NewNop()}}
	p.Files = New(p.source, p.read, zap.NewNop())
	if err := p.Reread(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *pool) read() error {
	set, err := p.source.Load()
	if err == nil {
		p.has = set.Keys
	}
	p.reads++
	return err
}

// keys returns what the pool has, but the key of its config.
func (p *pool) keys() (all []string) {
	for _, key := range p.has {
		if key.Secret() != "sk-demo-inline" {
			all = append(all, key.Secret())
		}
	}
	return all
}

// news are keys that are to be added, as <key> or <key> <name>.
func news(lines ...string) (all []observe.NewKey) {
	for _, line := range lines {
		secret, name, _ := strings.Cut(line, " ")
		all = append(all, observe.NewKey{Key: secret, Name: name})
	}
	return all
}

// file makes one of that text.
func file(t testing.TB, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func textOf(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// statusOf returns what an error says to a client of the API; nothing in it is of a key.
func statusOf(t testing.TB, err error) int {
	t.Helper()
	refusal, ok := errors.AsType[*observe.RefusalError](err)
	if !ok || strings.Contains(err.Error(), "sk-demo") || strings.Contains(err.Error(), "demo-") {
		t.Errorf("%v is no refusal, or shows a key", err)
		return 0
	}
	return refusal.Status
}

// The keys are in the file and in the pool when the call is over, and those that were there
// already are told, with where they stand. All else in the file stays.
func TestAdd(t *testing.T) {
	const before = "\xef\xbb\xbf# ours\r\nsk-demo-1 east\r\n\r\nsk-demo-2"
	path, fixed := file(t, "a.keys", before), file(t, "fixed.keys", "sk-demo-3\n")
	p := poolOf(t, []string{path}, fixed)
	added, err := p.Add(path, news("sk-demo-4", "sk-demo-1", "sk-demo-3 x", "sk-demo-5 west", "sk-demo-inline", "sk-demo-4 again"))
	if err != nil {
		t.Fatal(err)
	}
	if want := before + "\r\nsk-demo-4\r\nsk-demo-5 west\r\n"; textOf(t, path) != want {
		t.Errorf("the file has %q, want %q", textOf(t, path), want)
	}
	if got := fmt.Sprint(p.keys()); got != "[sk-demo-3 sk-demo-1 sk-demo-2 sk-demo-4 sk-demo-5]" {
		t.Errorf("the pool has %s", got)
	}
	var told []string
	for _, s := range added.Skipped {
		told = append(told, fmt.Sprint(s.Index, " ", s.Origin))
	}
	want := []string{"1 a.keys:2", "2 fixed.keys:1", "4 keys: key 1", "5 keys[0]"}
	if added.File != "a.keys" || !slices.Equal(added.Added, []string{testkit.IDOf("sk-demo-4"), testkit.IDOf("sk-demo-5")}) || !slices.Equal(told, want) {
		t.Errorf("%+v, want %q to be left out", added, want)
	}
}

// What is wrong is told by its place, changes nothing, and shows nothing of a key.
func TestAddRefuses(t *testing.T) {
	for _, row := range []struct {
		sentence string
		keys     []observe.NewKey
		status   int
		says     string
	}{
		{"none", nil, http.StatusBadRequest, "there is no key"},
		{"one of several is none", news("sk-demo-8", "KEY=sk-demo-9"), http.StatusBadRequest, "nothing was added: keys[1]: a variable's name"},
		{"a name that is a key", news("sk-demo-8", "sk-demo-7 sk-demo-9"), http.StatusBadRequest, "keys[1]: the name looks like a key (not shown)"},
		{"the name of a key that is there", news("sk-demo-7", "sk-demo-8 east"), http.StatusConflict, "nothing was added: keys[1]: the key's name is that of another key, at a.keys:1: a name stands for one key"},
		{"that of a key that is added, too", news("sk-demo-1 other", "sk-demo-7 north", "sk-demo-8 north"), http.StatusConflict, "keys[2]: the key's name is that of another key, at keys[1]: a name stands for one key"},
		{"many of them", news(strings.Split(strings.Repeat("Bearer,", 12), ",")...), http.StatusBadRequest, "; and 3 more"},
	} {
		path := file(t, "a.keys", "sk-demo-1 east\n")
		p := poolOf(t, []string{path})
		reads := p.reads
		added, err := p.Add(path, row.keys)
		if statusOf(t, err) != row.status || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v, want %q", row.sentence, err, row.says)
		}
		if textOf(t, path) != "sk-demo-1 east\n" || len(added.Added) > 0 || p.reads != reads {
			t.Errorf("%s: it has %q, and %+v was added", row.sentence, textOf(t, path), added)
		}
	}
}

// A key that is there may be added again under its own name, and under another one: that is
// told, and its name stays.
func TestAddKnowsItsOwnNames(t *testing.T) {
	path := file(t, "a.keys", "sk-demo-1 east\n")
	p := poolOf(t, []string{path})
	added, err := p.Add(path, news("sk-demo-1 east", "sk-demo-1 west", "sk-demo-2 west"))
	if err != nil || len(added.Added) != 1 || textOf(t, path) != "sk-demo-1 east\nsk-demo-2 west\n" {
		t.Errorf("%+v, %v; it has %q", added, err, textOf(t, path))
	}
}

// A file is made where there never was one, and not where one has gone; a bad one, and one that
// cannot be written, get no key, and say what to do.
func TestAddToFilesThatAreNotThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.keys")
	p := poolOf(t, []string{path, filepath.Join(dir, "none", "b.keys")})
	if got := p.Files.Files(); len(got) != 2 {
		t.Fatalf("%q", got)
	}
	if _, err := p.Add(path, news("sk-demo-1")); err != nil || textOf(t, path) != "sk-demo-1\n" {
		t.Fatalf("%v", err)
	}
	_, err := p.Add(filepath.Join(dir, "none", "b.keys"), news("sk-demo-2"))
	if statusOf(t, err) != http.StatusInternalServerError || !strings.HasSuffix(err.Error(), "no such file or directory: make its folder") {
		t.Errorf("without a folder: %v", err)
	}
	if _, err := p.Add("another", news("sk-demo-2")); statusOf(t, err) != http.StatusConflict {
		t.Errorf("another file: %v", err)
	}
	if err := os.WriteFile(path, []byte("sk-demo-1\nKEY=sk-demo-2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Add(path, news("sk-demo-3")); statusOf(t, err) != http.StatusConflict || !strings.Contains(err.Error(), "the keys that are there cannot be read: keys_file: "+path+":2: ") {
		t.Errorf("a bad file: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Add(path, news("sk-demo-3")); statusOf(t, err) != http.StatusConflict || !strings.Contains(err.Error(), "it was there and is gone") {
		t.Errorf("one that is gone: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("it was made anew")
	}
	if got := fmt.Sprint(p.keys()); got != "[sk-demo-1]" {
		t.Errorf("the pool has %s", got)
	}
}

// A pool that cannot read what was written says so: the file has it all the same.
func TestAddThatIsNotRead(t *testing.T) {
	path := file(t, "a.keys", "")
	p := poolOf(t, []string{path})
	f := New(p.source, func() error { return errors.New("no room") }, zap.NewNop())
	_, err := f.Add(path, news("sk-demo-1"))
	if statusOf(t, err) != http.StatusInternalServerError || !strings.Contains(err.Error(), "the file is written, but the keys were not read again: no room") || textOf(t, path) != "sk-demo-1\n" {
		t.Errorf("%v; it has %q", err, textOf(t, path))
	}
}

// A key goes from all managed files, or from none where it stands in another one, too.
func TestRemove(t *testing.T) {
	a, b, fixed := file(t, "a.keys", "# ours\nsk-demo-1 east\nsk-demo-2\n"), file(t, "b.keys", "sk-demo-3\nsk-demo-1"), file(t, "fixed.keys", "sk-demo-2\n")
	p := poolOf(t, []string{a, b}, fixed)
	removed, err := p.Remove(rotator.IDOf("sk-demo-1"))
	if err != nil || !slices.Equal(removed.Files, []string{"a.keys", "b.keys"}) || textOf(t, a) != "# ours\nsk-demo-2\n" || textOf(t, b) != "sk-demo-3\n" {
		t.Errorf("%+v, %v; they have %q and %q", removed, err, textOf(t, a), textOf(t, b))
	}
	if got := fmt.Sprint(p.keys()); got != "[sk-demo-2 sk-demo-3]" {
		t.Errorf("the pool has %s", got)
	}
	for secret, want := range map[string]struct {
		status int
		says   string
	}{
		"sk-demo-2":      {http.StatusConflict, "nothing was removed: key " + testkit.IDOf("sk-demo-2") + " also stands at fixed.keys:1, which is not managed"},
		"sk-demo-inline": {http.StatusConflict, "stands at keys: key 1, which is not managed"},
		"sk-demo-1":      {http.StatusNotFound, "the pool has no key " + testkit.IDOf("sk-demo-1")},
	} {
		if _, err := p.Remove(rotator.IDOf(secret)); statusOf(t, err) != want.status || !strings.Contains(err.Error(), want.says) {
			t.Errorf("%s: %v, want %s", secret, err, want.says)
		}
	}
	if textOf(t, a) != "# ours\nsk-demo-2\n" {
		t.Errorf("it has %q", textOf(t, a))
	}
}

// Where a second file cannot be written, it is told which files are without the key already. The
// pool keeps it.
func TestRemoveHalfway(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no locks here")
	}
	a, b := file(t, "a.keys", "sk-demo-1\nsk-demo-2\n"), file(t, "b.keys", "sk-demo-1\n")
	p := poolOf(t, []string{a, b})
	if err := os.Mkdir(filepath.Join(filepath.Dir(b), ".b.keys.lock"), 0o700); err != nil { // nobody can write there, root neither
		t.Fatal(err)
	}
	_, err := p.Remove(rotator.IDOf("sk-demo-1"))
	if statusOf(t, err) != http.StatusInternalServerError || !strings.Contains(err.Error(), "b.keys cannot be written: its lock, ") || !strings.HasSuffix(err.Error(), "; a.keys is without the key already") {
		t.Errorf("%v", err)
	}
	if textOf(t, a) != "sk-demo-2\n" || textOf(t, b) != "sk-demo-1\n" || p.Reread() != nil || len(p.keys()) != 2 {
		t.Errorf("they have %q and %q, the pool has %q", textOf(t, a), textOf(t, b), p.keys())
	}
}

// Two pools of one file write at once: each key is there once, those that were
// taken away are not, and no comment is lost.
func TestWritersAtOnce(t *testing.T) {
	const each = 15
	path := file(t, "a.keys", "# ours\n")
	pools := []*pool{poolOf(t, []string{path}), poolOf(t, []string{path})}
	var all sync.WaitGroup
	for w, p := range pools {
		all.Go(func() {
			for i := range each {
				if _, err := p.Add(path, news(fmt.Sprintf("sk-demo-%d-%d", w, i), fmt.Sprintf("sk-demo-both-%d", i))); err != nil {
					t.Error(err)
				}
				if i%3 > 0 {
					continue
				}
				if _, err := p.Remove(rotator.IDOf(fmt.Sprintf("sk-demo-%d-%d", w, i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	text := textOf(t, path)
	for i := range each {
		for secret, want := range map[string]int{
			fmt.Sprintf("sk-demo-0-%d\n", i): min(i%3, 1), fmt.Sprintf("sk-demo-1-%d\n", i): min(i%3, 1), fmt.Sprintf("sk-demo-both-%d\n", i): 1,
		} {
			if n := strings.Count(text, secret); n != want {
				t.Errorf("%q stands there %d times, want %d", secret, n, want)
			}
		}
	}
	if !strings.HasPrefix(text, "# ours\n") {
		t.Errorf("the comment is lost: %q", text)
	}
	for _, p := range pools {
		if err := p.Reread(); err != nil || len(p.keys()) != strings.Count(text, "sk-") {
			t.Errorf("a pool has %d keys, %v", len(p.keys()), err)
		}
	}
}

// A pool whose config was unloaded reads nothing any more. What is written for it is written,
// and who has asked for it is told.
func TestAStoppedPoolReadsNothing(t *testing.T) {
	file := testkit.WriteFile(t, "keys.txt", "sk-demo-1\n")
	p := poolOf(t, []string{file})
	reads := p.reads
	p.Stop()
	if err := p.Reread(); !errors.Is(err, errStopped) {
		t.Errorf("error %v", err)
	}
	_, err := p.Add(file, []observe.NewKey{{Key: "sk-demo-2"}})
	if !errors.Is(err, errStopped) || p.reads != reads || textOf(t, file) != "sk-demo-1\nsk-demo-2\n" {
		t.Errorf("error %v, %d reads more, %q", err, p.reads-reads, textOf(t, file))
	}
}

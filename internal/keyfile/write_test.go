//go:build unix

package keyfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
	"github.com/keycycler/keycycler/rotator"
)

// adding is an edit that adds a key.
func adding(t testing.TB, secret string) func([]byte, bool) ([]byte, error) {
	e := entry(t, secret, "")
	return func(text []byte, _ bool) ([]byte, error) { return Add(text, []Entry{e}), nil }
}

func readAll(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// folderOf lists what stands beside the file.
func folderOf(t *testing.T, path string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if info, err := f.Info(); err != nil || info.Mode().IsRegular() && info.Mode().Perm()&^private != 0 {
			t.Errorf("%s: others may read it: %v, %v", f.Name(), info.Mode(), err)
		}
		names = append(names, f.Name())
	}
	return names
}

// A file that does not exist is made; one that does is its owner's alone afterwards, and not
// more than it was.
func TestUpdate(t *testing.T) {
	for _, row := range []struct {
		sentence string
		mode     fs.FileMode // 0: there is no file
		want     fs.FileMode
	}{
		{"there is none", 0, 0o600},
		{"its owner's alone", 0o600, 0o600},
		{"everybody's", 0o666, 0o600},
		{"its group's, too", 0o640, 0o600},
		{"it cannot be written", 0o400, 0o400},
	} {
		path := filepath.Join(t.TempDir(), "demo.keys")
		want := "sk-demo-2\n"
		if row.mode != 0 {
			if err := os.WriteFile(path, []byte("# ours\nsk-demo-1"), row.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, row.mode); err != nil {
				t.Fatal(err)
			}
			want = "# ours\nsk-demo-1\nsk-demo-2\n"
		}
		err := Update(path, func(text []byte, exists bool) ([]byte, error) {
			if exists != (row.mode != 0) {
				t.Errorf("%s: there is one: %t", row.sentence, exists)
			}
			return adding(t, "sk-demo-2")(text, exists)
		})
		if err != nil {
			t.Fatalf("%s: %v", row.sentence, err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != row.want || readAll(t, path) != want {
			t.Errorf("%s: the mode is %v, %v; it has %q", row.sentence, info.Mode(), err, readAll(t, path))
		}
		if got := fmt.Sprint(folderOf(t, path)); got != "[.demo.keys.lock demo.keys]" {
			t.Errorf("%s: the folder has %s", row.sentence, got)
		}
	}
}

// An error of edit, and nothing to change, leave the file as it is.
func TestUpdateOfNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "demo.keys")
	if err := os.WriteFile(path, []byte("sk-demo-1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	before, _ := os.Stat(path)
	refusal := errors.New("no")
	if err := Update(path, func([]byte, bool) ([]byte, error) { return []byte("x"), refusal }); !errors.Is(err, refusal) {
		t.Errorf("%v", err)
	}
	if err := Update(path, func(text []byte, _ bool) ([]byte, error) { return text, nil }); err != nil {
		t.Error(err)
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) || after.Mode() != before.Mode() {
		t.Errorf("it is another file: %v, %v", after, err)
	}
}

// Symbolic links stay, and lead to the new text: also those that led to nothing.
func TestUpdateFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	links := map[string]string{"a": "b", "b": "real/demo.keys", "loop": "loop", "gone": filepath.Join(dir, "real", "fresh")}
	for name, to := range links {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "gone", "a"} {
		if err := Update(filepath.Join(dir, name), adding(t, "sk-demo-1")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("%s is no link any more: %v", name, err)
		}
	}
	if got := readAll(t, filepath.Join(dir, "real", "demo.keys")); got != "sk-demo-1\nsk-demo-1\n" {
		t.Errorf("it has %q", got)
	}
	if err := Update(filepath.Join(dir, "loop"), adding(t, "sk-demo-1")); !errors.Is(err, errLinks) {
		t.Errorf("a loop: %v", err)
	}
}

// Errors do not name the path: it may be a secret in a path's place.
func TestUpdateTellsNoPath(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "sk-demo-folder", "demo.keys")
	for sentence, path := range map[string]string{"no such folder": missing, "a folder": dir} {
		if err := Update(path, adding(t, "sk-demo-1")); err == nil || strings.Contains(err.Error(), "sk-demo") || strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", sentence, err)
		}
	}
}

// What an editor writes between the look and the change of name is not lost.
func TestUpdateSeesAnEditor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "demo.keys")
	edits := 0
	err := Update(path, func(text []byte, exists bool) ([]byte, error) {
		if edits++; edits <= 3 {
			if err := os.WriteFile(path, fmt.Appendf(nil, "# edit %d\n", edits), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return adding(t, "sk-demo-1")(text, exists)
	})
	if got := readAll(t, path); err != nil || edits != 4 || got != "# edit 3\nsk-demo-1\n" {
		t.Errorf("after %d edits it has %q, %v", edits, got, err)
	}
	err = Update(path, func(text []byte, _ bool) ([]byte, error) {
		edits++
		return append(text, 'x'), os.WriteFile(path, fmt.Appendf(nil, "# edit %d\n", edits), 0o600)
	})
	if got := readAll(t, path); !errors.Is(err, errRestless) || got != fmt.Sprintf("# edit %d\n", edits) {
		t.Errorf("of a file that changes all the time: %v, %q", err, got)
	}
}

// What somebody has left who was killed is in nobody's way, and does not stay.
func TestUpdateAfterAKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "demo.keys")
	if err := os.WriteFile(beside(path, ".tmp"), []byte("sk-demo-9\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Update(path, adding(t, "sk-demo-1")); err != nil || readAll(t, path) != "sk-demo-1\n" {
		t.Fatalf("%v", err)
	}
	if got := fmt.Sprint(folderOf(t, path)); got != "[.demo.keys.lock demo.keys]" {
		t.Errorf("the folder has %s", got)
	}
}

// Many write at once, and each key is there once.
func TestUpdateAtOnce(t *testing.T) {
	const writers, each = 8, 10
	path := filepath.Join(t.TempDir(), "demo.keys")
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				if err := Update(path, adding(t, fmt.Sprintf("sk-demo-%d-%d", w, i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if f := Lines([]byte(readAll(t, path))); len(f.Entries) != writers*each || len(f.Twice) > 0 {
		t.Errorf("%d keys, %d of them twice", len(f.Entries), len(f.Twice))
	}
}

// writerEnv makes the test binary one that writes the file of that name until it is killed.
const writerEnv = "KEYCYCLER_TEST_WRITER"

func TestMain(m *testing.M) {
	if path := os.Getenv(writerEnv); path != "" {
		keepWriting(path)
	}
	os.Exit(m.Run())
}

// keepWriting adds key after key, and takes every third one away again. It prints what is
// done when it is.
func keepWriting(path string) {
	for i := 0; ; i++ {
		secret := fmt.Sprintf("sk-demo-%d-%d", os.Getpid(), i)
		e, _ := NewEntry(secret, "")
		err := Update(path, func(text []byte, _ bool) ([]byte, error) { return Add(text, []Entry{e}), nil })
		if err == nil && i%3 == 0 {
			err = Update(path, func(text []byte, _ bool) ([]byte, error) {
				rest, _ := Remove(text, e.Key.ID())
				return rest, nil
			})
			secret = ""
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Printf("%d %s\n", i, secret)
	}
}

// Two processes write a file and are killed at any moment, again and again: it can always be
// read, has each key that was added and none twice, and the comment.
func TestKilledWriters(t *testing.T) {
	rounds := 10
	if live.Long() {
		rounds = 100
	}
	path := filepath.Join(t.TempDir(), "demo.keys")
	const comment = "# ours\r\n\n"
	if err := os.WriteFile(path, []byte(comment), 0o600); err != nil {
		t.Fatal(err)
	}
	added := make(map[string]bool)
	for range rounds {
		for _, secret := range killedWriters(t, path) {
			added[secret] = true
		}
		text := readAll(t, path)
		f := Lines([]byte(text))
		if len(f.Wrong)+len(f.Twice) > 0 || !strings.HasPrefix(text, comment) {
			t.Fatalf("it cannot be read, or has keys twice: %s %s", Told(f.Wrong), Told(f.Twice))
		}
		has := make(map[rotator.ID]bool)
		for _, e := range f.Entries {
			has[e.Key.ID()] = true
		}
		for secret := range added {
			if !has[rotator.IDOf(secret)] {
				t.Fatalf("%s is lost", secret)
			}
		}
	}
	if len(added) < rounds {
		t.Errorf("only %d keys were added", len(added))
	}
	t.Logf("%d keys were added by %d processes that were killed", len(added), 2*rounds)
}

// killedWriters lets two write until each has done so much, kills both, and returns what they
// have added for good.
func killedWriters(t *testing.T, path string) (added []string) {
	t.Helper()
	var outs [2]bytes.Buffer
	var reads sync.WaitGroup
	begun := make(chan struct{}, 2)
	var all []*exec.Cmd
	for i := range outs {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), writerEnv+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, cmd)
		reads.Go(func() {
			io.CopyN(&outs[i], out, int64(1+rand.IntN(100)))
			begun <- struct{}{}
			io.Copy(&outs[i], out)
		})
	}
	live.InTime(t, "both write", func() { <-begun; <-begun })
	for _, cmd := range all {
		cmd.Process.Kill()
	}
	reads.Wait()
	for _, cmd := range all {
		cmd.Wait()
	}
	for i := range outs {
		for line := range strings.Lines(outs[i].String()) {
			if _, secret, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " "); strings.HasSuffix(line, "\n") && secret != "" {
				added = append(added, secret)
			}
		}
	}
	return added
}

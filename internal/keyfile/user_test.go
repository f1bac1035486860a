//go:build linux

package keyfile

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const (
	folderEnv = "KEYCYCLER_TEST_FOLDER" // in which a process of its own does the test
	nobody    = 65534
)

// asNobody runs the test in the folder, in a process of its own that is not root: what nobody
// may not do, root may. It reports whether this is the one.
func asNobody(t *testing.T, folder string) bool {
	t.Helper()
	if os.Getenv(folderEnv) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), folderEnv+"="+folder)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
			t.Errorf("%v\n%s", err, out)
		}
		return false
	}
	if err := errors.Join(os.Chdir(os.Getenv(folderEnv)), syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
		t.Fatal(err)
	}
	return true
}

// places are folders and files in them, as one user leaves them to another: the modes of the
// folder and of the file, and whose they are.
var places = []struct {
	name         string
	folder, file fs.FileMode
	mine, locked bool // the folder is nobody's; root has left a lock
	says         string
	mode         fs.FileMode // of the file afterwards
}{
	{"a file that it may not read", 0o700, 0o600, true, false, "open: permission denied", 0o600},
	{"a folder that cannot be listed", 0o300, 0o644, true, false, "", 0o600},
	{"a file that its group alone may read", 0o700, 0o040, true, false, "", 0o400},
	{"a lock of root's", 0o700, 0o644, true, true, "its lock, the hidden file beside it: open: permission denied", 0o644},
	{"a folder that cannot be written", 0o755, 0o644, false, false, "its lock, the hidden file beside it: open: permission denied", 0o644},
	{"a folder in which files are their owners'", 0o777 | fs.ModeSticky, 0o644, false, false, "rename: operation not permitted", 0o644},
}

// Whoever may not do something leaves the file as it was, with nothing beside it, and says
// what it was. Whoever may can read it afterwards.
func TestUpdateByAnotherUser(t *testing.T) {
	if os.Getuid() != 0 && os.Getenv(folderEnv) == "" {
		t.Skip("root alone can become somebody else")
	}
	if !asNobody(t, layOut(t)) {
		return
	}
	for _, p := range places {
		err := Update(filepath.Join(p.name, "demo.keys"), adding(t, "sk-demo-2"))
		if (p.says == "") != (err == nil) || err != nil && err.Error() != p.says {
			t.Errorf("%s: %v, want %q", p.name, err, p.says)
		}
		_ = os.Chmod(p.name, p.folder|0o500) // those that are nobody's, to look into them
		text, err := os.ReadFile(filepath.Join(p.name, "demo.keys"))
		if p.says == "" && string(text) != "sk-demo-1\nsk-demo-2\n" || p.says != "" && err == nil && string(text) != "sk-demo-1\n" {
			t.Errorf("%s: it has %q, %v", p.name, text, err)
		}
		info, err := os.Stat(filepath.Join(p.name, "demo.keys"))
		if err != nil || info.Mode().Perm() != p.mode {
			t.Errorf("%s: %v, %v", p.name, info, err)
		}
		if _, err := os.Stat(beside(filepath.Join(p.name, "demo.keys"), ".tmp")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something is left beside it: %v", p.name, err)
		}
	}
}

// What does not fit on the disk is not there in part, and leaves nothing behind.
func TestUpdateOfAFullDisk(t *testing.T) {
	if os.Getuid() != 0 && os.Getenv(folderEnv) == "" {
		t.Skip("root alone can become somebody else")
	}
	if !asNobody(t, layOut(t)) {
		return
	}
	path := filepath.Join("a folder that cannot be listed", "demo.keys")
	var was syscall.Rlimit
	if err := errors.Join(syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was), syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 30, Max: was.Max})); err != nil {
		t.Fatal(err)
	}
	long := Update(path, adding(t, "sk-demo-"+strings.Repeat("x", 100)))
	short := Update(path, adding(t, "sk-demo-2"))
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	_, left := os.Stat(beside(path, ".tmp"))
	if got := readAll(t, path); !errors.Is(long, syscall.EFBIG) || short != nil || got != "sk-demo-1\nsk-demo-2\n" || !errors.Is(left, fs.ErrNotExist) {
		t.Errorf("%v, %v; it has %q; beside it: %v", long, short, got, left)
	}
}

// layOut makes the places in a folder, for a process of its own.
func layOut(t *testing.T) (dir string) {
	t.Helper()
	if os.Getenv(folderEnv) != "" {
		return ""
	}
	dir = t.TempDir()
	for _, p := range places {
		folder := filepath.Join(dir, p.name)
		path := filepath.Join(folder, "demo.keys")
		err := errors.Join(os.Mkdir(folder, 0o700), os.WriteFile(path, []byte("sk-demo-1\n"), 0o600), os.Chown(path, 0, nobody))
		if p.locked {
			err = errors.Join(err, os.WriteFile(beside(path, ".lock"), nil, 0o600))
		}
		if p.mine {
			err = errors.Join(err, os.Chown(folder, nobody, nobody))
		}
		if err = errors.Join(err, os.Chmod(path, p.file), os.Chmod(folder, p.folder)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

package backend

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"

	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/disk"
)

// fileContext is the context of a config with its storage in dir.
func fileContext(t *testing.T, dir string) caddy.Context {
	t.Helper()
	storage, err := json.Marshal(map[string]string{"module": "file_system", "root": dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin: &caddy.AdminConfig{Disabled: true}, StorageRaw: storage,
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{
			"default": {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

// provisionFile loads the module with a config of its own, and starts that if start says so.
func provisionFile(t *testing.T, dir string, f *FileState, start bool) *FileState {
	t.Helper()
	ctx := fileContext(t, dir)
	if err := f.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	if start {
		startFiles(t, ctx, "")
	}
	t.Cleanup(func() {
		if err := f.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// startFiles does what Caddy does when it starts the config.
func startFiles(t *testing.T, ctx caddy.Context, want string) {
	t.Helper()
	app, err := ctx.App(stateFilesID)
	if err != nil {
		t.Fatal(err)
	}
	if err := app.(caddy.App).Start(); testkit.Message(err) != want {
		t.Fatalf("start: error %v, want %s", err, want)
	}
}

// cool makes a key cool in a pool of the backend.
func cool(t *testing.T, f *FileState, i int) {
	t.Helper()
	p := poolOf(t, f)
	p.Cool(time.Now(), rotator.Slot(i), rotator.Cooldown{For: time.Hour, Source: "default"})
	p.Close(time.Now())
}

func poolOf(t *testing.T, f *FileState) *rotator.Pool {
	t.Helper()
	var keys []rotator.Key
	for _, secret := range testkit.DemoKeys(3) {
		k, err := rotator.NewKey(secret)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	p, err := rotator.NewPool(keys, f.State(), time.Now(), rotator.WithJournal(f.Journal()))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ready(t *testing.T, f *FileState) int {
	t.Helper()
	p := poolOf(t, f)
	defer p.Close(time.Now())
	return p.Census(time.Now()).Ready
}

func TestTheStateFileStandsBesideCaddysData(t *testing.T) {
	dir := t.TempDir()
	f := provisionFile(t, dir, new(FileState), true)
	if mod := f.CaddyModule(); mod.ID != "http.keycycler.state.file" || mod.New() == nil {
		t.Errorf("module %v", mod)
	}
	cool(t, f, 0)
	if err := f.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "keycycler", "keys.state")); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	again := provisionFile(t, dir, new(FileState), true)
	if n := ready(t, again); n != 2 {
		t.Errorf("%d of 3 keys are ready", n)
	}
	if h := again.Health(); !h.Healthy || h.Err != nil {
		t.Errorf("health %+v", h)
	}
}

func TestPlacesOfTheStateFile(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("STATE_FILE", filepath.Join(dir, "from env.state"))
	t.Setenv("EMPTY", "")
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	home, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	if err := errors.Join(os.WriteFile("there.state", nil, 0o600), os.Symlink("there.state", "linked.state")); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ path, want, err string }{
		{"{env.STATE_FILE}", filepath.Join(home, "from env.state"), ""},
		{filepath.Join(dir, "link", "a.state"), filepath.Join(home, "a.state"), ""},
		{filepath.Join(dir, "link", "none", "yet", "a.state"), filepath.Join(home, "none", "yet", "a.state"), ""},
		{"linked.state", filepath.Join(home, "there.state"), ""},
		{"relative.state", filepath.Join(home, "relative.state"), ""},
		{"./x/y/../z.state", filepath.Join(home, "x", "z.state"), ""},
		{"", "", "a path is needed, since Caddy's storage is not the file system: 'state file <path>'"},
		{"{env.EMPTY}", "", "evaluated placeholder {env.EMPTY} is empty"},
		{"{nonsense}", "", `unknown placeholder: there are {env.<name>} and {file.<path>}; a brace that is none is written \{`},
		{"sk-demo-1", "", "the path (not shown) could be a key: keys belong behind 'keys'. Write a path with a directory, such as ./keys.state"},
	} {
		got, err := (&FileState{Path: row.path}).place(nil)
		if got != row.want || testkit.Message(err) != row.err {
			t.Errorf("%q: %q, error %v, want %q, %s", row.path, got, err, row.want, row.err)
		}
	}
}

// A reload finds the file that the first start has made, also where a link leads to its
// directory, and that was not there.
func TestAReloadFindsTheFileOfTheFirstStart(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "private"), 0o700), os.Symlink("private", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "link", "keycycler", "keys.state")
	first := provisionFile(t, dir, &FileState{Path: path}, true)
	second := provisionFile(t, dir, &FileState{Path: path}, true)
	if first.Journal() != second.Journal() {
		t.Error("they have journals of their own")
	}
}

// Pools of one process share a file however they write its path, also the old ones and the
// new ones of a reload.
func TestPoolsAndReloadsShareTheFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.state")
	first := provisionFile(t, dir, &FileState{Path: path}, true)
	second := provisionFile(t, dir, &FileState{Path: filepath.Join(dir, ".", "keys.state")}, true)
	if first.Journal() != second.Journal() || first.State() != second.State() {
		t.Error("they have journals of their own")
	}
	cool(t, first, 0)
	for range 2 {
		if err := first.Cleanup(); err != nil {
			t.Fatal(err)
		}
	}
	cool(t, second, 1)
	other, err := disk.Open(disk.Options{Path: path, State: rotator.NewState(time.Now())})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Begin(); err == nil {
		t.Error("the file was given back while a config uses it")
	}
	if err := second.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(other.Begin(), other.Close()); err != nil {
		t.Errorf("the file was not given back: %v", err)
	}
	if n := ready(t, provisionFile(t, dir, &FileState{Path: path}, true)); n != 1 {
		t.Errorf("%d of 3 keys are ready", n)
	}
}

// A config that is only checked, with `caddy validate`, leaves the file of the Caddy that
// runs alone, and is valid; one that starts is not.
func TestTheFileOfAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.state")
	other, err := disk.Open(disk.Options{Path: path, State: rotator.NewState(time.Now())})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Begin(); err != nil {
		t.Fatal(err)
	}
	ctx := fileContext(t, dir)
	f := &FileState{Path: path}
	if err := f.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	startFiles(t, ctx, "state file: "+f.key+": another process uses it: give each one a file of its own, or let them share what they know through Redis")
	if err := errors.Join(f.Cleanup(), other.Close()); err != nil {
		t.Error(err)
	}
	if n := Users(); n != 0 {
		t.Errorf("%d configs hold the state", n)
	}
}

func TestACheckWritesNothing(t *testing.T) {
	dir := t.TempDir()
	f := provisionFile(t, dir, new(FileState), false)
	cool(t, f, 0)
	if err := f.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("there are %v, %v", left, err)
	}
}

// A module that cannot be provisioned holds nothing.
func TestAStateFileThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	keys := filepath.Join(dir, "openai.keys")
	if err := os.WriteFile(keys, []byte("sk-demo-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		keys: "openai.keys is no state file, and nothing is written over it: name another path",
		dir:  " is no file",
	} {
		f := &FileState{Path: path}
		err := f.Provision(fileContext(t, dir))
		if !strings.HasSuffix(testkit.Message(err), want) || !strings.HasPrefix(testkit.Message(err), "file: ") {
			t.Errorf("error %v, want …%s", err, want)
		}
		if err := f.Cleanup(); err != nil || Users() != 0 {
			t.Errorf("cleanup: %v, %d configs hold the state", err, Users())
		}
	}
}

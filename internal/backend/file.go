package backend

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/disk"
	"github.com/keycycler/keycycler/rotator/keep"
	"github.com/keycycler/keycycler/rotator/shared"
)

func init() {
	caddy.RegisterModule(new(FileState))
	caddy.RegisterModule(new(stateFiles))
}

// FileState keeps what is known about keys in a file, so that it outlives this process:
// cooldowns, also those of models, which keys operators have disabled, which key has made
// which file, batch or response, what was used, by client, model and key, and what clients
// have used of their limits. No request waits for the disk, nor fails without it. A process
// that is killed takes the last second with it. In the file stand ids of keys, never keys.
//
// All pools of a process can share one file. Two processes cannot: each needs one of its
// own, or else Redis.
type FileState struct {
	// The file's path, which may be a placeholder such as `{env.STATE_FILE}`. A directory
	// that is missing is made, for this user alone. Default: `keycycler/keys.state` in the
	// directory of Caddy's storage, if that is the file system. With another storage a
	// path is needed.
	Path string `json:"path,omitempty"`

	state   *rotator.State
	journal *disk.Journal
	key     string // of the journal in files
	joined  bool   // and not left yet
}

// files holds the journals, by their paths, across reloads.
var files = caddy.NewUsagePool()

// defaultStateFile is where the file stands in the directory of Caddy's storage.
var defaultStateFile = filepath.Join("keycycler", "keys.state")

// CaddyModule returns the Caddy module information.
func (*FileState) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.keycycler.state.file",
		New: func() caddy.Module { return new(FileState) },
	}
}

// Provision joins the process's state and reads the file into it. It writes nothing: that
// begins when Caddy starts this config.
func (f *FileState) Provision(ctx caddy.Context) (err error) {
	if f.key, err = f.place(ctx.Storage()); err != nil {
		return fmt.Errorf("file: %w", err)
	}
	if f.state, err = joinState(); err != nil {
		return err
	}
	journal, _, err := files.LoadOrNew(f.key, func() (caddy.Destructor, error) { return openFile(f.key, f.state) })
	if err != nil {
		return errors.Join(fmt.Errorf("file: %w", err), leaveState())
	}
	f.journal, f.joined = journal.(*disk.Journal), true
	app, err := ctx.App(stateFilesID)
	if err != nil {
		return err
	}
	app.(*stateFiles).add(f.journal)
	return nil
}

// place returns the file's path, the same one however it is written.
func (f *FileState) place(storage certmagic.Storage) (string, error) {
	path, err := keyset.Expand(caddy.NewReplacer(), f.Path)
	if err != nil {
		return "", err
	}
	if path == "" {
		beside, ok := storage.(*certmagic.FileStorage)
		if !ok {
			return "", errors.New("a path is needed, since Caddy's storage is not the file system: 'state file <path>'")
		}
		path = filepath.Join(beside.Path, defaultStateFile)
	}
	if err := checkStatePath(path); err != nil {
		return "", err
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	return withoutLinks(path), nil
}

// withoutLinks follows links as far as there is something already. What is made later, as the
// file and its directories are at the first start, leaves the result as it is.
func withoutLinks(path string) string {
	if there, err := filepath.EvalSymlinks(path); err == nil {
		return there
	}
	dir := filepath.Dir(path)
	if dir == path {
		return path
	}
	return filepath.Join(withoutLinks(dir), filepath.Base(path))
}

// checkStatePath shows no path that could be a key: files have names that everybody sees.
func checkStatePath(path string) error {
	if directive.LooksLikeKey(path) && !strings.ContainsAny(path, `/\`) {
		return errors.New("the path (not shown) could be a key: keys belong behind 'keys'. Write a path with a directory, such as ./keys.state")
	}
	return nil
}

// openFile opens the journal, and says what it has found.
func openFile(path string, state *rotator.State) (*disk.Journal, error) {
	log := fileLogger().With(zap.String("path", path))
	journal, err := disk.Open(disk.Options{
		Path: path, State: state, Reasons: reason.Names,
		Changed: func(h disk.Health) { logFileHealth(log, h) },
		Damaged: func(d disk.Damage) { logDamage(log, d) },
	})
	if err != nil {
		return nil, err
	}
	if cooling, disabled, owners := journal.Known(); cooling+disabled+owners > 0 {
		log.Info("state was read", zap.Int("cooling", cooling), zap.Int("disabled", disabled), zap.Int("resources", owners))
	}
	return journal, nil
}

// fileLogger is not the module's own, as the one of Redis is not.
func fileLogger() *zap.Logger { return caddy.Log().Named(StateNamespace + ".file") }

// logFileHealth writes one line when the file cannot be written any more, or can again.
func logFileHealth(log *zap.Logger, h disk.Health) {
	if h.Healthy {
		log.Info("the state file is written again")
		return
	}
	log.Warn("the state file cannot be written: this node goes on with what it knows", zap.Error(h.Err), zap.Int("queue", h.Queue))
}

func logDamage(log *zap.Logger, d disk.Damage) {
	if d.Newer {
		log.Warn("the state file is of a newer version: it was set aside, and begins anew", zap.String("aside", d.Aside))
		return
	}
	log.Warn("the state file was damaged: it was set aside, and what could be read of it goes on",
		zap.String("aside", d.Aside), zap.Int("lines", d.Lines), zap.Int("lost", d.Lost))
}

// State implements StateBackend.
func (f *FileState) State() *rotator.State { return f.state }

// Journal implements StateBackend.
func (f *FileState) Journal() rotator.Journal { return f.journal }

// Keeper returns what keeps the pools' usage.
func (f *FileState) Keeper() *rotator.Keeper { return f.journal.Keeper() }

// Accounts returns where what clients have used of their limits is kept.
func (f *FileState) Accounts() keep.Accounts { return f.journal }

// Health tells how the writing fares.
func (f *FileState) Health() shared.Health {
	h := f.journal.Health()
	return shared.Health{Healthy: h.Healthy, Err: h.Err, Since: h.Since, Queue: h.Queue, Written: h.Written, Fails: h.Fails}
}

// Cleanup leaves the journal and the state, which go when no config uses them any more.
func (f *FileState) Cleanup() error {
	if !f.joined {
		return nil
	}
	f.joined = false
	_, err := files.Delete(f.key)
	return errors.Join(err, leaveState())
}

// UnmarshalCaddyfile sets up the backend from Caddyfile tokens. Syntax:
//
//	state file [<path>]
func (f *FileState) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the backend's name
	if d.NextArg() {
		if f.Path = d.Val(); f.Path == "" {
			return d.Errf("state file: the path is empty")
		}
		if err := checkStatePath(f.Path); err != nil {
			return d.Errf("state file: %v", err)
		}
	}
	if d.NextArg() {
		return d.Errf("state file: surplus argument")
	}
	for d.NextBlock(0) {
		return d.Errf("state file: unknown option %s: it has none", directive.ShownName(d.Val()))
	}
	return nil
}

// stateFilesID is the app's name.
const stateFilesID = "http.keycycler.state_files"

// stateFiles is an app without a config, so that Caddy tells when it starts one: a config
// that is only checked must neither lock nor write the files of the Caddy that runs, and one
// whose file is another process's must not start.
type stateFiles struct {
	journals []*disk.Journal
}

// CaddyModule returns the Caddy module information.
func (*stateFiles) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: stateFilesID, New: func() caddy.Module { return new(stateFiles) }}
}

func (s *stateFiles) add(j *disk.Journal) { s.journals = append(s.journals, j) }

// Start takes the files for this process.
func (s *stateFiles) Start() error {
	for _, j := range s.journals {
		if err := j.Begin(); err != nil {
			return fmt.Errorf("state file: %w", err)
		}
	}
	return nil
}

// Stop does nothing: the files are left when no config uses them any more.
func (*stateFiles) Stop() error { return nil }

// Interface guards
var (
	_ caddy.App             = (*stateFiles)(nil)
	_ caddy.Provisioner     = (*FileState)(nil)
	_ caddy.CleanerUpper    = (*FileState)(nil)
	_ caddyfile.Unmarshaler = (*FileState)(nil)
	_ StateBackend          = (*FileState)(nil)
)

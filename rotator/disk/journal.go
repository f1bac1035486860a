// Package disk lets what a process has learned about keys outlive it, in a file, and what it
// has counted: what pools have used, and what clients have used of their limits.
//
// A process always reads its own memory: a rotator.State. The file is the journal beside
// it. What a pool learns is written there in the background, at most four times a second;
// whoever starts next reads it into its memory. The disk may be slow, full, read-only or
// gone: nothing waits for it, and what was learned meanwhile is written when it is back.
//
// The file is appended to, a checksum on each line, and each batch goes down to the disk.
// When most of it is of no use any more it is written anew, under another name, and that
// one takes its place. So a small change costs a small write, however much is known, and no
// loss of power takes anything that was written before.
//
// What was counted stands there as sums, each of which counts over the one before it: nothing is
// counted twice. This process has all sums in its memory, and writes the file anew from there.
//
// In the file stand key ids, never keys. See record.go for its lines, and clock.go for its time.
//
// It knows the engine, and neither Caddy nor HTTP. How knowledge gets on a disk goes here;
// what else shall outlive a process is a further kind of record.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/keep"
)

// Options say how a Journal works. The zero value of each but Path and State is usable.
type Options struct {
	// Path is the file's, from the root. Beside it stand one that ends in ".lock", one
	// that ends in ".new" while it is written anew, and those that were set aside.
	Path string

	// State is the memory of this process that the journal fills and reads.
	State *rotator.State

	// Reasons are the names of the reasons, by number. Processes that read the file after
	// each other must agree on them.
	Reasons []string

	// Changed is called when the journal's health changes, one call after the other. It
	// must not block, nor close the journal.
	Changed func(Health)

	// Damaged is called once if the file was damaged, when it was set aside. It must not
	// block.
	Damaged func(Damage)

	// Now is the clock of this process, and Wall what the machine's clock says. Default:
	// time.Now.
	Now, Wall func() time.Time
}

// Health is how a journal fares.
type Health struct {
	Healthy bool
	Err     error     // why it is not
	Since   time.Time // when Healthy last changed
	Queue   int       // changes that are still to be written
	Written uint64    // changes that were written
	Fails   uint64    // writes that failed
}

// Damage is what was wrong with a file.
type Damage struct {
	Aside string // where it stands now
	Newer bool   // it is of a newer version: nothing of it was read
	Lines int    // that were read
	Lost  int    // that could not be read
}

// Journal keeps what is learned about keys in a file. It implements rotator.Journal. It is
// safe for concurrent use.
type Journal struct {
	state   *rotator.State
	codec   codec
	now     func() time.Time
	changed func(Health)
	damaged func(Damage)

	wake   chan struct{} // there is something to write
	cancel context.CancelFunc
	ctx    context.Context
	done   chan struct{} // closed when nothing is written any more

	life  sync.Mutex // orders Begin and Close
	begun bool

	mu      sync.Mutex // never held while anything is written; taken under the state's lock
	pending map[subject]rotator.Change
	owners  map[rotator.Resource]rotator.Owner
	health  Health

	tally    *tally // what pools have counted
	accounts *accounts
	keeper   *keep.Keeper // of the tally

	// Begin uses these, and then the writer's goroutine alone.
	file  file
	clock clock
	read  *contents   // of the file, until the first write; nil: it has changed since
	stamp os.FileInfo // of the file, when it was read; nil: there was none
	aside bool        // it is to be set aside
	ends  int64       // when the last of what was written ends, by the file's time
	swept time.Time   // when what is too old was forgotten last
}

var (
	_ rotator.OwnerJournal = (*Journal)(nil)
	_ keep.Accounts        = (*Journal)(nil)
	_ keep.Store           = (*tally)(nil)
)

func (o *Options) setDefaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Wall == nil {
		o.Wall = time.Now
	}
	if o.Changed == nil {
		o.Changed = func(Health) {}
	}
	if o.Damaged == nil {
		o.Damaged = func(Damage) {}
	}
}

// Open reads the file into the state, if there is one. It makes nothing and changes
// nothing on the disk: Begin does. It returns an error where the file cannot be read, or
// is somebody else's; a damaged one is read as far as that goes. Close the journal when no
// pool uses it any more.
func Open(o Options) (*Journal, error) {
	o.setDefaults()
	j := &Journal{
		state: o.State, codec: codec{reasons: o.Reasons}, now: o.Now, changed: o.Changed, damaged: o.Damaged,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		pending: make(map[subject]rotator.Change), owners: make(map[rotator.Resource]rotator.Owner),
		health: Health{Healthy: true, Since: o.Now()},
		file:   file{path: o.Path},
		clock:  clock{state: o.State, wall: o.Wall},
		swept:  o.Now(),
	}
	j.ctx, j.cancel = context.WithCancel(context.Background())
	j.tally, j.accounts = newTally(j.wake), newAccounts()
	j.keeper = keep.NewKeeper(j.tally, j.now, func(error) {})
	j.keeper.Every(every)
	if err := j.load(); err != nil {
		return nil, err
	}
	return j, nil
}

// load reads the file into the state.
func (j *Journal) load() error {
	text, stamp, err := readFile(j.file.path)
	if err != nil {
		return err
	}
	if isForeign(text) {
		return fmt.Errorf("%s is no state file, and nothing is written over it: name another path", j.file.path)
	}
	now, all := j.now(), j.codec.read(text)
	j.clock.start(now, all.last)
	j.read, j.stamp, j.aside = all, stamp, all.lost > 0 || all.newer
	j.tally.load(all.used)
	j.accounts.load(all.spent)
	j.teach(now)
	return nil
}

// readFile returns nothing for a file that does not exist.
func readFile(path string) (text string, stamp os.FileInfo, err error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil, nil
	case err != nil:
		return "", nil, err
	}
	defer f.Close()
	if stamp, err = f.Stat(); err != nil {
		return "", nil, err
	}
	if !stamp.Mode().IsRegular() {
		return "", nil, fmt.Errorf("%s is no file", path)
	}
	var all strings.Builder
	all.Grow(int(stamp.Size()))
	_, err = io.Copy(&all, f)
	return all.String(), stamp, err
}

// teach tells the state what was read.
func (j *Journal) teach(now time.Time) {
	for about, f := range j.read.facts {
		j.ends = max(j.ends, f.until)
		j.state.Learn(now, j.clock.change(now, about, f), j)
	}
	all := make([]rotator.Owner, 0, len(j.read.owners))
	for r, o := range j.read.owners {
		all = append(all, rotator.Owner{Resource: r, Key: o.key, Used: j.clock.local(o.used)})
	}
	// The state keeps them in the order of their use, the latest ones first.
	slices.SortFunc(all, func(a, b rotator.Owner) int { return a.Used.Compare(b.Used) })
	for _, o := range all {
		j.state.LearnOwner(now, o, j)
	}
}

// Begin takes the file for this process alone and begins to write. It returns an error if
// another process has it, or if this one must not write there; whatever else is wrong may
// be over later, and is tried again. Further calls do nothing.
func (j *Journal) Begin() error {
	j.life.Lock()
	defer j.life.Unlock()
	if j.begun || j.ctx.Err() != nil {
		return nil
	}
	if err := j.begin(); err != nil {
		j.file.release()
		return fmt.Errorf("%s: %w", j.file.path, err)
	}
	j.begun = true
	go j.run()
	return nil
}

func (j *Journal) begin() error {
	err := j.file.hold()
	if err == nil {
		err = j.resume()
	} else if !lasts(err) {
		err = nil // the writer tries again
	}
	j.introduceOwners()
	rouse(j.wake)
	return err
}

// lasts tells whether what keeps the file from being taken is nothing that passes by itself.
func lasts(err error) bool {
	return errors.Is(err, errInUse) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, errors.ErrUnsupported)
}

// resume goes on with the file, which is this process's now.
func (j *Journal) resume() error {
	if j.isStale() { // it was another process's until now
		if err := j.load(); err != nil {
			return err
		}
	}
	if size := int64(j.read.good); j.stamp != nil && !j.aside && size > 0 {
		at := j.clock.at(j.now())
		// Usage and limits count for nothing here: where they are large, the file is soon
		// written anew, and then it is known what they take.
		_ = j.file.resume(size, j.read.worth(at)) // or else it is written anew
	}
	return nil
}

// isStale tells whether the file is not what was read any more.
func (j *Journal) isStale() bool {
	is, err := os.Stat(j.file.path)
	if err != nil || j.stamp == nil {
		return (err == nil) != (j.stamp != nil)
	}
	return !os.SameFile(is, j.stamp) || is.Size() != j.stamp.Size() || !is.ModTime().Equal(j.stamp.ModTime())
}

// introduceOwners queues the owners that the state knows and the file does not.
func (j *Journal) introduceOwners() {
	for _, o := range j.knownOwners() {
		if _, ok := j.read.owners[o.Resource]; !ok {
			j.RecordOwner(o)
		}
	}
}

// Record implements rotator.Journal: it queues the change and returns. What is queued for
// the same key is replaced: the queue holds at most one change a key, and one more for each
// scope that the state tells apart.
func (j *Journal) Record(c rotator.Change) {
	j.mu.Lock()
	j.pending[subjectOf(c)] = c
	j.mu.Unlock()
	rouse(j.wake)
}

// Keeper keeps in the file what pools count: see keep.Keeper.
func (j *Journal) Keeper() *keep.Keeper { return j.keeper }

// maxOwners bounds the owners that are queued, and those of each kind in a file that is
// written anew: as many as a process remembers.
const maxOwners = 100_000

// RecordOwner implements rotator.OwnerJournal, as Record does. Past maxOwners no more are
// queued: this process goes on to know them.
func (j *Journal) RecordOwner(o rotator.Owner) {
	j.mu.Lock()
	if len(j.owners) < maxOwners {
		j.owners[o.Resource] = o
	}
	j.mu.Unlock()
	rouse(j.wake)
}

// rouse sends without waiting: one that is under way is enough.
func rouse(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Health returns how the journal fares.
func (j *Journal) Health() Health {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.snapshot()
}

// snapshot is Health with j.mu held.
func (j *Journal) snapshot() Health {
	h := j.health
	h.Queue = len(j.pending) + len(j.owners) + j.tally.queue() + j.accounts.queue()
	return h
}

// closing is how long Close waits for a disk that does not answer.
const closing = 15 * time.Second

// Close writes what is queued, and gives the file back. It returns an error if the disk
// does not answer for seconds.
func (j *Journal) Close() error {
	j.life.Lock()
	defer j.life.Unlock()
	j.cancel()
	if !j.begun {
		return nil
	}
	timer := time.NewTimer(closing)
	defer timer.Stop()
	select {
	case <-j.done:
		return nil
	case <-timer.C:
		return fmt.Errorf("%s: the disk has not answered within %s", j.file.path, closing)
	}
}

// Format writes which journal this is, whatever the verb: what is in it changes all the
// time.
func (j *Journal) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "journal %q", j.file.path) }

// Destruct lets a Journal live in a caddy.UsagePool.
func (j *Journal) Destruct() error { return j.Close() }

// note keeps what came of a write, and tells whoever wants to know when the journal's
// health changes by it.
func (j *Journal) note(err error) {
	j.mu.Lock()
	turned := (err == nil) != j.health.Healthy
	if turned {
		j.health.Healthy, j.health.Since = err == nil, j.now()
	}
	if j.health.Err = err; err != nil {
		j.health.Fails++
	}
	h := j.snapshot()
	j.mu.Unlock()
	if turned {
		j.changed(h)
	}
}

// known returns what the state knows of keys that a pool with this journal holds. The state
// is locked for as long as it takes to copy it.
func (j *Journal) known() (all []rotator.Change) {
	j.state.Known(j.now(), j, func(c rotator.Change) bool {
		all = append(all, c)
		return true
	})
	return all
}

func (j *Journal) knownOwners() (all []rotator.Owner) {
	j.state.KnownOwners(j.now(), j, func(o rotator.Owner) bool {
		all = append(all, o)
		return true
	})
	return all
}

// Known is what the file said when it was read: how many keys cool, for all requests or in
// a scope, how many are disabled, and of how many resources the key is known.
func (j *Journal) Known() (cooling, disabled, owners int) {
	j.life.Lock()
	defer j.life.Unlock()
	if j.begun {
		return 0, 0, 0
	}
	at := j.clock.at(j.now())
	for _, f := range j.read.facts {
		if f.until > at {
			cooling++
		}
		if f.off.Disabled() {
			disabled++
		}
	}
	return cooling, disabled, len(j.read.owners)
}

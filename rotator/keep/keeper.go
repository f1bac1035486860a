package keep

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Interval is how often a node looks whether it has something to send, unless its keeper
	// says otherwise: what one that dies takes with it at most.
	Interval = 3 * time.Second

	// fresh is how old what was read may be for somebody who asks.
	fresh = time.Second
)

// Keeper sends what books have to send to a store, and reads for them what others have sent.
// Its methods are safe for concurrent use, and do nothing where it is nil: so what is counted
// stays in memory.
type Keeper struct {
	store    Store
	now      func() time.Time
	note     func(error)
	interval time.Duration

	wake    chan struct{}
	asks    chan ask
	begun   atomic.Bool   // Run was called
	ended   chan struct{} // closed when Run has returned
	failing atomic.Bool   // the last call has failed

	mu    sync.Mutex
	books map[*Book]int // by how often they are kept; with 0 they go when all has been sent
}

// ask is somebody who wants a book to be read.
type ask struct {
	book *Book
	done chan struct{}
}

// NewKeeper returns the keeper of a store. note is told how each call of the store went, one
// after the other, from the first one on.
func NewKeeper(store Store, now func() time.Time, note func(error)) *Keeper {
	return &Keeper{
		store: store, now: now, note: note, interval: Interval,
		wake: make(chan struct{}, 1), asks: make(chan ask), ended: make(chan struct{}), books: make(map[*Book]int),
	}
}

// Every makes the keeper look that often whether there is something to send. It is called
// before Run.
func (k *Keeper) Every(d time.Duration) { k.interval = d }

// Keep begins to keep a book. Of several keepers the last one that runs has it: another one has
// it until this one runs, and again after Drop. Each call wants one of Drop.
func (k *Keeper) Keep(b *Book) {
	if k == nil {
		return
	}
	k.mu.Lock()
	k.books[b]++
	k.mu.Unlock()
	b.begin(k)
}

// Drop ends what Keep began. If no other keeper has the book then, what it has to send is still
// sent.
func (k *Keeper) Drop(b *Book) {
	if k == nil {
		return
	}
	k.mu.Lock()
	k.books[b]--
	k.mu.Unlock()
	b.end(k)
}

// waits tells whether Run was not called yet.
func (k *Keeper) waits() bool { return !k.begun.Load() }

// works tells whether Run was called, and has not returned.
func (k *Keeper) works() bool {
	select {
	case <-k.ended:
		return false
	default:
		return k.begun.Load()
	}
}

// rouse makes the keeper look what there is to do.
func (k *Keeper) rouse() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Refresh reads what others have sent, so that the book tells what was so a second ago. It
// returns when that has come, at the latest when ctx ends, and at once where it would not
// come.
func (k *Keeper) Refresh(ctx context.Context, b *Book) {
	if k == nil || k.failing.Load() || b.isFresh(k.now().Add(-fresh)) {
		return
	}
	a := ask{b, make(chan struct{})}
	select {
	case k.asks <- a:
	case <-ctx.Done():
		return
	case <-k.ended:
		return
	}
	select {
	case <-a.done:
	case <-ctx.Done():
	}
}

// Run works until ctx ends. It is called once.
func (k *Keeper) Run(ctx context.Context) {
	defer close(k.ended)
	k.begin()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case a := <-k.asks:
			k.tell(ctx, a.book, k.read(ctx, a.book, k.now().Add(-fresh)))
			close(a.done)
		case <-k.wake:
			k.work(ctx)
		case <-timer.C:
			k.work(ctx)
			timer.Reset(k.interval - jitter(k.interval/4))
		}
	}
}

// begin takes the books.
func (k *Keeper) begin() {
	k.begun.Store(true)
	for _, b := range k.list() {
		b.turn()
	}
}

// Flush sends what is left, as far as ctx and the store let it. Run must have returned.
func (k *Keeper) Flush(ctx context.Context) {
	for _, b := range k.list() {
		if k.failing.Load() {
			return
		}
		k.tell(ctx, b, k.write(ctx, b))
	}
}

// work does what is due for all books, until the store fails.
func (k *Keeper) work(ctx context.Context) {
	for _, b := range k.list() {
		if err := k.tend(ctx, b); err != nil {
			k.tell(ctx, b, err)
			return
		}
		k.leave(b)
	}
	k.tell(ctx, nil, nil) // of one book that does well nothing follows for the others
}

// list returns the books.
func (k *Keeper) list() (all []*Book) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for b := range k.books {
		all = append(all, b)
	}
	return all
}

// leave forgets a book that nobody wants to be kept, if all of it was sent.
func (k *Keeper) leave(b *Book) {
	owes := b.owes(k)
	k.mu.Lock()
	defer k.mu.Unlock()
	if !owes && k.books[b] <= 0 {
		delete(k.books, b)
	}
}

// tell notes how a call went. While the store fails, each look at a book tries again.
func (k *Keeper) tell(ctx context.Context, b *Book, err error) {
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		b.hurry()
	}
	if k.failing.Swap(err != nil) || err != nil {
		k.note(err)
	}
}

// tend does what is due for a book: it reads first, brings back what is lost, and then sends
// what is new.
func (k *Keeper) tend(ctx context.Context, b *Book) error {
	if err := k.read(ctx, b, time.Time{}); err != nil {
		return err
	}
	for _, span := range b.missing(k) {
		version, s := b.whole(span)
		if err := k.store.Restore(ctx, span, version, s); err != nil {
			return err
		}
		b.restored(k, span)
	}
	return k.write(ctx, b)
}

// read reads a book, if that is due, or if what was read is older than that.
func (k *Keeper) read(ctx context.Context, b *Book, oldest time.Time) error {
	spans, versions := b.asks(k, k.now(), oldest)
	if len(spans) == 0 {
		return nil
	}
	for len(spans) > 0 {
		snapshots, err := k.store.Read(ctx, spans, versions)
		if err != nil {
			return err
		}
		for i, s := range snapshots {
			b.learn(k, k.now(), spans[i], s)
		}
		spans, versions = spans[len(snapshots):], versions[len(snapshots):]
	}
	b.hasRead(k, k.now())
	return nil
}

// write sends what was counted.
func (k *Keeper) write(ctx context.Context, b *Book) error {
	b.collect(k, k.now())
	for goesOn := true; goesOn; {
		batches := b.due(k)
		if len(batches) == 0 {
			return nil
		}
		had, err := k.store.Add(ctx, b.node, batches)
		if err != nil {
			return err
		}
		goesOn = b.settle(k, k.now(), batches, had)
	}
	return nil
}

// jitter returns some time below d.
func jitter(d time.Duration) time.Duration { return rand.N(d) }

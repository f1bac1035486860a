// Package shared lets several processes share what they learn about keys, through
// Redis (6.2 or later) or what speaks its protocol.
//
// A process always reads its own memory: a rotator.State. Redis is the journal
// beside it. What a pool learns is written there, asynchronously and in batches;
// a stream pushes it to the other processes, which apply it to their own memory.
// Redis may be slow, full or away: nothing waits for it, and what was learned
// meanwhile is written when it is back.
//
// The clearing of a key is in its own field alone, and voids what was learned until
// then in all scopes. A clearing in a scope, of a cooldown that was taken back, is
// kept for no longer than that would have lasted: so clients that invent scopes
// leave nothing behind.
//
// In Redis stand key ids, never keys. Deadlines are by the journal's time: Redis' own
// clock, so that processes with wrong clocks agree, and what makes good for it having
// been set. All names share one hash tag, so that they
// stand in one slot of a cluster, and all of them expire, the owners 30 days after the last one was written:
//
//	{prefix}:state      hash    key id → "<until> <learned> <cleared> <switch> <reason> <source>", times in ms since 1970, 0: never;
//	                            the switch is above 0 for a key that an operator has disabled, below for one enabled again
//	                    hash    "<key id> <scope>" → the same, for requests of the scope; its switch is 0
//	{prefix}:deadlines  zset    field of the hash → when it is of no use any more
//	{prefix}:log        stream  one entry a batch of changes: see entry. Its id is where it ends, in bytes
//	{prefix}:owners     zset    "<resource> <key id>" → when it was used last, in ms since 1970; see rotator.Resource
//	{prefix}:meta       hash    version=2, epoch=<of this data>, kept=<of the owners>, last=<where the stream ends>, mark=<its last entry's name>, fields=<of the hash>,
//	                            owners=<how many>, shift=<the journal's time less Redis' clock>, time=<the latest that was found right>,
//	                            claim=<a change of the shift that wants a second process>, filler=<who fills in what was lost, until when>
//
// Limits that the nodes share stand apart:
//
//	{prefix}:leases     hash    digest of the limit's name → "<node> <ceiling> <wanted> <until when that counts> <call>;" for each node that has a part
//	                            meta=<epoch> <since when> <the latest time> <nodes> <until when nobody gets more>, nodes="<node> <until when it is there>;"…
//	{prefix}:lapses     zset    field of that hash → when it is of no use any more
//
// So does what pools have used, in each minute (since 1970) of two hours and each day of 31:
//
//	{prefix}:usage:<pool>:m<minute> and {prefix}:usage:<pool>:d<day>
//	                    hash    see span
//
// An epoch begins where data are made anew. Every entry names its own, and a process that
// stands in another reads everything once.
//
// It knows the engine and Redis, and neither Caddy nor HTTP. What nodes tell each other, and
// how, goes here.
package shared

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/keep"
	"github.com/keycycler/keycycler/rotator/lease"
)

// Options say how a Journal works. The zero value of each but Client and State is
// usable.
type Options struct {
	// Client is the connection to Redis. The journal closes it. It should have
	// ContextTimeoutEnabled, or else its own timeouts bound a command, and no
	// retries, which are the journal's business.
	Client redis.UniversalClient

	// State is the memory of this process that the journal fills and reads.
	State *rotator.State

	// Prefix begins the names of all keys in Redis; processes with the same prefix
	// share what they know. Default: keycycler.
	Prefix string

	// Reasons are the names of the reasons, by number, for people who look into
	// Redis. Processes that share a journal must agree on them.
	Reasons []string

	// Timeout bounds one command, in addition to what it blocks on purpose.
	// Default: 3s.
	Timeout time.Duration

	// Changed is called when the journal's health changes, one call after the
	// other. It must not block, nor close the journal.
	Changed func(Health)

	// Mended is called with what was lost in Redis or written over by somebody else, once
	// each time, when this process finds out. All is made anew then, from what the
	// processes know. It must not block.
	Mended func(what string)

	// Now is the clock of this process. Default: time.Now.
	Now func() time.Time

	// Begin holds the first connection back until it is closed, or until there is
	// something to write. Default: nil, at once.
	Begin <-chan struct{}

	flush time.Duration // bounds the last writes. Default: flushTime
}

const (
	defaultPrefix  = "keycycler"
	defaultTimeout = 3 * time.Second

	// heartbeat is how long the journal waits for news before it looks whether it
	// has missed any.
	heartbeat = 2 * time.Second

	// batch is how many changes go into one round trip, and into one entry.
	batch = 500

	// logBytes is about how long the stream is: how far behind a process may be and
	// still catch up without reading everything.
	logBytes = 16 << 20

	// flushTime bounds the last writes when the journal is closed: much more than they take
	// on a machine that is not overloaded.
	flushTime = 3 * time.Second
)

// Health is how a journal fares.
type Health struct {
	Healthy bool          // false from the second failure in a row on; those of the last outage do not count
	Err     error         // the last error, while it is not healthy
	Since   time.Time     // when Healthy last changed
	Lag     time.Duration // how old the last change of another process was when it was applied here
	Queue   int           // changes that are still to be written; or at most that, while it is not known what Redis lacks
	Written uint64        // changes that were written
	Heard   uint64        // changes of others that were applied
	Resyncs uint64        // times that everything was read, the first included
	Fails   uint64        // commands that failed
}

// Journal shares what is learned about keys with other processes. It implements
// rotator.Journal. It is safe for concurrent use.
type Journal struct {
	client  redis.UniversalClient
	state   *rotator.State
	names   names
	codec   codec
	node    string
	timeout time.Duration
	last    time.Duration // for what is written when it is closed
	changed func(Health)
	mended  func(what string)
	now     func() time.Time

	cancel  context.CancelFunc
	done    sync.WaitGroup
	written chan struct{} // closed when the writer has ended
	wake    chan struct{} // the writer has something to do
	back    chan struct{} // Redis is back: a writer that pauses need not

	telling  sync.Mutex // orders the calls of changed; taken before mu
	settling sync.Mutex // see settle; taken before mu

	mu      sync.Mutex // never held across the network; taken under the state's lock
	pending map[subject]rotator.Change
	owners  []rotator.Owner // that are still to be written, in order
	unseen  map[string]sent // written, by the names of entries that were not read yet
	mend    bool            // Redis holds data that is not sound
	broken  string          // what of it; "": nothing
	had     bool            // there were data when this process looked last
	everHad bool            // there were some at any time
	owned   bool            // there are owners in Redis
	fill    refill
	health  Health
	hearing side
	saving  side
	sharing side // of limits
	keeping side // of what was counted

	place place // of the listener's goroutine alone
	anew  bool  // likewise: nothing was applied since everything was read
	crowd crowd

	clock clock

	book   *lease.Book   // this node's parts of limits
	shares chan struct{} // there are some
	left   chan struct{} // closed when nobody asks for any more

	keeper *keep.Keeper
	kept   chan struct{} // closed when it has ended
}

// side is one half of the journal's work, hearing or saving.
type side struct {
	fails int   // in a row
	err   error // nil: it works
}

// note reports nothing of a single failure: a connection may get lost at any time,
// and the next try tells more.
func (s *side) note(err error) {
	if err == nil {
		*s = side{}
		return
	}
	s.fails++
	if s.fails > 1 {
		s.err = err
	}
}

var _ rotator.OwnerJournal = (*Journal)(nil)

func (o *Options) setDefaults() {
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Changed == nil {
		o.Changed = func(Health) {}
	}
	if o.Mended == nil {
		o.Mended = func(string) {}
	}
}

// New returns a journal and starts its four goroutines. It does not wait for Redis.
// Call Close when no pool uses it any more.
func New(o Options) *Journal {
	o.setDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	j := &Journal{
		client:  o.Client,
		state:   o.State,
		names:   namesFor(o.Prefix),
		codec:   codec{reasons: o.Reasons},
		node:    shortName(),
		timeout: o.Timeout,
		last:    cmp.Or(o.flush, flushTime),
		changed: o.Changed,
		mended:  o.Mended,
		now:     o.Now,
		cancel:  cancel,
		written: make(chan struct{}),
		wake:    make(chan struct{}, 1),
		back:    make(chan struct{}, 1),
		pending: make(map[subject]rotator.Change),
		health:  Health{Healthy: true, Since: o.Now()},
		clock:   clock{state: o.State},
		shares:  make(chan struct{}, 1),
		left:    make(chan struct{}),
		kept:    make(chan struct{}),
	}
	j.keeper = keep.NewKeeper(counts{j}, j.now, func(err error) { j.note(&j.keeping, err) })
	j.book = lease.NewBook(j.state.Unix(j.now()))
	j.done.Go(func() {
		defer close(j.written)
		j.write(ctx)
	})
	j.done.Go(func() {
		if begins(ctx, o.Begin) {
			j.listen(ctx)
		}
	})
	j.done.Go(func() {
		defer close(j.left)
		if begins(ctx, o.Begin) {
			j.divideLimits(ctx)
		}
	})
	j.done.Go(func() {
		defer close(j.kept)
		if begins(ctx, o.Begin) {
			j.keeper.Run(ctx)
		}
	})
	return j
}

// begins waits until begin is closed, if there is one. It reports false when ctx ends.
func begins(ctx context.Context, begin <-chan struct{}) bool {
	if begin == nil {
		return true
	}
	select {
	case <-begin:
		return true
	case <-ctx.Done():
		return false
	}
}

// Record implements rotator.Journal: it queues the change and returns. What is
// queued for the same key is replaced: the queue holds at most one change a key, and
// one more for each scope that the state tells apart.
func (j *Journal) Record(c rotator.Change) {
	j.mu.Lock()
	j.pending[subjectOf(c)] = c
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
	known := j.state.Size() // whose lock is taken before j.mu
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.snapshot(known)
}

// snapshot is Health with j.mu held.
func (j *Journal) snapshot(known int) Health {
	h := j.health
	h.Queue = len(j.pending) + len(j.owners) + j.fill.left(known)
	return h
}

// shared tells whether this process has ever found data in Redis.
func (j *Journal) shared() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.everHad
}

// hadData tells whether Redis held any when this process looked last.
func (j *Journal) hadData() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.had
}

// Close writes what is queued, if Redis takes it within three seconds, and releases
// the connection.
func (j *Journal) Close() error {
	j.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), j.last)
	defer cancel()
	select {
	case <-j.written:
		j.linger(ctx)
	case <-ctx.Done():
	}
	select {
	case <-j.left:
		j.leave(ctx)
	case <-ctx.Done():
	}
	select {
	case <-j.kept:
		j.keeper.Flush(ctx)
	case <-ctx.Done():
	}
	err := j.client.Close() // which ends what still waits for Redis
	j.done.Wait()
	return err
}

// linger writes what is left, as long as ctx and Redis let it.
func (j *Journal) linger(ctx context.Context) {
	for j.lingers() {
		if j.flush(ctx) != nil {
			return
		}
	}
}

// lingers tells whether something is left that can be written at once: what others
// are filling in is not for this process to wait for.
func (j *Journal) lingers() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.health.Healthy {
		return false
	}
	if len(j.pending)+len(j.owners) > 0 {
		return true
	}
	if !j.fill.due || j.fill.asked && !j.fill.turn {
		return false
	}
	j.fill.at = time.Time{}
	return true
}

// Format writes which journal this is, whatever the verb: what is in it changes all the
// time, and its client has a password.
func (j *Journal) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "journal %q", j.names.meta) }

// Destruct lets a Journal live in a caddy.UsagePool.
func (j *Journal) Destruct() error { return j.Close() }

// note keeps the result of one side's work and tells whoever wants to know when
// the journal's health changes by it.
func (j *Journal) note(s *side, err error) {
	j.telling.Lock()
	defer j.telling.Unlock()
	known := j.state.Size()
	j.mu.Lock()
	s.note(err)
	if err != nil {
		j.health.Fails++
	}
	healthy := j.hearing.err == nil && j.saving.err == nil && j.sharing.err == nil && j.keeping.err == nil
	turned := healthy != j.health.Healthy
	switch {
	case healthy:
		j.health.Err = nil
	case err != nil:
		j.health.Err = err
	}
	if turned {
		j.health.Healthy, j.health.Since = healthy, j.now()
	}
	if turned && healthy {
		// What failed once did so in the outage that is over. It takes two more to tell of another.
		j.hearing, j.saving, j.sharing, j.keeping = side{}, side{}, side{}, side{}
	}
	h := j.snapshot(known)
	j.mu.Unlock()
	if cluster, ok := j.client.(*redis.ClusterClient); ok && err != nil {
		// By itself it asks who has taken over from a dead master once a minute.
		cluster.ReloadState(context.Background())
	}
	if turned {
		j.changed(h)
	}
}

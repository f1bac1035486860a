package gateway

import (
	queue "container/list" // list is a command here
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// waitingRoom is where a handler's requests wait for a key, if none is ready. They
// are served first come, first served, those that want the same keys in one line. Only
// the first of a line looks for keys: when the soonest one has cooled, or when the pool
// says that one has become ready. Who gets a key, or leaves, makes the next one look. So
// a key that becomes ready wakes one request, however many wait.
//
// It is safe for concurrent use. Its lock is taken under those of a pool and its
// state, and nothing is called with it held.
type waitingRoom struct {
	waiting atomic.Int64 // how many wait
	closed  atomic.Bool  // nobody waits any more: the process stops

	mu    sync.Mutex
	most  int64
	lines map[string]*queue.List // of waiters, by name; none is empty
	empty func()                 // called when nobody waits any more; nil: nothing to do
}

// waiter is a request that waits.
type waiter struct {
	line string
	at   *queue.Element
	look chan struct{} // there may be a key, and it is this one's turn
}

// rooms are those of the process, by their addresses: one whose config was unloaded goes
// when its last request does.
var rooms sync.Map

// closeRooms is called when a server begins to shut down: with the process, or when a
// config is unloaded. Then its requests go on, and may wait.
func closeRooms() {
	if !caddy.Exiting() {
		return
	}
	rooms.Range(func(room, _ any) bool {
		room.(*waitingRoom).close()
		return true
	})
}

// join puts a request at the end of a line. It returns nil when too many wait.
func (room *waitingRoom) join(name string) *waiter {
	room.mu.Lock()
	defer room.mu.Unlock()
	if room.waiting.Load() >= room.most {
		return nil
	}
	room.waiting.Add(1)
	if room.lines == nil {
		room.lines = make(map[string]*queue.List)
	}
	line := room.lines[name]
	if line == nil {
		line = queue.New()
		room.lines[name] = line
	}
	w := &waiter{line: name, look: make(chan struct{}, 1)}
	w.at = line.PushBack(w)
	if line.Len() == 1 {
		w.rouse()
	}
	return w
}

// leave takes the request out of its line. The next one's turn has come.
func (room *waitingRoom) leave(w *waiter) {
	room.mu.Lock()
	line := room.lines[w.line]
	first := line.Front() == w.at
	line.Remove(w.at)
	if next := line.Front(); next == nil {
		delete(room.lines, w.line)
	} else if first {
		next.Value.(*waiter).rouse()
	}
	var empty func()
	if room.waiting.Add(-1) == 0 {
		empty, room.empty = room.empty, nil
	}
	room.mu.Unlock()
	if empty != nil {
		empty()
	}
}

// wake makes the first of each line look. The pool calls it with its locks held.
func (room *waitingRoom) wake() {
	if room.waiting.Load() == 0 {
		return
	}
	room.mu.Lock()
	defer room.mu.Unlock()
	for _, line := range room.lines {
		line.Front().Value.(*waiter).rouse()
	}
}

// close sends everybody away, and whoever comes.
func (room *waitingRoom) close() {
	room.closed.Store(true)
	room.wake() // and who leaves wakes the next
}

// whenEmpty calls f when nobody waits any more, which may be now.
func (room *waitingRoom) whenEmpty(f func()) {
	room.mu.Lock()
	if room.waiting.Load() > 0 {
		room.empty = f
		room.mu.Unlock()
		return
	}
	room.mu.Unlock()
	f()
}

// occupied tells whether somebody stands in the line.
func (room *waitingRoom) occupied(name string) bool {
	room.mu.Lock()
	defer room.mu.Unlock()
	return room.lines[name] != nil
}

// rouse does not wait: once is enough.
func (w *waiter) rouse() {
	select {
	case w.look <- struct{}{}:
	default:
	}
}

// What became of a request that would have waited.
const (
	waitReady    = "ready"    // it got a key
	waitTimeout  = "timeout"  // it waited in vain
	waitFull     = "full"     // too many wait already
	waitCanceled = "canceled" // the client has left
	waitStopped  = "stopped"  // the process stops
)

// line names the line that the request belongs into: those that want other keys must
// not keep it from its own.
func (x *exchange) line() string {
	name := x.scope + nameOfLots(x.shut())
	if x.bound {
		return "\x00" + string(x.owner[:]) + name
	}
	return name
}

// next chooses a key for the next attempt: at once or, where none is ready or the pace
// does not let the request out, after waiting.
func (x *exchange) next(now time.Time) bool {
	waits := x.g.MaxWait > 0
	switch {
	case x.calls == 0 && waits && x.g.room.waiting.Load() > 0 && x.g.room.occupied(x.line()):
		return x.wait(now) // others were here before
	case x.calls == 0 && x.goes(now):
		return true
	case x.calls > 0 && !x.paced(now) && x.pick(now):
		return true
	}
	return waits && x.wait(now)
}

// goes draws a key for a request that comes, or that has waited, if the pace lets it out.
func (x *exchange) goes(now time.Time) (ok bool) {
	if x.pause, ok = x.admit(now); !ok {
		return false
	}
	return x.pick(now)
}

// wait waits for a key for as long as that may be of use, and picks it.
func (x *exchange) wait(now time.Time) bool {
	left := x.patience(now)
	if after, busy, ok := x.soonest(now); !ok || after > left && !busy {
		return false
	}
	w := x.g.room.join(x.line())
	if w == nil {
		x.g.metrics.Waited(waitFull)
		return false
	}
	outcome := x.inLine(w, left)
	x.g.room.leave(w)
	x.latest = time.Now()
	x.waited += x.latest.Sub(now)
	x.g.metrics.Waited(outcome)
	return outcome == waitReady
}

// inLine waits for the request's turn, and for a key.
func (x *exchange) inLine(w *waiter, left time.Duration) (outcome string) {
	x.forgive(time.Now())
	x.release()
	ctx, cancel := context.WithTimeout(x.r.Context(), left)
	defer cancel()
	stop := x.body.Prefetch(cancel)
	outcome = x.watch(ctx, w, left)
	if reading := stop(); reading && outcome != waitReady || outcome == waitStopped && x.body != nil {
		// The server must not wait for the rest of an upload before it answers, or ends.
		//nolint:errcheck // then it does
		http.NewResponseController(x.writer.Client).SetReadDeadline(time.Now())
	}
	return outcome
}

// watch looks for a key whenever there may be one and it is the request's turn.
func (x *exchange) watch(ctx context.Context, w *waiter, left time.Duration) (outcome string) {
	soonest := time.NewTimer(left)
	soonest.Stop() // until it is this one's turn
	defer soonest.Stop()
	client := x.observe()
	defer client.stop()
	for {
		select {
		case <-ctx.Done():
			if x.gone = x.r.Context().Err() != nil || x.body.Abandoned(); x.gone {
				return waitCanceled
			}
			return waitTimeout
		case <-client.look:
			if x.gone = hungUp(client.conn); x.gone {
				return waitCanceled
			}
			continue
		case <-w.look:
		case <-soonest.C:
		}
		if x.stopped = x.g.room.closed.Load(); x.stopped {
			return waitStopped
		}
		now := time.Now()
		x.forgive(now)
		if x.goes(now) {
			return waitReady
		}
		if after, _, _ := x.soonest(now); after > 0 {
			soonest.Reset(after)
		}
	}
}

// forgive lets the request ask those keys again that have refused it long enough ago.
func (x *exchange) forgive(now time.Time) {
	x.want.Tried, x.want.Limited = x.want.Tried[:0], false
	for i := range x.met {
		if m := &x.met[i]; m.pool == x.roster.Pool && m.again().After(now) {
			x.want.Tried = append(x.want.Tried, m.asked)
			x.want.Limited = x.want.Limited || m.refusal.Limit
		}
	}
}

// refusing returns when the first of the keys may be asked again that have refused the
// request; 0 if there is none.
func (x *exchange) refusing(now time.Time) (after time.Duration) {
	for i := range x.met {
		if left := x.met[i].again().Sub(now); left > 0 && (after == 0 || left < after) {
			after = left
		}
	}
	return after
}

// patience returns for how long the request may still wait.
func (x *exchange) patience(now time.Time) time.Duration {
	left := x.g.MaxWait - x.waited
	if limit := x.g.TryDuration; limit > 0 {
		left = min(left, limit-now.Sub(x.started))
	}
	return left
}

// atOnce is when a key may be ready for a request that only waits for its turn.
const atOnce = time.Nanosecond

// soonest returns when a key may be ready for the request, 0 where nobody knows, and
// whether one may be at any time before, as when a request ends. It reports false where
// waiting is of no use: no key would become ready, or one is and has been tried.
func (x *exchange) soonest(now time.Time) (after time.Duration, busy, ok bool) {
	c, _ := x.census(now)
	after = c.Soonest
	if again := x.refusing(now); again > 0 && (after == 0 || again < after) {
		after = again
	}
	untried := x.calls == 0
	switch {
	case x.pause > 0:
		after = x.pause
	case untried && c.Usable > 0:
		after = atOnce // others were here before, or it has come back just now
	}
	return after, c.Busy > 0, c.Keys > c.Disabled && (c.Free == 0 || untried || x.pause > 0)
}

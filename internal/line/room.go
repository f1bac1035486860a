// Package line is where requests wait for their turn: those that want the same keys in one
// line, in which clients have their turns by weight, and each client's own requests are
// served first come, first served.
//
// It knows neither keys nor HTTP. Whoever waits is told when it is its turn, looks for
// itself whether it can be served, and says when it goes. A rule about whose turn it is goes
// here (turns.go), or about who may wait (crowd.go).
package line

import (
	"container/list"
	"slices"
	"sync"
	"sync/atomic"
)

// Room is where a handler's requests wait for a key, if none is ready: those that want the
// same keys in one line. Only the first of a line looks for keys: when the soonest one has
// cooled, or when the pool says that one has become ready. Who gets a key, or leaves, makes
// the next one look, and who comes and is to be served before the first takes its place. So
// a key that becomes ready wakes one request, however many wait.
//
// It is safe for concurrent use. Its lock is taken under those of a pool and its
// state, and nothing is called with it held.
type Room struct {
	Most int64 // how many may wait, 1 or more; set before the room is used

	waiting atomic.Int64 // how many wait
	closed  atomic.Bool  // nobody waits any more: the process stops

	mu    sync.Mutex
	came  uint64           // how many have come
	lines map[string]*line // by name; none is empty
	crowd crowd            // those who wait, in whatever line
	empty func()           // called when nobody waits any more; nil: nothing to do
}

// Waiter is a request that waits.
type Waiter struct {
	Look chan struct{} // its turn may have come: ask what the room Says

	line   *line
	flow   *flow
	client *client
	came   uint64        // in which order they have come
	queued *list.Element // of its flow's queue
	among  *list.Element // of those of its client
	sent   bool          // away, to make room
}

// Word is what the room says to who waits.
type Word int

// What it may say.
const (
	Wait  Word = iota // it is not its turn
	Look              // it is: there may be a key
	Yield             // it has made room for others, and leaves
	Stop              // nobody waits any more
)

// Join puts a request of the client into a line. The client has as many turns there as it
// weighs, 1 or more, where others have one. Join returns nil when too many wait, unless another
// client has so many of them, for its weight, that the newest of those is sent away.
func (room *Room) Join(name, client string, weight int) *Waiter {
	room.mu.Lock()
	defer room.mu.Unlock()
	weight = max(weight, 1)
	if room.waiting.Load() >= room.Most && !room.clear(client, weight) {
		return nil
	}
	room.waiting.Add(1)
	room.came++
	w := &Waiter{Look: make(chan struct{}, 1), line: room.line(name), came: room.came}
	room.crowd.add(w, client, weight)
	w.line.join(w)
	w.line.choose()
	return w
}

// clear sends somebody away, if that is right, so that one of the client's can come.
func (room *Room) clear(client string, weight int) bool {
	w := room.crowd.yields(client, weight)
	if w == nil {
		return false
	}
	room.remove(w, false)
	w.sent = true
	w.rouse()
	return true
}

// line returns the line of that name.
func (room *Room) line(name string) *line {
	if room.lines == nil {
		room.lines = make(map[string]*line)
	}
	l := room.lines[name]
	if l == nil {
		l = &line{room: room, name: name, flows: make(map[string]*flow)}
		room.lines[name] = l
	}
	return l
}

// Leave takes the request out of its line: it has had a turn of its client's, since it was
// served, or leaves without. The next one's turn has come.
func (room *Room) Leave(w *Waiter, served bool) {
	room.mu.Lock()
	if !w.sent {
		room.remove(w, served)
	}
	var empty func()
	if room.waiting.Load() == 0 {
		empty, room.empty = room.empty, nil
	}
	room.mu.Unlock()
	if empty != nil {
		empty()
	}
}

func (room *Room) remove(w *Waiter, served bool) {
	room.waiting.Add(-1)
	room.crowd.remove(w)
	w.line.leave(w, served)
	if w.line.first == nil {
		delete(room.lines, w.line.name)
	}
}

// StepAside lets the next one look: a key is ready, but not for this one. It has its place
// again as soon as somebody leaves the line, a key becomes ready, or it asks what the room says.
func (room *Room) StepAside(w *Waiter) {
	room.mu.Lock()
	defer room.mu.Unlock()
	if w.line.first == w {
		w.line.stepAside()
	}
}

// Says tells a waiter what it is to do.
func (room *Room) Says(w *Waiter) Word {
	room.mu.Lock()
	defer room.mu.Unlock()
	if slices.Contains(w.line.aside, w) {
		w.line.back()
	}
	switch {
	case room.closed.Load():
		return Stop
	case w.sent:
		return Yield
	case w.line.first == w:
		w.calm()
		return Look
	}
	return Wait
}

// Wake makes the first of each line look. The pool calls it with its locks held.
func (room *Room) Wake() {
	if room.waiting.Load() == 0 {
		return
	}
	room.mu.Lock()
	defer room.mu.Unlock()
	for _, l := range room.lines {
		l.back()
		l.first.rouse()
	}
}

// Close sends everybody away, and whoever comes.
func (room *Room) Close() {
	room.closed.Store(true)
	room.Wake() // and who leaves wakes the next
}

// WhenEmpty calls f when nobody waits any more, which may be now.
func (room *Room) WhenEmpty(f func()) {
	room.mu.Lock()
	if room.waiting.Load() > 0 {
		room.empty = f
		room.mu.Unlock()
		return
	}
	room.mu.Unlock()
	f()
}

// Waiting returns how many wait.
func (room *Room) Waiting() int64 { return room.waiting.Load() }

// Occupied tells whether somebody stands in the line.
func (room *Room) Occupied(name string) bool {
	room.mu.Lock()
	defer room.mu.Unlock()
	return room.lines[name] != nil
}

// rouse does not wait: once is enough.
func (w *Waiter) rouse() {
	select {
	case w.Look <- struct{}{}:
	default:
	}
}

// calm takes back that w was told to look: it is about to.
func (w *Waiter) calm() {
	select {
	case <-w.Look:
	default:
	}
}

// Package line is where requests wait for their turn: those that want the same keys in one
// line, first come, first served.
//
// It knows neither keys nor HTTP. Whoever waits is told when it is its turn, looks for
// itself whether it can be served, and says when it goes. A rule about whose turn it is goes
// here.
package line

import (
	queue "container/list" // list is a command elsewhere
	"sync"
	"sync/atomic"
)

// Room is where a handler's requests wait for a key, if none is ready. They
// are served first come, first served, those that want the same keys in one line. Only
// the first of a line looks for keys: when the soonest one has cooled, or when the pool
// says that one has become ready. Who gets a key, or leaves, makes the next one look. So
// a key that becomes ready wakes one request, however many wait.
//
// It is safe for concurrent use. Its lock is taken under those of a pool and its
// state, and nothing is called with it held.
type Room struct {
	Most int64 // how many may wait; set before the room is used

	waiting atomic.Int64 // how many wait
	closed  atomic.Bool  // nobody waits any more: the process stops

	mu    sync.Mutex
	lines map[string]*queue.List // of waiters, by name; none is empty
	empty func()                 // called when nobody waits any more; nil: nothing to do
}

// Waiter is a request that waits.
type Waiter struct {
	Look chan struct{} // there may be a key, and it is this one's turn

	line string
	at   *queue.Element
}

// Join puts a request at the end of a line. It returns nil when too many wait.
func (room *Room) Join(name string) *Waiter {
	room.mu.Lock()
	defer room.mu.Unlock()
	if room.waiting.Load() >= room.Most {
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
	w := &Waiter{line: name, Look: make(chan struct{}, 1)}
	w.at = line.PushBack(w)
	if line.Len() == 1 {
		w.rouse()
	}
	return w
}

// Leave takes the request out of its line. The next one's turn has come.
func (room *Room) Leave(w *Waiter) {
	room.mu.Lock()
	line := room.lines[w.line]
	first := line.Front() == w.at
	line.Remove(w.at)
	if next := line.Front(); next == nil {
		delete(room.lines, w.line)
	} else if first {
		next.Value.(*Waiter).rouse()
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

// Wake makes the first of each line look. The pool calls it with its locks held.
func (room *Room) Wake() {
	if room.waiting.Load() == 0 {
		return
	}
	room.mu.Lock()
	defer room.mu.Unlock()
	for _, line := range room.lines {
		line.Front().Value.(*Waiter).rouse()
	}
}

// Close sends everybody away, and whoever comes.
func (room *Room) Close() {
	room.closed.Store(true)
	room.Wake() // and who leaves wakes the next
}

// Closed tells whether nobody waits any more.
func (room *Room) Closed() bool { return room.closed.Load() }

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

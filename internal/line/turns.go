package line

import "container/list"

// line is those who want the same keys. Its clients are served by start-time fair queuing
// (Goyal, Vin and Cheng, 1996): a turn takes a client of weight w 1/w of a time that turns
// make pass, and next is the client whose turn begins first. For who comes it begins now:
// nobody saves turns up. A turn makes as much time pass as if all had theirs side by side. So
// who has no more than its share waits for about one turn of each other client, however many
// requests these have.
type line struct {
	room   *Room
	name   string
	flows  map[string]*flow // by client: those in next, and those that are ahead
	weight float64          // of all these together

	next  order[*flow] // those of whom somebody waits
	first *Waiter      // whose turn it is; nil: nobody waits
	now   float64      // in turns of a client that is alone and weighs 1
	turns uint64       // that there were

	// Those of whom nobody waits, and that have had turns before their time: who comes back
	// soon goes on where it was.
	ahead order[*idle]
}

// flow is a client's requests in a line.
type flow struct {
	client string
	weight float64
	queue  list.List // of waiters, in the order in which they came
	start  float64   // when its next turn begins
	turn   uint64    // its last one's number; 0: it had none
	at     int       // in next, or in ahead
}

func (f *flow) head() *Waiter { return f.queue.Front().Value.(*Waiter) }

// place implements ordered.
func (f *flow) place() *int { return &f.at }

// before implements ordered: of turns that begin at once, first is the client whose last one
// was longest ago, then who came first.
func (f *flow) before(other *flow) bool {
	switch {
	case f.start != other.start:
		return f.start < other.start
	case f.turn != other.turn:
		return f.turn < other.turn
	}
	return f.head().came < other.head().came
}

// idle is a flow of which nobody waits.
type idle flow

// place implements ordered.
func (f *idle) place() *int { return &f.at }

// before implements ordered: who is least ahead is forgotten first.
func (f *idle) before(other *idle) bool { return f.start < other.start }

// join puts w at the end of its client's.
func (l *line) join(w *Waiter, client string, weight int) {
	f := l.flows[client]
	if f == nil {
		f = &flow{client: client}
		l.flows[client] = f
	} else if f.queue.Len() == 0 {
		l.ahead.remove((*idle)(f))
		l.room.ahead--
	}
	w.flow, w.queued = f, f.queue.PushBack(w)
	if f.queue.Len() == 1 {
		l.begin(f, float64(weight))
	}
	l.choose()
}

// begin lets the client have turns, of whom nobody has waited.
func (l *line) begin(f *flow, weight float64) {
	l.weight += weight - f.weight
	f.weight, f.start = weight, max(f.start, l.now)
	l.next.add(f)
}

// leave takes w out, which was its client's turn if it was served.
func (l *line) leave(w *Waiter, served bool) {
	f := w.flow
	f.queue.Remove(w.queued)
	if served {
		l.pass(f)
	}
	if f.queue.Len() > 0 {
		l.next.fix(f)
	} else {
		l.next.remove(f)
		l.ahead.add((*idle)(f))
		l.room.ahead++
	}
	l.forget()
	l.choose()
}

// pass lets the time of a turn pass.
func (l *line) pass(f *flow) {
	l.now = max(l.now+1/l.weight, f.start)
	f.start += 1 / f.weight
	l.turns++
	f.turn = l.turns
}

// forget drops those that are ahead no longer, and as many more as are too many in the room.
func (l *line) forget() {
	for len(l.ahead) > 0 && (l.ahead[0].start < l.now || int64(l.room.ahead) > l.room.Most) {
		f := l.ahead[0]
		l.ahead.remove(f)
		l.room.ahead--
		l.weight -= f.weight
		delete(l.flows, f.client)
	}
}

// choose makes the first look, if it is another one than before.
func (l *line) choose() {
	var first *Waiter
	if len(l.next) > 0 {
		first = l.next[0].head()
	}
	if first == l.first {
		return
	}
	if l.first = first; first != nil {
		first.rouse()
	}
}

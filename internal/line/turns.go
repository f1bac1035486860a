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

	aside []*Waiter // who let others look first, and have no place meanwhile

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

// join puts w into its client's queue, whose turns begin at this time or, where it has had
// some before, maybe later.
func (l *line) join(w *Waiter, at float64) {
	f := l.flowOf(w.client.name)
	w.flow, w.queued = f, f.put(w)
	if f.queue.Len() == 1 {
		l.begin(f, w.client.weight, at)
	} else {
		l.next.fix(f)
	}
}

// flowOf returns the client's flow, which is not among those that are ahead any more.
func (l *line) flowOf(client string) *flow {
	f := l.flows[client]
	if f == nil {
		f = &flow{client: client}
		l.flows[client] = f
	} else if f.queue.Len() == 0 {
		l.ahead.remove((*idle)(f))
		l.room.ahead--
	}
	return f
}

// put puts w where it belongs, which mostly is the end.
func (f *flow) put(w *Waiter) *list.Element {
	e := f.queue.Back()
	for e != nil && e.Value.(*Waiter).came > w.came {
		e = e.Prev()
	}
	if e == nil {
		return f.queue.PushFront(w)
	}
	return f.queue.InsertAfter(w, e)
}

// begin lets the client have turns, of whom nobody has waited.
func (l *line) begin(f *flow, weight, at float64) {
	l.weight += weight - f.weight
	f.weight, f.start = weight, max(f.start, at)
	l.next.add(f)
}

// stepAside takes the first out for a while, if others are there.
func (l *line) stepAside() {
	w := l.first
	if len(l.next) == 1 && w.flow.queue.Len() == 1 {
		return
	}
	l.aside = append(l.aside, w)
	l.take(w)
	l.choose()
}

// back lets those who have stepped aside have their places again.
func (l *line) back() {
	if len(l.aside) == 0 {
		return
	}
	for _, w := range l.aside {
		l.join(w, 0) // its client's turn begins when it did
	}
	clear(l.aside)
	l.aside = l.aside[:0]
	l.choose()
}

// leave takes w out, which was its client's turn if it was served.
func (l *line) leave(w *Waiter, served bool) {
	l.back()
	if served {
		l.pass(w.flow)
	}
	l.take(w)
	l.forget()
	l.choose()
}

// take takes w out of its client's queue.
func (l *line) take(w *Waiter) {
	f := w.flow
	f.queue.Remove(w.queued)
	if f.queue.Len() > 0 {
		l.next.fix(f)
		return
	}
	l.next.remove(f)
	l.ahead.add((*idle)(f))
	l.room.ahead++
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

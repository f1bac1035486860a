package line

import "container/list"

// line is those who want the same keys. Its clients are served by self-clocked fair queuing
// (Golestani, 1994): a turn takes a client of weight w 1/w of a time that turns make pass, and
// next is the client whose turn ends first. The time is when the last turn has ended. So for
// who comes its turn begins now, and nobody saves turns up; who comes back at once goes on
// where it was; and between two turns of a client others have one each, by weight, however
// many requests they have and however many of them are new.
type line struct {
	room  *Room
	name  string
	flows map[string]*flow // by client
	next  order[*flow]     // likewise, but for those whose only one stands aside
	first *Waiter          // whose turn it is; nil: nobody waits
	now   float64          // in turns of a client that is alone and weighs 1
	turns uint64           // that there were
	aside []*Waiter        // who let others look first, and have no place meanwhile
}

// flow is a client's requests in a line: one or more.
type flow struct {
	weight float64
	queue  list.List // of waiters, in the order in which they came
	end    float64   // of its next turn
	turn   uint64    // its last one's number; 0: it had none
	at     int
}

func (f *flow) head() *Waiter { return f.queue.Front().Value.(*Waiter) }

// place implements ordered.
func (f *flow) place() *int { return &f.at }

// before implements ordered: of turns that end at once, first is the client whose last one
// was longest ago, then who came first.
func (f *flow) before(other *flow) bool {
	switch {
	case f.end != other.end:
		return f.end < other.end
	case f.turn != other.turn:
		return f.turn < other.turn
	}
	return f.head().came < other.head().came
}

// join puts w into its client's queue.
func (l *line) join(w *Waiter) {
	f := l.flows[w.client.name]
	if f == nil {
		f = &flow{weight: w.client.weight, end: l.now + 1/w.client.weight}
		l.flows[w.client.name] = f
	}
	l.put(w, f)
}

// put puts w where it belongs, which mostly is its client's end.
func (l *line) put(w *Waiter, f *flow) {
	e := f.queue.Back()
	for e != nil && e.Value.(*Waiter).came > w.came {
		e = e.Prev()
	}
	if w.flow = f; e == nil {
		w.queued = f.queue.PushFront(w)
	} else {
		w.queued = f.queue.InsertAfter(w, e)
	}
	if f.queue.Len() == 1 {
		l.next.add(f)
	} else {
		l.next.fix(f)
	}
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
		l.put(w, w.flow)
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
	if w.flow.queue.Len() == 0 {
		delete(l.flows, w.client.name)
	}
	l.choose()
}

// take takes w out of its client's queue.
func (l *line) take(w *Waiter) {
	w.flow.queue.Remove(w.queued)
	if w.flow.queue.Len() == 0 {
		l.next.remove(w.flow)
	} else {
		l.next.fix(w.flow)
	}
}

// pass lets the time of a turn pass.
func (l *line) pass(f *flow) {
	l.now = max(l.now, f.end)
	f.end += 1 / f.weight
	l.turns++
	f.turn = l.turns
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

package lease

// loan is what a limit has that is shared only while it is used.
type loan struct {
	lent    bool
	used    int64 // when it was looked at last
	stirred int64 // when more was used, or wanted, than when it had been looked at before
	rested  bool  // it is in Book.resting
}

// Lend makes the node have a part of the limit, like Share, until the meter is told to rest:
// that costs nothing while the limit is not used, and neither does what was used of it in a
// long window. It returns how much the node may use by now. It calls nothing of the meter:
// so it may be called with its lock held.
func (b *Book) Lend(name string, m Borrower, most int64) (ceiling int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := Hash(name)
	l := b.limits[key]
	if l == nil {
		l = &limit{name: key, users: 1}
		l.loan.lent = true
		b.limits[key] = l
	}
	if l.meter != m {
		l.meter, l.told, l.room = m, 0, unknown
	}
	b.fresh = append(b.fresh, l)
	return max(l.told, crowd{nodes: b.known.Load()}.little(most))
}

// wake has the limit looked at each time.
func (b *Book) wake(l *limit) {
	l.active, l.loan.stirred = true, 0
	b.active.limits = append(b.active.limits, l)
}

// quiets tells whether the limit was not used for a while.
func (l *limit) quiets(r reading) bool {
	if r.used > l.loan.used || l.claim.refused >= 0.5 || l.loan.stirred == 0 {
		l.loan.stirred = r.at
	}
	l.loan.used = r.used
	return r.at-l.loan.stirred >= int64(quiet)
}

// rest lets the meter know that nobody looks at it any more.
func (b *Book) rest(l *limit) {
	if !l.loan.rested {
		l.loan.rested = true
		b.resting.limits = append(b.resting.limits, l)
	}
	if m, _ := b.meter(l); m != nil {
		m.(Borrower).Rest()
	}
}

// glance looks whether the node has less of a limit by now that it does not use, and tells
// others. It reports whether there is still something to look at.
func (b *Book) glance(l *limit, c *Call) bool {
	m, _ := b.meter(l)
	r := read(m, c.At)
	switch grown := r.used > l.loan.used; {
	case l.active:
		l.loan.rested = false
		return false
	case grown:
		l.loan.rested = false
		b.wake(l)
		return false
	}
	l.loan.used = r.used
	wants := l.claim.rests(r, b.crowd)
	switch {
	case wants == 0 && !l.claim.owed && !l.claim.again && b.forget(l):
		l.loan.rested = false
		return false
	case l.claim.again, l.claim.ceiling-wants > b.crowd.spare(r.most), l.claim.owed && wants == 0:
		c.Asks = append(c.Asks, b.ask(l, m, r, wants, wants))
	}
	return true
}

// forget drops a limit of which nothing is used, unless it was lent again just now.
func (b *Book) forget(l *limit) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.fresh {
		if f == l {
			return false
		}
	}
	delete(b.limits, l.name)
	return true
}

// rests returns what the node keeps of a limit that it does not use now: what it has used,
// and a little to begin again with.
func (c *claim) rests(r reading, w crowd) int64 {
	if r.used == 0 {
		return 0
	}
	return max(min(r.used+w.spare(r.most), r.most), min(r.used, largest))
}

// settled tells whether others know that the node has hardly more than that.
func (c *claim) settled(wants, spare int64) bool {
	return !c.again && c.ceiling-wants <= spare && c.owed == (wants > 0)
}

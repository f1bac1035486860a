package statetest

import (
	"fmt"
	"slices"

	"github.com/keycycler/keycycler/rotator/lease"
)

// Ledger is what a backend that shares limits answers its nodes, in the fewest words. The
// script in rotator/shared says the same, which a test compares. Times are in ms by the
// backend's clock. The zero value is empty.
type Ledger struct {
	epoch       string
	born, seen  int64
	nodes, hold int64
	here        []here
	limits      map[string][]part
}

// here is a node that is there, until then if nothing is heard of it.
type here struct {
	node string
	end  int64
}

// part is what a node has of a limit.
type part struct {
	node          string
	ceiling, want int64
	end           int64 // when it does not count any more
	call          int64
}

const ledgerTerm = int64(lease.Term / 1e6)

// Flush forgets everything.
func (l *Ledger) Flush() { *l = Ledger{} }

// Size returns how many limits the ledger knows of.
func (l *Ledger) Size() int { return len(l.limits) }

// Answer is what the node gets for its call. fresh is a name that nothing else has.
func (l *Ledger) Answer(now int64, node, fresh string, c lease.Call) lease.Reply {
	l.open(now, fresh, c.Epoch)
	if c.Beat || c.Leaves {
		l.meet(now, node, c.Leaves)
	}
	reply := lease.Reply{Epoch: l.epoch, Nodes: l.nodes, Frozen: l.hold > now}
	for _, a := range c.Asks {
		reply.Grants = append(reply.Grants, l.grant(now, node, c, a))
	}
	return reply
}

// open begins anew where nothing is there, and lets nobody have more for a Term where not all
// may have said what they hold.
func (l *Ledger) open(now int64, fresh, known string) {
	end := now + ledgerTerm
	switch {
	case l.epoch == "":
		*l = Ledger{epoch: fresh, born: now, nodes: 1, limits: make(map[string][]part)}
		if known != "" {
			l.hold = end
		}
	case known != "" && known != l.epoch:
		l.hold = max(l.hold, l.born+ledgerTerm)
	case known != "" && max(now-l.seen, l.seen-now) > ledgerTerm/2:
		l.hold = end
	}
	l.born, l.hold, l.seen = min(l.born, now), min(l.hold, end), now
}

// meet counts the nodes.
func (l *Ledger) meet(now int64, node string, leaves bool) {
	l.here = slices.DeleteFunc(l.here, func(h here) bool { return h.node == node || h.end <= now })
	for i := range l.here {
		l.here[i].end = min(l.here[i].end, now+ledgerTerm)
	}
	if !leaves {
		l.here = append(l.here, here{node, now + ledgerTerm})
	}
	l.nodes = max(int64(len(l.here)), 1)
	for name, parts := range l.limits {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.end > now }) {
			delete(l.limits, name)
		}
	}
}

// grant gives the node a part of a limit.
func (l *Ledger) grant(now int64, node string, c lease.Call, a lease.Ask) lease.Grant {
	per := a.Per.Milliseconds()
	var others []part
	sum, want, base := int64(0), []int64{a.Want}, int64(0)
	if a.Most/20 >= l.nodes {
		base = max(a.Most/(25*l.nodes), 1)
	}
	for _, p := range l.limits[a.Name] {
		p.end = min(p.end, now+ledgerTerm+per)
		switch {
		case p.node == node && p.call > c.Number:
			return lease.Grant{Ceiling: -1}
		case p.node == node || p.end <= now:
			continue
		}
		others = append(others, p)
		sum += max(min(p.ceiling, a.Most), base)
		if p.end-per <= now { // its lease is over
			want = append(want, min(p.ceiling, a.Most))
		} else {
			want = append(want, min(p.want, a.Most))
		}
	}
	room := a.Most - base*max(l.nodes-1-int64(len(others)), 0)
	if base == 0 && !a.Exact && len(a.Tail) == 0 {
		room += beyond(a.Most, min(int64(len(others))+1, l.nodes))
	}
	g := lease.Grant{Ceiling: a.Held, Level: level(want, room, a.Most), Room: max(a.Most-sum, 0)}
	if l.hold <= now && !c.Leaves {
		g.Ceiling = max(a.Held, min(a.Want, g.Level, room-sum))
	}
	mine := part{node, g.Ceiling, a.Want, now + ledgerTerm + per, c.Number}
	if c.Leaves {
		mine.end = now + per
	}
	switch {
	case len(a.Tail) > 0:
		for _, piece := range a.Tail {
			others = leave(others, now, max(per/tailParts, 1), piece)
		}
	case mine.ceiling > 0 || mine.want > 0:
		others = append(others, mine)
	}
	if l.limits[a.Name] = others; len(others) == 0 {
		delete(l.limits, a.Name)
	}
	return g
}

// beyond is by how much so many nodes' parts may be more than a limit that is too small for
// spares. Of its part a node has mostly one left that it does not use just then: so what is
// used is about the limit.
func beyond(most, nodes int64) int64 { return min(2*nodes/3, most/8) }

// tailParts is into how many parts of the window it is divided when what was left behind
// leaves it.
const tailParts = 32

// leave adds what a node leaves behind to what others have that goes at the same time.
func leave(parts []part, now, width int64, p lease.Piece) []part {
	number := (now + p.Left.Milliseconds() + width) / width
	name := fmt.Sprint("g", number)
	for i := range parts {
		if parts[i].node == name {
			parts[i].ceiling += p.N
			parts[i].want += p.N
			return parts
		}
	}
	return append(parts, part{name, p.N, p.N, number * width, 0})
}

// level is the most that one should have, so that all have the same who want more than there
// is room for: most, if nobody does.
func level(want []int64, room, most int64) int64 {
	total := int64(0)
	for _, w := range want {
		total += w
	}
	if total <= room {
		return most
	}
	slices.Sort(want)
	for i, w := range want {
		share := room / int64(len(want)-i)
		if w > share {
			return max(share, 1)
		}
		room -= w
	}
	return most
}

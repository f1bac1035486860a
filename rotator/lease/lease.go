// Package lease divides limits among nodes. Each node has a part of a limit, its ceiling,
// and holds itself to that without asking anybody: so no request waits for another node.
// The parts of all nodes together are no more than the limit. What a node has used within
// the limit's window stays a part of its own until it has left the window.
//
// A part is a lease. It is over when its node has not been answered for the Term. Then the
// node lives on its fair share: the limit divided by the nodes that it knew last. Of a limit
// of which it holds nothing, a node may use a little without asking, its spare: so a limit
// that nobody uses costs nothing, and its first request does not wait.
//
// It is pure arithmetic: time is an argument, in Unix nanoseconds, and it knows neither Redis
// nor what is counted. How a node asks, and who answers, is package rotator/shared. A rule
// about how much a node asks for, keeps or gives back goes here.
package lease

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"time"
)

// Meter counts what this node uses of a limit over a sliding window. Its methods are safe
// for concurrent use. They are called with no lock held, several times a second for a limit
// that is in use.
type Meter interface {
	// Most is the limit, of all nodes together: above 0.
	Most() int64

	// Per is the length of its window: above 0.
	Per() time.Duration

	// Used returns what this node has used within the window that ends at that time, and
	// what it holds for requests under way.
	Used(at int64) int64

	// Wanted returns how much was refused for want of ceiling since the last call, as far
	// as that is known: above 0 if any was.
	Wanted(at int64) int64

	// SetCeiling says how much of Most this node may use by now: at least 1. What is used
	// already may be more.
	SetCeiling(n int64)
}

// Roomy is a Meter of which one request may need much, such as tokens. It is told what other
// nodes leave, too, and its node keeps a share of what nobody has at hand.
type Roomy interface {
	Meter

	// SetRoom says how much of Most others have left to this node, when they were last asked.
	SetRoom(n int64)
}

// Borrower is a Meter that is shared for as long as it is used: see Book.Lend.
type Borrower interface {
	Roomy

	// Rest says that it was not used lately. When it is used again, it wants another Lend.
	Rest()

	// Tail returns when what it has used leaves the window, in parts. Nothing else is used
	// by this node any more.
	Tail(at int64) []Piece
}

// Piece is so much that was used and counts for so much longer.
type Piece struct {
	N    int64
	Left time.Duration
}

// Shares divides limits among nodes: see Book, whose methods these are. It must be
// comparable.
type Shares interface {
	Share(name string, m Meter)
	Unshare(name string)
}

const (
	// Term is how long a node may go on with what it was given, from when it has asked.
	Term = 20 * time.Second

	// beat is how often a node asks at least, so that others know that it is there.
	beat = Term / 4

	// renewal is when a lease is renewed: so much before it is over.
	renewal = Term / 2

	// patience bounds how long a node that is cut off waits for what others have used to
	// leave the window, before it takes its fair share.
	patience = 5 * time.Minute

	// strangers is how many nodes there are taken to be by one that has never been
	// answered.
	strangers = 10

	// reserve is the part of a limit, one in so many, that all spares are together, where
	// the limit is large enough; and small is how large it must be for that, for each node.
	reserve = 25
	small   = 20

	// shortest and longest bound how often a node asks again that got less than it wanted.
	shortest = 50 * time.Millisecond
	longest  = time.Second

	// quiet is after what time without use a limit that was lent is left alone.
	quiet = renewal

	// largest is the largest limit: what a script of Redis can count exactly.
	largest = 1 << 53
)

// Hash is what a limit's name is to others: 32 hex digits. Names may tell of clients.
func Hash(name string) string {
	sum := sha256.Sum256([]byte("keycycler lease v1\x00" + name))
	return hex.EncodeToString(sum[:16])
}

// crowd is what a node knows of all nodes.
type crowd struct {
	nodes int64 // how many there are, itself included; 0: nobody has ever answered
	lost  int64 // since when nobody answers; 0: the last call was answered, or there was none
}

func (w crowd) count() int64 {
	if w.nodes <= 0 {
		return strangers
	}
	return w.nodes
}

// spare is how much a node may use of a limit that it holds nothing of, and by how much
// more it asks for than it uses.
func (w crowd) spare(most int64) int64 { return max(most/(reserve*w.count()), 1) }

// little is the spare of a limit that is Roomy, of which one request may always go ahead: nodes
// that come anew have it, too, whatever those before them have used.
func (w crowd) little(most int64) int64 { return most / (reserve * max(w.count(), strangers)) }

// fair is a node's share of the limit while it cannot ask.
func (w crowd) fair(most int64) int64 { return max(most/w.count(), 1) }

// tight tells whether the limit is too small for all spares to be set aside.
func (w crowd) tight(most int64) bool { return most/small < w.count() }

// alone is from when on nobody else uses more than a fair share of what counts in such a
// window, if nobody is answered since this node is not: their leases are over a term later
// at the most.
func (w crowd) alone(per int64) int64 {
	if w.lost == 0 {
		return math.MaxInt64
	}
	return w.lost + int64(2*Term) + min(per, int64(patience))
}

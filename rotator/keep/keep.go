// Package keep keeps what is counted outside of the process, so that it outlives restarts,
// and all nodes tell the same: by whatever names, in each minute and on each day.
//
// Each node counts in its own memory, its Source, and sends what has come in since the last
// time as a Batch: an increment that has a number, so that one that is sent twice counts
// once. What the others have counted it reads now and then, and subtracts its own part. No
// request waits for any of that. A Book is what one node knows of one pool; a Keeper sends
// and reads for the books of a Store, which is Redis, or a file.
//
// It knows neither what is counted nor where it is kept. A rule about what is sent, sent
// again or brought back goes into the book; a place to keep it at is a Store.
package keep

import (
	"context"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Numbers is how many numbers are counted together. What they mean is the source's business.
// The first is above 0 where anything was counted.
const Numbers = 9

// Most is the largest number that is kept: sums that would be larger are that.
const Most = 9_000_000_000_000_000

// Counts are numbers from 0 to Most.
type Counts [Numbers]int64

// Plus returns the sums.
func (c Counts) Plus(more Counts) Counts {
	for i, n := range more {
		c[i] = min(max(c[i], 0), Most-min(max(n, 0), Most)) + min(max(n, 0), Most)
	}
	return c
}

// Minus returns the differences, and 0 where they would be less.
func (c Counts) Minus(less Counts) Counts {
	for i, n := range less {
		c[i] = max(c[i]-n, 0)
	}
	return c
}

// Append writes the numbers with a space between, without those at the end that are 0.
func (c Counts) Append(to []byte) []byte {
	last := len(c)
	for last > 1 && c[last-1] == 0 {
		last--
	}
	for i, n := range c[:last] {
		if i > 0 {
			to = append(to, ' ')
		}
		to = strconv.AppendInt(to, min(max(n, 0), Most), 10)
	}
	return to
}

// maxCounts bounds what is taken for numbers, in bytes: later versions may add some.
const maxCounts = 400

// maxDigits is how many digits Most has.
const maxDigits = 16

// ParseNumber reads a number from 0 to Most: digits alone, no more than Most has. Scripts in
// Redis take the same: where one side took what the other one does not, nodes would neither
// add to it nor bring back what they know.
func ParseNumber(digits string) (n int64, ok bool) {
	if digits == "" || len(digits) > maxDigits {
		return 0, false
	}
	for _, d := range []byte(digits) {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = 10*n + int64(d-'0')
	}
	return n, n <= Most
}

// ParseCounts reads what Append has written, of this version or of a later one, which may have
// more numbers.
func ParseCounts(text string) (c Counts, ok bool) {
	if len(text) > maxCounts {
		return c, false
	}
	i := 0
	for digits := range strings.SplitSeq(text, " ") {
		n, ok := ParseNumber(digits)
		if !ok {
			return Counts{}, false
		}
		if i < len(c) {
			c[i] = n
		}
		i++
	}
	return c, true
}

// Span is a minute or a day of a pool, of which everything that is counted is kept together.
type Span struct {
	Pool   string
	Day    bool
	Number int64 // of minutes, or of days by UTC, since 1970
}

// Cell is how much was counted by a name, in a span. The name's first byte says what kind of
// name it is: one of Kinds.
type Cell struct {
	Name string
	Counts
}

// Kinds are the kinds of names. A store tells MaxNames of each kind apart in a span, and
// counts further ones as Other.
const Kinds = "cmk"

// MaxNames bounds the names of each kind in a span.
var MaxNames = [len(Kinds)]int{10_000, 1_000, 10_000}

// ValidName tells whether it is a cell's name: a kind and at most 1024 bytes of UTF-8.
func ValidName(name string) bool {
	return name != "" && len(name) <= 1025 && strings.IndexByte(Kinds, name[0]) >= 0 && utf8.ValidString(name)
}

// Other is a name that stands, behind its kind, for those beyond the bound.
const Other = "other"

// Batch is what a node has counted in a span since its last batch.
type Batch struct {
	Span  Span
	Seq   int64 // how manyth batch of the node and the span it is, from 1
	Known bool  // the store has had the span before
	Cells []Cell
}

// Lost is what Add says of a span that it does not have, and has had before.
const Lost = -1

// Snapshot is what a store has of a span, at one moment.
type Snapshot struct {
	Version string           // is another one whenever anything else is; "": there is nothing, or nothing sound
	Same    bool             // it is the version that is known; the rest is left out
	Unsound bool             // some of it nobody can have written, and is left out
	Cells   []Cell           // of all nodes
	Had     map[string]int64 // the last batches that are in them, by node
}

// Store is where counts are kept. Its methods are called by one goroutine at a time.
type Store interface {
	// Add adds batches of a node, in this order, each wholly or not at all. It returns for
	// each the number of the node's last batch that the span has then. One is added only if
	// it is the next one; or if it is the first, and the span is not there. Of a span that
	// is not there though it was known, or is not sound, it returns Lost, and adds nothing.
	Add(ctx context.Context, node string, batches []Batch) (had []int64, err error)

	// Read returns what there is of the first of these spans, at least of one, and of as
	// many as it likes. What has the version that is known need not be read.
	Read(ctx context.Context, spans []Span, versions []string) ([]Snapshot, error)

	// Restore makes the span anew, wholly or not at all, if what is there has that version:
	// "" for nothing, or nothing sound.
	Restore(ctx context.Context, span Span, version string, s Snapshot) error
}

// Source counts for this node. Its methods are safe for concurrent use.
type Source interface {
	// Take returns what was counted since it was called last.
	Take() map[Span][]Cell

	// Taken returns all that Take has ever returned of the span, as far as that is not too
	// old to be told.
	Taken(Span) []Cell
}

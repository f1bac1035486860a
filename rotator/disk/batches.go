package disk

import (
	"slices"
	"strconv"
	"strings"

	"github.com/keycycler/keycycler/rotator/keep"
)

// mostNodes is of how many nodes a span tells the last batch: of those that have added to it
// last. A process is one node of a pool, so all others have ended, or have left the file to
// another process.
const mostNodes = 16

// batches are the last batches of nodes that are in a span's sums, in the order in which they
// have come. They stand in the file with the sums. So a node that comes back to a file, as a
// process does when a reload takes the file away from its pools and another one gives it back,
// knows what of the sums is its own, also if others had the file meanwhile.
type batches []lastBatch

type lastBatch struct {
	node string
	seq  int64
}

func (l batches) find(node string) int {
	return slices.IndexFunc(l, func(b lastBatch) bool { return b.node == node })
}

// of returns the number of the node's last batch, or 0.
func (l batches) of(node string) int64 {
	if i := l.find(node); i >= 0 {
		return l[i].seq
	}
	return 0
}

// put makes a batch the last one.
func (l *batches) put(node string, seq int64) {
	if i := l.find(node); i >= 0 {
		*l = slices.Delete(*l, i, i+1)
	}
	*l = append(*l, lastBatch{node, seq})
}

// bound forgets nodes that have added nothing for longest, where there are too many.
func (l *batches) bound() { *l = slices.Delete(*l, 0, max(len(*l)-mostNodes, 0)) }

// byNode is for who wants to keep it.
func (l batches) byNode() map[string]int64 {
	all := make(map[string]int64, len(l))
	for _, b := range l {
		all[b.node] = b.seq
	}
	return all
}

// lastOf is how the node's last batch is called among the names of a span that the file does
// not have: no sum is called that.
func lastOf(node string) string { return "@" + node }

// names returns the batches as they are called there.
func (l batches) names() (all []string) {
	for _, b := range l {
		all = append(all, lastOf(b.node))
	}
	return all
}

// parted tells the nodes among names from what is the name of a sum.
func (l batches) parted(all []string) (nodes, sums []string) {
	for _, name := range all {
		if node, is := strings.CutPrefix(name, "@"); !is {
			sums = append(sums, name)
		} else if l.find(node) >= 0 {
			nodes = append(nodes, node)
		}
	}
	return nodes, sums
}

// parseHad reads a line. It reports false for what no process of this version has written.
func parseHad(body string) (span keep.Span, all batches, ok bool) {
	span, ok = parsePairs(body, func(node, seq string) bool {
		name, err1 := strconv.Unquote(node)
		n, err2 := strconv.ParseInt(seq, 10, 64)
		all.put(strings.Clone(name), n)
		return err1 == nil && err2 == nil && name != "" && 0 < n && n <= keep.Most
	})
	return span, all, ok
}

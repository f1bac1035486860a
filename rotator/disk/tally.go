package disk

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keycycler/keycycler/rotator/keep"
)

const (
	// every is how often what pools have counted is asked for. With gather, a process that is
	// killed takes less than a second with it.
	every = 600 * time.Millisecond

	// lineCells is how many cells stand in a line.
	lineCells = 100

	// For how long a span is kept: longer than it is told.
	keepMinutes = 2 * 60
	keepDays    = 31
)

// names are those in a span: of sums, and of nodes' last batches, as lastOf calls them.
type names map[string]struct{}

// tally is what was counted in all lives of the file, as a keep.Store. Its memory is what is
// right: the file follows it, with sums that count over those before them. So nothing is
// counted twice, whatever becomes of a write. It is safe for concurrent use.
type tally struct {
	wake chan<- struct{}
	owed atomic.Int64 // how many names are in behind

	mu      sync.Mutex // never held while anything is written
	unread  []string   // lines of the file that nobody has wanted yet
	spans   map[keep.Span]*counted
	behind  map[keep.Span]names // of which the file does not have the sums
	changes int64               // of any span
}

// counted is what was counted in a span.
type counted struct {
	version string
	had     batches
	sums    map[string]keep.Counts
	kinds   [len(keep.Kinds)]int // how many names there are
	live    bool                 // something has come in since the file was read
}

func newTally(wake chan<- struct{}) *tally {
	return &tally{wake: wake, spans: make(map[keep.Span]*counted), behind: make(map[keep.Span]names)}
}

// load takes the file's lines. They are read when somebody wants them: there may be many, and
// nobody waits for them at a start.
func (t *tally) load(lines []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unread = lines
}

// lock locks, with all that the file has said at hand.
func (t *tally) lock() (unlock func()) {
	t.mu.Lock()
	for _, line := range t.unread {
		t.read(line)
	}
	t.unread = nil
	return t.mu.Unlock
}

// read takes a line, which counts over those before it.
func (t *tally) read(line string) {
	if strings.HasPrefix(line, kindHad+"\t") {
		t.readHad(line)
		return
	}
	if span, cells, ok := parseUsed(line); ok {
		c := t.of(span)
		for _, cell := range cells {
			c.set(cell)
		}
		t.turn(c)
	}
}

func (t *tally) readHad(line string) {
	if span, had, ok := parseHad(line); ok {
		c := t.of(span)
		for _, b := range had {
			c.had.put(b.node, b.seq)
		}
		t.turn(c)
	}
}

// of returns what was counted in a span, or makes it anew.
func (t *tally) of(span keep.Span) *counted {
	c := t.spans[span]
	if c == nil {
		c = &counted{sums: make(map[string]keep.Counts)}
		t.spans[span] = c
	}
	return c
}

// turn notes that a span has changed.
func (t *tally) turn(c *counted) {
	t.changes++
	c.version = strconv.FormatInt(t.changes, 10)
}

// set makes a name's sum another one.
func (c *counted) set(cell keep.Cell) {
	if _, known := c.sums[cell.Name]; !known {
		c.kinds[strings.IndexByte(keep.Kinds, cell.Name[0])]++
	}
	c.sums[cell.Name] = cell.Counts
}

// add counts something, and returns as what.
func (c *counted) add(cell keep.Cell) (name string) {
	name = cell.Name
	kind := strings.IndexByte(keep.Kinds, name[0])
	if _, known := c.sums[name]; !known && c.kinds[kind] >= keep.MaxNames[kind] {
		name = name[:1] + keep.Other
	}
	c.set(keep.Cell{Name: name, Counts: c.sums[name].Plus(cell.Counts)})
	return name
}

// Add implements keep.Store. It waits for no disk: what is behind is written a little later, or
// when that can be.
func (t *tally) Add(_ context.Context, node string, batches []keep.Batch) ([]int64, error) {
	defer t.lock()()
	had := make([]int64, len(batches))
	for i, b := range batches {
		had[i] = t.add(node, b)
	}
	rouse(t.wake)
	return had, nil
}

func (t *tally) add(node string, b keep.Batch) (had int64) {
	if t.spans[b.Span] == nil && b.Known {
		return keep.Lost
	}
	c := t.of(b.Span)
	if had := c.had.of(node); b.Seq != had+1 {
		return had
	}
	for _, cell := range b.Cells {
		t.owe(b.Span, c.add(cell))
	}
	c.had.put(node, b.Seq)
	c.had.bound()
	t.owe(b.Span, lastOf(node))
	c.live = true
	t.turn(c)
	return b.Seq
}

// owe notes that the file does not have a sum, or a node's last batch.
func (t *tally) owe(span keep.Span, name string) {
	if t.behind[span] == nil {
		t.behind[span] = make(names)
	}
	if _, owes := t.behind[span][name]; !owes {
		t.behind[span][name] = struct{}{}
		t.owed.Add(1)
	}
}

// Read implements keep.Store.
func (t *tally) Read(_ context.Context, spans []keep.Span, versions []string) ([]keep.Snapshot, error) {
	defer t.lock()()
	all := make([]keep.Snapshot, len(spans))
	for i, span := range spans {
		if c := t.spans[span]; c != nil {
			all[i] = c.snapshot(versions[i])
		}
	}
	return all, nil
}

// snapshot is what is told to who knows a version already.
func (c *counted) snapshot(known string) keep.Snapshot {
	s := keep.Snapshot{Version: c.version, Same: c.version == known}
	if !s.Same {
		s.Had, s.Cells = c.had.byNode(), make([]keep.Cell, 0, len(c.sums))
		for name, sum := range c.sums {
			s.Cells = append(s.Cells, keep.Cell{Name: name, Counts: sum})
		}
	}
	return s
}

// Restore implements keep.Store.
func (t *tally) Restore(_ context.Context, span keep.Span, version string, s keep.Snapshot) error {
	defer t.lock()()
	if c := t.spans[span]; c != nil && c.version != version || c == nil && version != "" {
		return nil
	}
	delete(t.spans, span)
	c := t.of(span)
	for node, seq := range s.Had {
		c.had.put(node, seq)
		t.owe(span, lastOf(node))
	}
	for _, cell := range s.Cells {
		t.owe(span, c.add(cell))
	}
	c.live = true
	t.turn(c)
	rouse(t.wake)
	return nil
}

// queue returns how many sums the file does not have. It waits for nothing.
func (t *tally) queue() int { return int(t.owed.Load()) }

// take returns what the file does not have. It is written, or put back.
func (t *tally) take() map[keep.Span]names {
	t.mu.Lock()
	defer t.mu.Unlock()
	owed := t.behind
	t.behind = make(map[keep.Span]names)
	t.owed.Store(0)
	return owed
}

func (t *tally) putBack(owed map[keep.Span]names) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for span, all := range owed {
		for name := range all {
			t.owe(span, name)
		}
	}
}

// append appends lines with these sums.
func (t *tally) append(to []byte, owed map[keep.Span]names) []byte {
	if len(owed) == 0 {
		return to
	}
	defer t.lock()()
	for span, all := range owed {
		if c := t.spans[span]; c != nil {
			to = c.append(to, span, slices.Collect(maps.Keys(all)))
		}
	}
	return to
}

// appendAll appends lines with all sums.
func (t *tally) appendAll(to []byte) []byte {
	defer t.lock()()
	for span, c := range t.spans {
		to = c.append(to, span, slices.AppendSeq(c.had.names(), maps.Keys(c.sums)))
	}
	return to
}

// append appends lines with the sums of these names, and behind which batches of nodes they are:
// of what is cut off between the lines nothing is counted twice.
func (c *counted) append(to []byte, span keep.Span, all []string) []byte {
	nodes, sums := c.had.parted(all)
	to = appendPairs(to, kindHad, span, nodes, func(to []byte, node string) []byte { return strconv.AppendInt(to, c.had.of(node), 10) })
	return appendPairs(to, kindUsed, span, sums, func(to []byte, name string) []byte { return c.sums[name].Append(to) })
}

// appendPairs appends lines about a span: names, each with what value appends.
func appendPairs(to []byte, kind string, span keep.Span, all []string, value func(to []byte, name string) []byte) []byte {
	for few := range slices.Chunk(all, lineCells) {
		to = appendLine(to, func(b []byte) []byte {
			b = appendSpan(b, kind, span)
			for _, name := range few {
				b = append(strconv.AppendQuote(append(b, '\t'), name), '\t')
				b = value(b, name)
			}
			return b
		})
	}
	return to
}

// forget drops spans that are too old, or of a time that is so far ahead that nobody can have
// known what time it was: unless this process counts in them, whose clock was set back since.
func (t *tally) forget(now time.Time) {
	defer t.lock()()
	for span, c := range t.spans {
		if old, ahead := isFar(span, now); old || ahead && !c.live {
			delete(t.spans, span)
			t.owed.Add(-int64(len(t.behind[span])))
			delete(t.behind, span)
		}
	}
}

func isFar(span keep.Span, now time.Time) (old, ahead bool) {
	at, most := now.Unix()/60, int64(keepMinutes)
	if span.Day {
		at, most = at/(24*60), keepDays
	}
	return span.Number <= at-most, span.Number >= at+most
}

func appendSpan(to []byte, kind string, span keep.Span) []byte {
	unit := byte('m')
	if span.Day {
		unit = 'd'
	}
	to = append(append(to, kind...), '\t', unit)
	to = strconv.AppendInt(to, span.Number, 10)
	return strconv.AppendQuote(append(to, '\t'), span.Pool)
}

// parseUsed reads a line. It reports false for what no process of this version has written.
func parseUsed(body string) (span keep.Span, cells []keep.Cell, ok bool) {
	span, ok = parsePairs(body, func(name, sums string) bool {
		cell, ok := parseCell(name, sums)
		cells = append(cells, cell)
		return ok
	})
	return span, cells, ok
}

// parsePairs reads a line about a span, and gives each pair to take, until that is not sound.
func parsePairs(body string, take func(name, value string) bool) (span keep.Span, ok bool) {
	_, body, _ = strings.Cut(body, "\t")
	when, body, _ := strings.Cut(body, "\t")
	pool, body, more := strings.Cut(body, "\t")
	span, ok = parseSpan(when, pool)
	for more && ok {
		var name, value string
		name, body, _ = strings.Cut(body, "\t")
		value, body, more = strings.Cut(body, "\t")
		ok = take(name, value)
	}
	return span, ok
}

func parseSpan(when, pool string) (span keep.Span, ok bool) {
	if when == "" || when[0] != 'm' && when[0] != 'd' {
		return span, false
	}
	number, err1 := strconv.ParseInt(when[1:], 10, 64)
	name, err2 := strconv.Unquote(pool)
	return keep.Span{Pool: strings.Clone(name), Day: when[0] == 'd', Number: number}, err1 == nil && err2 == nil && number >= 0
}

func parseCell(name, sums string) (cell keep.Cell, ok bool) {
	text, err := strconv.Unquote(name)
	if err != nil || !keep.ValidName(text) {
		return cell, false
	}
	cell.Name = strings.Clone(text) // the file's text goes
	cell.Counts, ok = keep.ParseCounts(sums)
	return cell, ok
}

package statetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/rotator/keep"
)

// Store returns what keeps counts, each time of another node of the same backend.
type Store func(t testing.TB) keep.Store

// RunStore runs the suite of backends that keep what is counted. fresh returns a backend
// that keeps nothing yet.
func RunStore(t *testing.T, fresh func(t testing.TB) Store) {
	for _, row := range []struct {
		sentence string
		check    func(*testing.T, Store)
	}{
		{"what nodes add is one sum", storeSums},
		{"a batch counts once", storeOnce},
		{"one that is not the next does not count", storeGap},
		{"each span is kept apart", storeSpans},
		{"a span that was there and is not is lost", storeLost},
		{"what has not changed need not be read", storeVersions},
		{"many spans are read one after the other", storePages},
		{"any name of a client is kept", storeNames},
		{"names that are too many are one", storeBounds},
		{"large numbers stay exact, and too large ones the largest", storeNumbers},
		{"what is lost is brought back once", storeRestore},
		{"what is there is not written over", storeRestoreLate},
		{"it can be brought back whole", storeRestoreMuch},
	} {
		t.Run(row.sentence, func(t *testing.T) { row.check(t, fresh(t)) })
	}
}

var today = keep.Span{Pool: "main", Day: true, Number: 20_786}

// counted are numbers, each another one.
func counted(n int64) keep.Counts { return keep.Counts{n, 0, 10 * n, 100 * n, 0, 0, 0, 7 * n, 0} }

func cell(name string, n int64) keep.Cell { return keep.Cell{Name: name, Counts: counted(n)} }

// add adds a batch, and checks which is the node's last one then.
func add(t *testing.T, s keep.Store, node string, want int64, b keep.Batch) {
	t.Helper()
	had, err := s.Add(t.Context(), node, []keep.Batch{b})
	if err != nil || !slices.Equal(had, []int64{want}) {
		t.Fatalf("%s has added batches up to %v, want %d: %v", node, had, want, err)
	}
}

// snapshot reads a span.
func snapshotOf(t *testing.T, s keep.Store, span keep.Span, version string) keep.Snapshot {
	t.Helper()
	all, err := s.Read(t.Context(), []keep.Span{span}, []string{version})
	if err != nil || len(all) != 1 || all[0].Unsound {
		t.Fatalf("%+v, %v", all, err)
	}
	return all[0]
}

// holds checks what a span holds, and which batches are in it.
func holds(t *testing.T, s keep.Store, span keep.Span, had map[string]int64, want ...keep.Cell) {
	t.Helper()
	got := snapshotOf(t, s, span, "")
	order := func(a, b keep.Cell) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(got.Cells, order)
	slices.SortFunc(want, order)
	if !slices.Equal(got.Cells, want) {
		t.Errorf("%d cells of %v: %.600v, want %.600v", len(got.Cells), span, got.Cells, want)
	}
	if fmt.Sprint(got.Had) != fmt.Sprint(had) {
		t.Errorf("batches up to %v, want %v", got.Had, had)
	}
}

func storeSums(t *testing.T, open Store) {
	a, b := open(t), open(t)
	add(t, a, "nodeA", 1, keep.Batch{Span: today, Seq: 1, Cells: []keep.Cell{cell("cada", 1), cell("mgpt", 1)}})
	add(t, b, "nodeB", 1, keep.Batch{Span: today, Seq: 1, Cells: []keep.Cell{cell("cada", 2), cell("k010203040506", 2)}})
	add(t, a, "nodeA", 2, keep.Batch{Span: today, Seq: 2, Known: true, Cells: []keep.Cell{cell("cada", 4)}})
	for _, s := range []keep.Store{a, b, open(t)} {
		holds(t, s, today, map[string]int64{"nodeA": 2, "nodeB": 1}, cell("cada", 7), cell("mgpt", 1), cell("k010203040506", 2))
	}
}

func storeOnce(t *testing.T, open Store) {
	s := open(t)
	b := keep.Batch{Span: today, Seq: 1, Cells: []keep.Cell{cell("cada", 1)}}
	for range 3 {
		add(t, s, "nodeA", 1, b)
	}
	next := keep.Batch{Span: today, Seq: 2, Known: true, Cells: []keep.Cell{cell("cada", 2)}}
	had, err := s.Add(t.Context(), "nodeA", []keep.Batch{b, next, b, next})
	if err != nil || !slices.Equal(had, []int64{1, 2, 2, 2}) {
		t.Errorf("%v, %v", had, err)
	}
	holds(t, s, today, map[string]int64{"nodeA": 2}, cell("cada", 3))
}

func storeGap(t *testing.T, open Store) {
	s := open(t)
	add(t, s, "nodeA", 0, keep.Batch{Span: today, Seq: 3, Cells: []keep.Cell{cell("cada", 1)}})
	add(t, s, "nodeA", 1, keep.Batch{Span: today, Seq: 1, Cells: []keep.Cell{cell("cada", 2)}})
	add(t, s, "nodeA", 1, keep.Batch{Span: today, Seq: 3, Known: true, Cells: []keep.Cell{cell("cada", 4)}})
	holds(t, s, today, map[string]int64{"nodeA": 1}, cell("cada", 2))
}

func storeSpans(t *testing.T, open Store) {
	s := open(t)
	spans := slices.Repeat([]keep.Span{today}, 5)
	spans[1].Day, spans[2].Number, spans[3].Pool, spans[4].Pool = false, today.Number+1, "main.m1", "Main"
	var all []keep.Batch
	for i, span := range spans {
		all = append(all, keep.Batch{Span: span, Seq: 1, Cells: []keep.Cell{cell("cada", int64(i+1))}})
	}
	if had, err := s.Add(t.Context(), "nodeA", all); err != nil || !slices.Equal(had, []int64{1, 1, 1, 1, 1}) {
		t.Fatalf("%v, %v", had, err)
	}
	for i, span := range spans {
		holds(t, s, span, map[string]int64{"nodeA": 1}, cell("cada", int64(i+1)))
	}
}

func storeLost(t *testing.T, open Store) {
	s := open(t)
	add(t, s, "nodeA", keep.Lost, keep.Batch{Span: today, Seq: 1, Known: true, Cells: []keep.Cell{cell("cada", 1)}})
	if got := snapshotOf(t, s, today, "junk"); got.Version != "" || got.Same || len(got.Cells)+len(got.Had) > 0 {
		t.Errorf("%+v", got)
	}
}

func storeVersions(t *testing.T, open Store) {
	s := open(t)
	seen := []string{""}
	for n := range int64(3) {
		add(t, s, "nodeA", n+1, keep.Batch{Span: today, Seq: n + 1, Cells: []keep.Cell{cell("cada", 1)}})
		got := snapshotOf(t, s, today, seen[n])
		if slices.Contains(seen, got.Version) || got.Same || len(got.Cells) != 1 {
			t.Errorf("after batch %d the span is %+v, after versions %q", n+1, got, seen)
		}
		seen = append(seen, got.Version)
		if again := snapshotOf(t, s, today, got.Version); !again.Same || len(again.Cells) > 0 || again.Version != got.Version {
			t.Errorf("read again it is %+v", again)
		}
	}
	add(t, s, "nodeA", 3, keep.Batch{Span: today, Seq: 3, Known: true, Cells: []keep.Cell{cell("cada", 1)}})
	if again := snapshotOf(t, s, today, seen[3]); !again.Same {
		t.Errorf("what adds nothing changes the version: %+v", again)
	}
}

func storePages(t *testing.T, open Store) {
	s := open(t)
	var spans []keep.Span
	for i := range 90 {
		span := keep.Span{Pool: "main", Number: int64(i)}
		if spans = append(spans, span); i%3 == 0 {
			add(t, s, "nodeA", 1, keep.Batch{Span: span, Seq: 1, Cells: []keep.Cell{cell("cada", int64(i+1))}})
		}
	}
	read := 0
	for read < len(spans) {
		some, err := s.Read(t.Context(), spans[read:], make([]string, len(spans)-read))
		if err != nil || len(some) == 0 {
			t.Fatalf("%d of %d are read: %v", read, len(spans), err)
		}
		for _, got := range some {
			if there := read%3 == 0; there != (len(got.Cells) == 1) || there && got.Cells[0] != cell("cada", int64(read+1)) {
				t.Errorf("%d: %+v", read, got)
			}
			read++
		}
	}
}

func storeNames(t *testing.T, open Store) {
	s := open(t)
	var want []keep.Cell
	for _, name := range []string{"", " ", "a b", "a\nb", "a\x00b", "#", "@nodeA", "é\u202e", "1 2 3", "other", strings.Repeat("x", 1000)} {
		want = append(want, cell("c"+name, 1), cell("m"+name, 2))
	}
	add(t, s, "nodeA", 1, keep.Batch{Span: today, Seq: 1, Cells: want})
	holds(t, s, today, map[string]int64{"nodeA": 1}, want...)
}

func storeBounds(t *testing.T, open Store) {
	s := open(t)
	bound := keep.MaxNames[strings.IndexByte(keep.Kinds, 'm')]
	var want []keep.Cell
	for i := range bound {
		want = append(want, cell(fmt.Sprint("m", i), 1))
	}
	seq := int64(0)
	for few := range slices.Chunk(append(slices.Clone(want), cell("mone", 2), cell("mtwo", 3), cell("m0", 1), cell("cada", 1)), 200) {
		seq++
		add(t, s, "nodeA", seq, keep.Batch{Span: today, Seq: seq, Known: seq > 1, Cells: few})
	}
	want[0] = cell("m0", 2)
	holds(t, s, today, map[string]int64{"nodeA": seq}, append(slices.Clone(want), cell("mother", 5), cell("cada", 1))...)
	// A node may call some other itself.
	mixed := []keep.Cell{cell("mthree", 1), cell("mother", 10), cell("mfour", 100)}
	add(t, s, "nodeA", seq+1, keep.Batch{Span: today, Seq: seq + 1, Known: true, Cells: mixed})
	holds(t, s, today, map[string]int64{"nodeA": seq + 1}, append(want, cell("mother", 116), cell("cada", 1))...)
}

func storeNumbers(t *testing.T, open Store) {
	s := open(t)
	large := keep.Counts{1, 4_503_599_627_370_497, keep.Most - 1, keep.Most, 3, 0, 0, 0, 1}
	for n := range int64(2) {
		add(t, s, "nodeA", n+1, keep.Batch{Span: today, Seq: n + 1, Cells: []keep.Cell{{Name: "cada", Counts: large}}})
	}
	add(t, s, "nodeA", 3, keep.Batch{Span: today, Seq: 3, Cells: []keep.Cell{{Name: "cada", Counts: keep.Counts{1}}}})
	holds(t, s, today, map[string]int64{"nodeA": 3}, keep.Cell{Name: "cada", Counts: keep.Counts{3, keep.Most, keep.Most, keep.Most, 6, 0, 0, 0, 2}})
}

func storeRestore(t *testing.T, open Store) {
	a, b := open(t), open(t)
	for i, s := range []keep.Store{a, b} { // the second one comes too late
		err := s.Restore(t.Context(), today, "", keep.Snapshot{
			Cells: []keep.Cell{cell("cada", int64(5+i)), cell("kff", 1)}, Had: map[string]int64{"gone": 9, "nodeA": 3},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	add(t, a, "nodeA", 3, keep.Batch{Span: today, Seq: 3, Known: true, Cells: []keep.Cell{cell("cada", 1)}})
	add(t, a, "nodeA", 4, keep.Batch{Span: today, Seq: 4, Known: true, Cells: []keep.Cell{cell("cada", 1)}})
	add(t, b, "nodeB", 1, keep.Batch{Span: today, Seq: 1, Known: true, Cells: []keep.Cell{cell("cada", 1)}})
	holds(t, b, today, map[string]int64{"gone": 9, "nodeA": 4, "nodeB": 1}, cell("cada", 7), cell("kff", 1))
}

func storeRestoreLate(t *testing.T, open Store) {
	s := open(t)
	add(t, s, "nodeA", 1, keep.Batch{Span: today, Seq: 1, Cells: []keep.Cell{cell("cada", 1)}})
	old := snapshotOf(t, s, today, "")
	add(t, s, "nodeA", 2, keep.Batch{Span: today, Seq: 2, Known: true, Cells: []keep.Cell{cell("cada", 1)}})
	for _, version := range []string{"", "junk", old.Version} {
		if err := s.Restore(t.Context(), today, version, old); err != nil {
			t.Fatal(err)
		}
		holds(t, s, today, map[string]int64{"nodeA": 2}, cell("cada", 2))
	}
	if err := s.Restore(t.Context(), today, snapshotOf(t, s, today, "").Version, old); err != nil {
		t.Fatal(err)
	}
	holds(t, s, today, map[string]int64{"nodeA": 1}, cell("cada", 1))
}

func storeRestoreMuch(t *testing.T, open Store) {
	s := open(t)
	want := keep.Snapshot{Had: map[string]int64{"nodeA": 3}}
	for i := range 3000 {
		want.Cells = append(want.Cells, cell(fmt.Sprint("c", i), int64(i+1)))
	}
	if err := s.Restore(t.Context(), today, "", want); err != nil {
		t.Fatal(err)
	}
	holds(t, s, today, want.Had, want.Cells...)
	add(t, s, "nodeA", 4, keep.Batch{Span: today, Seq: 4, Known: true, Cells: []keep.Cell{cell("cnew", 1)}})
	holds(t, s, today, map[string]int64{"nodeA": 4}, append(want.Cells, cell("cnew", 1))...)
}

package draw

import (
	"math/rand/v2"
	"testing"
)

// The model is a list of deadlines by slot; its soonest is found by looking.
func TestDeadlinesAgainstModel(t *testing.T) {
	const slots = 60
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		d, model := newDeadlines(slots), map[Slot]int64{}
		for step := range 2000 {
			// More sets than pops for a while, then the reverse: the heap fills and drains.
			switch {
			case len(model) > 0 && r.IntN(4) < 1+step/500%2:
				popSoonest(t, &d, model)
			case len(model) > 0 && r.IntN(4) == 0:
				s := d.items[r.IntN(len(d.items))].slot
				d.remove(s)
				delete(model, s)
			default:
				s, until := Slot(r.IntN(slots)), r.Int64N(100) // few values: many are equal
				d.set(Mark{slot: s, until: until})
				model[s] = until
			}
			checkDeadlines(t, &d, model)
		}
		for len(model) > 0 {
			popSoonest(t, &d, model)
			checkDeadlines(t, &d, model)
		}
	}
}

func popSoonest(t *testing.T, d *deadlines, model map[Slot]int64) {
	t.Helper()
	until := d.items[0].until
	s := d.pop()
	if got, ok := model[s]; !ok || got != until {
		t.Fatalf("popped slot %d at %d, the model has %d, %t", s, until, got, ok)
	}
	for other, at := range model {
		if at < until {
			t.Fatalf("popped %d before slot %d at %d", until, other, at)
		}
	}
	delete(model, s)
}

func checkDeadlines(t *testing.T, d *deadlines, model map[Slot]int64) {
	t.Helper()
	if len(d.items) != len(model) {
		t.Fatalf("%d slots in the heap, %d in the model", len(d.items), len(model))
	}
	for s := range Slot(len(d.at)) {
		until, want := model[s]
		if d.has(s) != want {
			t.Fatalf("slot %d in the heap: %t, in the model: %t", s, d.has(s), want)
		}
		if want && d.items[d.at[s]] != (Mark{slot: s, until: until}) {
			t.Fatalf("slot %d is %+v in the heap, %d in the model", s, d.items[d.at[s]], until)
		}
	}
}

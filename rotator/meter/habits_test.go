package meter

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// All is expected of a model of which nothing is known, and then about what nine of ten use.
func TestHabits(t *testing.T) {
	var h Habits
	if got := h.Expect("m", 1000); got != 1000 {
		t.Errorf("of a model of which nothing is known %d are expected", got)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		h.Learn("m", 1000, 50+r.Int64N(101))
	}
	more := 0
	for range 1000 {
		used := 50 + r.Int64N(101)
		if used > h.Expect("m", 1000) {
			more++
		}
		h.Learn("m", 1000, used)
	}
	if more < 50 || more > 350 {
		t.Errorf("%d of 1000 answers use more than is expected", more)
	}
	for range 12 {
		h.Learn("m", 1000, 1000)
	}
	if got := h.Expect("m", 1000); got < 900 {
		t.Errorf("where answers use all, %d of 1000 are expected", got)
	}
}

// What is expected is never more than there may be, nor less than nothing.
func TestHabitsAreWithinBounds(t *testing.T) {
	var h Habits
	for range 1000 {
		h.Learn("none", 1000, 0)
		h.Learn("much", 10, 1<<40)
		h.Learn("unsaid", 0, 5)
	}
	for model, want := range map[string]int64{"none": 1, "much": 1000, "unsaid": 1000} {
		if got := h.Expect(model, 1000); got != want {
			t.Errorf("%s: %d, want %d", model, got, want)
		}
	}
	if got := h.Expect("none", 0); got != 0 {
		t.Errorf("of nothing %d", got)
	}
}

// Clients name models: few are told apart.
func TestHabitsAreBounded(t *testing.T) {
	var h Habits
	for i := range 10_000 {
		h.Learn(fmt.Sprint(i), 1000, 10)
	}
	if len(h.models) > MaxModels+1 {
		t.Errorf("%d models are told apart", len(h.models))
	}
	if got := h.Expect("another", 1000); got > 20 {
		t.Errorf("of further ones %d are expected", got)
	}
	if got := testing.AllocsPerRun(100, func() { h.Learn("another", 1000, h.Expect("another", 1000)) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

package rotator

import (
	"fmt"
	"slices"
	"testing"
)

func TestScopesOfAPool(t *testing.T) {
	s, keys := NewState(start), makeKeys(t, 3)
	p, other := makePool(t, keys[:2], s, start), makePool(t, keys[2:], s, start)
	want := func(sentence string, want ...string) {
		t.Helper()
		if got := p.Scopes(); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
			t.Errorf("%s: %q, want %q", sentence, got, want)
		}
	}
	want("nothing cools")
	p.Cool(start, 0, Cooldown{For: minute})
	want("a key cools for all requests")
	p.Cool(start, 0, Cooldown{For: minute, Scope: "x"})
	p.Cool(start, 1, Cooldown{For: 2 * minute, Scope: "y"})
	p.Cool(start, 1, Cooldown{For: 2 * minute, Scope: "a\nb"})
	other.Cool(start, 0, Cooldown{For: minute, Scope: "z"})
	want("its own keys cool in some", Overflow, "x", "y")
	p.Pick(in(minute), nil)
	want("one is over", Overflow, "y")
	p.Clear(in(minute), 1)
	want("the others were cleared")
	for i := range 3 * MaxScopes {
		p.Cool(in(minute), 0, Cooldown{For: minute, Scope: fmt.Sprintf("model-%03d", i)})
	}
	if got := p.Scopes(); len(got) != MaxScopes+1 || !slices.Contains(got, Overflow) {
		t.Errorf("clients invent names: %d scopes", len(got))
	}
	checkPool(t, p)
}

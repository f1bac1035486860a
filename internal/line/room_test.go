package line

import (
	"slices"
	"testing"
)

// A key that becomes ready wakes one request: of a thousand that wait, only the
// first one looks.
func TestAKeyWakesOneRequest(t *testing.T) {
	room := &Room{Most: 2000}
	var waiters []*Waiter
	for range 1000 {
		waiters = append(waiters, room.Join("", "", 1))
	}
	awake := func() (all []int) {
		for i, w := range waiters {
			select {
			case <-w.Look:
				all = append(all, i)
			default:
			}
		}
		return all
	}
	if got := awake(); !slices.Equal(got, []int{0}) {
		t.Errorf("at the start %v look, want the first", got)
	}
	room.Wake()
	if got := awake(); !slices.Equal(got, []int{0}) {
		t.Errorf("when a key has become ready %v look, want the first", got)
	}
	room.Leave(waiters[500], false)
	if got := awake(); len(got) != 0 {
		t.Errorf("when one in the middle has left %v look", got)
	}
	room.Leave(waiters[0], true)
	if got := awake(); !slices.Equal(got, []int{1}) {
		t.Errorf("when the first has left %v look, want the second", got)
	}
}

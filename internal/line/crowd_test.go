package line

import (
	"fmt"
	"testing"
)

// counts returns how many of each client wait.
func counts(room *Room) map[string]int {
	all := make(map[string]int)
	for name, c := range room.crowd.clients {
		all[name] = c.waiting.Len()
	}
	return all
}

// TestAFullRoom tells who may wait when there is no room, and who makes some.
func TestAFullRoom(t *testing.T) {
	for _, row := range []struct {
		sentence string
		come     func(room *Room)
		comes    string // and weighs 1
		let      bool
		want     map[string]int
	}{
		{"a client that is alone fills it", func(room *Room) { queueUp(room, "a", 1, 6) }, "a", false, map[string]int{"a": 6}},
		{"for another one the first makes room", func(room *Room) { queueUp(room, "a", 1, 6) }, "b", true, map[string]int{"a": 5, "b": 1}},
		{"until both have half of it", func(room *Room) { queueUp(room, "a", 1, 3); queueUp(room, "b", 1, 3) }, "b", false, map[string]int{"a": 3, "b": 3}},
		{"so that both have the same", func(room *Room) { queueUp(room, "a", 1, 4); queueUp(room, "b", 1, 2) }, "b", true, map[string]int{"a": 3, "b": 3}},
		{"nobody's only one is sent away", func(room *Room) {
			for i := range 6 {
				queueUp(room, fmt.Sprint(i), 1, 1)
			}
		}, "a", false, map[string]int{"0": 1, "1": 1, "2": 1, "3": 1, "4": 1, "5": 1}},
		{"who weighs more may have more", func(room *Room) { queueUp(room, "a", 1, 2); queueUp(room, "b", 4, 4) }, "c", true, map[string]int{"a": 1, "b": 4, "c": 1}},
		{"but not all", func(room *Room) { queueUp(room, "a", 1, 1); queueUp(room, "b", 4, 5) }, "c", true, map[string]int{"a": 1, "b": 4, "c": 1}},
		{"of those who have the same, who came last makes room", func(room *Room) { queueUp(room, "a", 1, 3); queueUp(room, "b", 1, 3) }, "c", true, map[string]int{"a": 3, "b": 2, "c": 1}},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			room := &Room{Most: 6}
			row.come(room)
			w := room.Join("another line", row.comes, 1)
			if got := counts(room); (w != nil) != row.let || fmt.Sprint(got) != fmt.Sprint(row.want) || room.Waiting() != 6 {
				t.Errorf("it was let in: %t; %v wait (%d), want %v", w != nil, got, room.Waiting(), row.want)
			}
		})
	}
}

// Who makes room is the client's newest, in whatever line, and is told so at once.
func TestWhoMakesRoom(t *testing.T) {
	room := &Room{Most: 4}
	all := []*Waiter{room.Join("x", "a", 1), room.Join("y", "a", 1), room.Join("x", "a", 1), room.Join("z", "a", 1)}
	<-all[3].Look // it is the first of its line
	if room.Join("x", "b", 1) == nil {
		t.Fatal("nobody has made room")
	}
	for i, w := range all {
		if got := room.Says(w); (got == Yield) != (i == 3) {
			t.Errorf("the room says %v to number %d", got, i)
		}
	}
	select {
	case <-all[3].Look:
	default:
		t.Error("it was not told")
	}
	if room.Occupied("z") || !room.Occupied("y") {
		t.Error("it still stands in its line")
	}
	room.Leave(all[3], true) // it had a key in this moment
	if room.Waiting() != 4 {
		t.Errorf("%d wait", room.Waiting())
	}
}

// Where the only one makes room the room is not empty, as far as anybody knows who waits for
// that.
func TestARoomForOne(t *testing.T) {
	room := &Room{Most: 2}
	first, second := room.Join("", "a", 1), room.Join("", "a", 1)
	emptied := 0
	room.WhenEmpty(func() { emptied++ })
	third := room.Join("", "b", 1)
	if third == nil || room.Says(second) != Yield {
		t.Fatal("nobody has made room")
	}
	room.Leave(second, false)
	room.Leave(first, true)
	if emptied != 0 {
		t.Error("somebody waits, and the room is empty")
	}
	room.Leave(third, true)
	if room.WhenEmpty(func() { emptied++ }); emptied != 2 {
		t.Errorf("it was told %d times that the room is empty, want twice", emptied)
	}
}

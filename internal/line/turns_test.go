package line

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// queueUp puts n requests of the client into the room's only line.
func queueUp(room *Room, client string, weight, n int) (all []*Waiter) {
	for range n {
		all = append(all, room.Join("", client, weight))
	}
	return all
}

// serve gives the next one of the room's only line its turn, and returns whose it was.
func serve(room *Room) string {
	w := room.lines[""].first
	room.Leave(w, true)
	return w.client.name
}

// served serves n turns, and returns whose they were.
func served(room *Room, n int) string {
	var all []string
	for range n {
		all = append(all, serve(room))
	}
	return strings.Join(all, "")
}

// TestTurns tells whose turn it is.
func TestTurns(t *testing.T) {
	for _, row := range []struct {
		sentence string
		come     func(room *Room)
		want     string
	}{
		{"one client's are served as they came", func(room *Room) { queueUp(room, "a", 1, 3) }, "aaa"},
		{"who comes later is served between those of a batch", func(room *Room) { queueUp(room, "a", 1, 4); queueUp(room, "b", 1, 1) }, "abaaa"},
		{"two batches take turns", func(room *Room) { queueUp(room, "a", 1, 4); queueUp(room, "b", 1, 4) }, "abababab"},
		{"clients of one request each are served as they came", func(room *Room) {
			for _, c := range []string{"d", "a", "c", "b"} {
				queueUp(room, c, 1, 1)
			}
		}, "dacb"},
		{"who weighs 2 has two turns for each of the other's", func(room *Room) { queueUp(room, "a", 1, 3); queueUp(room, "b", 2, 4) }, "babbaba"},
		{"who comes in the middle of a batch is next", func(room *Room) { queueUp(room, "a", 1, 6); served(room, 3); queueUp(room, "b", 1, 1) }, "baaa"},
		{"who has waited for nothing has saved nothing up", func(room *Room) {
			queueUp(room, "a", 1, 20)
			served(room, 10)
			queueUp(room, "b", 1, 3)
		}, "bababaaaaaaaa"},
		{"who comes back at once has its next turn after the others' last", func(room *Room) {
			queueUp(room, "a", 1, 4)
			queueUp(room, "b", 1, 4)
			queueUp(room, "c", 1, 1)
			served(room, 3)
			queueUp(room, "c", 1, 1)
		}, "cababab"},
		{"who leaves is not served, and has had no turn", func(room *Room) {
			queueUp(room, "a", 1, 3)
			b := queueUp(room, "b", 1, 3)
			serve(room)
			room.Leave(b[0], false)
		}, "baba"},
		{"what weighs less than 1 weighs 1", func(room *Room) { queueUp(room, "a", 0, 2); queueUp(room, "b", -5, 2) }, "abab"},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			room := &Room{Most: 100}
			row.come(room)
			if got := served(room, int(room.Waiting())); got != row.want {
				t.Errorf("%s, want %s", got, row.want)
			}
		})
	}
}

// A client that weighs w has w turns for each of one that weighs 1, while both wait.
func TestWeights(t *testing.T) {
	room := &Room{Most: 100_000}
	weights := map[string]int{"a": 1, "b": 2, "c": 7, "d": 30, "e": 10}
	all := 0
	for name, w := range weights {
		queueUp(room, name, w, 1000*w)
		all += w
	}
	had := make(map[string]int)
	for turn := 1; turn <= 900*all; turn++ {
		had[serve(room)]++
		for name, w := range weights {
			// One turn less than its share, or one more for each of the others.
			if share := float64(turn*w) / float64(all); float64(had[name]) < share-2 || float64(had[name]) > share+float64(len(weights)*w)/float64(all)+1 {
				t.Fatalf("after %d turns %s had %d, and should have about %.0f", turn, name, had[name], share)
			}
		}
	}
}

// Batches that were there before do not keep a client waiting that comes once in a while:
// it waits for one turn of each.
func TestABatchStarvesNobody(t *testing.T) {
	room := &Room{Most: 100_000}
	const batches = 10
	for b := range batches {
		queueUp(room, fmt.Sprint("batch-", b), 1, 2000)
	}
	worst := 0
	for range 300 {
		served(room, 30)
		queueUp(room, "chat", 1, 1)
		waited := 1
		for serve(room) != "chat" {
			waited++
		}
		worst = max(worst, waited)
	}
	if worst > batches+1 {
		t.Errorf("it waited for up to %d turns of %d others", worst, batches)
	}
}

// Nor do ever new clients keep a batch waiting: names can be had for nothing where they come
// from a placeholder.
func TestNewClientsStarveNobody(t *testing.T) {
	room := &Room{Most: 100_000}
	queueUp(room, "batch", 1, 2000)
	for i := range 10 {
		queueUp(room, fmt.Sprint("new-", i), 1, 1)
	}
	since, worst, had := 0, 0, 0
	for i := range 10_000 {
		if serve(room) == "batch" {
			worst, since = max(worst, since), 0
			had++
			continue
		}
		since++
		queueUp(room, fmt.Sprint("newer-", i), 1, 1)
	}
	if worst > 21 || had < 10_000/12 { // all have one turn between two of its own, and two where it is first in one round and last in the next
		t.Errorf("the batch had %d turns of 10,000, and waited for up to %d others", had, worst)
	}
}

// Who asks for one thing after the other has no more turns than who asks for all at once.
func TestOneAfterTheOther(t *testing.T) {
	room := &Room{Most: 100_000}
	for b := range 4 {
		queueUp(room, fmt.Sprint("batch-", b), 1, 1000)
	}
	queueUp(room, "loop", 1, 1)
	had := 0
	for range 1000 {
		if serve(room) == "loop" {
			had++
			queueUp(room, "loop", 1, 1)
		}
	}
	if had < 198 || had > 202 {
		t.Errorf("it had %d of 1,000 turns, as one of five", had)
	}
}

// Nothing is remembered of who waits no more.
func TestNothingIsRemembered(t *testing.T) {
	room := &Room{Most: 10}
	queueUp(room, "batch", 1, 5)
	for i := range 1000 {
		for _, name := range []string{"", "other"} {
			room.Leave(room.Join(name, fmt.Sprint("c-", i), 1), true)
		}
	}
	if n := len(room.lines[""].flows); n != 1 || len(room.lines) != 1 || len(room.crowd.clients) != 1 {
		t.Errorf("%d clients, in %d lines %d of them: one waits", len(room.crowd.clients), len(room.lines), n)
	}
}

// Who is to be served before the first takes its turn, and the first waits on.
func TestWhoComesMayBeNext(t *testing.T) {
	room := &Room{Most: 100}
	batch := queueUp(room, "batch", 1, 10)
	served(room, 3)
	looks := func(w *Waiter) bool {
		select {
		case <-w.Look:
			return true
		default:
			return false
		}
	}
	if !looks(batch[3]) || room.Says(batch[3]) != Look {
		t.Fatal("the first does not look")
	}
	chat := room.Join("", "chat", 1)
	if !looks(chat) || room.Says(chat) != Look || room.Says(batch[3]) != Wait {
		t.Error("who comes is not next")
	}
	room.Wake()
	if !looks(chat) || looks(batch[3]) {
		t.Error("a key woke another one")
	}
	room.Leave(chat, false)
	if !looks(batch[3]) || room.Says(batch[3]) != Look {
		t.Error("the first was not told that its turn has come again")
	}
	room.Close()
	if got := []Word{room.Says(batch[3]), room.Says(batch[9])}; !slices.Equal(got, []Word{Stop, Stop}) {
		t.Errorf("when the room is closed it says %v", got)
	}
}

// Who steps aside lets the next one look, and has its place again when anything has happened.
func TestWhoStepsAside(t *testing.T) {
	for _, row := range []struct {
		sentence string
		happens  func(room *Room, all []*Waiter)
	}{
		{"somebody leaves", func(room *Room, all []*Waiter) { room.Leave(all[2], false) }},
		{"a key is ready", func(room *Room, _ []*Waiter) { room.Wake() }},
		{"others were served", func(room *Room, all []*Waiter) {
			room.Leave(all[1], true)
			room.Leave(all[3], true)
		}},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			room := &Room{Most: 100}
			var all []*Waiter
			for _, client := range []string{"a", "b", "b", "c", "a", "d"} {
				all = append(all, room.Join("", client, 1))
			}
			<-all[0].Look
			room.StepAside(all[0])
			if len(all[1].Look) != 1 || room.Says(all[1]) != Look || !room.Occupied("") || room.Waiting() != 6 {
				t.Fatal("the next one does not look")
			}
			row.happens(room, all)
			if len(all[0].Look) != 1 || room.Says(all[0]) != Look {
				t.Error("it has not its place again")
			}
		})
	}
	room := &Room{Most: 100}
	first := room.Join("", "a", 1)
	room.Join("", "b", 1)
	for range 3 { // it asks again by its own clock, and is told once
		room.StepAside(first)
		if got := room.Says(first); got != Look || len(first.Look) > 0 {
			t.Errorf("who asks again is told %v, and to ask %d more times", got, len(first.Look))
		}
	}
	room = &Room{Most: 100}
	alone := room.Join("", "a", 1)
	if room.StepAside(alone); room.Says(alone) != Look {
		t.Error("who is alone has left its place")
	}
	second := room.Join("", "b", 1)
	room.StepAside(alone)
	room.StepAside(alone) // it is not the first
	room.Leave(alone, false)
	if room.Says(second) != Look || room.Waiting() != 1 {
		t.Error("who leaves while it stands aside has left somebody behind")
	}
}

// BenchmarkRoom measures what it takes to come, to be told and to leave, while so many of so
// many clients wait.
func BenchmarkRoom(b *testing.B) {
	for _, waiting := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprint(waiting), func(b *testing.B) {
			room := &Room{Most: 1 << 20}
			names := make([]string, waiting)
			for i := range names {
				names[i] = fmt.Sprint("client-", i)
				room.Join("", names[i], 1)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				room.Join("", names[i%waiting], 1)
				w := room.lines[""].first
				room.Says(w)
				room.Leave(w, true)
			}
		})
	}
}

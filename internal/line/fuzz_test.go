package line

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// peer is a room beside the real one that knows nothing of heaps and of time: it keeps who
// waits in lists, and finds fault with whom the real one serves.
type peer struct {
	t    *testing.T
	room *Room
	all  []*request // who wait, as they came
	next map[string]*Waiter
	had  map[pair]float64 // turns by weight that a client had in a line, while another …
}

// request is one that waits.
type request struct {
	*Waiter
	line, client string
	woken        bool // was told to look since its turn came, or since a key was ready
}

// pair is two clients that both wait in a line.
type pair struct{ line, client, other string }

var weights = map[string]int{"a": 1, "b": 1, "c": 2, "d": 5}

func newPeer(t *testing.T, most int64) *peer {
	return &peer{t: t, room: &Room{Most: most}, next: make(map[string]*Waiter), had: make(map[pair]float64)}
}

// of returns the requests of a line and of a client, "" for any.
func (p *peer) of(line, client string) (some []*request) {
	for _, r := range p.all {
		if (line == "" || r.line == line) && (client == "" || r.client == client) {
			some = append(some, r)
		}
	}
	return some
}

// more is how many a client has beside one that nobody takes from it.
func (p *peer) more(client string) float64 {
	return float64(len(p.of("", client))-1) / float64(weights[client])
}

func (p *peer) join(line, client string) {
	full := int64(len(p.all)) == p.room.Most
	w := p.room.Join(line, client, weights[client])
	if full {
		p.madeRoom(client, w != nil)
	} else if w == nil {
		p.t.Fatalf("%s was not let in, and %d wait", client, len(p.all))
	}
	if w != nil {
		p.all = append(p.all, &request{Waiter: w, line: line, client: client})
	}
	p.check()
}

// madeRoom finds fault with who has made room for the client.
func (p *peer) madeRoom(client string, let bool) {
	most := 0.0
	for name := range weights {
		most = max(most, p.more(name))
	}
	if want := most > float64(len(p.of("", client)))/float64(weights[client]); let != want {
		p.t.Fatalf("room was made for %s: %t, want %t", client, let, want)
	}
	for _, r := range slices.Clone(p.all) {
		if !r.sent {
			continue
		}
		if mine := p.of("", r.client); !let || p.more(r.client) != most || mine[len(mine)-1] != r || !p.tells(r) || p.room.Says(r.Waiter) != Yield {
			p.t.Fatalf("the wrong one of %s has made room", r.client)
		}
		p.drop(r)
		p.room.Leave(r.Waiter, false)
		let = false // once
	}
	if let {
		p.t.Fatal("nobody has made room")
	}
}

// tells takes what the request is told.
func (p *peer) tells(r *request) bool {
	select {
	case <-r.Look:
		r.woken = true
	default:
	}
	return r.woken
}

func (p *peer) drop(r *request) {
	p.all = slices.DeleteFunc(p.all, func(other *request) bool { return other == r })
	for name := range weights {
		if len(p.of(r.line, r.client)) == 0 { // both do not wait any more
			delete(p.had, pair{r.line, r.client, name})
			delete(p.had, pair{r.line, name, r.client})
		}
	}
}

// leave lets a request go, served or not.
func (p *peer) leave(r *request, served bool) {
	if served {
		for name := range weights {
			if len(p.of(r.line, name)) > 0 {
				p.had[pair{r.line, r.client, name}] += 1 / float64(weights[r.client])
			}
		}
	}
	p.drop(r)
	p.room.Leave(r.Waiter, served)
	p.check()
}

// stepAside lets the first have another one look before it.
func (p *peer) stepAside(first *request) {
	p.tells(first)
	p.room.StepAside(first.Waiter)
	next := p.room.lines[first.line].first
	if alone := len(p.of(first.line, "")) == len(p.room.lines[first.line].aside)+1; (next == first.Waiter) && !alone || next == nil {
		p.t.Fatalf("nobody looks in line %s", first.line)
	}
	if next != first.Waiter && len(next.Look) == 0 {
		p.t.Fatalf("the next one in line %s was not told", first.line)
	}
	if p.room.Says(first.Waiter) != Look || len(first.Look) > 0 {
		p.t.Fatalf("who asks again in line %s is not told, or twice", first.line)
	}
	p.check()
}

// wake says that a key is ready.
func (p *peer) wake() {
	for _, r := range p.all {
		p.tells(r)
		r.woken = false
	}
	p.room.Wake()
	p.next = make(map[string]*Waiter)
	p.check()
}

// first returns who looks in the line.
func (p *peer) first(line string) *request {
	for _, r := range p.of(line, "") {
		if p.room.lines[line].first == r.Waiter {
			return r
		}
	}
	return nil
}

// check finds fault with the room as it is.
func (p *peer) check() {
	if n := p.room.Waiting(); n != int64(len(p.all)) || n > p.room.Most {
		p.t.Fatalf("%d wait, want %d", n, len(p.all))
	}
	for _, line := range []string{"x", "y"} {
		first := p.first(line)
		if waits := len(p.of(line, "")) > 0; (first != nil) != waits || p.room.Occupied(line) != waits {
			p.t.Fatalf("line %s: somebody waits: %t, looks: %t", line, waits, first != nil)
		}
		if first == nil {
			delete(p.next, line)
			continue
		}
		if p.of(line, first.client)[0] != first {
			p.t.Fatalf("%s is not served first come, first served", first.client)
		}
		p.checkTold(line, first)
	}
	p.checkFair()
}

// checkTold finds fault with a first one that was not told so, and with others that were.
func (p *peer) checkTold(line string, first *request) {
	if p.next[line] != first.Waiter {
		p.next[line], first.woken = first.Waiter, false
		if !p.tells(first) {
			p.t.Fatalf("%s in line %s was not told to look", first.client, line)
		}
	}
	for _, r := range p.of(line, "") {
		if told := len(r.Look) > 0; told && r != first {
			p.tells(r) // it was first before: a look that finds nothing
		}
	}
}

// checkFair finds fault with two clients that both wait of which one had too many turns: more
// than one of each.
func (p *peer) checkFair() {
	for k, had := range p.had {
		most := 1/float64(weights[k.client]) + 1/float64(weights[k.other])
		if ahead := had - p.had[pair{k.line, k.other, k.client}]; k.client != k.other && ahead > most+1e-6 {
			p.t.Fatalf("%s had %.2f turns for its weight more than %s", k.client, ahead, k.other)
		}
	}
}

// play does what the bytes say, and serves who is left.
func play(t *testing.T, most int64, script []byte) {
	p := newPeer(t, most)
	for _, b := range script {
		line, client := []string{"x", "y"}[b>>3&1], []string{"a", "b", "c", "d"}[b>>4&3]
		switch first := p.first(line); {
		case b&7 < 3:
			p.join(line, client)
		case b&7 == 3 && first != nil:
			p.stepAside(first)
		case b&7 < 6 && first != nil:
			p.leave(first, true)
		case b&7 == 6 && len(p.all) > 0:
			p.leave(p.all[int(b>>3)%len(p.all)], false)
		case b&7 == 7:
			p.wake()
		}
	}
	for left := len(p.all); left > 0; left-- {
		first := p.first("x")
		if first == nil {
			first = p.first("y")
		}
		p.leave(first, true)
	}
	if n := len(p.room.lines) + len(p.room.crowd.clients) + len(p.room.crowd.most); n != 0 {
		t.Fatalf("nobody waits, and %d things are remembered", n)
	}
}

// Whatever comes, leaves and is served, nobody is forgotten, turns are fair, and whose turn
// comes is told.
func TestNobodyIsForgotten(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		script := make([]byte, 400)
		for i := range script {
			script[i] = byte(r.Uint32())
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) { play(t, int64(5+seed%40), script) })
	}
}

// FuzzRoom is TestNobodyIsForgotten with whatever order.
func FuzzRoom(f *testing.F) {
	f.Add([]byte{0, 1, 16, 32, 48, 4, 4, 7, 6, 4}, uint8(3))
	f.Add([]byte{0, 8, 0, 8, 16, 24, 4, 12, 4, 12}, uint8(20))
	f.Fuzz(func(t *testing.T, script []byte, most uint8) { play(t, int64(most)+1, script[:min(len(script), 500)]) })
}

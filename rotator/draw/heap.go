package draw

import "slices"

// deadlines is a binary min-heap of marks, the one that changes soonest first, that
// knows where each slot stands, so that a deadline can move. Not safe for concurrent
// use; it allocates only when it grows past what it has held before.
type deadlines struct {
	items []Mark
	at    []int32 // slot → index in items, -1 when the slot is not in the heap
}

func newDeadlines(slots int) deadlines {
	at := make([]int32, slots)
	for i := range at {
		at[i] = -1
	}
	return deadlines{at: at}
}

func (d *deadlines) clone() deadlines {
	return deadlines{items: slices.Clone(d.items), at: slices.Clone(d.at)}
}

func (d *deadlines) has(s Slot) bool { return d.at[s] >= 0 }

// of returns the slot's mark, nil if it has none. It is good until the heap changes.
func (d *deadlines) of(s Slot) *Mark {
	if !d.has(s) {
		return nil
	}
	return &d.items[d.at[s]]
}

// set adds the mark's slot, or gives it another mark.
func (d *deadlines) set(m Mark) {
	i := d.at[m.slot]
	if i < 0 {
		i = int32(len(d.items))
		d.items = append(d.items, m)
		d.at[m.slot] = i
	}
	d.items[i] = m
	if !d.up(i) {
		d.down(i)
	}
}

// pop removes and returns the soonest. The heap must not be empty.
func (d *deadlines) pop() Slot {
	s := d.items[0].slot
	d.remove(s)
	return s
}

// remove takes the slot out. It must be in the heap.
func (d *deadlines) remove(s Slot) {
	i, last := d.at[s], int32(len(d.items)-1)
	moved := d.items[last]
	d.items = d.items[:last]
	d.at[s] = -1
	if i == last {
		return
	}
	d.place(i, moved)
	if !d.up(i) {
		d.down(i)
	}
}

func (d *deadlines) up(i int32) bool {
	item, start := d.items[i], i
	for i > 0 {
		parent := (i - 1) / 2
		if d.items[parent].until <= item.until {
			break
		}
		d.place(i, d.items[parent])
		i = parent
	}
	d.place(i, item)
	return i != start
}

func (d *deadlines) down(i int32) {
	item, n := d.items[i], int32(len(d.items))
	for {
		child := 2*i + 1
		if child >= n {
			break
		}
		if right := child + 1; right < n && d.items[right].until < d.items[child].until {
			child = right
		}
		if item.until <= d.items[child].until {
			break
		}
		d.place(i, d.items[child])
		i = child
	}
	d.place(i, item)
}

func (d *deadlines) place(i int32, item Mark) {
	d.items[i] = item
	d.at[item.slot] = i
}

package draw

import (
	"fmt"
	"slices"
)

// Check returns what is wrong of all that must hold between any two calls, nil if nothing
// is. It is for tests, and looks at each slot several times.
func (d *Draw) Check() error {
	for i, s := range d.order {
		if d.place[s] != int32(i) {
			return fmt.Errorf("slot %d stands at %d, its place says %d", s, i, d.place[s])
		}
	}
	for _, check := range []func() error{d.checkBuckets, d.checkMarks, d.checkCounts, d.checkOrders} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (d *Draw) checkBuckets() error {
	end := int32(0)
	for i := range d.buckets {
		b := &d.buckets[i]
		if b.first != end && d.bucketOf != nil {
			return fmt.Errorf("bucket %d begins at %d, the one before ends at %d", i, b.first, end)
		}
		for end < int32(len(d.order)) && d.bucket(d.order[end]) == b {
			end++
		}
		if err := d.checkBucket(b, end); err != nil {
			return err
		}
	}
	if end != int32(len(d.order)) {
		return fmt.Errorf("the buckets end at %d of %d keys", end, len(d.order))
	}
	return nil
}

// checkBucket checks that each slot of a bucket stands in the part of what it is.
func (d *Draw) checkBucket(b *bucket, end int32) error {
	i := b.first
	for k := Ready; k < Out; k++ {
		if b.size[k] < 0 || i != b.start(k) || i+b.size[k] > end {
			return fmt.Errorf("the bucket from %d to %d has parts of %v", b.first, end, b.size)
		}
		for stop := i + b.size[k]; i < stop; i++ {
			s := d.order[i]
			if d.KindOf(s) != k || d.IsReady(s) != (k == Ready) || k != Ready && !d.marks.has(s) {
				return fmt.Errorf("slot %d stands at %d among those of the kind %d: its own is %d, its mark %+v", s, i, k, d.KindOf(s), d.marks.of(s))
			}
		}
	}
	if hand := b.hands[Ready]; hand < 0 || hand > b.size[Ready] {
		return fmt.Errorf("the hand is at %d of %d ready slots", hand, b.size[Ready])
	}
	return nil
}

// checkMarks checks the heap. Each mark must say of its slot what it is, at the time at
// which it was looked at last: since nothing changes before until, that is any before it.
func (d *Draw) checkMarks() error {
	for i, m := range d.marks.items {
		if d.marks.at[m.slot] != int32(i) || d.marks.items[max(i-1, 0)/2].until > m.until {
			return fmt.Errorf("the mark %+v stands at %d of the heap", m, i)
		}
		if got, want := d.KindOf(m.slot), m.at(m.until-1); got != want {
			return fmt.Errorf("slot %d is of the kind %d, its mark says %d: %+v", m.slot, got, want, m)
		}
	}
	return nil
}

// checkCounts checks what is counted of each bucket's slots.
func (d *Draw) checkCounts() error {
	tallies := make([]tally, len(d.buckets))
	for i := range d.buckets {
		t := &tallies[i]
		for _, s := range d.order[d.buckets[i].first:d.end(i)] {
			if m := d.marks.of(s); m != nil {
				t.count(m, 1)
			} else if d.KindOf(s) == Out {
				t.off++
			}
		}
	}
	if !slices.Equal(tallies, d.tallies) {
		return fmt.Errorf("counts of buckets are %+v, want %+v", d.tallies, tallies)
	}
	return nil
}

// checkOrders checks the counts of ready slots by cluster, and by part of one.
func (d *Draw) checkOrders() error {
	if d.orders == nil {
		return nil
	}
	ready, parts := make([]int32, len(d.readyIn)), make([]int32, len(d.readyOf))
	for s := range Slot(len(d.order)) {
		if !d.IsReady(s) {
			continue
		}
		ready[d.orders.clusterOf[s]]++
		if d.orders.partOf != nil {
			parts[d.orders.partOf[s]]++
		}
	}
	if !slices.Equal(ready, d.readyIn) || !slices.Equal(parts, d.readyOf) {
		return fmt.Errorf("ready slots by cluster are %v, want %v, by part %v, want %v", d.readyIn, ready, d.readyOf, parts)
	}
	return nil
}

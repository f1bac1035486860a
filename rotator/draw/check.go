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
	usable, end := 0, int32(0)
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
		for _, n := range b.size {
			usable += int(n)
		}
	}
	if usable != d.usable() || end != int32(len(d.order)) {
		return fmt.Errorf("%d usable in the buckets up to %d, %d marks and %d disabled of %d keys", usable, end, len(d.marks.items), d.off, len(d.order))
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
	if hand := b.hands[Ready]; hand < 0 || hand > 0 && hand >= b.size[Ready] {
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

// checkCounts checks what is counted of marks.
func (d *Draw) checkCounts() error {
	var counts [MaxReasons]int
	busy, off := 0, 0
	for _, m := range d.marks.items {
		if m.counts() {
			counts[m.Reason]++
		}
		if m.Out == Forever {
			busy++
		}
	}
	for s := range Slot(len(d.order)) {
		if d.disabled(s) {
			off++
		}
	}
	if counts != d.counts || busy != d.busy || off != d.off {
		return fmt.Errorf("counts by reason are %v, want %v; %d are busy, want %d; %d are disabled, want %d", d.counts, counts, d.busy, busy, d.off, off)
	}
	return nil
}

// checkOrders checks the counts of ready slots by cluster.
func (d *Draw) checkOrders() error {
	if d.orders == nil {
		return nil
	}
	ready := make([]int32, len(d.orders.clusters))
	for s := range Slot(len(d.order)) {
		if d.IsReady(s) {
			ready[d.orders.clusterOf[s]]++
		}
	}
	if !slices.Equal(ready, d.readyIn) {
		return fmt.Errorf("ready slots by cluster are %v, want %v", d.readyIn, ready)
	}
	return nil
}

package draw

import (
	"cmp"
	"slices"
)

// FirstByHand compares the slots that are left, one with the other: which comes first in
// the order of the affinity.
func FirstByHand(c Config, a Affinity, left []Slot) Slot {
	o := newOrders(&c)
	place := make(map[Slot]contender)
	for _, k := range o.keys {
		place[k.slot] = k
	}
	return slices.MinFunc(left, func(s, t Slot) int {
		ks, kt := place[s], place[t]
		if ks.tier != kt.tier {
			return int(ks.tier) - int(kt.tier)
		}
		if i, j := o.clusterOf[s], o.clusterOf[t]; i != j {
			ci, cj := o.clusters[i], o.clusters[j]
			return cmp.Compare(turn(a.draw(ci.secret), ci.weight), turn(a.draw(cj.secret), cj.weight))
		}
		return cmp.Compare(turn(a.draw(ks.secret), ks.weight), turn(a.draw(kt.secret), kt.weight))
	})
}

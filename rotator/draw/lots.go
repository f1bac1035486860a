package draw

// Lots is a set of lots: the keys of a lot can serve the same requests. The zero Lots is
// empty. Not safe for concurrent use while it is changed.
type Lots []uint64

// Has tells whether the lot is in the set.
func (l Lots) Has(lot uint16) bool {
	i := int(lot / 64)
	return i < len(l) && l[i]>>(lot%64)&1 != 0
}

// Add puts the lot into the set.
func (l *Lots) Add(lot uint16) {
	l.grow(int(lot/64) + 1)
	(*l)[lot/64] |= 1 << (lot % 64)
}

// Merge puts the lots of the other set into this one.
func (l *Lots) Merge(other Lots) {
	l.grow(len(other))
	for i, word := range other {
		(*l)[i] |= word
	}
}

// grow makes room for so many words. It allocates only past what there was before.
func (l *Lots) grow(words int) {
	for len(*l) < words {
		*l = append(*l, 0)
	}
}

// isOpen tells whether the request gets keys of the bucket.
func (w *Want) isOpen(b *bucket) bool { return len(w.Shut) == 0 || !w.Shut.Has(b.lot) }

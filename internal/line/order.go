package line

import "container/heap"

// ordered is what can be put in order.
type ordered[T any] interface {
	before(other T) bool
	place() *int // where it stands
}

// order is a heap, of which the first comes before all others.
type order[T ordered[T]] []T

// add, fix and remove take and leave one, or put it where it belongs since it has changed.
func (o *order[T]) add(t T)    { heap.Push(o, t) }
func (o *order[T]) fix(t T)    { heap.Fix(o, *t.place()) }
func (o *order[T]) remove(t T) { heap.Remove(o, *t.place()) }

// Len implements sort.Interface.
func (o *order[T]) Len() int { return len(*o) }

// Less implements sort.Interface.
func (o *order[T]) Less(i, j int) bool { return (*o)[i].before((*o)[j]) }

// Swap implements sort.Interface.
func (o *order[T]) Swap(i, j int) {
	all := *o
	all[i], all[j] = all[j], all[i]
	*all[i].place(), *all[j].place() = i, j
}

// Push implements heap.Interface.
func (o *order[T]) Push(x any) {
	t := x.(T)
	*t.place() = len(*o)
	*o = append(*o, t)
}

// Pop implements heap.Interface.
func (o *order[T]) Pop() any {
	last := len(*o) - 1
	t := (*o)[last]
	clear((*o)[last:])
	*o = (*o)[:last]
	return t
}

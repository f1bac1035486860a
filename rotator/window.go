package rotator

import "time"

// windowParts is into how many parts a window is divided.
const windowParts = 32

// window counts the requests of the last while, such as a minute, in parts of it. A
// part counts until its last instant has left the window: so in no window of that
// length, wherever it begins, are there more than are counted; and what has left is
// forgotten one part late, at the most. It takes 170 bytes. Not safe for concurrent use.
type window struct {
	per, width int64 // nanoseconds: of the window, and of a part
	newest     int64 // the number of the last part in which there was a request
	counts     [windowParts + 1]uint32

	ceiling uint32 // this node's part of a limit that is shared; 0: nobody shares any
	wanted  bool   // more than that was wanted since others were last asked
	full    bool   // the key was kept out for it
}

func newWindow(per time.Duration) *window {
	return &window{per: int64(per), width: (int64(per) + windowParts - 1) / windowParts}
}

// add counts n requests. An earlier instant than that of one before counts as that.
func (w *window) add(at int64, n uint32) {
	part := at / w.width
	for ; w.newest < part; w.newest++ {
		if part-w.newest > int64(len(w.counts)) {
			w.newest = part - int64(len(w.counts)) // all that is older is overwritten anyhow
		}
		*w.count(w.newest + 1) = 0
	}
	*w.count(w.newest) += n
}

// count returns that of one of the last parts.
func (w *window) count(part int64) *uint32 {
	n := int64(len(w.counts))
	return &w.counts[(part%n+n)%n]
}

// roomFrom returns from when on there is room for a request, where n are allowed: not
// after now, if there is; never, if there are not so many.
func (w *window) roomFrom(n int) int64 {
	sum := 0
	for part := w.newest; part > w.newest-int64(len(w.counts)); part-- {
		if sum += int(*w.count(part)); sum >= n {
			return (part+1)*w.width + w.per
		}
	}
	return never
}

// learn counts what another window has counted, each request as late as it can have
// been.
func (w *window) learn(other *window) {
	for part := other.newest - int64(len(other.counts)) + 1; part <= other.newest; part++ {
		if n := *other.count(part); n > 0 {
			w.add((part+1)*other.width, n)
		}
	}
}

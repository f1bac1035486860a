package draw

import "sync"

// Session names a conversation of a pool's clients: a hash, by which nothing of it can be
// had. 0: none.
type Session uint64

// Homes remembers which key, by whatever name, served each session last: a hash table, and a
// ring of its entries in the order of their use. The one that was not used for longest is
// forgotten first. It is safe for concurrent use.
type Homes[Key any] struct {
	most int

	mu    sync.Mutex
	index map[Session]int32
	ring  []home[Key] // at 0 is nothing: its neighbours are the latest and the oldest
}

type home[Key any] struct {
	session      Session
	newer, older int32
	key          Key
}

// Bound makes it remember so many sessions at most. It is called before the other methods.
func (h *Homes[Key]) Bound(most int) { h.most = most }

// Sizes returns how many sessions it remembers, and how many there is room for in its memory.
func (h *Homes[Key]) Sizes() (sessions, room int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.index), max(len(h.ring)-1, 0)
}

// Find returns the key that served the session last, if that is known. It counts as a use, and
// does not allocate.
func (h *Homes[Key]) Find(s Session) (key Key, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i, ok := h.index[s]
	if !ok {
		return key, false
	}
	h.use(i)
	return h.ring[i].key, true
}

// Set notes that the key has served the session.
func (h *Homes[Key]) Set(s Session, key Key) {
	if s == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	i, ok := h.index[s]
	if !ok {
		i = h.insert(s)
	}
	h.ring[i].key = key
	h.use(i)
}

// insert makes an entry, in the place of the oldest if there are too many. h.mu is held.
func (h *Homes[Key]) insert(s Session) int32 {
	if h.index == nil {
		h.index, h.ring = make(map[Session]int32), make([]home[Key], 1)
	}
	i := int32(len(h.ring))
	if len(h.index) >= h.most {
		i = h.ring[0].newer
		delete(h.index, h.ring[i].session)
	} else {
		h.ring = append(h.ring, home[Key]{newer: i, older: i})
	}
	h.ring[i].session, h.index[s] = s, i
	return i
}

// use makes the entry the latest. h.mu is held.
func (h *Homes[Key]) use(i int32) {
	e := &h.ring[i]
	h.ring[e.newer].older, h.ring[e.older].newer = e.older, e.newer
	latest := h.ring[0].older
	e.newer, e.older = 0, latest
	h.ring[latest].newer, h.ring[0].older = i, i
}

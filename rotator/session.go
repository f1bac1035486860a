package rotator

import "sync"

// maxSessions bounds how many conversations are remembered, those of all pools of a state
// together. Clients make them. The one that was not used for longest is forgotten first.
const maxSessions = 100_000

// Session names a conversation of a pool's clients: a hash, by which nothing of it can be
// had. 0: none.
type Session uint64

// sessions remembers which key served each session last: a hash table, and a ring of its
// entries in the order of their use. It is safe for concurrent use.
type sessions struct {
	most int

	mu    sync.Mutex
	index map[Session]int32
	ring  []homed // at 0 is nothing: its neighbours are the latest and the oldest
}

type homed struct {
	session      Session
	newer, older int32
	key          ID
}

// Home returns the key that served the session last, if that is known: from whichever pool
// of the state, which may not be this one. It counts as a use, and does not allocate.
func (p *Pool) Home(s Session) (ID, bool) { return p.state.sessions.find(s) }

// SetHome notes that the key at slot has served the session: that is its home from now on,
// as long as it is among the last 100,000 that were used. Sessions outlive the pool, and
// are told to nobody else.
func (p *Pool) SetHome(s Session, slot Slot) { p.state.sessions.set(s, p.keys[slot].ID()) }

func (h *sessions) find(s Session) (ID, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i, ok := h.index[s]
	if !ok {
		return ID{}, false
	}
	h.use(i)
	return h.ring[i].key, true
}

func (h *sessions) set(s Session, key ID) {
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
func (h *sessions) insert(s Session) int32 {
	if h.index == nil {
		h.index, h.ring = make(map[Session]int32), make([]homed, 1)
	}
	i := int32(len(h.ring))
	if len(h.index) >= h.most {
		i = h.ring[0].newer
		delete(h.index, h.ring[i].session)
	} else {
		h.ring = append(h.ring, homed{newer: i, older: i})
	}
	h.ring[i].session, h.index[s] = s, i
	return i
}

// use makes the entry the latest. h.mu is held.
func (h *sessions) use(i int32) {
	e := &h.ring[i]
	h.ring[e.newer].older, h.ring[e.older].newer = e.older, e.newer
	latest := h.ring[0].older
	e.newer, e.older = 0, latest
	h.ring[latest].newer, h.ring[0].older = i, i
}

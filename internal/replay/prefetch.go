package replay

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
)

// Prefetch reads on from the client while its request waits for a key, into memory
// alone and no further than the limits of that: so the upload does not stand still,
// and a client that leaves is noticed, which HTTP/1.1 tells by the body alone. Then
// gone is called.
//
// stop ends it. It reports whether a read is still under way, which the next attempt
// waits for. A client that has asked to be told when to send its body is not told by
// this.
func (b *Body) Prefetch(gone func()) (stop func() (reading bool)) {
	if !b.prefetches() {
		return b.reading
	}
	var stopped, ended atomic.Bool
	go func() {
		defer ended.Store(true)
		p := largeChunks.Get().(*[LargeChunk]byte)
		defer largeChunks.Put(p)
		for b.prefetchSome(p[:], &stopped) {
		}
		if b.Abandoned() {
			gone()
		}
	}()
	return func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		stopped.Store(true)
		b.turn.Broadcast()
		return b.pulling || !ended.Load()
	}
}

// reading tells whether a read is under way. b may be nil.
func (b *Body) reading() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pulling
}

// prefetches tells whether there is something to be read ahead. b may be nil.
func (b *Body) prefetches() bool {
	if b == nil || b.request.Header.Get("Expect") != "" {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.roomAhead() > 0
}

// roomAhead returns how much may be read ahead. b.mu is held.
func (b *Body) roomAhead() int64 {
	full := KeptMemory.Load()+LargeChunk > b.copy.limits.Total
	if b.phase != keeping || b.end != nil || full {
		return 0
	}
	return b.copy.limits.Memory - b.copy.size
}

// prefetchSome reads once, after a late read of the attempt before, if one is under way. It
// reports whether there is more.
func (b *Body) prefetchSome(p []byte, stopped *atomic.Bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.pulling && !stopped.Load() {
		b.turn.Wait()
	}
	room := b.roomAhead()
	if stopped.Load() || room <= 0 {
		return false
	}
	n, err := b.pullFrom(p[:min(int64(len(p)), room)])
	b.storeForOther(p[:n])
	return b.phase != over && err == nil
}

// Abandoned tells whether the client's body broke off, as it does when the client
// leaves. A body that is too large has not. b may be nil.
func (b *Body) Abandoned() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var tooLarge *http.MaxBytesError
	return b.end != nil && !errors.Is(b.end, io.EOF) && !errors.As(b.end, &tooLarge)
}

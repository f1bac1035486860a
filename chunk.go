package keycycler

import (
	"sync"
	"sync/atomic"
)

// Chunks come in three sizes: most bodies are small, most bytes are in large ones, and
// what is large is read in fewer pieces the larger these are.
const (
	smallChunk = 4 << 10
	largeChunk = 32 << 10
	hugeChunk  = 256 << 10

	// hugeFrom is how much there must be for the rest to be kept in huge chunks.
	hugeFrom = hugeChunk
)

var (
	smallChunks = sync.Pool{New: func() any { return new([smallChunk]byte) }}
	largeChunks = sync.Pool{New: func() any { return new([largeChunk]byte) }}
	hugeChunks  = sync.Pool{New: func() any { return new([hugeChunk]byte) }}
)

// keptMemory is what the process's requests keep in chunks, in bytes.
var keptMemory atomic.Int64

// chunkSize returns the size of the next chunk of a copy that has so many bytes by now,
// and for which so many more are there.
func chunkSize(kept int64, want int) int64 {
	switch {
	case kept == 0 && want <= smallChunk:
		return smallChunk
	case kept < hugeFrom || want <= largeChunk:
		return largeChunk
	default:
		return hugeChunk
	}
}

// newChunk returns an empty chunk, or nil where the process would keep more than
// total with it.
func newChunk(size, total int64) []byte {
	if keptMemory.Add(size) > total {
		keptMemory.Add(-size)
		return nil
	}
	switch size {
	case smallChunk:
		return smallChunks.Get().(*[smallChunk]byte)[:0]
	case largeChunk:
		return largeChunks.Get().(*[largeChunk]byte)[:0]
	default:
		return hugeChunks.Get().(*[hugeChunk]byte)[:0]
	}
}

func freeChunk(c []byte) {
	keptMemory.Add(-int64(cap(c)))
	switch cap(c) {
	case smallChunk:
		smallChunks.Put((*[smallChunk]byte)(c[:smallChunk]))
	case largeChunk:
		largeChunks.Put((*[largeChunk]byte)(c[:largeChunk]))
	default:
		hugeChunks.Put((*[hugeChunk]byte)(c[:hugeChunk]))
	}
}

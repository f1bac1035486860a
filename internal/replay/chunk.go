package replay

import (
	"sync"
	"sync/atomic"
)

// Chunks come in three sizes: most bodies are small, most bytes are in large ones, and
// what is large is read in fewer pieces the larger these are.
const (
	SmallChunk = 4 << 10
	LargeChunk = 32 << 10
	hugeChunk  = 256 << 10

	// hugeFrom is how much there must be for the rest to be kept in huge chunks.
	hugeFrom = hugeChunk
)

var (
	smallChunks = sync.Pool{New: func() any { return new([SmallChunk]byte) }}
	largeChunks = sync.Pool{New: func() any { return new([LargeChunk]byte) }}
	hugeChunks  = sync.Pool{New: func() any { return new([hugeChunk]byte) }}
)

// KeptMemory is what the process's requests keep in chunks, in bytes.
var KeptMemory atomic.Int64

// chunkSize returns the size of the next chunk of a copy that has so many bytes by now,
// and for which so many more are there.
func chunkSize(kept int64, want int) int64 {
	switch {
	case kept == 0 && want <= SmallChunk:
		return SmallChunk
	case kept < hugeFrom || want <= LargeChunk:
		return LargeChunk
	default:
		return hugeChunk
	}
}

// newChunk returns an empty chunk, or nil where the process would keep more than
// total with it.
func newChunk(size, total int64) []byte {
	if KeptMemory.Add(size) > total {
		KeptMemory.Add(-size)
		return nil
	}
	switch size {
	case SmallChunk:
		return smallChunks.Get().(*[SmallChunk]byte)[:0]
	case LargeChunk:
		return largeChunks.Get().(*[LargeChunk]byte)[:0]
	default:
		return hugeChunks.Get().(*[hugeChunk]byte)[:0]
	}
}

func freeChunk(c []byte) {
	KeptMemory.Add(-int64(cap(c)))
	switch cap(c) {
	case SmallChunk:
		smallChunks.Put((*[SmallChunk]byte)(c[:SmallChunk]))
	case LargeChunk:
		largeChunks.Put((*[LargeChunk]byte)(c[:LargeChunk]))
	default:
		hugeChunks.Put((*[hugeChunk]byte)(c[:hugeChunk]))
	}
}

package peek

import (
	"hash/maphash"
	"sync/atomic"
)

// recentNames are names of models that bodies have named lately, so that asking for the same
// one again and again makes no string. Each has one place where it can stand: clients that
// invent names take no more memory than that.
var recentNames [256]atomic.Pointer[string]

var nameSeed = maphash.MakeSeed()

// nameOf returns the name as a string. It is safe for concurrent use.
func nameOf(text []byte) string {
	place := &recentNames[maphash.Bytes(nameSeed, text)%uint64(len(recentNames))]
	if known := place.Load(); known != nil && *known == string(text) {
		return *known
	}
	name := string(text)
	place.Store(&name)
	return name
}

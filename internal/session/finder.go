package session

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
)

// Found is what a request's conversation is known by.
type Found struct {
	ID ID // 0: nothing tells

	// By how it begins, if that was looked for and found: a longer request of the same
	// conversation may show no more. It may be the ID itself.
	Prompt ID
}

// Finder finds which conversation a request belongs to, while the body streams by. It is
// not safe for concurrent use.
type Finder struct {
	scanner
	over bool // there is nothing more to be found

	names  [userID + 1]ID // by place
	text   hash.Hash      // of the name or of the message that comes
	before hash.Hash      // of the system's prompt
	speaks speaker        // whose message comes
	first  ID             // by how the conversation begins

	digest [sha256.Size]byte
	buffer []byte
}

// speaker is whose a message is.
type speaker uint8

const (
	unknown speaker = iota
	user
	operator
	other
)

var finders = sync.Pool{New: func() any { return &Finder{text: sha256.New(), before: sha256.New()} }}

// NewFinder returns what looks through a body. Give it back with Release.
func NewFinder() *Finder {
	f := finders.Get().(*Finder)
	f.scanner, f.over, f.first, f.speaks = scanner{}, false, 0, unknown
	clear(f.names[:])
	f.before.Reset()
	f.before.Write(promptDomain)
	return f
}

// Ended tells whether there is nothing more to look for.
func (f *Finder) Ended() bool { return f.over }

// Write takes the body's next piece. Nothing is kept of p.
func (f *Finder) Write(p []byte) { f.scan(p) }

// Release gives f back, and returns what was found.
func (f *Finder) Release() Found {
	if f.first == 0 && f.speaks == user { // the text ends within the message
		f.begun()
	}
	found := Found{ID: f.first, Prompt: f.first}
	for _, p := range [...]place{userID, conversationID, conversation, cacheKey} {
		if f.names[p] != 0 {
			found.ID = f.names[p]
		}
	}
	finders.Put(f)
	return found
}

// begin begins a string of that place.
func (f *Finder) begin(p place) {
	switch p {
	case cacheKey, conversation, conversationID, userID:
		f.beginName()
	case role:
		f.length = 0
	case turns:
		f.beginTurn()
		f.speaks = user
	}
}

func (f *Finder) beginName() {
	f.length = 0
	f.text.Reset()
	f.text.Write(nameDomain)
}

// take takes a part of a string.
func (f *Finder) take(p []byte) {
	switch {
	case f.named || f.place == role:
		f.spell(p)
	case f.place == system:
		f.before.Write(p)
	case f.place == turns || f.place == said:
		f.text.Write(p)
	case f.place.isName():
		f.length = min(f.length+len(p), 1)
		f.text.Write(p)
	}
}

// spell takes a part of a word.
func (f *Finder) spell(p []byte) {
	if f.length+len(p) > maxName {
		f.length = maxName + 1
		return
	}
	f.length += copy(f.word[f.length:], p)
}

// end of a text within others, which no JSON has in it.
var separator = []byte{0}

// close ends a string.
func (f *Finder) close() {
	switch {
	case f.named:
	case f.place == role:
		f.speaks = f.speaker()
	case f.place == system:
		f.before.Write(separator)
	case f.place == said:
		f.text.Write(separator)
	case f.place == turns:
		f.endTurn()
	case f.place.isName() && f.length > 0:
		f.names[f.place] = f.sum()
		f.settle()
	}
}

// speaker returns whose the message is, by its role.
func (f *Finder) speaker() speaker {
	if f.length > maxName {
		return other
	}
	switch string(f.word[:f.length]) {
	case "user":
		return user
	case "system", "developer":
		return operator
	}
	return other
}

func (f *Finder) beginTurn() {
	f.speaks = unknown
	f.text.Reset()
}

// endTurn ends a message. What the operator says in messages is of the system's prompt.
func (f *Finder) endTurn() {
	switch {
	case f.first != 0:
	case f.speaks == operator:
		f.sum()
		f.before.Write(f.digest[:])
	case f.speaks == user:
		f.begun()
	}
	f.speaks = unknown
}

// begun notes that the conversation's beginning has come.
func (f *Finder) begun() {
	f.sum()
	f.text.Reset()
	f.buffer = f.before.Sum(f.buffer[:0])
	f.text.Write(f.buffer)
	f.text.Write(f.digest[:])
	f.first = f.sum()
	f.settle()
}

// sum returns the ID of what has come into the text, whose digest it leaves.
func (f *Finder) sum() ID {
	f.text.Sum(f.digest[:0])
	return max(ID(binary.BigEndian.Uint64(f.digest[:])), 1)
}

// settle ends the search when nothing that comes can change what is found.
func (f *Finder) settle() { f.over = f.first != 0 && f.names[cacheKey] != 0 }

// Package session tells which conversation a request belongs to: by a header or a field in
// which clients say so, or else by how the conversation begins.
//
// It knows what clients send, and nothing of keys. Of what it reads it keeps a hash alone.
// A header, a field or a form of requests that tells conversations apart goes here.
package session

import (
	"fmt"
	"net/http"
)

// ID is what a conversation is known by: the first 64 bits of a SHA-256 of what its client
// calls it, the same on every node. 0: by nothing.
type ID uint64

// String returns 16 hex digits, "" for no ID.
func (id ID) String() string {
	if id == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", uint64(id))
}

// Domains separate an ID from every other SHA-256 of the same text.
var (
	nameDomain   = []byte("keycycler session v1\x00")
	promptDomain = []byte("keycycler session prompt v1\x00")
)

// Headers are those in which clients name the conversation, in the order in which they
// count, in Go's spelling.
//
// Sources: Claude Code's gateway protocol reference; Codex, which had session_id before;
// opencode; xAI's page on prompt caching; and what others send to gateways.
var Headers = []string{
	"X-Claude-Code-Session-Id",
	"Session-Id",
	"Session_id",
	"X-Session-Id",
	"X-Session-Affinity",
	"X-Opencode-Session",
	"X-Grok-Conv-Id",
	"X-Conversation-Id",
}

// Named returns the ID by which the header names the conversation, 0 if it does not.
func Named(h http.Header) ID {
	for _, name := range Headers {
		if values := h[name]; len(values) > 0 && values[0] != "" {
			return of(values[0])
		}
	}
	return 0
}

// of returns the ID of a name.
func of(name string) ID {
	f := finders.Get().(*Finder)
	defer finders.Put(f)
	f.beginName()
	f.buffer = append(f.buffer[:0], name...)
	f.text.Write(f.buffer)
	return f.sum()
}

package session

import "bytes"

// place is what a value in a request is, by where it stands.
type place uint8

const (
	elsewhere    place = iota
	root               // the request
	cacheKey           // the name of what the upstream is to cache
	conversation       // a name, or an object with one
	conversationID
	metadata
	userID
	system // the system's prompt
	turns  // the messages, or the first one itself
	turn   // one of them
	role   // who says it
	said   // what is said in it
)

// isName tells whether a string of the place names the conversation.
func (p place) isName() bool {
	return p == cacheKey || p == conversation || p == conversationID || p == userID
}

// members are the places of an object's members, by the object's own.
var members = map[place]map[string]place{
	root: {
		"prompt_cache_key": cacheKey, "conversation": conversation, "metadata": metadata,
		"system": system, "instructions": system, "systemInstruction": system, "system_instruction": system,
		"messages": turns, "input": turns, "contents": turns, "prompt": turns,
	},
	conversation: {"id": conversationID},
	metadata:     {"user_id": userID},
	system:       {"text": system, "parts": system, "content": system},
	turn:         {"role": role, "content": said, "parts": said, "text": said},
	said:         {"text": said, "parts": said, "content": said},
}

// holds tells whether a container of the place is looked into.
func (p place) holds(object bool) bool {
	switch p {
	case conversation, metadata:
		return object
	}
	return p == turns || members[p] != nil
}

const (
	maxDepth = 16 // of the containers that are looked into
	maxName  = 20 // of the members' names and of roles, in bytes
)

// container is an object or an array that is looked into.
type container struct {
	place  place
	object bool
}

// scanner goes through a JSON text that comes in pieces of any size. It is no validator:
// of a text that is none, it finds something or nothing.
type scanner struct {
	stack [maxDepth]container
	depth int
	skip  int // how deep it is in containers that are not looked into

	place   place // of the value that comes next
	value   bool  // of an object: a value comes next, no name
	within  bool  // a string …
	named   bool  // … which is a member's name
	escaped bool  // its next byte is behind a backslash

	word   [maxName]byte // the name, or a role
	length int           // of it; above maxName: it is none that matters
}

// scan takes the text's next piece, and tells of what is in it.
func (f *Finder) scan(p []byte) {
	for len(p) > 0 && !f.over {
		switch {
		case f.within:
			p = f.inString(p)
			continue
		case f.skip > 0:
			p = f.hop(p)
			continue
		}
		c := p[0]
		p = p[1:]
		switch c {
		case '"':
			f.open()
		case '{', '[':
			f.enter(c == '{')
		case '}', ']':
			f.leave()
		case ',':
			f.value = false
		case ':':
			f.value = true
			f.place = f.member()
		}
	}
}

// hop goes through a container that is not looked into, to its end. Most of the bytes of
// most requests come by here.
func (f *Finder) hop(p []byte) []byte {
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '"':
			end := stringEnd(p[i+1:])
			if end < 0 {
				f.within, f.named, f.place, f.escaped = true, false, elsewhere, endsInEscape(p[i+1:])
				return nil
			}
			i += end
		case '{', '[':
			f.skip++
		case '}', ']':
			if f.skip--; f.skip == 0 {
				f.value = false
				return p[i+1:]
			}
		}
	}
	return nil
}

// stringEnd returns how much of the text is up to and with the quote that ends the string
// which it begins within, or -1.
func stringEnd(p []byte) int {
	for end := 0; ; {
		i := bytes.IndexByte(p[end:], '"')
		if i < 0 {
			return -1
		}
		if end += i + 1; !endsInEscape(p[:end-1]) {
			return end
		}
	}
}

// top returns the container that the text is in.
func (f *Finder) top() container {
	if f.depth == 0 {
		return container{}
	}
	return f.stack[f.depth-1]
}

// next returns the place of the value that comes.
func (f *Finder) next() place {
	switch top := f.top(); {
	case f.depth == 0:
		return root
	case top.object:
		return f.place
	case f.first != 0 && (top.place == turns || top.place == system):
		return elsewhere // the conversation has begun
	default:
		return top.place
	}
}

// member returns the place of the member whose name has come.
func (f *Finder) member() place {
	top := f.top()
	if !top.object || f.length > maxName {
		return elsewhere
	}
	p := members[top.place][string(f.word[:f.length])]
	switch {
	case f.first != 0 && (p == turns || p == system):
		return elsewhere
	case p == said && f.speaks == unknown && string(f.word[:f.length]) == "parts":
		f.speaks = user // Gemini's messages need no role
	}
	return p
}

// open begins a string.
func (f *Finder) open() {
	f.within, f.escaped = true, false
	f.named = f.top().object && !f.value
	if f.named {
		f.length = 0
		return
	}
	f.place = f.next()
	f.begin(f.place)
}

// inString takes what is in a string, and its end.
func (f *Finder) inString(p []byte) []byte {
	start := 0
	if f.escaped {
		start, f.escaped = 1, false
	}
	end := stringEnd(p[start:])
	if end < 0 {
		f.escaped = endsInEscape(p[start:])
		f.take(p)
		return nil
	}
	f.take(p[:start+end-1])
	f.within = false
	f.close()
	return p[start+end:]
}

// endsInEscape tells whether the byte that follows this part of a string is escaped: behind
// an odd number of backslashes.
func endsInEscape(p []byte) bool {
	i := len(p)
	for i > 0 && p[i-1] == '\\' {
		i--
	}
	return (len(p)-i)%2 == 1
}

// enter begins an object or an array.
func (f *Finder) enter(object bool) {
	p := f.next()
	if f.depth == maxDepth || !p.holds(object) {
		f.skip++
		return
	}
	if p == turns && object {
		p = turn
		f.beginTurn()
	}
	f.stack[f.depth] = container{p, object}
	f.depth++
	f.value = false
}

// leave ends one. When the conversation has begun, no message matters any more.
func (f *Finder) leave() {
	f.value = false
	if f.depth == 0 {
		return
	}
	ended := f.top().place
	if ended == turn {
		f.endTurn()
	}
	f.depth--
	if ended == turn && f.first != 0 && f.top().place == turns {
		f.depth--
		f.skip = 1
	}
}

package peek

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// maxFrame is how large a websocket message may be that is looked at, in bytes: an error is
// small, and audio is not.
const maxFrame = 16 << 10

// Frames looks for an error in what a server sends over a websocket (RFC 6455 §5.2), while it
// goes by in pieces of any size: in messages of one frame and of several, and in compressed
// ones (RFC 7692) if those were agreed on. The zero value is ready to use. Stop it.
type Frames struct {
	head  []byte // of a frame, as far as it has come
	op    byte   // its first byte
	left  uint64 // of its payload
	aside bool   // it is no part of a message

	text  []byte // of the message that has not come to its end, as far as it is looked at
	kept  bool   // it is looked at
	coded bool   // it is compressed
	found []byte // errors in what Write has got

	inflater *Inflater // of all compressed messages: one may repeat what others said; or nil
}

// Inflate makes f, which has seen nothing, read compressed messages as well.
func (f *Frames) Inflate() { f.inflater = newInflater(messages, f.keep) }

// Stop ends it. It may be called twice.
func (f *Frames) Stop() {
	if f.inflater != nil {
		f.inflater.Stop()
	}
}

// What the first byte of a frame says.
const (
	lastFrame    = 0x80 // of its message
	compressed   = 0x40 // so is its message
	furtherFrame = lastFrame
	textFrame    = lastFrame | 0x1
	bytesFrame   = lastFrame | 0x2
	closeFrame   = lastFrame | 0x8
)

// Write takes the next piece, and returns what look like errors in it as events of a stream,
// nil if there are none.
func (f *Frames) Write(p []byte) (found []byte) {
	f.found = nil
	for len(p) > 0 {
		if f.left == 0 {
			if p = f.begin(p); len(f.head) > 0 {
				break // more of it is to come
			}
		}
		n := int(min(f.left, uint64(len(p))))
		f.take(p[:n])
		if p, f.left = p[n:], f.left-uint64(n); f.left == 0 {
			f.end()
		}
	}
	return f.found
}

// begin reads a frame's head, as far as it is there, and returns what follows.
func (f *Frames) begin(p []byte) []byte {
	for len(p) > 0 {
		f.head, p = append(f.head, p[0]), p[1:]
		length, whole := frameLength(f.head)
		if !whole {
			continue
		}
		f.op, f.left = f.head[0], length
		f.enter(f.head[1]&0x80 != 0)
		f.head = f.head[:0]
		break
	}
	return p
}

// enter begins the payload of a frame. No server masks any.
func (f *Frames) enter(masked bool) {
	f.aside = masked
	switch kind := (f.op | lastFrame) &^ compressed; kind {
	case furtherFrame:
	case textFrame, bytesFrame, closeFrame:
		f.text, f.kept, f.coded = f.text[:0], kind != bytesFrame && !masked, f.op&compressed != 0
	default:
		f.aside = true // a ping, within a message maybe
	}
	f.kept = f.kept && (f.coded || f.aside || f.left <= maxFrame)
}

// take takes a piece of the frame's payload.
func (f *Frames) take(p []byte) {
	switch {
	case f.aside, len(p) == 0:
	case !f.coded:
		f.keep(p)
	case f.inflater != nil:
		f.inflater.Write(p)
	}
}

// keep keeps a piece of the message, unless that is too long for an error.
func (f *Frames) keep(p []byte) {
	if f.kept = f.kept && len(f.text)+len(p) <= maxFrame; f.kept {
		f.text = append(f.text, p...)
	}
}

// messageEnd is how the text of a compressed message ends, and is left out (RFC 7692 §7.2.1).
var messageEnd = []byte("\x00\x00\xff\xff")

// end takes the end of a frame, and with it that of a message.
func (f *Frames) end() {
	if f.aside || f.op&lastFrame == 0 {
		return
	}
	if f.coded {
		f.take(messageEnd)
	}
	f.found = append(f.found, f.said()...)
	f.kept = false
}

// frameLength returns the payload's length, and whether the head is there to its end.
func frameLength(head []byte) (length uint64, whole bool) {
	if len(head) < 2 {
		return 0, false
	}
	size := 2
	switch length = uint64(head[1] & 0x7f); length {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	masked := head[1]&0x80 != 0
	if end := size; masked {
		size += 4
		head = head[:min(len(head), size)]
		if len(head) < size {
			return 0, false
		}
		head = head[:end]
	}
	switch {
	case len(head) < size && !masked:
		return 0, false
	case length == 126:
		length = uint64(binary.BigEndian.Uint16(head[2:]))
	case length == 127:
		length = binary.BigEndian.Uint64(head[2:])
	}
	return length, true
}

// said returns what the frame says, if that is an error: a message that mentions one, or
// a close for the policy's sake or until later, whose reason is read as a limit's.
func (f *Frames) said() []byte {
	switch {
	case !f.kept:
		return nil
	case f.op != closeFrame:
		if !mentionsError(f.text) {
			return nil
		}
		return fmt.Appendf(nil, "data: %s\n\n", bytes.ReplaceAll(f.text, []byte("\n"), []byte(" ")))
	case len(f.text) < 2:
		return nil
	}
	switch binary.BigEndian.Uint16(f.text) {
	case 1008, 1013:
		return fmt.Appendf(nil, "data: {\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":%q}}\n\n", f.text[2:])
	}
	return nil
}

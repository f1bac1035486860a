package peek

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// maxFrame is how large a websocket message may be that is looked at, in bytes: an error is
// small, and audio is not.
const maxFrame = 16 << 10

// Frames looks for an error in what a server sends over a websocket (RFC 6455 §5.2), while
// it goes by in pieces of any size. Messages that are compressed or in pieces are not
// looked at. The zero value is ready to use.
type Frames struct {
	head []byte // of a frame, as far as it has come
	left uint64 // of the payload
	kept bool   // the payload is looked at …
	text []byte // … and is this by now
	op   byte
}

// The frames that are looked at: the first byte of a whole one.
const (
	textFrame  = 0x81
	closeFrame = 0x88
)

// Write takes the next piece, and returns an error in it as an event of a stream, nil if
// there is none.
func (f *Frames) Write(p []byte) (found []byte) {
	for len(p) > 0 {
		if f.left == 0 {
			if p = f.begin(p); f.left > 0 || len(f.head) > 0 {
				continue
			}
		}
		n := int(min(f.left, uint64(len(p))))
		if f.kept {
			f.text = append(f.text, p[:n]...)
		}
		p, f.left = p[n:], f.left-uint64(n)
		if f.left == 0 && f.kept {
			if said := f.said(); said != nil {
				found = said
			}
		}
	}
	return found
}

// begin reads a frame's head, as far as it is there, and returns what follows.
func (f *Frames) begin(p []byte) []byte {
	for len(p) > 0 {
		f.head, p = append(f.head, p[0]), p[1:]
		length, whole := frameLength(f.head)
		if !whole {
			continue
		}
		f.op, f.left, f.text = f.head[0], length, f.text[:0]
		f.kept = length > 0 && length <= maxFrame && f.head[1]&0x80 == 0 && (f.op == textFrame || f.op == closeFrame)
		f.head = f.head[:0]
		break
	}
	return p
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
	f.kept = false
	if f.op == textFrame {
		if !mentionsError(f.text) {
			return nil
		}
		return fmt.Appendf(nil, "data: %s\n\n", bytes.ReplaceAll(f.text, []byte("\n"), []byte(" ")))
	}
	if len(f.text) < 2 {
		return nil
	}
	switch binary.BigEndian.Uint16(f.text) {
	case 1008, 1013:
		return fmt.Appendf(nil, "data: {\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":%q}}\n\n", f.text[2:])
	}
	return nil
}

package peek

// hop is a JSON value that says nothing, on the way to its end: a string (quoted), or an
// object or an array (of depth 1 behind its bracket).
type hop struct {
	depth   int32
	quoted  bool
	escaped bool // the string's next byte is behind a backslash
}

// over hops over as much of the value as there is, and returns what stands behind it.
// ended tells whether its end was there.
func (h *hop) over(p []byte) (rest []byte, ended bool) {
	if h.quoted {
		if p = h.overString(p); h.quoted || h.depth == 0 {
			return p, !h.quoted
		}
	}
	for i := 0; i < len(p); {
		kind := jsonBytes[p[i]]
		i++
		switch kind {
		case jsonPlain:
			i += plainBytes(p[i:])
		case jsonQuote:
			end := stringEnd(p[i:])
			if end < 0 {
				h.quoted, h.escaped = true, endsInEscape(p[i:])
				return nil, false
			}
			i += end
		default:
			if h.depth += int32(kind); h.depth == 0 {
				return p[i:], true
			}
		}
	}
	return nil, false
}

// overString hops to the string's end, or to the end of p.
func (h *hop) overString(p []byte) []byte {
	if h.escaped {
		h.escaped, p = false, p[1:]
	}
	end := stringEnd(p)
	if end < 0 {
		h.escaped = endsInEscape(p)
		return nil
	}
	h.quoted = false
	return p[end:]
}

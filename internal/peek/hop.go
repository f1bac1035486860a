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
	for len(p) > 0 {
		if h.quoted {
			p = h.overString(p)
		} else {
			p = h.overPlain(p)
		}
		if h.depth == 0 && !h.quoted {
			return p, true
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

// overPlain hops over what is between strings, and the bracket or the quote behind it.
func (h *hop) overPlain(p []byte) []byte {
	n := plainBytes(p)
	if n == len(p) {
		return nil
	}
	if kind := jsonBytes[p[n]]; kind == jsonQuote {
		h.quoted = true
	} else {
		h.depth += int32(kind)
	}
	return p[n+1:]
}

package peek

// Hop is a JSON value that says nothing, on the way to its end: a string (Quoted), or an
// object or an array (of Depth 1 behind its bracket).
type Hop struct {
	Depth   int32
	Quoted  bool
	escaped bool // the string's next byte is behind a backslash
}

// Over hops over as much of the value as there is, and returns what stands behind it.
// ended tells whether its end was there.
func (h *Hop) Over(p []byte) (rest []byte, ended bool) {
	if h.Quoted {
		if p = h.overString(p); h.Quoted || h.Depth == 0 {
			return p, !h.Quoted
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
				h.Quoted, h.escaped = true, endsInEscape(p[i:])
				return nil, false
			}
			i += end
		default:
			if h.Depth += int32(kind); h.Depth == 0 {
				return p[i:], true
			}
		}
	}
	return nil, false
}

// overString hops to the string's end, or to the end of p.
func (h *Hop) overString(p []byte) []byte {
	if h.escaped {
		h.escaped, p = false, p[1:]
	}
	end := stringEnd(p)
	if end < 0 {
		h.escaped = endsInEscape(p)
		return nil
	}
	h.Quoted = false
	return p[end:]
}

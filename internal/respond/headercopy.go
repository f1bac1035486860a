package respond

import (
	"maps"
	"net/http"
)

// headerCopy is a header's fields, in memory that can be used again.
type headerCopy struct {
	names  []string
	ends   []int // where each name's values end
	Values []string
}

// Take copies h.
func (c *headerCopy) Take(h http.Header) {
	c.names, c.ends, c.Values = c.names[:0], c.ends[:0], c.Values[:0]
	for name, values := range h {
		c.names = append(c.names, name)
		c.Values = append(c.Values, values...)
		c.ends = append(c.ends, len(c.Values))
	}
}

// Restore makes h what it was. The values are h's own afterwards.
func (c *headerCopy) Restore(h http.Header) {
	clear(h)
	start := 0
	for i, name := range c.names {
		h[name] = append([]string(nil), c.Values[start:c.ends[i]]...)
		start = c.ends[i]
	}
}

// forget drops the copy, and keeps the memory for the next.
func (c *headerCopy) forget() {
	clear(c.names)
	clear(c.Values)
	c.names, c.ends, c.Values = c.names[:0], c.ends[:0], c.Values[:0]
}

func Replace(h, with http.Header) {
	clear(h)
	maps.Copy(h, with)
}

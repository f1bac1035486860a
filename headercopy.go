package keycycler

import (
	"maps"
	"net/http"
)

// headerCopy is a header's fields, in memory that can be used again.
type headerCopy struct {
	names  []string
	ends   []int // where each name's values end
	values []string
}

// take copies h.
func (c *headerCopy) take(h http.Header) {
	c.names, c.ends, c.values = c.names[:0], c.ends[:0], c.values[:0]
	for name, values := range h {
		c.names = append(c.names, name)
		c.values = append(c.values, values...)
		c.ends = append(c.ends, len(c.values))
	}
}

// restore makes h what it was. The values are h's own afterwards.
func (c *headerCopy) restore(h http.Header) {
	clear(h)
	start := 0
	for i, name := range c.names {
		h[name] = append([]string(nil), c.values[start:c.ends[i]]...)
		start = c.ends[i]
	}
}

// forget drops the copy, and keeps the memory for the next.
func (c *headerCopy) forget() {
	clear(c.names)
	clear(c.values)
	c.names, c.ends, c.values = c.names[:0], c.ends[:0], c.values[:0]
}

func replace(h, with http.Header) {
	clear(h)
	maps.Copy(h, with)
}

package replay

import "io"

// Progress tells how much of the body the attempt under way has read, in bytes, and whether
// more is waited for from the client. b may be nil.
func (b *Body) Progress() (read int64, waits bool) {
	if b == nil {
		return 0, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.active != nil {
		read = b.active.offset
	}
	return read, b.pulling
}

// Whole tells whether all of the body has come from the client. b may be nil: there is none.
func (b *Body) Whole() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	length := b.request.ContentLength
	return b.end == io.EOF || length >= 0 && b.came() >= length //nolint:errorlint // as readers give it
}

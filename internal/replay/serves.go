package replay

import (
	"errors"
	"net/http"
	"strings"

	"github.com/keycycler/keycycler/internal/peek"
)

// errModel ends a body that names a model which its client may not ask for.
var errModel = errors.New("keycycler: the body names a model that its client may not ask for")

// mediaOf returns as what the body is looked through for its model. Where it matters, whatever
// is no form may be JSON: upstreams do not all heed what a request says of itself.
func (l *Limits) mediaOf(r *http.Request) string {
	media := peek.First(r.Header, "Content-Type")
	if l.Serves != nil && !strings.HasPrefix(strings.ToLower(strings.TrimSpace(media)), "multipart/") {
		return "application/json"
	}
	return media
}

// strays tells whether the body names a model that its client may not ask for, as far as it
// has come, or whether it goes on where nobody here can read it. b.mu is held.
func (b *Body) strays() bool {
	serves := b.copy.limits.Serves
	if serves == nil {
		return false
	}
	name, _ := b.model.Model()
	return !serves(name) || b.folded.Cut() && !b.model.Done()
}

// Strays tells whether the body was ended, since it names a model that its client may not ask
// for.
func (b *Body) Strays() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.end == errModel //nolint:errorlint // it is set here
}

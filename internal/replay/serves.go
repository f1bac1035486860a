package replay

import (
	"errors"
	"net/http"
	"strings"

	"github.com/keycycler/keycycler/internal/peek"
)

// errModel ends a body that names a model which its client may not ask for.
var errModel = errors.New("keycycler: the body names a model that its client may not ask for")

// mediaOf returns as what the body is looked through for its model.
func (l *Limits) mediaOf(r *http.Request) string {
	media := peek.First(r.Header, "Content-Type")
	if l.AnyMedia && !peek.IsMedia(strings.TrimSpace(media), "multipart/") {
		return "application/json"
	}
	return media
}

// strays tells whether the body names a model that its client may not ask for, as far as it
// has come, or whether it goes on where nobody here can read it. b.mu is held.
func (b *Body) strays() bool {
	if b.copy.limits.Serves == nil {
		return false
	}
	return b.model.Strays() || b.folded.Cut() && !b.model.Done()
}

// heed has the names of models held against what the client may ask for, if that is not all. A
// body that nobody here can read ends at once.
func (b *Body) heed(r *http.Request, l *Limits) {
	if l.Serves == nil {
		return
	}
	media := peek.First(r.Header, "Content-Type")
	b.model.Heed(l.Serves, media == "" || peek.IsJSON(media))
	if b.folded == nil && !peek.IsPlain(r.Header) || b.model.Form == nil && isForm(media) {
		b.end = errModel
	}
}

// isForm tells whether the body is said to be a form of any kind.
func isForm(media string) bool { return strings.Contains(strings.ToLower(media), "form") }

// Strays tells whether the body was ended, since it names a model that its client may not ask
// for.
func (b *Body) Strays() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.end == errModel //nolint:errorlint // it is set here
}

package replay

import (
	"bytes"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"github.com/keycycler/keycycler/internal/nested"
	"github.com/keycycler/keycycler/internal/peek"
)

// errModel ends a body that names a model which its client may not ask for.
var errModel = errors.New("keycycler: the body names a model that its client may not ask for")

// look begins to look through the body for its model, as what it is said to be; where that
// matters, as JSON if it is no form.
func (b *Body) look(r *http.Request, l *Limits) {
	media := peek.First(r.Header, "Content-Type")
	if parts := strings.TrimSpace(media); l.Serves != nil && peek.IsMedia(parts, "multipart/") {
		_, parameters, _ := strings.Cut(parts, ";") // some take each kind for a form
		media = "multipart/form-data;" + parameters
	}
	b.model.Begin(media)
	if l.AnyMedia && b.model.Form == nil {
		b.model = peek.ModelFinder{}
	}
}

// strays tells whether the body names a model that its client may not ask for, as far as it
// has come with the last n bytes, or goes on where nobody here can read it, or is a form without
// an end: some take what has come. b.mu is held.
func (b *Body) strays(n int) bool {
	l := b.copy.limits
	if l.Serves == nil {
		return false
	}
	return b.model.Strays() || l.nested.Strays() || b.folded.Cut() || b.model.Form != nil && !b.model.Done() && b.ends(n)
}

// heed has the names of models held against what the client may ask for, if that is not all. A
// body that nobody here can read ends at once.
func (b *Body) heed(r *http.Request, l *Limits) {
	if l.Serves == nil {
		return
	}
	media := peek.First(r.Header, "Content-Type")
	b.model.Heed(l.Serves, media == "" || peek.IsJSON(media))
	own := *l // few bodies have a finder: no room is kept for it in the others
	own.nested = nested.NewFinder(l.Serves)
	b.copy.limits = &own
	if b.isSealed(r, media) {
		b.end = errModel
	}
}

// isSealed tells whether the header says that nobody here can read the body, or that others may
// read it otherwise. Nobody compresses a form, but it can have another one around that.
func (b *Body) isSealed(r *http.Request, media string) bool {
	codings, plain := len(r.Header["Content-Encoding"]), peek.IsPlain(r.Header)
	switch {
	case len(r.Header["Content-Type"]) > 1, !plain && (codings > 1 || b.folded == nil), len(boundaries.FindAllString(media, 2)) > 1:
		return true
	case b.model.Form != nil:
		return !plain
	}
	return isForm(media)
}

// boundaries are where a type states a boundary: of several some take the first.
var boundaries = regexp.MustCompile(`(?i)boundary\s*[*=]`)

// beginsForm tells whether the body is a form, by its first piece, and no JSON that is said to be
// one.
func (b *Body) beginsForm(p []byte) bool {
	first := bytes.TrimLeft(p, " \t\r\n\ufeff")
	return b.model.Form != nil && b.came() == 0 && len(first) > 0 && first[0] != '{'
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

package status

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
	"html/template"
	"net/http"
	"strconv"
	"time"
)

//go:embed page.html
var pageText string

//go:embed page.css
var style template.CSS

//go:embed page.js
var script template.JS

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// policy allows the page what it is made of, and nothing else.
var policy = "default-src 'none'; style-src '" + hashOf(string(style)) + "'; script-src '" + hashOf(string(script)) + "'; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; img-src data:"

// build tells a page that was loaded long ago that its script is no longer ours.
var build = hashOf(string(style) + string(script) + pageText)

// hashOf names a text as a content security policy does.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// New returns the page of what the source has, for that path, such as
// "/keycycler/". It is safe for concurrent use. It asks nobody who they are: whoever
// mounts it sees to it that only operators can reach it.
func New(src Source, prefix string) http.Handler {
	return &handler{src: src, prefix: prefix, origin: http.NewCrossOriginProtection()}
}

type handler struct {
	src    Source
	prefix string
	origin *http.CrossOriginProtection
}

const allowed = "GET, HEAD, POST"

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setHeader(w.Header())
	if r.URL.Path != h.prefix {
		http.Error(w, "nothing is here: the status page is at "+h.prefix, http.StatusNotFound)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		query := r.URL.Query()
		v := parseView(query)
		h.show(w, r, http.StatusOK, v, h.ask(query, v))
	case http.MethodPost:
		h.change(w, r)
	default:
		w.Header().Set("Allow", allowed)
		http.Error(w, "method "+strconv.Quote(r.Method)+" is not allowed here: "+allowed, http.StatusMethodNotAllowed)
	}
}

func setHeader(header http.Header) {
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	// Caddy's admin endpoint looks at the Referer: no-referrer would lock its own page
	// out.
	header.Set("Referrer-Policy", "same-origin")
}

// show answers with the page. It is rendered before the first byte is sent, so that
// an error can still be one.
func (h *handler) show(w http.ResponseWriter, r *http.Request, status int, v view, n notice) {
	var body bytes.Buffer
	if err := pageTemplate.Execute(&body, h.page(time.Now(), v, n)); err != nil {
		http.Error(w, "the page cannot be rendered", http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = body.WriteTo(w) // fails when the client is gone: nobody is left to tell
	}
}

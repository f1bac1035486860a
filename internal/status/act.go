package status

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

const (
	maxForm = 64 << 10 // bytes
	maxAdd  = 16 << 20 // bytes of a form with keys
	maxCool = 365 * 24 * time.Hour
	allKeys = "all" // the form's id of all keys: one that is missing must not mean them
)

// past is what a verb has done to a key.
var past = map[Verb]string{Clear: "cleared", Cool: "cooled", Disable: "disabled", Enable: "enabled", Test: "tested", Remove: "removed"}

// formError is a form that no button of the page sends.
type formError struct {
	status int
	text   string
}

func (e *formError) Error() string { return e.text }

func formErrorf(status int, format string, args ...any) error {
	return &formError{status, fmt.Sprintf(format, args...)}
}

// change answers POST: it does what the form says and sends the browser back to
// the view that it comes from.
func (h *handler) change(w http.ResponseWriter, r *http.Request) {
	if err := h.origin.Check(r); err != nil {
		http.Error(w, "this request comes from another site, and is refused", http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, formSize(r.URL))
	if err := r.ParseForm(); err != nil {
		status := http.StatusBadRequest
		if large := new(http.MaxBytesError); errors.As(err, &large) {
			status = http.StatusRequestEntityTooLarge
		}
		http.Error(w, "the form cannot be read: "+http.StatusText(status), status)
		return
	}
	back, _ := url.ParseQuery(r.Form.Get("back"))
	v := parseView(back)
	do := h.do
	if addsKeys(r.URL) {
		do = h.add
	}
	done, err := do(r)
	if err != nil {
		h.show(w, r, statusOf(err), v, notice{Text: err.Error(), Failed: true})
		return
	}
	// Relative to where the browser is: it cannot lead to another host.
	w.Header().Set("Location", "?"+done.query(v)+"#"+done.anchor())
	w.WriteHeader(http.StatusSeeOther)
}

func statusOf(err error) int {
	if e := new(formError); errors.As(err, &e) {
		return e.status
	}
	if errors.Is(err, ErrNotFound) {
		return http.StatusNotFound
	}
	return http.StatusInternalServerError
}

// do does what the form says.
func (h *handler) do(r *http.Request) (done, error) {
	form := r.Form
	d, err := parseForm(form)
	if err != nil {
		return d, err
	}
	pool := form.Get("pool")
	if !slices.ContainsFunc(h.src.Pools(), func(p Pool) bool { return p.Name == pool }) {
		return d, formErrorf(http.StatusNotFound, "There is no pool %.64q.", pool)
	}
	id := d.id
	if id == allKeys {
		id = ""
	}
	switch d.verb {
	case Test:
		d.found, err = h.src.Test(r, pool, id)
	case Remove:
		d.changed, err = 1, h.src.Remove(pool, id)
	default:
		d.changed, err = h.src.Do(pool, id, Action{d.verb, d.cool})
	}
	switch {
	case errors.Is(err, ErrNotFound):
		return d, formErrorf(http.StatusNotFound, "Pool %.64s has no key %s.", pool, d.id)
	case err != nil && d.verb.ofOne():
		return d, formErrorf(http.StatusConflict, "Key %s cannot be %s: %v.", d.id, past[d.verb], err)
	case err != nil:
		return d, fmt.Errorf("%s: %w", d.verb, err)
	}
	return d, nil
}

// ofOne tells whether the verb is for one key alone. A Source can refuse it.
func (v Verb) ofOne() bool { return v == Test || v == Remove }

// parseForm reads what is to be done, and to what.
func parseForm(form url.Values) (done, error) {
	d := done{verb: Verb(form.Get("verb")), id: form.Get("id")}
	if past[d.verb] == "" {
		return d, formErrorf(http.StatusBadRequest, "There is no verb %.64q: clear, cool, disable, enable, test or remove.", string(d.verb))
	}
	if !isTarget(d.id) || d.verb.ofOne() && d.id == allKeys {
		return d, formErrorf(http.StatusBadRequest, "%.64q is no key's id: 12 hex digits.", d.id)
	}
	if d.verb != Cool {
		return d, nil
	}
	var ok bool
	if d.cool, ok = parseSeconds(form.Get("seconds")); !ok {
		return d, formErrorf(http.StatusBadRequest, "A key can cool for 1 to %.0f seconds.", maxCool.Seconds())
	}
	return d, nil
}

func isTarget(id string) bool { return id == allKeys || len(id) == idLength && isHex(id) }

func parseSeconds(text string) (time.Duration, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || n > int64(maxCool/time.Second) {
		return 0, false
	}
	return time.Duration(n) * time.Second, true
}

// done is what an operator has done. It travels in the query of the redirect as
// what it is, not as a text: nobody can make the page say something else by a link.
type done struct {
	verb    Verb
	id      string // or allKeys
	cool    time.Duration
	changed int
	skipped []int // lines of keys that were not added
	found   Found // by a test
}

// query is that of the view, with what has been done.
func (d done) query(v view) string {
	query := v.query()
	query.Set("did", string(d.verb))
	query.Set("to", d.id)
	query.Set("changed", strconv.Itoa(d.changed))
	if d.found != "" {
		query.Set("found", string(d.found))
	}
	if d.cool > 0 {
		query.Set("seconds", strconv.FormatInt(int64(d.cool/time.Second), 10))
	}
	if d.verb == addKeys {
		query.Del("to")
		query.Set("skipped", linesText(d.skipped))
	}
	return query.Encode()
}

// anchor is where the browser goes: to the key's row, if it is still shown.
func (d done) anchor() string {
	if d.id == allKeys || d.verb == Remove {
		return "keys"
	}
	return "k" + d.id
}

// parseDone reads what done.query made; anything else is nothing done.
func parseDone(query url.Values) done {
	d := done{verb: Verb(query.Get("did")), id: query.Get("to")}
	changed, err := strconv.Atoi(query.Get("changed"))
	if err != nil || changed < 0 {
		return done{}
	}
	d.changed = changed
	if d.verb == addKeys {
		d.id, d.skipped = allKeys, parseLines(query.Get("skipped"))
		return d
	}
	if past[d.verb] == "" || !isTarget(d.id) {
		return done{}
	}
	if f := Found(query.Get("found")); found[f] != "" {
		d.found = f
	}
	d.cool, _ = parseSeconds(query.Get("seconds"))
	return d
}

// notice is what the page says of what was done, or was not.
type notice struct {
	Text   string // "": nothing
	Failed bool
	Ask    *question // instead; nil: nothing
}

func (d done) notice() notice {
	switch d.verb {
	case "":
		return notice{}
	case addKeys:
		return d.addNotice()
	case Test:
		return d.tested()
	}
	text := past[d.verb]
	if d.cool > 0 {
		text += " for " + duration(d.cool)
	}
	switch {
	case d.id == allKeys:
		text = plural(d.changed, "key") + " " + text + "."
	case d.changed == 0:
		text = "Key " + d.id + ": nothing to change."
	default:
		text = "Key " + d.id + " " + text + "."
	}
	return notice{Text: text}
}

// tested is the notice of a test.
func (d done) tested() notice {
	if d.found == "" {
		return notice{}
	}
	return notice{Text: "Key " + d.id + ": " + found[d.found] + "."}
}

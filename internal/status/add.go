package status

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// addKeys is the verb of what was done by the form for keys. It is none of a Source.
const addKeys Verb = "add"

// maxSkipped is of how many lines the page tells that their keys were there.
const maxSkipped = 20

// addsKeys tells whether the form has keys: its address says so, since its size does not.
func addsKeys(u *url.URL) bool { return u.RawQuery == "add" }

// formSize is the most that a form may have, in bytes.
func formSize(u *url.URL) int64 {
	if addsKeys(u) {
		return maxAdd
	}
	return maxForm
}

// add adds the keys of the form. Nothing of them is in what it returns.
func (h *handler) add(r *http.Request) (done, error) {
	form := r.Form
	d := done{verb: addKeys, id: allKeys}
	pool, file := form.Get("pool"), form.Get("file")
	pools := h.src.Pools()
	i := slices.IndexFunc(pools, func(p Pool) bool { return p.Name == pool })
	if i < 0 {
		return d, formErrorf(http.StatusNotFound, "There is no pool %.64q.", pool)
	}
	if !slices.Contains(pools[i].Files, file) {
		return d, formErrorf(http.StatusNotFound, "Pool %s has no file of that name that keys can be added to.", pool)
	}
	added, err := h.src.Add(pool, file, form.Get("keys"))
	if err != nil {
		return d, formErrorf(http.StatusUnprocessableEntity, "No key was added: %s.", strings.TrimSuffix(err.Error(), "."))
	}
	d.changed, d.skipped = added.Keys, added.Skipped
	return d, nil
}

// linesText writes numbers of lines for a query, the first of many.
func linesText(lines []int) string {
	parts := make([]string, 0, maxSkipped)
	for _, n := range lines[:min(len(lines), maxSkipped)] {
		parts = append(parts, strconv.Itoa(n))
	}
	if len(lines) > maxSkipped {
		parts = append(parts, "")
	}
	return strings.Join(parts, ".")
}

// parseLines reads what linesText wrote; anything else is nothing. 0 stands for more.
func parseLines(text string) (lines []int) {
	if text == "" {
		return nil
	}
	for i, part := range strings.Split(text, ".") {
		n, err := strconv.Atoi(part)
		if part != "" && (err != nil || n < 1) || i > maxSkipped {
			return nil
		}
		lines = append(lines, max(n, 0))
	}
	return lines
}

// addNotice says what has become of keys.
func (d done) addNotice() notice {
	was := "was"
	if d.changed != 1 {
		was = "were"
	}
	text := fmt.Sprintf("%s %s added.", plural(d.changed, "key"), was)
	if len(d.skipped) == 0 {
		return notice{Text: text}
	}
	parts := make([]string, 0, len(d.skipped))
	for _, n := range d.skipped {
		if n == 0 {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, strconv.Itoa(n))
	}
	left := " Left out, since they were there: lines "
	if len(parts) == 1 {
		left = " Left out, since it was there: line "
	}
	return notice{Text: text + left + strings.Join(parts, ", ") + "."}
}

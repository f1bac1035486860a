package status

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// managed is a fake whose first pool has files that keys can be added to.
func managed(files ...string) *fake {
	src := newFake()
	src.pools[0].Files = files
	return src
}

func TestAddForm(t *testing.T) {
	if page := get(t, newFake(), ""); strings.Contains(page, `id="add"`) {
		t.Error("there is a form, and no file to write")
	}
	page := get(t, managed("/etc/demo.keys"), "?pool=openai")
	form := within(t, page, `<details id="add">`, "</details>")
	for _, want := range []string{`method="post"`, `action="/keycycler/?add"`, `value="/etc/demo.keys"`, `autocomplete="off"`, `spellcheck="false"`} {
		if !strings.Contains(form, want) {
			t.Errorf("the form has no %s: %s", want, form)
		}
	}
	if strings.Contains(form, "<select") {
		t.Error("there is a choice of one")
	}
	if form := within(t, get(t, managed("a.keys", "b.keys"), "?pool=openai"), `<details id="add">`, "</details>"); !strings.Contains(form, "<option>b.keys</option>") {
		t.Errorf("there is no choice: %s", form)
	}
}

func TestAddKeys(t *testing.T) {
	src := managed("a.keys", "b.keys")
	w := post(src, "?add", url.Values{"pool": {"openai"}, "file": {"b.keys"}, "keys": {"sk-demo-1\nsk-demo-2\nsk-demo-3"}, "back": {"pool=openai&state=cooling"}})
	const to = "?changed=2&did=add&pool=openai&skipped=2&state=cooling#keys"
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != to {
		t.Fatalf("status %d, Location %q, want %q", w.Code, w.Header().Get("Location"), to)
	}
	if !slices.Equal(src.done, []string{`openai b.keys add "sk-demo-1\nsk-demo-2\nsk-demo-3"`}) {
		t.Errorf("done %q", src.done)
	}
	query, _, _ := strings.Cut(to, "#")
	if page := get(t, src, query); !strings.Contains(page, "2 keys were added. Left out, since it was there: line 2.") {
		t.Errorf("the page does not say what was done: %s", within(t, page, `id="notice"`, "</div>"))
	}
}

// What was sent never comes back: not in an error either.
func TestAddKeysRefuses(t *testing.T) {
	const secret = "sk-demo-secret"
	valid := func(name, value string) url.Values {
		form := url.Values{"pool": {"openai"}, "file": {"a.keys"}, "keys": {secret}}
		form.Set(name, value)
		return form
	}
	for _, test := range []struct {
		name   string
		form   url.Values
		err    error
		status int
		text   string
	}{
		{"an unknown pool", valid("pool", "nobody"), nil, http.StatusNotFound, "There is no pool &#34;nobody&#34;"},
		{"a pool without files", valid("pool", "gemini"), nil, http.StatusNotFound, "has no file of that name"},
		{"another file", valid("file", "../../"+secret), nil, http.StatusNotFound, "has no file of that name"},
		{"what is no key", valid("keys", "Bearer "+secret), errors.New("line 1: 'Bearer' stands in front"), http.StatusUnprocessableEntity, "No key was added: line 1: &#39;Bearer&#39; stands in front."},
		{"more than a form", valid("keys", strings.Repeat("x", maxAdd)), nil, http.StatusRequestEntityTooLarge, "Too Large"},
	} {
		src := managed("a.keys")
		src.err = test.err
		w := post(src, "?add", test.form)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.text) || len(src.done) > 0 {
			t.Errorf("%s: status %d, want %d with %q; done %q", test.name, w.Code, test.status, test.text, src.done)
		}
		if strings.Contains(w.Body.String()+fmt.Sprint(w.Header()), secret) {
			t.Errorf("%s: the answer has the key", test.name)
		}
	}
}

// A form of 64 KiB and more is for keys alone, and other sites' pages send none.
func TestAddKeysIsProtected(t *testing.T) {
	many := strings.Repeat("sk-demo-1\n", 10_000)
	if w := post(managed("a.keys"), "?add", url.Values{"pool": {"openai"}, "file": {"a.keys"}, "keys": {many}}); w.Code != http.StatusSeeOther {
		t.Errorf("many keys: status %d", w.Code)
	}
	src := managed("a.keys")
	r := httptest.NewRequest(http.MethodPost, prefix+"?add", strings.NewReader("pool=openai&file=a.keys&keys=sk-demo-1"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	New(src, prefix).ServeHTTP(w, r)
	if w.Code != http.StatusForbidden || len(src.done) > 0 {
		t.Errorf("of another site: status %d, done %q", w.Code, src.done)
	}
}

func TestAddedLines(t *testing.T) {
	var many []int
	for n := 1; n <= 30; n++ {
		many = append(many, n)
	}
	for text, want := range map[string]string{
		"":                       "1 key was added.",
		linesText(many):          "1 key was added. Left out, since they were there: lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, ….",
		"3.x":                    "1 key was added.",
		"-1":                     "1 key was added.",
		linesText(many) + ".7.8": "1 key was added.",
	} {
		got := parseDone(url.Values{"did": {"add"}, "changed": {"1"}, "skipped": {text}}).notice()
		if got.Text != want || got.Failed {
			t.Errorf("%q: %q, want %q", text, got.Text, want)
		}
	}
	if got := parseDone(url.Values{"did": {"add"}, "changed": {"-1"}}).notice(); got.Text != "" {
		t.Errorf("%q", got.Text)
	}
}

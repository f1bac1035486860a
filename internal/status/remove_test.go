package status

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// stands is an About of a key that can be removed from there.
type stands string

func (s stands) String() string { return "known" }

func (s stands) Managed() string { return string(s) }

// removable is a fake whose ready key stands in a managed file.
func removable() *fake {
	src := newFake()
	src.keys["openai"][0].Name, src.keys["openai"][0].About = "east", stands("demo.keys:3")
	src.keys["openai"][1].About = stands("")
	return src
}

// A key that stands in a managed file has a link to the question, and no other has.
func TestPageOffersToRemove(t *testing.T) {
	page := get(t, removable(), "?pool=openai&state=&sort=id")
	if link := `href="?pool=openai&amp;remove=` + readyID + `&amp;sort=id#k` + readyID + `"`; !strings.Contains(page, link) || strings.Count(page, "Remove…") != 1 {
		t.Errorf("the page lacks the link %s, or has others", link)
	}
	if strings.Contains(page, `value="remove"`) {
		t.Error("there is a button before the question")
	}
}

func TestPageAsksBeforeItRemoves(t *testing.T) {
	for _, test := range []struct {
		sentence, query string
		asks            bool
	}{
		{"of a key that can be removed", "?pool=openai&state=ready&remove=" + readyID, true},
		{"of one that cannot", "?pool=openai&remove=" + coolingID, false},
		{"of one that nothing is known of", "?pool=openai&remove=" + disabledID, false},
		{"of another pool's", "?pool=gemini&remove=" + readyID, false},
		{"of no key's", "?pool=openai&remove=%3Cscript%3E", false},
		{"of no pool's", "?pool=nobody&remove=" + readyID, false},
	} {
		notice := within(t, get(t, removable(), test.query), `<div id="notice"`, "</div>")
		want := `Remove key <b>` + readyID + `</b> (east) from demo.keys:3?`
		if strings.Contains(notice, want) != test.asks || strings.Contains(notice, "<form") != test.asks {
			t.Errorf("%s: %s", test.sentence, notice)
		}
		if test.asks && (!strings.Contains(notice, `name="back" value="pool=openai&amp;state=ready"`) || !strings.Contains(notice, `href="?pool=openai&amp;state=ready#keys"`)) {
			t.Errorf("%s: it does not lead back to the view: %s", test.sentence, notice)
		}
	}
}

func TestRemove(t *testing.T) {
	src := removable()
	form := url.Values{"pool": {"openai"}, "id": {readyID}, "verb": {"remove"}, "back": {"pool=openai"}}
	w := post(src, "", form)
	if to := "?changed=1&did=remove&pool=openai&to=" + readyID + "#keys"; w.Code != http.StatusSeeOther || w.Header().Get("Location") != to {
		t.Errorf("status %d, Location %q, want %q", w.Code, w.Header().Get("Location"), to)
	}
	if !slices.Equal(src.done, []string{"openai " + readyID + " remove 0s"}) {
		t.Errorf("done %q", src.done)
	}
	if page := get(t, src, "?pool=openai&did=remove&changed=1&to="+readyID); !strings.Contains(page, "Key "+readyID+" removed.") {
		t.Error("the page does not say what was done")
	}
	src.err = errors.New("it also stands at fixed.keys:1")
	if w := post(src, "", form); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "Key "+readyID+" cannot be removed: it also stands at fixed.keys:1.") {
		t.Errorf("status %d: %s", w.Code, within(t, w.Body.String(), `<div id="notice"`, "</div>"))
	}
	form.Set("id", allKeys)
	if w := post(removable(), "", form); w.Code != http.StatusBadRequest {
		t.Errorf("all keys are removed at once: status %d", w.Code)
	}
}

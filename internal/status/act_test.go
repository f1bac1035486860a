package status

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// post sends a form, as the page's own script and buttons do.
func post(src Source, query string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, prefix+query, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	w := httptest.NewRecorder()
	New(src, prefix).ServeHTTP(w, r)
	return w
}

func TestAct(t *testing.T) {
	for _, test := range []struct {
		name string
		form url.Values
		done string // what the source was told
		to   string // where the browser is sent
	}{
		{"clear", url.Values{"pool": {"openai"}, "id": {coolingID}, "verb": {"clear"}},
			"openai " + coolingID + " clear 0s", "?changed=1&did=clear&to=" + coolingID + "#k" + coolingID},
		{"disable", url.Values{"pool": {"openai"}, "id": {readyID}, "verb": {"disable"}, "seconds": {"600"}},
			"openai " + readyID + " disable 0s", "?changed=1&did=disable&to=" + readyID + "#k" + readyID},
		{"enable", url.Values{"pool": {"openai"}, "id": {disabledID}, "verb": {"enable"}},
			"openai " + disabledID + " enable 0s", "?changed=1&did=enable&to=" + disabledID + "#k" + disabledID},
		{"cool", url.Values{"pool": {"openai"}, "id": {readyID}, "verb": {"cool"}, "seconds": {"600"}},
			"openai " + readyID + " cool 10m0s", "?changed=1&did=cool&seconds=600&to=" + readyID + "#k" + readyID},
		{"all keys", url.Values{"pool": {"openai"}, "id": {"all"}, "verb": {"disable"}},
			"openai  disable 0s", "?changed=3&did=disable&to=all#keys"},
		{"back to the view", url.Values{"pool": {"openai"}, "id": {"all"}, "verb": {"clear"}, "back": {"page=2&pool=openai&state=cooling"}},
			"openai  clear 0s", "?changed=3&did=clear&page=2&pool=openai&state=cooling&to=all#keys"},
		{"back to no other site", url.Values{"pool": {"openai"}, "id": {"all"}, "verb": {"clear"}, "back": {"//example.com/?x=y"}},
			"openai  clear 0s", "?changed=3&did=clear&to=all#keys"},
	} {
		t.Run(test.name, func(t *testing.T) {
			src := newFake()
			w := post(src, "", test.form)
			if w.Code != http.StatusSeeOther || w.Header().Get("Location") != test.to {
				t.Errorf("status %d, Location %q, want %q", w.Code, w.Header().Get("Location"), test.to)
			}
			if !slices.Equal(src.done, []string{test.done}) {
				t.Errorf("done %q, want %q", src.done, test.done)
			}
			query, _, _ := strings.Cut(test.to, "#")
			if !strings.Contains(get(t, src, query), "Dismiss") {
				t.Error("the page does not say what was done")
			}
		})
	}
}

// The id of a row's button stands in the address that it posts to.
func TestActOfAButton(t *testing.T) {
	src := newFake()
	post(src, "?id="+readyID, url.Values{"pool": {"openai"}, "verb": {"disable"}})
	if !slices.Equal(src.done, []string{"openai " + readyID + " disable 0s"}) {
		t.Errorf("done %q", src.done)
	}
}

func TestActRefuses(t *testing.T) {
	valid := func(name, value string) url.Values {
		form := url.Values{"pool": {"openai"}, "id": {readyID}, "verb": {"cool"}, "seconds": {"600"}}
		form.Set(name, value)
		return form
	}
	for _, test := range []struct {
		name   string
		form   url.Values
		status int
		text   string
	}{
		{"an unknown verb", valid("verb", "sell"), http.StatusBadRequest, "There is no verb &#34;sell&#34;"},
		{"no verb", valid("verb", ""), http.StatusBadRequest, "There is no verb"},
		{"an unknown pool", valid("pool", "nobody"), http.StatusNotFound, "There is no pool &#34;nobody&#34;"},
		{"an unknown key", valid("id", "ffffffffffff"), http.StatusNotFound, "Pool openai has no key ffffffffffff."},
		{"what is no id", valid("id", "../../keys"), http.StatusBadRequest, "is no key&#39;s id"},
		{"no id does not mean all", valid("id", ""), http.StatusBadRequest, "is no key&#39;s id"},
		{"no seconds", valid("seconds", ""), http.StatusBadRequest, "1 to 31536000 seconds"},
		{"less than a second", valid("seconds", "0"), http.StatusBadRequest, "1 to 31536000 seconds"},
		{"more than a year", valid("seconds", "31536001"), http.StatusBadRequest, "1 to 31536000 seconds"},
		{"nothing at all", nil, http.StatusBadRequest, "There is no verb"},
		{"more than a form", valid("back", strings.Repeat("x", maxForm)), http.StatusRequestEntityTooLarge, "Too Large"},
		{"a test of all keys", url.Values{"pool": {"openai"}, "id": {"all"}, "verb": {"test"}}, http.StatusBadRequest, "is no key&#39;s id"},
		{"a test of an unknown key", url.Values{"pool": {"openai"}, "id": {"ffffffffffff"}, "verb": {"test"}}, http.StatusNotFound, "Pool openai has no key ffffffffffff."},
		{"a script as a verb", valid("verb", "<script>"), http.StatusBadRequest, "&lt;script&gt;"},
	} {
		t.Run(test.name, func(t *testing.T) {
			src := newFake()
			w := post(src, "", test.form)
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.text) {
				t.Errorf("status %d, want %d with %q", w.Code, test.status, test.text)
			}
			if len(src.done) > 0 {
				t.Errorf("done %q", src.done)
			}
		})
	}
}

func TestActFails(t *testing.T) {
	src := newFake()
	src.err = errors.New("redis is away")
	w := post(src, "", url.Values{"pool": {"openai"}, "id": {readyID}, "verb": {"clear"}, "back": {"pool=gemini"}})
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "clear: redis is away") || !strings.Contains(w.Body.String(), "Keys of gemini") {
		t.Errorf("status %d, or the page does not say why", w.Code)
	}
}

// A row's button tests its key, and the page says what the upstream says of it: one of a few
// sentences, whatever a link says.
func TestActOfATest(t *testing.T) {
	for result, want := range map[Found]string{
		"good":      "Key " + readyID + ": the upstream takes it.",
		"freed":     "Key " + readyID + ": the upstream takes it, so it is ready again.",
		"cools":     "Key " + readyID + ": the upstream refuses it, so it cools.",
		"hacked <b": "",
	} {
		src := newFake()
		src.found = result
		w := post(src, "?id="+readyID, url.Values{"pool": {"openai"}, "verb": {"test"}})
		if w.Code != http.StatusSeeOther || len(src.done) > 0 {
			t.Fatalf("%s: %d, done %q", result, w.Code, src.done)
		}
		back, _, _ := strings.Cut(w.Header().Get("Location"), "#")
		page := ask(src, "GET", prefix+back).Body.String()
		_, notice, _ := strings.Cut(page, `id="notice"`)
		notice, _, _ = strings.Cut(notice, "</div>")
		if !strings.Contains(notice, want) || strings.Contains(page, "hacked") || want == "" && strings.Contains(notice, "<p>") {
			t.Errorf("%s: the page says %.300s", result, notice)
		}
	}
	src := newFake()
	src.err = errors.New("no path is known")
	w := post(src, "", url.Values{"pool": {"openai"}, "id": {readyID}, "verb": {"test"}})
	if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "Key "+readyID+" cannot be tested: no path is known.") {
		t.Errorf("status %d, or the page does not say why", w.Code)
	}
	if n := strings.Count(ask(newFake(), "GET", prefix+"?pool=openai").Body.String(), ">Test</button>"); n != 3 {
		t.Errorf("%d keys of 3 have a button", n)
	}
}

func TestActOfAnotherSite(t *testing.T) {
	for _, test := range []struct {
		name   string
		header map[string]string
		status int
	}{
		{"another site", map[string]string{"Sec-Fetch-Site": "cross-site"}, http.StatusForbidden},
		{"another host of the same site", map[string]string{"Sec-Fetch-Site": "same-site"}, http.StatusForbidden},
		{"an old browser, and another site", map[string]string{"Origin": "https://example.net"}, http.StatusForbidden},
		{"an old browser, and this page", map[string]string{"Origin": "http://example.com"}, http.StatusSeeOther},
		{"no browser", nil, http.StatusSeeOther},
	} {
		t.Run(test.name, func(t *testing.T) {
			src := newFake()
			r := httptest.NewRequest(http.MethodPost, prefix, strings.NewReader("pool=openai&id=all&verb=disable"))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			for name, value := range test.header {
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			New(src, prefix).ServeHTTP(w, r)
			if w.Code != test.status || (len(src.done) > 0) != (test.status == http.StatusSeeOther) {
				t.Errorf("status %d, want %d; done %q", w.Code, test.status, src.done)
			}
		})
	}
}

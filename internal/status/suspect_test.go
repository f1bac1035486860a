package status

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const note = "nobody knows yet whether that was the key’s fault"

// A suspect shows, can be cleared, and the page says what it is.
func TestSuspectsShow(t *testing.T) {
	f := newFake()
	if page := get(t, f, "?pool=openai"); strings.Contains(page, note) || strings.Contains(page, "<small>suspect</small>") {
		t.Error("a pool without suspects has some")
	}
	f.keys["openai"][0].Class, f.keys["openai"][0].Suspect = "invalid_key", true
	f.keys["openai"][1].Suspect = true
	page := get(t, f, "?pool=openai")
	for id, want := range map[string][]string{
		readyID:    {`<i class="dot ready suspect"></i>ready <small>suspect</small>`, "<td>invalid_key</td>", `value="clear"`},
		coolingID:  {`<i class="dot cooling suspect"></i>cooling <small>suspect</small>`, "rate_limited", `value="clear"`},
		disabledID: {`<i class="dot disabled"></i>disabled</td>`},
	} {
		row := within(t, page, `<tr id="k`+id+`">`, "</tr>")
		for _, text := range want {
			if !strings.Contains(row, text) {
				t.Errorf("%s: the row lacks %q: %s", id, text, row)
			}
		}
	}
	if strings.Count(page, note) != 1 {
		t.Error("the page does not say once what a suspect is")
	}
	if strings.Contains(get(t, f, "?pool=openai&state=disabled"), note) {
		t.Error("it says so where it shows none")
	}
}

// By state, suspects stand between the keys that are good and those that are not.
func TestSuspectsInOrder(t *testing.T) {
	keys := []Key{
		{ID: "500000000000", State: Disabled},
		{ID: "400000000000", State: Cooling, Remaining: time.Second},
		{ID: "300000000000", State: Cooling, Suspect: true},
		{ID: "200000000000", State: Ready, Suspect: true},
		{ID: "100000000000", State: Ready},
	}
	l := list(slices.Values(keys), parseView(map[string][]string{"sort": {"state"}}))
	for i, k := range l.keys {
		if int(k.ID[0]-'1') != i {
			t.Errorf("%d. is %s", i+1, k.ID)
		}
	}
}

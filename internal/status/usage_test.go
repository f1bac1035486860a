package status

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// using returns a fake whose first pool has used something.
func using(priced bool) *fake {
	src := newFake()
	cost := func(text string) string {
		if priced {
			return text
		}
		return ""
	}
	src.usage = map[string]*Usage{
		"openai client true": {
			Priced: priced, All: priced, Others: 32, Rest: Used{Answers: 40, Input: 400, Cost: cost("0.0100")},
			Lines: []Used{
				{Name: "ada", Answers: 1200, Unknown: 3, Input: 1_234_567, Cached: 45, Written: 67, Output: 89, Cost: cost("12.34"), Unpriced: 2},
				{Name: "", Answers: 1, Output: 5},
			},
		},
		"openai model false": {Priced: priced, Lines: []Used{{Name: "gpt-4o", Answers: 7, Cost: cost("3.00")}}},
		"openai key true":    {},
	}
	return src
}

// cells returns the rows of the usage, each as its cells' texts.
func cells(t *testing.T, page string) (rows []string) {
	t.Helper()
	tags := regexp.MustCompile(`<[^>]*>`)
	for _, row := range regexp.MustCompile(`(?s)<tr.*?</tr>`).FindAllString(within(t, page, `<section id="usage"`, "</section>"), -1) {
		text := strings.NewReplacer("</th>", "|", "</td>", "|").Replace(row)
		rows = append(rows, tags.ReplaceAllString(text, ""))
	}
	return rows
}

// The page tells who has used how much, and what that costs if anybody knows.
func TestUsageIsShown(t *testing.T) {
	for _, row := range []struct {
		sentence, query string
		priced          bool
		want            []string
	}{
		{"clients in the last hour", "", true, []string{
			"Name|Answers|Input|Cached|Written|Output|Unknown|USD|", "ada|1,200|1,234,567|45|67|89|3|12.34*|",
			"without a name|1|0|0|0|5|0||", "32 more clients|40|400|0|0|0|0|0.0100|",
		}},
		{"without prices", "", false, []string{
			"Name|Answers|Input|Cached|Written|Output|Unknown|", "ada|1,200|1,234,567|45|67|89|3|",
			"without a name|1|0|0|0|5|0|", "32 more clients|40|400|0|0|0|0|",
		}},
		{"models in 30 days", "?by=model&used=month", true, []string{"Name|Answers|Input|Cached|Written|Output|Unknown|USD|", "gpt-4o|7|0|0|0|0|0|3.00|"}},
		{"nothing was used", "?by=key", true, nil},
		{"what makes no sense", "?by=colour&used=year", false, []string{
			"Name|Answers|Input|Cached|Written|Output|Unknown|", "ada|1,200|1,234,567|45|67|89|3|",
			"without a name|1|0|0|0|5|0|", "32 more clients|40|400|0|0|0|0|",
		}},
	} {
		page := get(t, using(row.priced), "?pool=openai&"+strings.TrimPrefix(row.query, "?"))
		if got := cells(t, page); !slices.Equal(got, row.want) {
			t.Errorf("%s: %q, want %q", row.sentence, got, row.want)
		}
		section := within(t, page, `<section id="usage"`, "</section>")
		if strings.Contains(section, "that have no price") != (row.priced && row.query == "") {
			t.Errorf("%s: what the * means is told where there is none, or not where there is", row.sentence)
		}
		if all := strings.Contains(section, "to all nodes"); row.want != nil && (all != (row.priced && row.query == "") || all == strings.Contains(section, "to this node")) {
			t.Errorf("%s: whose usage it is is not told", row.sentence)
		}
		if row.want == nil && !strings.Contains(section, "Nothing was used in the last hour") {
			t.Errorf("%s: %s", row.sentence, section)
		}
	}
}

// A pool whose usage is not counted has no section for it.
func TestUsageThatIsNotCounted(t *testing.T) {
	if page := get(t, using(true), "?pool=gemini"); strings.Contains(page, `id="usage"`) {
		t.Error("there is a section")
	}
}

// Without scripts, links lead to all there is, and keep what else the page shows; so does the
// form that filters.
func TestLinksOfUsage(t *testing.T) {
	const query = "?pool=openai&state=cooling&sort=attempts&by=model&used=month"
	page := get(t, using(true), query)
	section := within(t, page, `<section id="usage"`, "</section>")
	for link, current := range map[string]bool{
		"?pool=openai&sort=attempts&state=cooling&used=month#usage":          false, // clients
		"?by=model&pool=openai&sort=attempts&state=cooling&used=month#usage": true,
		"?by=key&pool=openai&sort=attempts&state=cooling&used=month#usage":   false,
		"?by=model&pool=openai&sort=attempts&state=cooling#usage":            false, // of the hour
	} {
		tag := `<a href="` + strings.ReplaceAll(link, "&", "&amp;") + `"`
		if current {
			tag += ` aria-current="true"`
		}
		if !strings.Contains(section, tag+">") {
			t.Errorf("there is no %s in %s", tag, section)
		}
	}
	if n := strings.Count(section, `aria-current="true"`); n != 2 {
		t.Errorf("%d links are marked, of 2", n)
	}
	form := within(t, page, `<form id="filter"`, "</form>")
	if !strings.Contains(form, `name="by" value="model"`) || !strings.Contains(form, `name="used" value="month"`) {
		t.Errorf("the filter forgets what is shown of usage: %s", form)
	}
	q, _ := url.ParseQuery(query[1:])
	if again := parseView(parseView(q).query()); again.by != "model" || !again.month {
		t.Errorf("%+v", again)
	}
}

// Hostile names are shown, and nothing more comes of them.
func TestHostileNamesOfUsage(t *testing.T) {
	src := using(true)
	const evil = `"'><script>alert(1)</script>`
	lines := []Used{{Name: evil, Answers: 1, Cost: evil}, {Name: "\xff\x00\x1b[31m\u202e", Answers: 1}, {Name: strings.Repeat("m", 256), Answers: 1}}
	src.usage["openai client true"] = &Usage{Priced: true, Lines: lines}
	page := get(t, src, "?pool=openai")
	if strings.Count(page, "<script") != 1 || strings.Contains(page, evil) || !strings.Contains(page, "&lt;script&gt;alert(1)") {
		t.Error("a name is more than a name")
	}
	if got := cells(t, page); len(got) != 1+len(lines) {
		t.Errorf("%d rows: %q", len(got), got)
	}
}

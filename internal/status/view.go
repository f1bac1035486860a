package status

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	pageSize = 100     // keys on one page
	maxPage  = 100_000 // what a query may ask for
	maxName  = 256     // bytes of a pool's or a class's name in a query
	idLength = 12      // hex digits
	keyName  = 64      // bytes of a key's name
)

// view is which of a pool's keys the page shows, and how. It travels in the query,
// where anything may stand: what makes no sense is as if it were not there.
type view struct {
	pool   string // "": the first
	state  string // "": all
	class  string // "": all
	prefix string // of the ids, or a part of the names or of the groups, in lower case
	sort   column
	desc   bool
	page   int // from 1

	by    string // of UsageBy
	month bool   // what was used in 30 days; false: in an hour
}

// column is one of the table's that it can be sorted by.
type column struct {
	name    string // in the query
	title   string
	number  bool // is aligned to the right
	desc    bool // the largest are what one looks for first
	compare func(a, b *Key) int
}

var columns = []column{
	{"id", "Key", false, false, func(a, b *Key) int { return cmp.Compare(a.ID, b.ID) }},
	{"state", "State", false, false, func(a, b *Key) int { return cmp.Compare(standing(a), standing(b)) }},
	{"class", "Class", false, true, func(a, b *Key) int { return cmp.Compare(a.Class, b.Class) }},
	{"source", "Source", false, true, func(a, b *Key) int { return cmp.Compare(a.Source, b.Source) }},
	{"remaining", "Remaining", true, true, func(a, b *Key) int { return cmp.Compare(a.Remaining, b.Remaining) }},
	{"attempts", "Attempts", true, true, func(a, b *Key) int { return cmp.Compare(a.Attempts, b.Attempts) }},
	{"rejections", "Rejections", true, true, func(a, b *Key) int { return cmp.Compare(a.Rejections, b.Rejections) }},
	{"in_flight", "In flight", true, true, func(a, b *Key) int { return cmp.Compare(a.InFlight, b.InFlight) }},
	{"last_used", "Last used", true, true, func(a, b *Key) int { return a.LastUsed.Compare(b.LastUsed) }},
}

// byNeed is the order by default: what needs somebody comes first. Nobody can choose it, and
// it has no other way round.
var byNeed = column{name: "need", compare: func(a, b *Key) int {
	return cmp.Or(cmp.Compare(need(a), need(b)), cmp.Compare(b.Remaining, a.Remaining))
}}

// need is 0 for a key that cools and is known to be at fault, and then those that are
// suspects, or cool for some requests alone; those that somebody has disabled; the ready
// ones.
func need(k *Key) int {
	switch {
	case k.State == Cooling && !k.Suspect:
		return 0
	case k.State == Disabled:
		return 2
	case k.State == Cooling, k.Suspect, k.Remaining > 0:
		return 1
	default:
		return 3
	}
}

var states = []string{Ready, Cooling, Disabled}

func rank(state string) int { return slices.Index(states, state) }

// standing is how good the key is: of the ready ones, and of those that cool, the suspects
// stand next to each other.
func standing(k *Key) int {
	at := 2 * rank(k.State)
	if k.Suspect == (k.State == Ready) {
		at++
	}
	return at
}

// parseView reads what query made, or anything else.
func parseView(query url.Values) view {
	v := view{
		pool:   atMost(maxName, query.Get("pool")),
		class:  atMost(maxName, query.Get("class")),
		prefix: strings.ToLower(strings.TrimSpace(query.Get("q"))),
		sort:   byNeed,
		page:   1,
	}
	if state := query.Get("state"); rank(state) >= 0 {
		v.state = state
	}
	if len(v.prefix) > keyName || strings.Trim(v.prefix, "0123456789abcdefghijklmnopqrstuvwxyz._-") != "" {
		v.prefix = ""
	}
	if i := slices.IndexFunc(columns, func(c column) bool { return c.name == query.Get("sort") }); i >= 0 {
		v.sort = columns[i]
	}
	v.desc = query.Get("order") == "desc" && v.sort.name != byNeed.name
	if page, err := strconv.Atoi(query.Get("page")); err == nil && page >= 1 && page <= maxPage {
		v.page = page
	}
	v.parseUsage(query.Get("by"), query.Get("used"))
	return v
}

// atMost returns the text unless it is longer than n bytes.
func atMost(n int, text string) string {
	if len(text) > n {
		return ""
	}
	return text
}

func isHex(text string) bool { return strings.Trim(text, "0123456789abcdef") == "" }

// query is what parseView reads, without what is as by default.
func (v view) query() url.Values {
	query := make(url.Values)
	for name, value := range map[string]string{"pool": v.pool, "state": v.state, "class": v.class, "q": v.prefix} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if v.sort.name != byNeed.name {
		query.Set("sort", v.sort.name)
	}
	if v.desc {
		query.Set("order", "desc")
	}
	if v.page > 1 {
		query.Set("page", strconv.Itoa(v.page))
	}
	if v.by != UsageBy[0] && v.by != "" {
		query.Set("by", v.by)
	}
	if v.month {
		query.Set("used", "month")
	}
	return query
}

// href is the link to the view. It is relative, and so right wherever the page is.
func (v view) href() string { return "?" + v.query().Encode() + "#keys" }

// The views that the page links to. Each begins on its first page.

func (v view) withState(state string) view {
	v.state, v.page = state, 1
	return v
}

func (v view) withPage(page int) view {
	v.page = page
	return v
}

// sortedBy is sorted by that column: the other way round, if it is already.
func (v view) sortedBy(c column) view {
	if v.sort.name == c.name {
		v.desc = !v.desc
	} else {
		v.sort, v.desc = c, c.desc
	}
	v.page = 1
	return v
}

// unfiltered shows all keys.
func (v view) unfiltered() view {
	v.state, v.class, v.prefix, v.page = "", "", "", 1
	return v
}

// compare orders keys as the view does. Those that are alike are ordered by id both
// ways, so that they keep their places from one refresh to the next.
func (v view) compare(a, b *Key) int {
	c := v.sort.compare(a, b)
	if v.desc {
		c = -c
	}
	if c == 0 {
		c = cmp.Compare(a.ID, b.ID)
	}
	return c
}

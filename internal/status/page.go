package status

import (
	"cmp"
	"html/template"
	"maps"
	"slices"
	"time"
)

// page is what page.html shows.
type page struct {
	Prefix string
	Style  template.CSS
	Script template.JS
	Build  string

	Title   string
	Summary string
	Alerts  []alert // pools that have no ready key, or none for a model
	Notice  notice
	Self    string // the link to the view, without what was done before
	Back    string // the same, for forms

	Cards   []card
	Pool    *card // the one whose keys are shown; nil without pools
	States  []choice
	Classes []choice
	View    fields
	Columns []header
	Rows    []row
	Suspect bool // one of the rows is a suspect's
	None    bool // the filter takes no key
	All     string
	Pager   pager
	Waits   []wait

	Usage *usage // nil: it is not counted
}

// fields are the view's, for the form that filters.
type fields struct {
	State, Prefix, Sort, Order string
	Filtered                   bool
	By, Used                   string // of usage
}

// alert is a pool that serves nobody, or not all.
type alert struct {
	Pool, Href, Text string
}

// card is a pool at a glance.
type card struct {
	Pool
	Href     string
	Selected bool
	Count    string
	Parts    []part
	Label    string // the parts, in words
	Timeline timeline
	Back     span // when the first cooling key is ready
	Out      []outage
	MoreOut  string // how many more models there are; "": none
	State    string
}

// outage is a model that no key can serve.
type outage struct {
	Name string
	Back span
}

// shownModels is how many models a card names.
const shownModels = 5

// choice is one that a filter offers.
type choice struct {
	Name, Title, Href, Count string
	On                       bool
}

// header is that of a column.
type header struct {
	Title, Href string
	Sort        string // aria-sort, or ""
	Number      bool
}

// row is one key's.
type row struct {
	ID, State, Class, Tone, Source, Scope    string
	Name, Group, About                       string // what people know it by, and all of it
	Suspect                                  bool
	Remaining                                span
	Attempts, Rejections, InFlight, LastUsed string
	Actions                                  []button
	Remove                                   string // the link to the question; "": the key cannot be removed
}

// span is a duration that the script counts down while it is a matter of seconds.
type span struct {
	Text    string
	Seconds int64 // of them; 0 otherwise
}

// button is an action on one key.
type button struct {
	Verb  Verb
	Title string
}

// pager is where the page stands among its pages. A link that leads nowhere is "".
type pager struct {
	Text                    string
	First, Prev, Next, Last string
	Several                 bool
}

// wait is a duration that keys can be cooled for.
type wait struct {
	Seconds int
	Title   string
}

// waits are offered for all keys.
var waits = []wait{{60, "1 min"}, {600, "10 min"}, {3600, "1 h"}, {86400, "24 h"}}

// The buttons.
var (
	clearButton   = button{Clear, "Clear"}
	coolButton    = button{Cool, "Cool 10 min"}
	disableButton = button{Disable, "Disable"}
	enableButton  = button{Enable, "Enable"}
	testButton    = button{Test, "Test"}
)

// page renders what the source has now.
func (h *handler) page(now time.Time, v view, n notice) *page {
	p := &page{Prefix: h.prefix, Style: style, Script: script, Build: build, Self: "?", Notice: n, Waits: waits}
	pools := h.src.Pools()
	slices.SortStableFunc(pools, func(a, b Pool) int { return cmp.Compare(worth(&a), worth(&b)) })
	p.summarize(pools)
	if len(pools) == 0 {
		return p
	}
	selected := max(0, slices.IndexFunc(pools, func(pool Pool) bool { return pool.Name == v.pool }))
	v.pool = pools[selected].Name
	for i := range pools {
		p.Cards = append(p.Cards, newCard(&pools[i], i == selected))
	}
	p.Pool = &p.Cards[selected]
	p.fill(now, v, list(h.src.Keys(v.pool), v))
	p.Usage = h.newUsage(v)
	return p
}

// summarize says how all is in the title, which a tab in the background shows.
func (p *page) summarize(pools []Pool) {
	keys, ready, models := 0, 0, 0
	for i := range pools {
		pool := &pools[i]
		keys, ready, models = keys+pool.Keys, ready+pool.Ready, models+len(pool.Models)
		switch {
		case pool.Ready == 0:
			p.Alerts = append(p.Alerts, alert{pool.Name, poolHref(pool), noneReady(pool)})
		case len(pool.Models) > 0:
			p.Alerts = append(p.Alerts, alert{pool.Name, poolHref(pool), noneFor(pool.Models)})
		}
	}
	p.Summary = plural(len(pools), "pool") + ", " + count(ready) + " of " + plural(keys, "key") + " ready"
	if models > 0 {
		p.Summary += ", none for " + plural(models, "model")
	}
	p.Title = p.Summary + " – keycycler"
	if len(p.Alerts) > 0 {
		p.Title = "⚠ " + p.Title
	}
}

// worth is less for a pool that needs somebody more: one that serves nobody, one that does
// not serve some models, one that cannot tell other nodes what it learns, one with less than
// half of its keys. By how many less does not count: cards do not change places while one
// looks.
func worth(p *Pool) int {
	switch {
	case p.Ready == 0:
		return 0
	case len(p.Models) > 0:
		return 1
	case !p.Healthy:
		return 2
	case 2*p.Ready < p.Keys:
		return 3
	default:
		return 4
	}
}

func poolHref(p *Pool) string { return view{pool: p.Name, sort: byNeed}.href() }

func newCard(p *Pool, selected bool) card {
	c := card{
		Pool: *p, Selected: selected,
		Href: poolHref(p), Count: plural(p.Keys, "key"),
		Parts: bar(p), Timeline: newTimeline(p.Minutes), Back: newSpan(p.Soonest), State: backend(p),
	}
	for _, m := range p.Models[:min(len(p.Models), shownModels)] {
		c.Out = append(c.Out, outage{m.Name, newSpan(m.Back)})
	}
	if more := len(p.Models) - len(c.Out); more > 0 {
		c.MoreOut = plural(more, "more model")
	}
	for i, part := range c.Parts {
		if i > 0 {
			c.Label += ", "
		}
		c.Label += part.Count + " " + part.State
	}
	return c
}

// fill adds the keys.
func (p *page) fill(now time.Time, v view, l *listing) {
	v.page = l.page
	p.Self, p.Back = v.href(), v.query().Encode()
	p.View = fields{State: v.state, Prefix: v.prefix, Filtered: v.state != "" || v.class != "" || v.prefix != ""}
	p.View.Sort, p.View.Order = v.query().Get("sort"), v.query().Get("order")
	p.View.By, p.View.Used = v.query().Get("by"), v.query().Get("used")
	p.States, p.Classes = stateChoices(v, l), classChoices(v, l)
	p.Columns, p.Pager = headers(v), newPager(v, l)
	p.None, p.All = l.total == 0, v.unfiltered().href()
	p.Rows = make([]row, len(l.keys))
	for i, k := range l.keys {
		p.Rows[i] = newRow(now, k)
		if heldAt(k) != "" {
			p.Rows[i].Remove = v.removeHref(k.ID)
		}
		p.Suspect = p.Suspect || k.Suspect
	}
}

// stateChoices are links: a state is one click away.
func stateChoices(v view, l *listing) []choice {
	choices := make([]choice, 0, 1+len(states))
	choices = append(choices, choice{Title: "All", Href: v.withState("").href(), Count: count(l.anyState), On: v.state == ""})
	for i, title := range []string{"Ready", "Cooling", "Disabled"} {
		state := states[i]
		choices = append(choices, choice{state, title, v.withState(state).href(), count(l.states[state]), v.state == state})
	}
	return choices
}

// classChoices are those that there are, and the one that is chosen even if there
// is none of it any more.
func classChoices(v view, l *listing) []choice {
	if v.class != "" {
		l.classes[v.class] += 0
	}
	choices := make([]choice, 0, len(l.classes))
	for _, class := range slices.Sorted(maps.Keys(l.classes)) {
		choices = append(choices, choice{Name: class, Count: count(l.classes[class]), On: v.class == class})
	}
	return choices
}

func headers(v view) []header {
	all := make([]header, len(columns))
	for i, c := range columns {
		all[i] = header{Title: c.title, Href: v.sortedBy(c).href(), Number: c.number}
		if v.sort.name != c.name {
			continue
		}
		all[i].Sort = "ascending"
		if v.desc {
			all[i].Sort = "descending"
		}
	}
	return all
}

func newPager(v view, l *listing) pager {
	p := pager{Text: plural(l.total, "key"), Several: l.pages > 1}
	if !p.Several {
		return p
	}
	p.Text = count(l.first()+1) + "–" + count(l.first()+len(l.keys)) + " of " + count(l.total)
	if l.page > 1 {
		p.First, p.Prev = v.withPage(1).href(), v.withPage(l.page-1).href()
	}
	if l.page < l.pages {
		p.Next, p.Last = v.withPage(l.page+1).href(), v.withPage(l.pages).href()
	}
	return p
}

func newRow(now time.Time, k *Key) row {
	r := row{
		ID: k.ID, Name: k.Name, Group: k.Group, About: about(k), State: k.State, Class: k.Class, Suspect: k.Suspect, Tone: tone(k.Class), Source: k.Source, Remaining: newSpan(k.Remaining),
		Attempts: count(k.Attempts), Rejections: count(k.Rejections), InFlight: count(k.InFlight), LastUsed: ago(now, k.LastUsed),
	}
	if k.Scope != "key" { // which goes without saying
		r.Scope = k.Scope
	}
	switch {
	case k.State == Disabled:
		r.Actions = []button{enableButton, testButton}
	case k.Remaining > 0 || k.Suspect:
		r.Actions = []button{clearButton, disableButton, testButton}
	default:
		r.Actions = []button{coolButton, disableButton, testButton}
	}
	return r
}

// about is all that people know the key by.
func about(k *Key) string {
	if k.About == nil {
		return ""
	}
	return k.About.String()
}

func newSpan(d time.Duration) span {
	switch {
	case d <= 0:
		return span{}
	case d <= 59*time.Second:
		return span{duration(d), int64((d + time.Second - 1) / time.Second)}
	default:
		return span{Text: duration(d)}
	}
}

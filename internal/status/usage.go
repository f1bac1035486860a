package status

import "slices"

// UsageBy is what usage is told by.
var UsageBy = []string{"client", "model", "key"}

// Usage is what a pool's answers have used.
type Usage struct {
	Lines  []Used // of those that have used most, these first
	Others int    // how many there are besides
	Rest   Used   // what these have used
	Priced bool   // it is known what models cost
	All    bool   // it is that of all nodes
}

// Used is what one client, model or key has used, in tokens.
type Used struct {
	Name     string // "": requests without one
	Answers  int64
	Unknown  int64 // of them, that do not say
	Input    int64 // read anew
	Cached   int64 // read from a cache
	Written  int64 // read anew, and written to a cache
	Output   int64
	Cost     string // in USD; "": nobody knows
	Unpriced int64  // answers that are not in the cost, since their model has no price
}

// usage is what the page shows of it.
type usage struct {
	By, Last []choice
	Titles   []string
	Rows     []used
	Empty    string // instead of rows
	Unpriced bool   // one of the rows is not all in the cost
	All      bool   // it is that of all nodes
}

// used is a row: the name, and what there is in the other columns.
type used struct {
	Name    string
	None    bool // requests without a name
	Rest    bool // of the others together
	Cells   []cell
	Partial bool // not all is in the cost
}

// cell is a number, with the title of its column: where there is no room for columns, it
// stands before it.
type cell struct{ Title, Text string }

// noNames is what requests without a name are called.
var noNames = map[string]string{"client": "without a name", "model": "without a model", "key": "unknown"}

// newUsage returns what the page shows, nil for nothing.
func (h *handler) newUsage(v view) *usage {
	from := h.src.Usage(v.pool, v.by, !v.month)
	if from == nil {
		return nil
	}
	u := &usage{All: from.All, Titles: titles(from.Priced), Empty: "Nothing was used in the last hour."}
	if v.month {
		u.Empty = "Nothing was used in the last 30 days."
	}
	u.offer(v)
	for _, line := range from.Lines {
		u.add(line, used{Name: line.Name}, v.by, from.Priced)
	}
	if from.Others > 0 {
		u.add(from.Rest, used{Name: plural(from.Others, "more "+v.by), Rest: true}, v.by, from.Priced)
	}
	return u
}

// offer adds the links to what else there is.
func (u *usage) offer(v view) {
	for i, title := range []string{"Clients", "Models", "Keys"} {
		by := UsageBy[i]
		u.By = append(u.By, choice{Name: by, Title: title, Href: v.usedBy(by).usageHref(), On: v.by == by})
	}
	for i, title := range []string{"Last hour", "Last 30 days"} {
		u.Last = append(u.Last, choice{Title: title, Href: v.usedIn(i == 1).usageHref(), On: v.month == (i == 1)})
	}
}

func titles(priced bool) []string {
	all := []string{"Answers", "Input", "Cached", "Written", "Output", "Unknown"}
	if priced {
		all = append(all, "USD")
	}
	return all
}

// add adds a row.
func (u *usage) add(line Used, row used, by string, priced bool) {
	if row.None = row.Name == ""; row.None {
		row.Name = noNames[by]
	}
	for i, n := range []int64{line.Answers, line.Input, line.Cached, line.Written, line.Output, line.Unknown} {
		row.Cells = append(row.Cells, cell{u.Titles[i], count(uint64(max(n, 0)))})
	}
	if priced {
		row.Cells = append(row.Cells, cell{"USD", line.Cost})
		row.Partial = line.Unpriced > 0
		u.Unpriced = u.Unpriced || row.Partial
	}
	u.Rows = append(u.Rows, row)
}

// The views of usage that the page links to.

func (v view) usedBy(by string) view {
	v.by = by
	return v
}

func (v view) usedIn(month bool) view {
	v.month = month
	return v
}

// usageHref is the link to the view's usage.
func (v view) usageHref() string { return "?" + v.query().Encode() + "#usage" }

// parseUsage reads what is shown of usage.
func (v *view) parseUsage(by, last string) {
	if v.by = UsageBy[0]; slices.Contains(UsageBy, by) {
		v.by = by
	}
	v.month = last == "month"
}

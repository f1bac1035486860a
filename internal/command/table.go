package command

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/keycycler/keycycler/internal/observe"
)

// What `caddy keycycler` prints for people.

// tableWidth is how many columns a table may take, on any terminal.
const tableWidth = 80

// columnGap separates columns.
const columnGap = 2

// column is one column of the table of keys.
type column struct {
	title string
	most  int // how wide it may be, by what can stand there
	right bool
	cell  func(now time.Time, k *observe.KeyStatus) string
}

// keyColumns are the columns, in order. Where any key has a name, nameColumn is the second.
var keyColumns = []column{
	{"ID", 12, false, func(_ time.Time, k *observe.KeyStatus) string { return k.ID }},
	{"STATE", 8, false, func(_ time.Time, k *observe.KeyStatus) string { return marked(k) }},
	{"CLASS", 17, false, func(_ time.Time, k *observe.KeyStatus) string { class, _ := blamed(k); return class }},
	{"SOURCE", tableWidth, false, func(_ time.Time, k *observe.KeyStatus) string { _, source := blamed(k); return source }},
	{"LEFT", 6, true, func(_ time.Time, k *observe.KeyStatus) string { return left(k.Remaining) }},
	{"TRIED", 6, true, func(_ time.Time, k *observe.KeyStatus) string { return brief(k.Attempts) }},
	{"REJECTED", 8, true, func(_ time.Time, k *observe.KeyStatus) string { return brief(rejections(k)) }},
	{"USED", 6, true, used},
	{"BUSY", 6, true, func(_ time.Time, k *observe.KeyStatus) string { return brief(uint64(max(k.InFlight, 0))) }},
}

// suspectMark stands behind the state of a suspect, and suspectNote below a table that has
// one.
const (
	suspectMark = "?"
	suspectNote = "?  a suspect: it refused a request, and nobody knows yet whether that was its\n   fault; other keys are used first\n"
)

// isSuspect tells whether the key is one to worry about: a disabled key is not.
func isSuspect(k *observe.KeyStatus) bool {
	return (k.Suspect != nil || k.Unproven()) && k.State != "disabled"
}

// marked is the key's state, with a mark where it is a suspect.
func marked(k *observe.KeyStatus) string {
	if isSuspect(k) {
		return k.State + suspectMark
	}
	return k.State
}

// blamed is why the key cools, or else what it is suspected of, and where that was stated.
func blamed(k *observe.KeyStatus) (class, source string) {
	if k.Class == "" && k.Suspect != nil && isSuspect(k) {
		return k.Suspect.Class, k.Suspect.Source
	}
	return k.Class, k.Source
}

// nameColumn is that of the keys' names.
var nameColumn = column{"NAME", 16, false, func(_ time.Time, k *observe.KeyStatus) string { return k.Name }}

// sourceRoom is what the source's column has at least, where others can go.
const sourceRoom = 12

// table is columns, of which the first fitting are always there; the others go, from the
// right, where they are one too many.
type table struct {
	columns []column
	source  int // the one that is cut where the others need its room
	fitting int
}

func tableOf(keys []observe.KeyStatus) table {
	if slices.ContainsFunc(keys, func(k observe.KeyStatus) bool { return k.Name != "" }) {
		return table{slices.Insert(slices.Clone(keyColumns), 1, nameColumn), 4, 6}
	}
	return table{keyColumns, 3, 7}
}

// printPools prints the pools, each with a table of its keys.
func printPools(w io.Writer, now time.Time, pools []poolKeys, query url.Values) {
	for i, p := range pools {
		if i > 0 {
			fmt.Fprint(w, "\n")
		}
		printPool(w, p.PoolStatus)
		if len(p.Keys) > 0 {
			printTable(w, now, p.Keys)
		}
		printMore(w, p, query)
	}
}

// printPool prints a pool's headline.
func printPool(w io.Writer, p observe.PoolStatus) {
	fmt.Fprintf(w, "%s: %s, %s: %d ready, %d cooling, %d disabled%s\n",
		clean(p.Pool), clean(p.Provider), keyCount(p.Keys), p.Ready, p.Cooling, p.Disabled, nextBack(p))
	printModels(w, p.Models)
	printLimited(w, p.Limited)
	fmt.Fprintf(w, "state: %s\n", backendText(p.State))
}

// shownModels is how many models the headline names.
const shownModels = 10

// printModels prints those that no key can serve.
func printModels(w io.Writer, models []observe.ModelStatus) {
	for _, m := range models[:min(len(models), shownModels)] {
		fmt.Fprintf(w, "no key is ready for %s: %s", clean(observe.ModelTitle(m.Model)), countsText(m.Classes))
		if m.Disabled > 0 {
			fmt.Fprintf(w, ", %d disabled", m.Disabled)
		}
		if m.Remaining > 0 {
			fmt.Fprintf(w, ", back in %s", left(m.Remaining))
		}
		fmt.Fprint(w, "\n")
	}
	if more := len(models) - shownModels; more > 0 {
		fmt.Fprintf(w, "… nor for %d more: --json shows all\n", more)
	}
}

// nextBack says when the first of the keys that cool may serve again.
func nextBack(p observe.PoolStatus) string {
	if p.Remaining <= 0 {
		return ""
	}
	return "; next in " + left(p.Remaining)
}

// printLimited prints the models that some keys cool for, those first that most do.
func printLimited(w io.Writer, models []observe.ModelStatus) {
	models = slices.Clone(models)
	slices.SortStableFunc(models, func(a, b observe.ModelStatus) int { return cmp.Compare(b.Cooling*a.Keys, a.Cooling*b.Keys) })
	for _, m := range models[:min(len(models), shownModels)] {
		fmt.Fprintf(w, "%d of %s cool for %s: %s", m.Cooling, keyCount(m.Keys), clean(observe.ModelTitle(m.Model)), countsText(m.Classes))
		if m.Remaining > 0 {
			fmt.Fprintf(w, ", next in %s", left(m.Remaining))
		}
		fmt.Fprint(w, "\n")
	}
	if more := len(models) - shownModels; more > 0 {
		fmt.Fprintf(w, "… and for %d models more: --json shows all\n", more)
	}
}

func keyCount(n int) string {
	if n == 1 {
		return "1 key"
	}
	return strconv.Itoa(n) + " keys"
}

// backendText says how a pool's state backend fares.
func backendText(s observe.StateStatus) string {
	switch {
	case !s.Healthy && s.Backend == "file":
		return "file, of this node alone, cannot be written: " + clean(s.Error)
	case !s.Healthy && s.Error == "":
		return clean(s.Backend) + ", not reachable: this node goes on alone"
	case !s.Healthy:
		return clean(s.Backend) + ", not reachable: this node goes on alone: " + clean(s.Error)
	case s.Backend == "memory", s.Backend == "file":
		return s.Backend + ", of this node alone"
	default:
		lag := time.Duration(s.LagMS * float64(time.Millisecond))
		return fmt.Sprintf("%s, healthy, %s behind other nodes", clean(s.Backend), lag.Round(100*time.Microsecond))
	}
}

// printMore says that keys are left out, or that there are none.
func printMore(w io.Writer, p poolKeys, query url.Values) {
	switch {
	case len(p.Keys) == 0:
		fmt.Fprint(w, "no such key\n")
	case p.Next == "":
	case query.Has("class"): // nobody has counted those
		fmt.Fprint(w, "… and more: --limit 0 shows all\n")
	default:
		total := map[string]int{"": p.PoolStatus.Keys, "ready": p.Ready, "cooling": p.Cooling, "disabled": p.Disabled}[query.Get("state")]
		fmt.Fprintf(w, "… and %d more: --limit 0 shows all\n", max(total-len(p.Keys), 1))
	}
}

// printTable prints keys within tableWidth columns.
func printTable(w io.Writer, now time.Time, keys []observe.KeyStatus) {
	t := tableOf(keys)
	rows := make([][]string, 0, len(keys)+1)
	widths := make([]int, len(t.columns))
	add := func(cell func(column) string) {
		row := make([]string, len(t.columns))
		for i, c := range t.columns {
			row[i] = cut(cmp.Or(clean(cell(c)), "-"), c.most)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
		rows = append(rows, row)
	}
	add(func(c column) string { return c.title })
	for i := range keys {
		add(func(c column) string { return c.cell(now, &keys[i]) })
	}
	widths = t.fit(widths)
	for _, row := range rows {
		t.printRow(w, row, widths)
	}
	if slices.ContainsFunc(keys, func(k observe.KeyStatus) bool { return isSuspect(&k) }) {
		fmt.Fprint(w, suspectNote)
	}
}

// fit leaves out columns and narrows the source until the table fits.
func (t table) fit(widths []int) []int {
	for {
		others := columnGap * (len(widths) - 1)
		for i, n := range widths {
			if i != t.source {
				others += n
			}
		}
		room := tableWidth - others
		if source := widths[t.source]; len(widths) == t.fitting || room >= min(source, sourceRoom) {
			widths[t.source] = min(source, room)
			return widths
		}
		widths = widths[:len(widths)-1]
	}
}

func (t table) printRow(w io.Writer, row []string, widths []int) {
	var line strings.Builder
	for i, width := range widths {
		if i > 0 {
			line.WriteString(strings.Repeat(" ", columnGap))
		}
		text := cut(row[i], width)
		pad := strings.Repeat(" ", width-utf8.RuneCountInString(text))
		if t.columns[i].right {
			line.WriteString(pad + text)
		} else {
			line.WriteString(text + pad)
		}
	}
	fmt.Fprintf(w, "%s\n", strings.TrimRight(line.String(), " "))
}

// printKeys prints everything about a key, for each pool that holds it.
func printKeys(w io.Writer, now time.Time, keys []poolKey) {
	for i, k := range keys {
		if i > 0 {
			fmt.Fprint(w, "\n")
		}
		fmt.Fprintf(w, "key %s in pool %s\n", clean(k.ID), clean(k.Pool))
		for _, line := range keyLines(now, &k.KeyStatus) {
			fmt.Fprintf(w, "  %-11s %s\n", line[0], line[1])
		}
	}
}

// keyLines returns names and values of what is known about a key.
func keyLines(now time.Time, k *observe.KeyStatus) [][2]string {
	lines := append(knownLines(k), [2]string{"state", clean(k.State)})
	if k.Class != "" && k.Remaining <= 0 {
		lines = append(lines, [2]string{"class", clean(k.Class)}, [2]string{"source", clean(k.Source)}, [2]string{"time left", "until a request ends"})
	}
	if k.Remaining > 0 {
		lines = append(lines,
			[2]string{"class", clean(k.Class)},
			[2]string{"source", clean(k.Source)},
			[2]string{"scope", clean(k.Scope)},
			[2]string{"time left", left(k.Remaining) + at(now, ", until ", k.Until)})
	}
	lines = append(lines, suspectLines(k)...)
	for _, sc := range k.Scopes {
		lines = append(lines, [2]string{"cools for", fmt.Sprintf("%s: %s, %s, %s left%s",
			clean(sc.Scope), clean(sc.Class), clean(sc.Source), left(sc.Remaining), at(now, ", until ", &sc.Until))})
	}
	for _, a := range k.Allowance {
		lines = append(lines, [2]string{"allowance", clean(a.Text()) + ", all of it in " + left(a.Reset)})
	}
	return append(lines,
		[2]string{"attempts", strconv.FormatUint(k.Attempts, 10)},
		[2]string{"rejections", rejectionsText(k)},
		[2]string{"in flight", strconv.FormatInt(k.InFlight, 10)},
		[2]string{"last used", lastUsed(now, k)})
}

// knownLines say what people know the key by.
func knownLines(k *observe.KeyStatus) (lines [][2]string) {
	tier := ""
	if k.Tier > 1 {
		tier = strconv.Itoa(k.Tier)
	}
	for _, line := range [][2]string{{"name", k.Name}, {"group", k.Group}, {"tier", tier}, {"upstream", k.Upstream}, {"from", k.Origin}} {
		if line[1] != "" {
			lines = append(lines, [2]string{line[0], clean(line[1])})
		}
	}
	return lines
}

// suspectLines say what nobody knows yet of the key.
func suspectLines(k *observe.KeyStatus) (lines [][2]string) {
	if k.Unproven() {
		lines = append(lines, [2]string{"proven", "no: nobody knows yet whether that was its fault"})
	}
	if s := k.Suspect; s != nil {
		lines = append(lines, [2]string{"suspect", fmt.Sprintf("%s, %s: %s to cool, if it is its fault",
			clean(s.Class), clean(s.Source), cmp.Or(left(s.Remaining), "nothing"))})
	}
	return lines
}

// at says when that is, on the clock of whoever asks.
func at(now time.Time, before string, t *time.Time) string {
	if t == nil {
		return ""
	}
	return before + t.In(now.Location()).Format("2006-01-02 15:04:05 MST")
}

func lastUsed(now time.Time, k *observe.KeyStatus) string {
	if k.LastUsed == nil {
		return "never"
	}
	return used(now, k) + " ago" + at(now, ", at ", k.LastUsed)
}

func rejections(k *observe.KeyStatus) (sum uint64) {
	for _, n := range k.Rejected {
		sum += n
	}
	return sum
}

// rejectionsText is the sum of the rejections, and how many of each class there are.
func rejectionsText(k *observe.KeyStatus) string {
	text := strconv.FormatUint(rejections(k), 10)
	if len(k.Rejected) > 0 {
		text += ": " + countsText(k.Rejected)
	}
	return text
}

// countsText is how many there are of each class.
func countsText[T int | uint64](counts map[string]T) string {
	each := make([]string, 0, len(counts))
	for _, class := range slices.Sorted(maps.Keys(counts)) {
		each = append(each, fmt.Sprintf("%s %d", clean(class), counts[class]))
	}
	return strings.Join(each, ", ")
}

// printChange prints how a key is, and how it was.
func printChange(w io.Writer, before, after poolKey) {
	text := condition(&after.KeyStatus)
	if before.State == after.State && before.Class == after.Class && after.Remaining <= before.Remaining {
		text += ", as before"
	} else {
		text += "; before: " + condition(&before.KeyStatus)
	}
	fmt.Fprintf(w, "%s in %s: %s\n", called(&after.KeyStatus), clean(after.Pool), text)
}

// called is the key's id, and its name where it has one.
func called(k *observe.KeyStatus) string {
	if k.Name == "" {
		return clean(k.ID)
	}
	return clean(k.ID) + " (" + clean(k.Name) + ")"
}

// condition says in a few words whether the key can be used, and if not, why.
func condition(k *observe.KeyStatus) string {
	if k.Remaining <= 0 {
		return clean(k.State)
	}
	cooling := "cooling"
	if k.State != cooling {
		cooling = clean(k.State) + " and cooling"
	}
	return fmt.Sprintf("%s for %s (%s)", cooling, left(k.Remaining), clean(k.Class))
}

// printChanges prints what a verb has done to all keys.
func printChanges(w io.Writer, verb, pool string, c observe.Changed) {
	past := map[string]string{"cool": "cooled", "clear": "cleared", "disable": "disabled", "enable": "enabled"}[verb]
	fmt.Fprintf(w, "pool %s: %s %d of %s", clean(pool), past, c.Changed, keyCount(c.Keys))
	if c.Changed < c.Keys {
		fmt.Fprint(w, "; the others did not need it")
	}
	fmt.Fprint(w, "\n")
}

// left says how long the key still cools: "" if it does not. It rounds up: a key
// that cools never has 0s left.
func left(seconds float64) string {
	if seconds <= 0 {
		return ""
	}
	seconds = min(seconds, observe.MaxCool.Seconds())
	return span(time.Duration(seconds*float64(time.Second)) + time.Second - 1)
}

// used says how long ago the key was used last: "" if it never was.
func used(now time.Time, k *observe.KeyStatus) string {
	if k.LastUsed == nil {
		return ""
	}
	return span(max(now.Sub(*k.LastUsed), 0))
}

// span writes a duration in at most six characters, up to ten thousand days.
func span(d time.Duration) string {
	seconds := int64(d / time.Second)
	minutes, hours := seconds/60, seconds/3600
	switch {
	case minutes == 0:
		return fmt.Sprintf("%ds", seconds)
	case hours == 0:
		return fmt.Sprintf("%dm%02ds", minutes, seconds%60)
	case hours < 100:
		return fmt.Sprintf("%dh%02dm", hours, minutes%60)
	default:
		return fmt.Sprintf("%dd", hours/24)
	}
}

// brief writes a number in at most six characters.
func brief(n uint64) string {
	if n < 1_000_000 {
		return strconv.FormatUint(n, 10)
	}
	unit, f := -1, float64(n)
	for f >= 999.95 {
		unit, f = unit+1, f/1000
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + "kMGTPE"[unit:unit+1]
}

// cut shortens a text to n characters.
func cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:max(n-1, 0)]) + "…"
}

// clean replaces what a terminal would obey instead of show.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

package disk

import (
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/keycycler/keycycler/rotator"
)

// lineLength is about how long a line is, in bytes.
const lineLength = 110

// contents is what a file says.
type contents struct {
	facts  map[subject]fact
	owners map[rotator.Resource]use
	last   mark // the latest
	lines  int  // that say something
	lost   int  // that cannot be read, before others that can
	good   int  // bytes up to where the last line ends that can be read
	newer  bool // it is of a newer version: nothing of it is read

	used  []string                   // lines of what was counted
	spent map[string][]piece         // what was used of limits
	other struct{ lines, bytes int } // that say this

	texts  map[string]string   // those of facts, each once
	scopes map[string]struct{} // in which anything is known of a key
}

// use is which key has made a resource, and when that was used last.
type use struct {
	key  rotator.ID
	used int64
}

// newContents has room for so many facts.
func newContents(room int) *contents {
	return &contents{
		facts: make(map[subject]fact, room), owners: make(map[rotator.Resource]use),
		texts: make(map[string]string), scopes: make(map[string]struct{}), spent: make(map[string][]piece),
	}
}

// read reads a file. Whatever stands there, it finds what can be read of it.
func (c codec) read(text string) *contents {
	all := newContents(len(text) / lineLength)
	var sums summer
	bad := 0
	for at := 0; at < len(text) && !all.newer; {
		end := strings.IndexByte(text[at:], '\n')
		if end < 0 {
			break // it was not written to its end
		}
		body, ok := sums.cut(text[at : at+end])
		if at += end + 1; ok && (all.lines > 0 || body == firstLine || bad > 0) {
			all.add(c, body)
			all.lost, all.good = bad, at
		} else if ok {
			all.newer = true
		} else {
			bad++
		}
	}
	if strings.Trim(text[all.good:], "\x00") != "" && (bad > all.lost || all.good == 0) {
		all.lost = max(bad, 1) // that is more than a last write that was cut off
	}
	return all
}

// add takes a line.
func (all *contents) add(c codec, body string) {
	all.lines++
	in := split(body)
	switch ok := true; in[0] {
	case kindTime:
		m := mark{number(in[1], &ok), number(in[2], &ok)}
		if ok && m.file >= all.last.file {
			all.last = m
		}
	case kindKey, kindScope:
		if about, f, ok := c.fact(&in); ok {
			about.scope, f.source = all.once(about.scope), all.once(f.source)
			all.put(about, f)
		}
	case kindOwner:
		if r, o, ok := owner(&in); ok {
			all.owners[r] = o
		}
	case kindUsed, kindHad:
		all.used = append(all.used, body)
		all.lay(body)
	case kindSpent:
		if name, pieces, ok := parseSpent(&in); ok {
			all.spent[name] = pieces
		}
		all.lay(body)
	}
}

// lay counts a line that is none of facts and owners.
func (all *contents) lay(body string) {
	all.other.lines++
	all.other.bytes += len(body) + sumDigits + len(" \n")
}

// once returns the text in memory of its own, which others that are equal share.
func (all *contents) once(text string) string {
	if text == "" {
		return ""
	}
	one, ok := all.texts[text]
	if !ok {
		one = strings.Clone(text)
		all.texts[one] = one
	}
	return one
}

// put takes a fact, which counts over what was known. A clearing of the whole key ends what
// was learned until then in scopes.
func (all *contents) put(about subject, f fact) {
	if about.scope != "" {
		all.scopes[about.scope] = struct{}{}
	} else if f.cleared > all.facts[about].cleared {
		all.voidScopes(about.id, f.cleared)
	}
	all.facts[about] = f
}

func (all *contents) voidScopes(id rotator.ID, cleared int64) {
	for scope := range all.scopes {
		if in := (subject{id, scope}); all.facts[in].void(cleared) {
			delete(all.facts, in)
		}
	}
}

// inOrder yields what is known in scopes and then what is known for all requests: a clearing
// comes after what it ends.
func (all *contents) inOrder(yield func(subject, fact) bool) {
	for _, scoped := range []bool{true, false} {
		for about, f := range all.facts {
			if (about.scope != "") == scoped && !yield(about, f) {
				return
			}
		}
	}
}

// worth is about how many bytes of the facts and owners are worth keeping at now.
func (all *contents) worth(now int64) int64 {
	return int64(all.good-all.other.bytes) * int64(all.useful(now)) / int64(max(all.lines-all.other.lines, 1))
}

// useful is how many records of these are worth keeping at now.
func (all *contents) useful(now int64) (n int) {
	for _, f := range all.facts {
		if f.useful(now) {
			n++
		}
	}
	return n + len(all.owners)
}

// join adds what is newer.
func (all *contents) join(newer *contents) {
	for about, f := range newer.inOrder {
		all.put(about, f)
	}
	maps.Copy(all.owners, newer.owners)
}

// text is a file with all that is worth keeping.
func (all *contents) text(c codec, m mark) []byte {
	maps.DeleteFunc(all.facts, func(_ subject, f fact) bool { return !f.useful(m.file) })
	maps.DeleteFunc(all.owners, func(_ rotator.Resource, o use) bool { return o.used <= m.file-keepOwners.Milliseconds() })
	all.trimOwners(false, maxOwners)
	all.trimOwners(true, maxOwners)
	to := make([]byte, 0, lineLength*(len(all.facts)+len(all.owners)+2))
	return all.append(appendFirst(to), c, m)
}

// trimOwners forgets those of one kind that were not used for longest, where there are more
// than most.
func (all *contents) trimOwners(passing bool, most int) {
	var used []int64
	for r, o := range all.owners {
		if r.Passes() == passing {
			used = append(used, o.used)
		}
	}
	if len(used) <= most {
		return
	}
	slices.Sort(used)
	first := used[len(used)-most]
	maps.DeleteFunc(all.owners, func(r rotator.Resource, o use) bool { return r.Passes() == passing && o.used < first })
}

func appendFirst(to []byte) []byte {
	return appendLine(to, func(b []byte) []byte { return append(b, firstLine...) })
}

// append appends the lines that say all that, and when that was.
func (all *contents) append(to []byte, c codec, m mark) []byte {
	to = appendLine(to, func(b []byte) []byte { return appendTime(b, m) })
	for about, f := range all.inOrder {
		to = appendLine(to, func(b []byte) []byte { return c.append(b, about, f) })
	}
	for r, o := range all.owners {
		to = appendLine(to, func(b []byte) []byte { return appendOwner(b, r, o) })
	}
	return to
}

// isForeign tells whether somebody else has written that: it is text, and no line of it
// looks like one of ours.
func isForeign(text string) bool {
	if strings.HasPrefix(string(appendFirst(nil)), text) || !utf8.ValidString(text) {
		return false
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\n\r\t", r) }) {
		return false
	}
	for line := range strings.Lines(text) {
		if len(line) > sumDigits && line[sumDigits] == ' ' && strings.Trim(line[:sumDigits], "0123456789abcdef") == "" {
			return false
		}
	}
	return true
}

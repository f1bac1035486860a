package status

import (
	"iter"
	"slices"
	"strings"
)

// listing is the page of a view.
type listing struct {
	keys  []*Key
	total int // keys that the filter takes, on all pages
	page  int // the one that was asked for, or the last
	pages int // at least 1

	// How many keys the filter would take with another state, or with another class.
	anyState int
	states   map[string]int
	classes  map[string]int
}

// first is the number of keys before the page.
func (l *listing) first() int { return (l.page - 1) * pageSize }

// list picks the view's page out of the keys, while going over them once.
func list(keys iter.Seq[Key], v view) *listing {
	l := &listing{states: make(map[string]int), classes: make(map[string]int)}
	head := head{size: v.page * pageSize, compare: v.compare}
	k := new(Key) // one for all: most keys are on another page
	for *k = range keys {
		if l.count(k, v) && head.wants(k) {
			head.add(*k)
		}
	}
	l.pages = max(1, (l.total+pageSize-1)/pageSize)
	l.page = min(v.page, l.pages)
	head.cut()
	l.keys = head.keys[l.first():min(l.page*pageSize, len(head.keys))]
	return l
}

// count counts the key in and reports whether the filter takes it.
func (l *listing) count(k *Key, v view) bool {
	if !strings.HasPrefix(k.ID, v.prefix) && !named(k, v.prefix) {
		return false
	}
	state, class := v.state == "" || v.state == k.State, v.class == "" || v.class == k.Class
	if class {
		l.anyState++
		l.states[k.State]++
	}
	if state && k.Class != "" {
		l.classes[k.Class]++
	}
	if state && class {
		l.total++
		return true
	}
	return false
}

// named tells whether the text is a part of the key's name or of its group's.
func named(k *Key, text string) bool {
	return strings.Contains(strings.ToLower(k.Name), text) || strings.Contains(strings.ToLower(k.Group), text)
}

// head holds the first keys in an order, of any number: the first page of 100,000
// keys costs the memory of two pages.
type head struct {
	size    int // of the head
	compare func(a, b *Key) int
	keys    []*Key // at most twice the size
	full    bool   // keys[size-1] is the last that belongs to it; none behind it does
}

func (h *head) wants(k *Key) bool { return !h.full || h.compare(k, h.keys[h.size-1]) < 0 }

func (h *head) add(k Key) {
	h.keys = append(h.keys, &k)
	if len(h.keys) == 2*h.size {
		h.cut()
	}
}

// cut puts the keys in order and drops those that do not belong to the head.
func (h *head) cut() {
	slices.SortFunc(h.keys, h.compare)
	if len(h.keys) >= h.size {
		h.keys, h.full = h.keys[:h.size], true
	}
}

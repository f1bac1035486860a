package status

import (
	"iter"
	"net/url"
)

// question is what the page asks before a key is removed.
type question struct {
	ID, Name, From string
}

// removeHref is the link to the view with the question.
func (v view) removeHref(id string) string {
	query := v.query()
	query.Set("remove", id)
	return "?" + query.Encode() + "#k" + id
}

// ask returns what the page says of the query: the question whether a key is to be removed,
// or else what was done.
func (h *handler) ask(query url.Values, v view) notice {
	id := query.Get("remove")
	if id == "" {
		return parseDone(query).notice()
	}
	if k, ok := find(h.src.Keys(v.pool), id); ok && heldAt(&k) != "" {
		return notice{Ask: &question{k.ID, k.Name, heldAt(&k)}}
	}
	return notice{}
}

func find(keys iter.Seq[Key], id string) (Key, bool) {
	for k := range keys {
		if k.ID == id {
			return k, true
		}
	}
	return Key{}, false
}

// heldAt is the place that the key can be removed from, "" for none.
func heldAt(k *Key) string {
	if k.About == nil {
		return ""
	}
	return k.About.Managed()
}

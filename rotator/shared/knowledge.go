package shared

import "github.com/keycycler/keycycler/rotator"

// knowledge is what Redis knows, as far as it must be known to find out what it lacks. Of
// 100,000 keys it takes 5 MB. The zero value knows nothing, and takes no notes.
type knowledge struct {
	keys   map[rotator.ID]glance
	scoped map[subject]glance
	used   map[rotator.Resource]int64 // when, in minutes
}

// glance is a fact without what is only told to people.
type glance struct {
	until, learned, cleared int64
	off                     rotator.Switch
}

// newKnowledge knows nothing yet, and takes notes.
func newKnowledge() knowledge {
	return knowledge{
		keys:   make(map[rotator.ID]glance),
		scoped: make(map[subject]glance),
		used:   make(map[rotator.Resource]int64),
	}
}

// note takes up what Redis says.
func (k *knowledge) note(about subject, f fact) {
	g := glance{f.until, f.learned, f.cleared, f.off}
	switch {
	case k.keys == nil:
	case about.scope == "":
		k.keys[about.id] = g
	default:
		k.scoped[about] = g
	}
}

// noteOwner is note for a resource.
func (k *knowledge) noteOwner(o rotator.Resource, used int64) {
	if k.used != nil {
		k.used[o] = max(k.used[o], used)
	}
}

// about returns what Redis knows about a key, or about a key in a scope.
func (k *knowledge) about(about subject) fact {
	g := k.keys[about.id]
	if about.scope != "" {
		g = k.scoped[about]
	}
	return fact{until: g.until, learned: g.learned, cleared: g.cleared, off: g.off}
}

// size is how much it is.
func (k *knowledge) size() int { return len(k.keys) + len(k.scoped) + len(k.used) }

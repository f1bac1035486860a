package keycycler

import (
	"maps"
	"slices"
	"strings"
	"unicode"
)

// Names of pools, groups and clients.
const (
	maxName   = 64 // bytes
	nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
)

// isName tells whether a name has nothing but the bytes that it may have; it may be
// empty.
func isName(name string) bool {
	return len(name) <= maxName && strings.Trim(name, nameBytes) == "" && (name == "" || strings.Trim(name, ".") != "")
}

// shown quotes what somebody wrote where one of a few words or a number belongs,
// unless it could be a key that has slipped there.
func shown(text string) string {
	if len(text) > 24 || strings.Contains(text, "sk-") || strings.TrimFunc(text, unicode.IsPrint) != "" {
		return "(not shown: it could be a key)"
	}
	return "'" + text + "'"
}

// shownName is shown for what stands in an option's place, where a key may well
// have slipped onto a line of its own.
func shownName(name string) string {
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "(not shown: it could be a key, and keys belong behind 'keys')"
	}
	return shown(name)
}

// names returns the keys of a map with string keys, sorted.
func names[V any](m map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}

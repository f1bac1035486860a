package directive

import (
	"maps"
	"slices"
	"strings"
	"unicode"
)

// Names of pools, groups and clients.
const (
	MaxName   = 64 // bytes
	NameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
)

// IsName tells whether a name has nothing but the bytes that it may have; it may be
// empty.
func IsName(name string) bool {
	return len(name) <= MaxName && strings.Trim(name, NameBytes) == "" && (name == "" || strings.Trim(name, ".") != "")
}

// Shown quotes what somebody wrote where one of a few words or a number belongs,
// unless it could be a key that has slipped there.
func Shown(text string) string {
	if len(text) > 24 || strings.Contains(text, "sk-") || strings.TrimFunc(text, unicode.IsPrint) != "" {
		return "(not shown: it could be a key)"
	}
	return "'" + text + "'"
}

// ShownName is shown for what stands in an option's place, where a key may well
// have slipped onto a line of its own.
func ShownName(name string) string {
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "(not shown: it could be a key, and keys belong behind 'keys')"
	}
	return Shown(name)
}

// Names returns the keys of a map with string keys, sorted.
func Names[V any](m map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}

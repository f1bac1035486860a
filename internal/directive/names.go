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

// keyPrefixes begin the keys of providers that give theirs one of their own.
var keyPrefixes = []string{"sk-", "sk_", "csk-", "gsk_", "xai-", "AIza", "nvapi-", "pplx-", "ghp_", "github_pat_"}

// HasKeyPrefix tells whether the text begins as the keys of a provider do.
func HasKeyPrefix(text string) bool {
	return slices.ContainsFunc(keyPrefixes, func(prefix string) bool { return strings.HasPrefix(text, prefix) })
}

// keyRun is how many letters and digits in a row, of both, nobody writes in a name.
const keyRun = 20

// LooksLikeKey tells whether what stands where a name belongs could be a key: it begins as
// one, holds a long run of letters and digits, or is a UUID.
func LooksLikeKey(text string) bool {
	return HasKeyPrefix(text) || isUUID(text) ||
		slices.ContainsFunc(strings.FieldsFunc(text, func(r rune) bool { return !isLetter(r) && !isDigit(r) }), func(run string) bool {
			return len(run) >= keyRun && strings.ContainsFunc(run, isLetter) && strings.ContainsFunc(run, isDigit)
		})
}

func isLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

func isDigit(r rune) bool { return r >= '0' && r <= '9' }

func isUUID(text string) bool {
	digits := strings.ReplaceAll(text, "-", "")
	return len(text) == 36 && len(digits) == 32 && strings.Trim(digits, "0123456789abcdefABCDEF") == ""
}

// Shown quotes what somebody wrote where one of a few words or a number belongs,
// unless it could be a key that has slipped there.
func Shown(text string) string {
	if len(text) > 24 || strings.Contains(text, "sk-") || HasKeyPrefix(text) || strings.TrimFunc(text, unicode.IsPrint) != "" {
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

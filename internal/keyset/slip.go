package keyset

import (
	"errors"
	"slices"
	"strings"

	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/rotator"
)

// What people write where a key belongs, and what they should write. Nothing of the text is
// in it.
var (
	errEmpty    = errors.New("the value is empty: is the environment variable set?")
	errLines    = errors.New("the value has several lines: a file with one key a line belongs behind 'keys_file'")
	errQuotes   = errors.New("quotes stand around the text: write it without them")
	errJSON     = errors.New("the text is JSON: write one a line, without brackets, quotes and commas")
	errList     = errors.New("commas or semicolons stand between several: write one a line, or each as a word of its own behind the option")
	errVariable = errors.New("a variable's name and = stand in front: write the value alone")
	errScheme   = errors.New("'Bearer' stands in front: write what follows it alone")
	errItem     = errors.New("a dash stands in front, as in a list of YAML: write what follows it alone")
	errHeader   = errors.New("a name and a colon stand in front, as in a header: write the key alone")
	errComment  = errors.New("a comment stands behind it: write comments on lines of their own, only a key's name may stand behind the key")
	errTwo      = errors.New("what stands behind the key looks like another key: write one key a line, or each as a word of its own behind 'keys'")
	errWords    = errors.New("the line has more than two words: a line is <key> or <key> <name>")
	errPlain    = errors.New("it is the name of a variable, which nobody replaces here: in the config write {env.<name>}, in a file the value")
	errSample   = errors.New("it is what an example shows in a key's place: write your own")
	errPath     = errors.New("it looks like a path: name the file behind 'keys_file', or write {file.<path>} for one that holds nothing else")
	errInBlock  = errors.New("a second word stands behind the key: its name belongs into a block, as 'name <label>'")

	errNoName  = errors.New("the name must be 1 to 64 letters, digits, dots, dashes or underscores")
	errNameKey = errors.New("the name looks like a key (not shown): a name is for people")
	errNameID  = errors.New("the name looks like a key's id, 12 hex digits: names and ids must be told apart")
)

// CheckName tells whether a key may have the name. The error shows nothing of it.
func CheckName(name string) error {
	_, isID := rotator.ParseID(strings.ToLower(name))
	switch {
	case name == "" || !directive.IsName(name):
		return errNoName
	case directive.LooksLikeKey(name):
		return errNameKey
	case isID:
		return errNameID
	}
	return nil
}

// ParseLine reads a line of a keys file: `<key>` or `<key> <name>`. The error shows nothing
// of it. Whether the key is one is left to rotator.NewKey.
func ParseLine(line string) (secret, name string, err error) {
	if err := Slip(line); err != nil {
		return "", "", err
	}
	secret, name, named := cutWord(line)
	switch {
	case hasName(secret):
		return "", "", errHeader
	case !named:
		return secret, "", nil
	case strings.HasSuffix(secret, ":"):
		return "", "", errHeader
	case isComment(name):
		return "", "", errComment
	case anyWord(name, directive.LooksLikeKey):
		return "", "", errTwo
	case strings.ContainsAny(name, blanks):
		return "", "", errWords
	}
	return secret, name, CheckName(name)
}

// parseInline reads a value of the config, in which a name has no place.
func parseInline(text string) (secret string, err error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "", errEmpty
	case strings.ContainsAny(text, "\r\n"):
		return "", errLines
	}
	secret, name, err := ParseLine(text)
	if err == nil && name != "" {
		err = errInBlock
	}
	return secret, err
}

// CheckText tells whether the text may stand for a key in the config. Placeholders are
// replaced later.
func CheckText(text string) error {
	if strings.ContainsAny(text, "{}") {
		return nil
	}
	if IsPath(strings.TrimSpace(text)) {
		return errPath
	}
	_, err := parseInline(text)
	return err
}

// IsPath tells whether what stands in the place of a secret is the path of a file.
func IsPath(text string) bool {
	return !directive.LooksLikeKey(text) && !strings.ContainsAny(text, "=+") &&
		slices.ContainsFunc([]string{"/", "./", "../", "~/", "@/", "@./"}, func(begin string) bool { return len(text) > len(begin) && strings.HasPrefix(text, begin) })
}

// Slip tells whether the text is something that people write by mistake where a secret
// belongs. Secrets may hold any visible character, so nothing is refused for one alone: a
// comma counts where keys stand around it, and a = where no padding of Base64 can be.
func Slip(text string) error {
	first, rest, several := cutWord(text)
	switch {
	case strings.EqualFold(first, "Bearer"):
		return errScheme
	case first == "-":
		return errItem
	case isPlain(text):
		return errPlain
	case isSample(text):
		return errSample
	case isVariable(text), several && (first == "export" || first == "set") && isVariable(rest):
		return errVariable
	case isJSON(text):
		return errJSON
	case isQuoted(text):
		return errQuotes
	case isList(text):
		return errList
	}
	return nil
}

const (
	blanks     = " \t"
	quotes     = "\"'`"
	separators = ",;"
)

// cutWord returns the text's first word and what follows.
func cutWord(text string) (first, rest string, several bool) {
	i := strings.IndexAny(text, blanks)
	if i < 0 {
		return text, "", false
	}
	return text[:i], strings.Trim(text[i:], blanks), true
}

// anyWord tells whether one of the words is so.
func anyWord(text string, is func(string) bool) bool {
	for word := range strings.FieldsSeq(text) {
		if is(word) {
			return true
		}
	}
	return false
}

func isComment(text string) bool {
	return strings.HasPrefix(text, "#") || strings.HasPrefix(text, "//")
}

// isQuoted tells whether the text begins with a quoted part.
func isQuoted(text string) bool {
	return text != "" && strings.ContainsRune(quotes, rune(text[0])) && strings.IndexByte(text[1:], text[0]) >= 0
}

// isPlain tells whether the text is a variable as shells and others write it, or a placeholder
// that has lost its braces.
func isPlain(text string) bool {
	name := ""
	switch {
	case strings.HasPrefix(text, "$"):
		name = strings.TrimSuffix(strings.TrimPrefix(text[1:], "{"), "}")
	case strings.HasPrefix(text, "env."):
		name = text[len("env."):]
	case len(text) > 2 && text[0] == '%' && text[len(text)-1] == '%':
		name = text[1 : len(text)-1]
	}
	return isIdentifier(name) && name == strings.ToUpper(name)
}

// isSample tells whether the text is what documentation has where a key belongs.
func isSample(text string) bool {
	inner := strings.TrimSuffix(strings.TrimPrefix(text, "<"), ">")
	lower := strings.ToLower(text)
	return len(text) > 2 && len(inner) == len(text)-2 && strings.Trim(inner, directive.NameBytes+" ") == "" ||
		directive.HasKeyPrefix(text) && (strings.HasSuffix(text, "...") || strings.HasSuffix(text, "…")) ||
		strings.HasPrefix(lower, "your") && (strings.HasSuffix(lower, "key") || strings.HasSuffix(lower, "key_here"))
}

// hasName tells whether a name and a colon stand before a key.
func hasName(text string) bool {
	_, behind, found := strings.Cut(text, ":")
	return found && directive.HasKeyPrefix(behind)
}

// isJSON tells whether the text is an array or an object, or a line of one.
func isJSON(text string) bool {
	if item, found := strings.CutSuffix(text, ","); found && isQuoted(item) && strings.Count(item, item[:1]) == 2 {
		return true
	}
	switch bare := strings.TrimRight(text, separators); {
	case bare == "":
		return false
	case strings.Trim(bare, "[]{}"+blanks) == "":
		return true
	default:
		inner := strings.TrimLeft(bare[1:], blanks)
		last := bare[len(bare)-1]
		return bare[0] == '[' && (last == ']' || isQuoted(inner)) || bare[0] == '{' && (last == '}' || isQuoted(inner))
	}
}

// isList tells whether commas or semicolons stand between keys, or behind one.
func isList(text string) bool {
	if !strings.ContainsAny(text, separators) {
		return false
	}
	parts := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(separators+blanks, r) })
	if len(parts) == 0 {
		return false
	}
	return !slices.ContainsFunc(parts, func(part string) bool { return !directive.LooksLikeKey(part) }) ||
		slices.ContainsFunc(parts, directive.HasKeyPrefix)
}

// isVariable tells whether the text sets a variable. A secret may hold a = as well: at its
// end, as padding of Base32 and Base64, and in a cookie.
func isVariable(text string) bool {
	name, value, ok := strings.Cut(text, "=")
	if name = strings.Trim(name, blanks); !ok || !isIdentifier(name) {
		return false
	}
	lower := strings.ToLower(name)
	secret := strings.HasSuffix(lower, "key") || strings.HasSuffix(lower, "token") || strings.HasSuffix(lower, "secret")
	if value = strings.Trim(value, blanks); strings.Trim(value, "=") == "" {
		return strings.Contains(name, "_") && name != lower && (secret || name == strings.ToUpper(name))
	}
	return name == strings.ToUpper(name) || secret || isQuoted(value) || directive.HasKeyPrefix(value)
}

func isIdentifier(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
	return name != "" && strings.Trim(name[:1], letters) == "" && strings.Trim(name, letters+"0123456789") == ""
}

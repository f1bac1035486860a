package keyfile

import (
	"bytes"
	"errors"
	"regexp"
	"strings"

	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/keyset"
)

// maxProvider is the longest name of a provider that is shown, in bytes.
const maxProvider = 24

// unnamed are providers that are not shown, or that a text does not name where it names
// those of others.
const unnamed = "unnamed"

// Parse reads keys in any of the forms that people have them in: a keys file, a line with a
// key or a list of them, NAME=value lines of a .env file, JSON, LiteLLM's config.
func Parse(text []byte) Found {
	c := newCollector()
	text = bytes.TrimPrefix(text, mark)
	switch plain := bytes.TrimSpace(text); {
	case isWide(text):
		c.wrong(1, "the text is UTF-16, as Windows writes it: save it as UTF-8")
	case len(plain) > 0 && (plain[0] == '[' || plain[0] == '{'):
		c.json(text)
	case modelList.Match(text):
		c.config(text)
	default:
		c.eachLine(text, c.loose)
	}
	return c.Found
}

// isWide tells whether the text begins as UTF-16 does.
func isWide(text []byte) bool {
	return bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff"))
}

// modelList begins the models of LiteLLM's config.
var modelList = regexp.MustCompile(`(?m)^["']?model_list["']?[ \t]*:`)

// loose reads a line that may be more than one of a keys file.
func (c *collector) loose(n int, line string) {
	switch {
	case keyset.IsVariable(line):
		c.variable(n, line)
	case isSeveral(bare.Replace(line)):
		c.list(n, line, "")
	default:
		c.line(n, unquoted(line))
	}
}

// isSeveral tells whether the line is a list: with commas or semicolons, or of words that
// all look like keys.
func isSeveral(line string) bool {
	if keyset.IsList(line) {
		return true
	}
	words := strings.Fields(line)
	for _, word := range words {
		if !directive.LooksLikeKey(word) {
			return false
		}
	}
	return len(words) > 1
}

// list adds each part of a list.
func (c *collector) list(n int, line, provider string) {
	for _, part := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(", ;\t", r) }) {
		c.add(n, unquoted(part), "", provider)
	}
}

// variable reads NAME=value.
func (c *collector) variable(n int, line string) {
	name, value, _ := strings.Cut(line, "=")
	if words := strings.Fields(name); len(words) > 0 {
		name = words[len(words)-1] // behind export or set
	}
	provider, ok := providerOf(name)
	value, err := valueOf(value)
	switch {
	case !ok:
		c.skip(n, "the variable is left out: only those are taken whose name has API_KEY in it")
	case err != nil:
		c.wrong(n, err.Error())
	case value == "":
		c.skip(n, "the variable is empty")
	case strings.HasPrefix(value, "$"):
		c.skip(n, "the variable refers to another one")
	case isSeveral(value):
		c.list(n, value, provider)
	default:
		c.add(n, value, "", provider)
	}
}

var (
	errUnclosed = errors.New("a quote before the value is not closed on its line")
	errBehind   = errors.New("behind the quotes stands what is no comment")
)

// valueOf returns a variable's value, without its quotes and a comment behind it.
func valueOf(text string) (string, error) {
	text = strings.TrimSpace(text)
	if text == "" || !strings.ContainsRune(quotes, rune(text[0])) {
		text, _, _ = strings.Cut(text, " #")
		return strings.TrimSpace(text), nil
	}
	inner, rest, closed := strings.Cut(text[1:], text[:1])
	rest = strings.TrimLeft(rest, " \t")
	switch {
	case !closed:
		return "", errUnclosed
	case strings.Trim(rest, ",;") != "" && rest[0] != '#':
		return "", errBehind
	}
	return strings.TrimSpace(inner), nil
}

const quotes = "\"'`"

// bare takes the quotes out of a text.
var bare = strings.NewReplacer("\"", "", "'", "", "`", "")

// unquoted is a text without a comma behind it, and quotes around it.
func unquoted(text string) string {
	inner := strings.TrimRight(text, ",;")
	if n := len(inner); n > 1 && inner[0] == inner[n-1] && strings.ContainsRune(quotes, rune(inner[0])) {
		return strings.TrimSpace(inner[1 : n-1])
	}
	return text
}

// apiKey is what names a variable that holds keys.
var apiKey = regexp.MustCompile(`(?i)api_?key`)

// providerOf returns whose key a variable holds, by its name: OPENAI_API_KEY_2 is openai's.
func providerOf(variable string) (provider string, ok bool) {
	at := apiKey.FindStringIndex(variable)
	if at == nil {
		return "", false
	}
	return shownProvider(strings.Trim(variable[:at[0]], "_")), true
}

// shownProvider is a provider's name, if it may be shown.
func shownProvider(name string) string {
	if len(name) > maxProvider || !directive.IsName(name) || directive.LooksLikeKey(name) {
		return unnamed
	}
	return strings.ToLower(name)
}

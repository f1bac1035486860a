package docs

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var (
	inlineCode = regexp.MustCompile("`[^`]*`")
	linkTarget = regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"`)
	linkText   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// Every link within the repository leads to a file that exists, and to a heading of it.
func TestLinks(t *testing.T) {
	checked := 0
	for _, name := range pages(t) {
		for i, line := range parse(t, name).prose {
			for _, found := range linkTarget.FindAllStringSubmatch(inlineCode.ReplaceAllString(line, "code"), -1) {
				target := found[1] + found[2]
				if strings.HasPrefix(target, "https://") {
					continue
				}
				checked++
				if problem := followed(t, name, target); problem != "" {
					t.Errorf("%s:%d: %s: %s", name, i+1, target, problem)
				}
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d links were found", checked)
	}
}

// followed returns what is wrong with a link.
func followed(t *testing.T, from, target string) string {
	file, fragment, _ := strings.Cut(target, "#")
	if file == "" {
		file = from
	} else {
		file = path.Join(path.Dir(from), file)
	}
	if _, err := os.Stat(filepath.Join(root, file)); err != nil {
		return "no such file"
	}
	if fragment != "" && !slices.Contains(anchors(t, file), fragment) {
		return "no such heading"
	}
	return ""
}

// anchors returns the page's headings as GitHub names them in links.
func anchors(t *testing.T, name string) []string {
	var all []string
	for _, heading := range parse(t, name).headings {
		all = append(all, anchor(strings.TrimLeft(heading, "# ")))
	}
	return all
}

func anchor(heading string) string {
	heading = linkText.ReplaceAllString(heading, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

func TestAnchor(t *testing.T) {
	for heading, want := range map[string]string{
		"Limits of your own":                             "limits-of-your-own",
		"no key is ready: some are at their limit":       "no-key-is-ready-some-are-at-their-limit",
		"What happens when …":                            "what-happens-when-",
		"What Redis costs a request: nothing":            "what-redis-costs-a-request-nothing",
		"module not registered: http.handlers.keycycler": "module-not-registered-httphandlerskeycycler",
	} {
		if got := anchor(heading); got != want {
			t.Errorf("%q: %s, want %s", heading, got, want)
		}
	}
}

// Two headings of one page would share an anchor: GitHub numbers the second.
func TestHeadingsAreTold(t *testing.T) {
	for _, name := range pages(t) {
		if name == "CHANGELOG.md" {
			continue // each version has its "Added"
		}
		all := anchors(t, name)
		slices.Sort(all)
		if len(slices.Compact(slices.Clone(all))) != len(all) {
			t.Errorf("%s: two headings are alike: %v", name, all)
		}
	}
}

// Every page can be reached from the README.
func TestEveryPageIsInTheIndex(t *testing.T) {
	index := read(t, readme)
	for _, name := range pages(t) {
		if path.Dir(name) == "docs" && !strings.Contains(index, "("+name+")") {
			t.Errorf("the README does not name %s", name)
		}
	}
}

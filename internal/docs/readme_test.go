package docs

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// The README is read in two minutes.
func TestTheREADMEIsShort(t *testing.T) {
	const maxLines, maxBytes, maxWidth = 250, 14 << 10, 120
	text := read(t, readme)
	if n := strings.Count(text, "\n"); n > maxLines {
		t.Errorf("it has %d lines, at most %d are allowed", n, maxLines)
	}
	if len(text) > maxBytes {
		t.Errorf("it has %d bytes, at most %d are allowed", len(text), maxBytes)
	}
	for i, line := range parse(t, readme).prose {
		if n := utf8.RuneCountInString(line); n > maxWidth && !strings.HasPrefix(line, "|") {
			t.Errorf("line %d has %d characters, at most %d are allowed", i+1, n, maxWidth)
		}
	}
}

// The README says what it must, in this order.
func TestTheREADMEsOrder(t *testing.T) {
	want := []string{
		"# keycycler", "## What it does", "## Install", "## Try it", "## Your first config", "## Recipes",
		"### Several providers on one site", "### Client tokens", "### Several nodes", "### Weights and tiers", "### Fallback to another provider",
		"## How it works", "## Operate", "## Security", "## Documentation", "## Compatibility and licence",
	}
	if got := parse(t, readme).headings; !slices.Equal(got, want) {
		t.Errorf("headings %q, want %q", got, want)
	}
}

// The Chinese README has the same parts, commands and configs.
func TestTheChineseREADME(t *testing.T) {
	english, other := parse(t, readme), parse(t, chinese)
	level := func(headings []string) (levels []int) {
		for _, h := range headings {
			levels = append(levels, strings.IndexByte(h, ' '))
		}
		return levels
	}
	if a, b := level(english.headings), level(other.headings); !slices.Equal(a, b) {
		t.Errorf("the levels of its headings are %v, want %v", b, a)
	}
	a, b := withoutPictures(english.blocks), withoutPictures(other.blocks)
	if len(a) != len(b) {
		t.Fatalf("it has %d blocks, want %d", len(b), len(a))
	}
	for i := range a {
		if a[i].language != b[i].language || a[i].text != b[i].text || a[i].prints != b[i].prints {
			t.Errorf("%s:%d: it differs from line %d of %s", chinese, b[i].line, a[i].line, readme)
		}
	}
}

// withoutPictures are the blocks without those that are words: pictures made of text.
func withoutPictures(blocks []block) []block {
	return slices.DeleteFunc(blocks, func(b block) bool { return b.language == "text" })
}

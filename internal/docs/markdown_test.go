package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	root = "../.."

	readme  = "README.md"
	chinese = "docs/README.zh-CN.md"
)

// read returns a file of the repository.
func read(t testing.TB, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// pages returns every page of the project by its path, without what is generated or
// installed.
func pages(t testing.TB) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", "build", "node_modules", "testdata"}, d.Name()):
			return filepath.SkipDir
		case filepath.Ext(path) == ".md":
			name, err := filepath.Rel(root, path)
			found = append(found, filepath.ToSlash(name))
			return err
		}
		return nil
	})
	if err != nil || len(found) < 20 {
		t.Fatalf("pages: %v, %v", found, err)
	}
	return found
}

// block is a fenced block of a page.
type block struct {
	page     string
	line     int // of the fence, from 1
	language string
	text     string
	mark     string // the HTML comment in the line before it
	prints   string // the text block that follows directly
}

// page is what a page is made of.
type page struct {
	blocks   []block
	headings []string // with their number signs
	prose    []string // the lines outside of blocks, "" in the place of others
}

var comment = regexp.MustCompile(`^<!-- (.*) -->$`)

// parse reads a page. A fence may be indented, as in a list.
func parse(t testing.TB, name string) page {
	t.Helper()
	var p page
	var open *block
	lines := strings.Split(read(t, name), "\n")
	for i, line := range lines {
		language, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && open == nil:
			open = &block{page: name, line: i + 1, language: language, mark: markBefore(lines, i)}
		case fence:
			p.add(*open, lines)
			open = nil
		case open != nil:
			open.text += line + "\n"
		case strings.HasPrefix(line, "#"):
			p.headings = append(p.headings, line)
		}
		if open == nil && !fence {
			p.prose = append(p.prose, line)
		} else {
			p.prose = append(p.prose, "")
		}
	}
	if open != nil {
		t.Errorf("%s:%d: the block has no end", name, open.line)
	}
	return p
}

// add appends the block, or makes it what the one before prints.
func (p *page) add(b block, lines []string) {
	if last := len(p.blocks) - 1; b.language == "text" && last >= 0 && p.blocks[last].language == "sh" {
		between := lines[p.blocks[last].end() : b.line-1]
		if strings.TrimSpace(strings.Join(between, "")) == "" {
			p.blocks[last].prints = b.text
			return
		}
	}
	p.blocks = append(p.blocks, b)
}

// end is the line of the fence that ends the block.
func (b block) end() int { return b.line + strings.Count(b.text, "\n") + 1 }

func markBefore(lines []string, i int) string {
	if i == 0 {
		return ""
	}
	found := comment.FindStringSubmatch(lines[i-1])
	if found == nil {
		return ""
	}
	return found[1]
}

// blocksOf returns the page's blocks in that language.
func blocksOf(t testing.TB, name, language string) []block {
	t.Helper()
	return slices.DeleteFunc(parse(t, name).blocks, func(b block) bool { return b.language != language })
}

func TestBlocksHaveALanguage(t *testing.T) {
	for _, name := range pages(t) {
		for _, b := range parse(t, name).blocks {
			if !slices.Contains([]string{"sh", "console", "caddyfile", "json", "text"}, b.language) {
				t.Errorf("%s:%d: language %q", name, b.line, b.language)
			}
		}
	}
}

// A mark that nothing reads would be a test that is not run.
func TestMarksStandBeforeCommands(t *testing.T) {
	for _, name := range pages(t) {
		p, marks := parse(t, name), 0
		for _, b := range p.blocks {
			if b.mark == "" {
				continue
			}
			marks++
			if b.language != "sh" {
				t.Errorf("%s:%d: a mark before a block of %s", name, b.line, b.language)
			}
		}
		for i, line := range p.prose {
			if strings.HasPrefix(line, "<!--") {
				marks--
				if !comment.MatchString(line) {
					t.Errorf("%s:%d: no mark: %s", name, i+1, line)
				}
			}
		}
		if marks != 0 {
			t.Errorf("%s: a mark stands before no block", name)
		}
	}
}

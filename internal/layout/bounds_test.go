package layout

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The bounds, in lines and files.
const (
	maxTopFiles     = 8     // .go files at the top
	maxPackageFiles = 24    // .go files of a package, without tests
	maxPackageLines = 3_000 // of these
	maxMedian       = 9     // lines of a function
	maxTenth        = 20    // … of the tenth that are longest, the shortest
	maxFunction     = 50    // … of the longest
	minTests        = 1.5   // lines of tests to a line of code
)

// source is a file of Go.
type source struct {
	path  string // from the root
	test  bool   // a test, or of a package for tests
	lines int
	text  []byte
}

// sources are the module's files, without the examples and generated ones.
func sources(t *testing.T) (all []source) {
	t.Helper()
	skipped := []string{".git", ".ci", "examples", "testdata", "build", "docs/img"}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		if d.IsDir() && (slices.Contains(skipped, relative) || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		all = append(all, source{relative, isTest(relative), bytes.Count(text, []byte("\n")), text})
		return err
	})
	if err != nil || len(all) < 300 {
		t.Fatalf("%d files: %v", len(all), err)
	}
	return all
}

// isTest tells tests and what is for tests alone from code.
func isTest(path string) bool {
	if strings.HasSuffix(path, "_test.go") {
		return true
	}
	return slices.ContainsFunc([]string{"testkit", "redistest", "statetest"}, func(dir string) bool {
		return slices.Contains(strings.Split(path, "/"), dir)
	})
}

// The top shows what keycycler is to Caddy, and no more.
func TestTheTopIsSmall(t *testing.T) {
	var top []string
	for _, s := range sources(t) {
		if !strings.Contains(s.path, "/") {
			top = append(top, s.path)
		}
	}
	if len(top) > maxTopFiles || len(top) == 0 {
		t.Errorf("%d files at the top, at most %d are allowed: %v", len(top), maxTopFiles, top)
	}
}

// A package can be read as a whole.
func TestPackagesAreSmall(t *testing.T) {
	files, lines := make(map[string]int), make(map[string]int)
	for _, s := range sources(t) {
		if !strings.HasSuffix(s.path, "_test.go") {
			dir := filepath.ToSlash(filepath.Dir(s.path))
			files[dir]++
			lines[dir] += s.lines
		}
	}
	for dir := range files {
		if files[dir] > maxPackageFiles || lines[dir] > maxPackageLines {
			t.Errorf("%s has %d files and %d lines, at most %d and %d are allowed", dir, files[dir], lines[dir], maxPackageFiles, maxPackageLines)
		}
	}
}

// Each package says what it is for, in one place.
func TestEachPackageHasAComment(t *testing.T) {
	comments, dirs := make(map[string]int), make(map[string]string)
	for _, s := range sources(t) {
		if strings.HasSuffix(s.path, "_test.go") {
			continue
		}
		f := parsed(t, s, parser.PackageClauseOnly|parser.ParseComments)
		dir := filepath.Dir(s.path)
		dirs[dir] = f.Name.Name
		if f.Doc == nil {
			continue
		}
		comments[dir]++
		text := f.Doc.Text()
		if !strings.HasPrefix(text, "Package "+f.Name.Name+" ") || strings.Count(text, "\n") < 2 {
			t.Errorf("%s: the comment does not say what package %s is for: %q", s.path, f.Name.Name, text)
		}
	}
	for dir, name := range dirs {
		if comments[dir] != 1 {
			t.Errorf("package %s in %s has %d comments, want one", name, dir, comments[dir])
		}
	}
}

func parsed(t *testing.T, s source, mode parser.Mode) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), s.path, s.text, mode)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// function is a function's name and how many lines it has, its signature among them.
type function struct {
	name  string
	lines int
}

func functions(t *testing.T, s source) (all []function) {
	t.Helper()
	for _, d := range parsed(t, s, 0).Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
			// A file's positions in a set of its own begin at 1.
			lines := bytes.Count(s.text[f.Pos()-1:f.End()-1], []byte("\n")) + 1
			all = append(all, function{s.path + ": " + f.Name.Name, lines})
		}
	}
	return all
}

// Functions do one thing each.
func TestFunctionsAreShort(t *testing.T) {
	var all []function
	for _, s := range sources(t) {
		if !s.test {
			all = append(all, functions(t, s)...)
		}
	}
	slices.SortFunc(all, func(a, b function) int { return a.lines - b.lines })
	median, tenth := all[len(all)/2].lines, all[len(all)*9/10].lines
	t.Logf("%d functions: median %d, a tenth has at least %d lines, the longest %d", len(all), median, tenth, all[len(all)-1].lines)
	if median > maxMedian || tenth > maxTenth {
		t.Errorf("the median is %d lines, a tenth of them has at least %d; at most %d and %d are allowed", median, tenth, maxMedian, maxTenth)
	}
	for _, f := range all {
		if f.lines > maxFunction {
			t.Errorf("%s has %d lines, at most %d are allowed", f.name, f.lines, maxFunction)
		}
	}
}

func TestCountingLines(t *testing.T) {
	s := source{path: "a.go", text: []byte("package a\n\nfunc one() {}\n\n// three has a comment.\nfunc three() {\n\tone()\n}\n")}
	if got := functions(t, s); len(got) != 2 || got[0].lines != 1 || got[1].lines != 3 {
		t.Errorf("%v", got)
	}
}

// There is more of what tests than of what is tested.
func TestThereAreTests(t *testing.T) {
	code, tests := 0, 0
	for _, s := range sources(t) {
		if s.test {
			tests += s.lines
		} else {
			code += s.lines
		}
	}
	if ratio := float64(tests) / float64(code); ratio < minTests {
		t.Errorf("%d lines of tests to %d of code: %.2f, at least %.1f are wanted", tests, code, ratio, minTests)
	} else {
		t.Logf("%d lines of tests to %d of code: %.2f", tests, code, ratio)
	}
}

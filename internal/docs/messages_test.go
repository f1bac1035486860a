package docs

import (
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// source is the code of the project, without its tests and tools.
func source(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{".git", ".ci", "build", "bench", "statetest", "redistest"}, d.Name()) {
			return filepath.SkipDir
		}
		if filepath.Ext(name) == ".go" && !strings.HasSuffix(name, "_test.go") {
			text, err := os.ReadFile(name)
			all.Write(text)
			return err
		}
		return nil
	})
	if err != nil || all.Len() < 100_000 {
		t.Fatalf("%d bytes of code: %v", all.Len(), err)
	}
	return all.String()
}

// foreign are headings of troubleshooting.md that are no messages of keycycler's.
var foreign = []string{
	"module not registered: http.handlers.keycycler",        // Caddy's
	"client is not allowed to access from origin ''",        // Caddy's
	"blocked by CORS policy",                                // browsers'
	"401 or 429 of the upstream itself",                     // a symptom
	"404 for what a client has made",                        // a symptom
	"key … has a space at byte …",                           // names what it is
	"key … is … bytes long: at most 4096 are allowed",       // has a number
	"Rate limit reached for every API key of this gateway.", // the code goes on with a space
}

// literals are the code's texts, one a line: comments are no messages.
func literals(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	var s scanner.Scanner
	code := []byte(source(t))
	files := token.NewFileSet()
	s.Init(files.AddFile("", files.Base(), len(code)), code, nil, 0)
	for {
		_, kind, text := s.Scan()
		switch kind {
		case token.EOF:
			return all.String()
		case token.STRING:
			plain, err := strconv.Unquote(text)
			if err != nil {
				t.Fatal(err)
			}
			all.WriteString(plain + "\n")
		}
	}
}

var verb = regexp.MustCompile(`%(\[\d\])?[a-z]`)

// The headings of troubleshooting.md are what people search for: the messages as the
// code has them.
func TestTroubleshootingHasTheMessages(t *testing.T) {
	code := verb.ReplaceAllString(literals(t), "…")
	checked := 0
	for _, h := range parse(t, "docs/troubleshooting.md").headings {
		message, found := strings.CutPrefix(h, "### ")
		if !found || slices.Contains(foreign, message) {
			continue
		}
		checked++
		for part := range strings.SplitSeq(message, "…") {
			if !strings.Contains(code, strings.TrimSpace(part)) {
				t.Errorf("%q: the code does not say %q", message, part)
			}
		}
	}
	if checked < 35 {
		t.Errorf("only %d messages were compared", checked)
	}
}

// Whoever sees a warning finds what to do.
func TestEveryWarningIsInThePages(t *testing.T) {
	words := read(t, "docs/troubleshooting.md") + read(t, "docs/operate.md")
	warnings := regexp.MustCompile(`\.Warn\("([^"]+)"`).FindAllStringSubmatch(source(t), -1)
	for _, w := range warnings {
		if !strings.Contains(words, w[1]) {
			t.Errorf("no page says what to do about %q", w[1])
		}
	}
	if len(warnings) < 8 {
		t.Errorf("only %d warnings were found", len(warnings))
	}
}

// Every line of the log that operate.md names is one that the code can write.
func TestTheLogsTable(t *testing.T) {
	code, rows := literals(t), 0
	for _, line := range parse(t, "docs/operate.md").prose {
		found := regexp.MustCompile("^\\| `([^`…]+)` \\| (info|warn|debug)").FindStringSubmatch(line)
		if found == nil {
			continue
		}
		rows++
		if !strings.Contains("\n"+code, "\n"+found[1]) {
			t.Errorf("the code does not say %q", found[1])
		}
	}
	if rows < 20 {
		t.Errorf("only %d rows were compared", rows)
	}
}

// Every metric is in its page.
func TestEveryMetricIsInItsPage(t *testing.T) {
	text := read(t, "docs/metrics.md")
	names := regexp.MustCompile(`(?:Subsystem: "keycycler", Name: |NewDesc\("caddy_keycycler_|\b(?:counter|histogram|desc)\()"?(\w+)"`).FindAllStringSubmatch(source(t), -1)
	for _, n := range names {
		if !strings.Contains(text, "`caddy_keycycler_"+n[1]+"`") && !strings.Contains(text, "`_"+n[1]+"`") {
			t.Errorf("metrics.md does not name %s", n[1])
		}
	}
	if len(names) < 25 {
		t.Errorf("only %d metrics were found", len(names))
	}
}

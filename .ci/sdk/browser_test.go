package sdk

import (
	"bufio"
	"cmp"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// browser is a headless Chromium, driven through node/page.mjs.
type browser struct {
	commands *json.Encoder
	results  *bufio.Reader
	log      *logBuffer
}

// startBrowser starts a browser and ends it with the test. Where there is none, the
// test is skipped; with KEYCYCLER_REQUIRE_TOOLS=1 it fails.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	chromium, err := exec.LookPath(cmp.Or(os.Getenv("CHROMIUM"), "/usr/bin/chromium"))
	if err != nil {
		if os.Getenv("KEYCYCLER_REQUIRE_TOOLS") == "1" {
			t.Fatalf("Chromium is missing, and KEYCYCLER_REQUIRE_TOOLS=1: %v", err)
		}
		t.Skipf("Chromium is missing (Debian's package chromium, or its path in CHROMIUM): %v", err)
	}
	if err := install(); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	process := exec.Command("node", "page.mjs")
	process.Dir = "node"
	process.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + home,
		"TMPDIR=" + home,
		"CHROMIUM=" + chromium,
		"PATIENCE=" + strconv.FormatInt(patience.Milliseconds(), 10),
	}
	b := &browser{log: new(logBuffer)}
	process.Stderr = b.log
	in, err := process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	b.commands, b.results = json.NewEncoder(in), bufio.NewReader(out)
	t.Cleanup(func() { b.stop(t, process, in) })
	return b
}

// stop lets the process end by itself: what it has been asked is done by then.
func (b *browser) stop(t *testing.T, process *exec.Cmd, in io.Closer) {
	in.Close()
	late := time.AfterFunc(patience, func() { process.Process.Kill() }) // Wait tells
	defer late.Stop()
	if err := process.Wait(); err != nil {
		t.Errorf("the browser did not end well: %v\n%s", err, b.log.String())
	}
}

// call has a command of node/page.mjs executed, and decodes what it returns.
func (b *browser) call(t *testing.T, out any, tab int, command string, args ...any) {
	t.Helper()
	if args == nil {
		args = []any{}
	}
	if err := b.commands.Encode(map[string]any{"tab": tab, "command": command, "args": args}); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, b.log.String())
	}
	line, err := b.results.ReadBytes('\n')
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, b.log.String())
	}
	var result struct {
		Value json.RawMessage
		Error string
	}
	if err := json.Unmarshal(line, &result); err != nil {
		t.Fatalf("%s: %v in %s", command, err, line)
	}
	if result.Error != "" {
		t.Fatalf("%s %v: %s", command, args, result.Error)
	}
	if out != nil {
		if err := json.Unmarshal(result.Value, out); err != nil {
			t.Fatalf("%s: %v in %s", command, err, result.Value)
		}
	}
}

// options are those of Playwright's browser.newContext.
type options map[string]any

// tab is one tab of a profile of its own.
type tab struct {
	t *testing.T
	b *browser
	n int
}

// open opens a tab and closes it with the test.
func (b *browser) open(t *testing.T, o options) *tab {
	t.Helper()
	p := &tab{t: t, b: b}
	b.call(t, &p.n, 0, "open", o)
	t.Cleanup(func() { p.do("close") })
	return p
}

func (p *tab) do(command string, args ...any) {
	p.t.Helper()
	p.b.call(p.t, nil, p.n, command, args...)
}

// get returns what the command returns.
func get[R any](p *tab, command string, args ...any) R {
	p.t.Helper()
	var r R
	p.b.call(p.t, &r, p.n, command, args...)
	return r
}

// visited is what a navigation brought.
type visited struct {
	Status int
	Text   string
}

// visit goes to that address, as if it were typed.
func (p *tab) visit(url string) visited {
	p.t.Helper()
	return get[visited](p, "goto", url)
}

// show waits until something that matches the selector is there to be seen.
func (p *tab) show(selector string) {
	p.t.Helper()
	p.do("shown", selector)
}

// tableRow is what a row of the page's table says.
type tableRow struct {
	ID, State, Class, Source, Remaining string
	Attempts, Rejections                int
	Buttons                             []string
}

func (p *tab) rows() []tableRow {
	p.t.Helper()
	return get[[]tableRow](p, "rows")
}

// checkClean finds fault with what the page did beside: errors, violations of its
// own policy, requests to anywhere else.
func (p *tab) checkClean() {
	p.t.Helper()
	origin := get[string](p, "origin")
	for _, problem := range get[[]string](p, "problems") {
		p.t.Errorf("the browser complains: %s", problem)
	}
	for _, url := range get[[]string](p, "requests") {
		if !strings.HasPrefix(url, origin+"/") && !strings.HasPrefix(url, "data:") {
			p.t.Errorf("the page asked for %s", url)
		}
	}
}

// shoot takes a picture of the page, or of what stands in the window, where
// KEYCYCLER_SCREENSHOTS names a directory to put it in.
func (p *tab) shoot(name string, whole bool) {
	p.t.Helper()
	dir := os.Getenv("KEYCYCLER_SCREENSHOTS")
	if dir == "" {
		return
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		p.t.Fatal(err)
	}
	p.do("shot", filepath.Join(dir, name+".png"), whole)
}

//go:build unix

package docs

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

const (
	// patience is how long one block may run. The first of README.md builds a Caddy.
	patience = 3 * time.Minute

	demoConfig = "examples/demo.Caddyfile"
	home       = "https://github.com/keycycler/keycycler"
)

// TestCommands runs each page's commands in order, as they stand. The README's build a clone of
// the project: the gate alone takes that time.
func TestCommands(t *testing.T) {
	for _, p := range []struct {
		page string
		in   func(t *testing.T) *shell
		runs int // at least so many blocks
	}{
		{readme, besideTheProject, 4},
		{"docs/deploy.md", inClone, 1},
		{"docs/migrate.md", inEmptyFolder, 6},
		{"docs/clients.md", inEmptyFolder, 1},
		{"docs/cluster.md", inEmptyFolder, 1},
		{"docs/keys.md", inEmptyFolder, 1},
	} {
		t.Run(filepath.Base(p.page), func(t *testing.T) {
			if p.page == readme && os.Getenv(requireTools) != "1" {
				t.Skipf("it takes long: %s=1 runs it", requireTools)
			}
			sh := p.in(t)
			for _, b := range blocksOf(t, p.page, "sh") {
				sh.block(b)
			}
			if sh.ran < p.runs {
				t.Errorf("%d blocks were run, want %d at least", sh.ran, p.runs)
			}
		})
	}
}

// shell runs the blocks of a page. It remembers the folder that they change into.
type shell struct {
	*testing.T
	folder string
	env    []string
	ports  *strings.Replacer // see demoPorts
	ran    int
}

func (s *shell) block(b block) {
	s.Helper()
	what, why, _ := strings.Cut(b.mark, ": ")
	switch what {
	case "not run":
		s.check(b, why)
		return
	case "needs":
		if _, err := exec.LookPath(why); err != nil {
			if os.Getenv(requireTools) == "1" {
				s.Errorf("%s:%d: %v, and %s=1", b.page, b.line, err, requireTools)
			}
			s.Logf("%s:%d: skipped: %v", b.page, b.line, err)
			s.ran++ // in the gate
			return
		}
	case "keeps running":
		s.start(b)
		s.ran++
		return
	case "":
	default:
		s.Fatalf("%s:%d: unknown mark %q", b.page, b.line, b.mark)
	}
	s.run(b)
	s.ran++
}

// run runs a block and compares what it prints.
func (s *shell) run(b block) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	where := filepath.Join(s.TempDir(), "where")
	script := fmt.Sprintf("set -euo pipefail\n%s\npwd >%s\n", s.ports.Replace(b.text), where)
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	var out, problems bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.folder, s.env, &out, &problems
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		s.Fatalf("%s:%d: %v\n%s%s", b.page, b.line, err, &out, &problems)
	}
	if b.prints != "" && printed(out.String()) != printed(b.prints) {
		s.Errorf("%s:%d: it prints\n%s\nthe page says\n%s", b.page, b.line, &out, b.prints)
	}
	folder, err := os.ReadFile(where)
	if err != nil {
		s.Fatal(err)
	}
	s.folder = strings.TrimSpace(string(folder))
}

var durations = regexp.MustCompile(`\b([0-9.]+(d|h|ms|m|s))+\b`)

// printed is what is compared of an output: durations differ, and so do columns.
func printed(text string) string {
	return strings.Join(strings.Fields(durations.ReplaceAllString(text, "1s")), " ")
}

// start runs a block that serves those after it, until the page's end. It waits until
// every address of the demo answers.
func (s *shell) start(b block) {
	s.Helper()
	line := strings.TrimSpace(s.ports.Replace(b.text))
	if strings.Contains(line, "\n") {
		s.Fatalf("%s:%d: what keeps running is one command", b.page, b.line)
	}
	ended := s.background(line)
	config, err := os.ReadFile(filepath.Join(s.folder, demoConfig))
	if err != nil {
		s.Fatal(err)
	}
	for _, found := range demoAddress.FindAllString(string(config), -1) {
		s.await(found, ended)
	}
}

// background starts a command, and ends it by its pid when the test is over. The channel
// tells when it has ended by itself.
func (s *shell) background(line string) <-chan error {
	s.Helper()
	var out bytes.Buffer
	cmd := exec.Command("bash", "-c", "exec "+line)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // go run starts another
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.folder, s.env, &out, &out
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		close(ended)
	}()
	s.Cleanup(func() {
		group := -cmd.Process.Pid
		_ = syscall.Kill(group, syscall.SIGINT) // as Ctrl-C does
		select {
		case <-ended:
		case <-time.After(patience):
			_ = syscall.Kill(group, syscall.SIGKILL)
			s.Errorf("%s does not end: %v\n%s", line, <-ended, &out)
		}
		if s.Failed() {
			s.Logf("%s printed\n%s", line, &out)
		}
	})
	return ended
}

// await waits until somebody listens at the address.
func (s *shell) await(address string, ended <-chan error) {
	s.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); ; {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-tick.C:
		case err := <-ended:
			s.Fatalf("it has ended: %v", err)
		case <-deadline:
			s.Fatalf("nobody listens at %s: %v", address, err)
		}
	}
}

var (
	engines  = regexp.MustCompile(`\b(docker|kubectl|systemctl|systemd-analyze|xcaddy) `)
	examples = regexp.MustCompile(`\bexamples/[\w./-]+`)
)

// check is what a block is put to that cannot be run: the shell can read it, it needs
// something that is not here, and the files that it names exist.
func (s *shell) check(b block, why string) {
	s.Helper()
	if len(why) < 10 || !engines.MatchString(b.text) {
		s.Errorf("%s:%d: not run, without a reason", b.page, b.line)
	}
	cmd := exec.Command("bash", "-n", "-c", b.text)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.Errorf("%s:%d: %v\n%s", b.page, b.line, err, out)
	}
	for _, path := range examples.FindAllString(b.text, -1) {
		if _, err := os.Stat(filepath.Join(root, path)); err != nil {
			s.Errorf("%s:%d: %v", b.page, b.line, err)
		}
	}
}

// inEmptyFolder is a shell in an empty folder. A Caddy with keycycler is in its PATH.
func inEmptyFolder(t *testing.T) *shell {
	path := "PATH=" + filepath.Dir(caddyBinary(t)) + ":" + os.Getenv("PATH")
	return &shell{T: t, folder: t.TempDir(), ports: strings.NewReplacer(), env: append(environment(t), path)}
}

// besideTheProject is one in which the project's address leads to a copy of this tree.
func besideTheProject(t *testing.T) *shell {
	s := inEmptyFolder(t)
	s.ports = demoPorts(t)
	s.env = append(s.env, "GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=url."+repository(t, s.ports)+".insteadOf", "GIT_CONFIG_VALUE_0="+home)
	return s
}

// inClone is one in a clone.
func inClone(t *testing.T) *shell {
	s := besideTheProject(t)
	s.run(block{page: "the clone", text: "git clone -q " + home + " clone\ncd clone"})
	return s
}

// environment is what commands see of this process's: Go's caches, so that Caddy is not
// compiled anew, and no proxy, so that nothing is loaded.
func environment(t *testing.T) []string {
	out, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	dirs := strings.Fields(string(out))
	return []string{
		"HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir(), "LANG=C.UTF-8",
		"GOCACHE=" + dirs[0], "GOMODCACHE=" + dirs[1], "GOPROXY=off", "GOFLAGS=-buildvcs=false", "GOTOOLCHAIN=local",
	}
}

// demoAddress finds the addresses of the demo, whose ports stand in the page as well.
var demoAddress = regexp.MustCompile(`localhost:\d+`)

// demoPorts gives each port of the demo a free one in its place, in the config and in
// the commands alike: the ports that the page names may be taken here.
func demoPorts(t *testing.T) *strings.Replacer {
	t.Helper()
	var pairs []string
	seen := make(map[string]bool)
	for _, address := range demoAddress.FindAllString(read(t, demoConfig), -1) {
		if seen[address] {
			continue
		}
		seen[address] = true
		free := live.FreePort(t)
		_, port, _ := strings.Cut(address, ":")
		pairs = append(pairs, address, "localhost:"+free, "127.0.0.1:"+port, "127.0.0.1:"+free)
	}
	if len(seen) != 3 {
		t.Fatalf("addresses of the demo: %v", seen)
	}
	return strings.NewReplacer(pairs...)
}

// repository makes a repository of this tree as it is, the demo with other ports.
func repository(t *testing.T, ports *strings.Replacer) string {
	t.Helper()
	to := t.TempDir()
	script := `set -euo pipefail
git ls-files -co --exclude-standard -z | while IFS= read -r -d "" f; do [ -e "$f" ] && printf '%s\0' "$f"; done | tar --null -T - -cf - | tar -xf - -C "$1"
cd "$1"
`
	commit := `git init -q -b main && git add -A && git -c user.name=t -c user.email=t@t commit -q -m t`
	shellRun(t, script, to)
	demo := filepath.Join(to, demoConfig)
	if err := os.WriteFile(demo, []byte(ports.Replace(read(t, demoConfig))), 0o600); err != nil {
		t.Fatal(err)
	}
	shellRun(t, `cd "$1" && `+commit, to)
	return to
}

func shellRun(t *testing.T, script, argument string) {
	t.Helper()
	cmd := exec.Command("bash", "-c", script, "bash", argument)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// binary is where the Caddy of this tree is built, once for all pages.
var binary struct {
	sync.Once
	dir string
	err error
}

func caddyBinary(t *testing.T) string {
	t.Helper()
	binary.Do(func() {
		if binary.dir, binary.err = os.MkdirTemp("", "keycycler-docs"); binary.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-o", binary.dir, "./examples/caddy")
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			binary.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	return filepath.Join(binary.dir, "caddy")
}

func TestMain(m *testing.M) {
	code := m.Run()
	if binary.dir != "" {
		os.RemoveAll(binary.dir)
	}
	os.Exit(code)
}

func TestPrinted(t *testing.T) {
	for _, test := range []struct {
		a, b  string
		equal bool
	}{
		{"key  ready  42s 24h18m 13", "key ready 7s 25h3m1s 13", true},
		{"fa97607a83f3\n", "fa97607a83f3", true},
		{"fa97607a83f3", "fa97607a83f4", false},
		{"200 200", "200 502", false},
		{"1 ready", "1 cooling", false},
	} {
		if got := printed(test.a) == printed(test.b); got != test.equal {
			t.Errorf("%q and %q: %t", test.a, test.b, got)
		}
	}
}

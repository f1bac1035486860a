//go:build unix

package managed

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

const (
	importerEnv = "KEYCYCLER_TEST_IMPORTER" // the test binary imports into the file of that name, until it is killed
	batch       = 100                       // keys of an import
)

func TestMain(m *testing.M) {
	if path := os.Getenv(importerEnv); path != "" {
		keepImporting(path)
	}
	os.Exit(m.Run())
}

// imported are the keys of an import.
func imported(pid, n int) (lines []string) {
	for i := range batch {
		lines = append(lines, fmt.Sprintf("sk-demo-%d-%d-%d", pid, n, i))
	}
	return lines
}

// keepImporting says when it begins each import, and when that is done.
func keepImporting(path string) {
	p := poolOf(new(testing.T), []string{path})
	for n := 0; ; n++ {
		fmt.Printf("begun %d\n", n)
		if _, err := p.Add(path, news(imported(os.Getpid(), n)...)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Printf("done %d\n", n)
	}
}

// Who imports keys is killed at any moment: each import that was done is there, whole and once,
// the last one whole or not at all, and a pool reads the file.
func TestKilledImports(t *testing.T) {
	rounds := 2
	if live.Long() {
		rounds = 200
	}
	path := file(t, "a.keys", "# ours\n")
	want, half := "# ours\n", 0
	for range rounds {
		pid, out := killed(t, path)
		done := strings.Count(out, "done ")
		for n := range done {
			want += strings.Join(imported(pid, n), "\n") + "\n"
		}
		text := textOf(t, path)
		if more := want + strings.Join(imported(pid, done), "\n") + "\n"; text == more { // it was killed before it could say so
			want = more
			half++
		}
		if text != want {
			t.Fatalf("after %d imports the file has %d bytes, want %d, and ends in %q", done, len(text), len(want), text[max(len(text)-100, 0):])
		}
		if p := poolOf(t, []string{path}); len(p.keys()) != strings.Count(want, "sk-") {
			t.Fatalf("a pool has %d keys, want %d", len(p.keys()), strings.Count(want, "sk-"))
		}
		if len(want) > 1<<20 { // the larger, the slower
			want = "# ours\n"
			if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d processes were killed, %d of them between an import and its word of it", rounds, half)
}

// killed lets a process import until it has said so much, kills it, and returns what it said.
func killed(t *testing.T, path string) (pid int, said string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), importerEnv+"="+path), os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	live.InTime(t, "it imports", func() {
		io.CopyN(&out, pipe, 1+rand.Int64N(60))
		for range rand.IntN(300) { // somewhat later
			os.Stat(path)
		}
		cmd.Process.Kill()
		io.Copy(&out, pipe)
	})
	cmd.Wait()
	if strings.Contains(out.String(), "refused") {
		t.Fatal(out.String())
	}
	return cmd.Process.Pid, out.String()
}

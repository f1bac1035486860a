// Package live is what tests share that have a running Caddy before them, in their own
// process or in others: waits that end, upstreams, clients, and what the fault matrix is
// made of. It knows no room. A helper goes here when the tests of both, internal/e2e and
// internal/e2e/nodes, want it.
package live

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Patience is for how long a test waits for anything. It is far more than a busy machine
// takes, and far less than what `go test` gives to all tests of a package: what hangs
// fails, and says what it has waited for.
const Patience = time.Minute

// Long tells whether there is time for the long variants of tests.
func Long() bool { return os.Getenv("KEYCYCLER_LONG") == "1" }

// Eventually waits until the condition holds: for what another goroutine or
// process is about to do.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	EventuallyWithin(t, Patience, what, condition)
}

// EventuallyWithin is eventually with a deadline of its own.
func EventuallyWithin(t testing.TB, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still not so after %s: %s", limit, what)
		}
	}
}

// Receive returns what comes from the channel. It ends the test when nothing does.
func Receive[T any](t testing.TB, what string, from <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(Patience):
		t.Fatalf("%s: not within %s; where everything stands:\n%s", what, Patience, Stacks())
	}
	return value
}

// InTime calls what may never return. If it does not, the test has failed, and goes on.
func InTime(t testing.TB, what string, call func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		call()
	}()
	select {
	case <-done:
	case <-time.After(Patience):
		t.Errorf("%s: not within %s; where everything stands:\n%s", what, Patience, Stacks())
	}
}

// CloseServer ends a server whose handlers may hang.
func CloseServer(t testing.TB, s *httptest.Server) {
	t.Helper()
	InTime(t, "the upstream's handlers end", s.Close)
}

// Dial connects to http://host:port until the test ends, but for no longer than a test
// waits.
func Dial(t testing.TB, url string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(url, "http://"), Patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(Patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// Patient returns a client that waits for no answer, its body included, for longer than a
// test waits.
func Patient(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: transport, Timeout: Patience}
}

// RunInTime is cmd.Run, and kills the command when a test waits no longer.
func RunInTime(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	late := time.AfterFunc(Patience, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if !late.Stop() {
		return fmt.Errorf("%v: not within %s: %w", cmd.Args, Patience, err)
	}
	return err
}

// MoreAtATime lets more parallel tests run at a time than there are cores, unless the
// command line says how many: they wait for others most of the time.
func MoreAtATime() {
	flag.Parse()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if !said {
		_ = flag.Set("test.parallel", "8")
	}
}

// Stacks tells where all goroutines stand.
func Stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// Gate is a reader that reads as nothing when it opens.
type Gate struct{ Open <-chan struct{} }

func (g *Gate) Read([]byte) (int, error) {
	select {
	case <-g.Open:
		return 0, io.EOF
	case <-time.After(Patience):
		return 0, errors.New("the rest of the body never came")
	}
}

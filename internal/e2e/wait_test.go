package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// patience is for how long a test waits for anything. It is far more than a busy machine
// takes, and far less than what `go test` gives to all tests of a package: what hangs
// fails, and says what it has waited for.
const patience = time.Minute

// long tells whether there is time for the long variants of tests.
func long() bool { return os.Getenv("KEYCYCLER_LONG") == "1" }

// eventually waits until the condition holds: for what another goroutine or
// process is about to do.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	eventuallyWithin(t, patience, what, condition)
}

// eventuallyWithin is eventually with a deadline of its own.
func eventuallyWithin(t testing.TB, limit time.Duration, what string, condition func() bool) {
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

// receive returns what comes from the channel. It ends the test when nothing does.
func receive[T any](t testing.TB, what string, from <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(patience):
		t.Fatalf("%s: not within %s; where everything stands:\n%s", what, patience, stacks())
	}
	return value
}

// inTime calls what may never return. If it does not, the test has failed, and goes on.
func inTime(t testing.TB, what string, call func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		call()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Errorf("%s: not within %s; where everything stands:\n%s", what, patience, stacks())
	}
}

// closeServer ends a server whose handlers may hang.
func closeServer(t testing.TB, s *httptest.Server) {
	t.Helper()
	inTime(t, "the upstream's handlers end", s.Close)
}

// dial connects to http://host:port until the test ends, but for no longer than a test
// waits.
func dial(t testing.TB, url string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(url, "http://"), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// patient returns a client that waits for no answer, its body included, for longer than a
// test waits.
func patient(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: transport, Timeout: patience}
}

// runInTime is cmd.Run, and kills the command when a test waits no longer.
func runInTime(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if !late.Stop() {
		return fmt.Errorf("%v: not within %s: %w", cmd.Args, patience, err)
	}
	return err
}

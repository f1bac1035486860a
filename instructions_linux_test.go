//go:build amd64 && !race

package keycycler

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// What a request may take in the handler, besides what the next handler does: machine
// instructions outside of the kernel, the least of several requests. A machine's mood
// changes none of these, but the compiler's version does a little, and so do maps with
// their random seeds: the limits leave room for that, and not for more. Who makes it
// less writes it down here.
const (
	instructionsPick      = 400
	instructionsPlain     = 13_000
	instructionsSmall     = 15_000
	instructionsRejection = 70_000 // with its verdict and the cooldown, and the attempt after it
	instructionsChunk     = 600    // written and flushed, with its share of the request
)

// countedEnv names the case that a child process runs and its parent counts.
const countedEnv = "KEYCYCLER_TEST_COUNTED"

// countedCase is something whose instructions are counted.
type countedCase struct {
	name string
	make func(*testing.T) func()
	each uint64 // what is run is so many of them
	most uint64
	runs int // as often it is counted, after as many runs that are not
}

var countedCases = []countedCase{
	{"drawing a key, another having been tried", picks, 1, instructionsPick, 3},
	{"a request without a body", func(t *testing.T) func() { return requests(t, 0, 0, served) }, 1, instructionsPlain, 5},
	{"a body of 1 KB, 1,000 keys", func(t *testing.T) func() { return requests(t, 1<<10, 1<<10, served) }, 1, instructionsSmall, 5},
	{"a body of 1 KB, 10 keys", func(t *testing.T) func() { return requestsTo(t, coolingPool(t, 10, 0), 1<<10, 1<<10, served) }, 1, instructionsSmall, 5},
	{"a body of 1 KB, 100,000 keys, 99 % of them cooling", func(t *testing.T) func() { return requestsTo(t, coolingPool(t, 100_000, 99), 1<<10, 1<<10, served) }, 1, instructionsSmall, 5},
	{"a body of 1 KB, and one rejected attempt", func(t *testing.T) func() { return requests(t, 1<<10, 1<<10, rejectedOnce()) }, 1, instructionsRejection, 1},
	{"a chunk of a stream", func(t *testing.T) func() { return requests(t, 0, 0, streamed(50)) }, 50, instructionsChunk, 1},
}

// TestInstructions pins how many instructions requests take. Few virtual machines have
// a counter for them, so the kernel's single step counts.
func TestInstructions(t *testing.T) {
	if name := os.Getenv(countedEnv); name != "" {
		runCounted(t, name)
		return
	}
	if testing.CoverMode() != "" {
		skipCounting(t, "the program is instrumented for coverage")
	}
	for _, c := range countedCases {
		counts, err := c.count(t.Context())
		if errors.Is(err, syscall.EPERM) {
			skipCounting(t, "stepping through a process is not allowed here: "+err.Error())
		}
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		got := slices.Min(counts) / c.each
		t.Logf("%s: %d instructions", c.name, got)
		if got > c.most {
			t.Errorf("%s: %d instructions, at most %d", c.name, got, c.most)
		}
	}
}

// skipCounting skips the test, where that is not forbidden.
func skipCounting(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("KEYCYCLER_REQUIRE_TOOLS") == "1" {
		t.Fatalf("KEYCYCLER_REQUIRE_TOOLS=1: %s", why)
	}
	t.Skip(why)
}

// runCounted is the child: it runs the case between signals that it sends itself, and
// that only its tracer sees.
func runCounted(t *testing.T, name string) {
	c := countedCases[slices.IndexFunc(countedCases, func(c countedCase) bool { return c.name == name })]
	run := c.make(t)
	for range 1000 {
		run() // fills the pools and the caches of the process
	}
	runtime.LockOSThread()
	tid := syscall.Gettid()
	fmt.Printf("%d\n", tid)
	// The tracer stops all threads while this one waits here, and lets it alone go on.
	var b [1]byte
	if n, _, errno := syscall.RawSyscall(syscall.SYS_READ, 0, uintptr(unsafe.Pointer(&b[0])), 1); n != 1 {
		t.Fatalf("waiting for the tracer: %d, %v", n, errno)
	}
	for range c.runs {
		run()
	}
	for range c.runs {
		mark(tid)
		run()
		mark(tid)
	}
}

// mark tells the tracer that something begins or ends.
func mark(tid int) {
	syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(os.Getpid()), uintptr(tid), uintptr(syscall.SIGUSR1))
}

// count runs the case in a child process and returns how many instructions each of its
// runs takes.
func (c *countedCase) count(ctx context.Context) (counts []uint64, err error) {
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute) // a step takes a microsecond, or a hundred
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestInstructions$") // this program
	// No garbage collection and no preemption come between.
	child.Env = append(os.Environ(), countedEnv+"="+c.name, "GOGC=off", "GODEBUG=asyncpreemptoff=1")
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := child.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := child.Start(); err != nil {
		return nil, err
	}
	defer child.Wait()         // it was killed
	defer child.Process.Kill() // it may be gone
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the child says %q: %w", line, err)
	}
	tid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return nil, err
	}
	return stepped(child.Process.Pid, tid, c.runs, func() error { _, err := in.Write([]byte{1}); return err })
}

// stepped stops all threads of the process but this one, which it lets go on, and counts
// its steps between two marks, so many times.
func stepped(pid, tid, times int, goOn func() error) (counts []uint64, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		return nil, err
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(filepath.Base(thread))
		if err != nil {
			return nil, err
		}
		if err := syscall.PtraceAttach(id); err != nil {
			return nil, fmt.Errorf("ptrace: %w", err)
		}
		if _, err := stopOf(id); err != nil {
			return nil, err
		}
		defer syscall.PtraceDetach(id) // it may be gone
	}
	if err := goOn(); err != nil {
		return nil, err
	}
	for range times {
		if err := untilMark(tid, syscall.PtraceCont); err != nil {
			return nil, err
		}
		steps := uint64(0)
		if err := untilMark(tid, func(tid, _ int) error { steps++; return syscall.PtraceSingleStep(tid) }); err != nil {
			return nil, err
		}
		counts = append(counts, steps)
	}
	return counts, nil
}

// untilMark lets the thread go on, again and again, until it marks something.
func untilMark(tid int, goOn func(tid, signal int) error) error {
	for {
		if err := goOn(tid, 0); err != nil {
			return fmt.Errorf("ptrace: %w", err)
		}
		switch signal, err := stopOf(tid); {
		case err != nil:
			return err
		case signal == syscall.SIGUSR1:
			return nil
		case signal != syscall.SIGTRAP && signal != syscall.SIGSTOP:
			return fmt.Errorf("the child got signal %s", signal)
		}
	}
}

// stopOf waits until the thread stops, and returns for which signal.
func stopOf(tid int) (syscall.Signal, error) {
	const anyThread = 0x40000000 // __WALL of wait(2)
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(tid, &status, anyThread, nil); err != nil {
		return 0, fmt.Errorf("wait: %w", err)
	}
	if !status.Stopped() {
		return 0, fmt.Errorf("the child has ended: status %#x", uint32(status))
	}
	return status.StopSignal(), nil
}

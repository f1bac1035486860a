package main

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// spin uses CPU time until the process' clock says that it has.
func spin(t *testing.T, length time.Duration) {
	t.Helper()
	begin, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for {
		now, err := cpuTime(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if now-begin >= length {
			return
		}
	}
}

func TestCPUTimeIsTheProcesss(t *testing.T) {
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		t.Fatal(err)
	}
	spin(t, 50*time.Millisecond)
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		t.Fatal(err)
	}
	used := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	if used < 30*time.Millisecond {
		t.Errorf("50ms by the clock are %s by getrusage", used)
	}
}

// Linux numbers processes below 1<<22.
func TestCPUTimeOfNoProcess(t *testing.T) {
	if spent, err := cpuTime(1 << 22); err == nil {
		t.Errorf("a process that is not there has used %s", spent)
	}
}

func TestResidentMemoryGrowsWithWhatIsTouched(t *testing.T) {
	before, err := residentMemory(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	touched := make([]byte, 64<<20)
	for i := 0; i < len(touched); i += 4096 {
		touched[i] = 1
	}
	after, err := residentMemory(os.Getpid())
	if err != nil || after-before < 32<<20 {
		t.Errorf("64 MiB more are %d bytes: %v", after-before, err)
	}
	if touched[0] != 1 {
		t.Error("forgotten")
	}
}

// A counter of the kernel's own stands in for that of instructions, which few virtual
// machines have.
func TestCountCountsTheProcess(t *testing.T) {
	c, err := count(os.Getpid(), event{kind: unix.PERF_TYPE_SOFTWARE, config: unix.PERF_COUNT_SW_TASK_CLOCK})
	if err != nil {
		// Where the machine has none, the bench says so.
		if !strings.Contains(err.Error(), "perf_event_open") {
			t.Errorf("error %v", err)
		}
		return
	}
	spin(t, 50*time.Millisecond)
	counted, err := c.stop()
	if err != nil || time.Duration(counted) < 30*time.Millisecond {
		t.Errorf("50ms are counted as %s: %v", time.Duration(counted), err)
	}
}

func TestProcessesRunOnTheirCores(t *testing.T) {
	before, err := usableCores()
	if err != nil || len(before) == 0 {
		t.Fatalf("cores %v, %v", before, err)
	}
	core := before[len(before)-1:]
	cmd := exec.CommandContext(context.Background(), "sleep", "60")
	if err := startPinned(cmd, core); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(cmd.Process.Pid, &set); err != nil {
		t.Fatal(err)
	}
	if set.Count() != 1 || !set.IsSet(core[0]) {
		t.Errorf("it may run on %v", set)
	}
	if after, err := usableCores(); err != nil || !slices.Equal(before, after) {
		t.Errorf("this process may run on %v now, and before on %v: %v", after, before, err)
	}
}

package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cpuTime returns the CPU time that the process has used so far, by the kernel's
// clock of the process: to the nanosecond, with threads that have ended.
func cpuTime(pid int) (time.Duration, error) {
	const schedClock = 2 // CPUCLOCK_SCHED of linux/posix-timers_types.h
	var spent unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &spent); err != nil {
		return 0, fmt.Errorf("reading the CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(spent.Nano()), nil
}

// writeCalls returns how many write calls the process has made so far.
func writeCalls(pid int) (int64, error) {
	io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, err
	}
	return parseWriteCalls(string(io))
}

// residentMemory returns the bytes of memory that the process holds.
func residentMemory(pid int) (int64, error) {
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	return parseRollup(string(rollup))
}

// usableCores returns the cores that this process may run on.
func usableCores() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("asking for the usable cores: %w", err)
	}
	var cores []int
	for core := range len(set) * 64 {
		if set.IsSet(core) {
			cores = append(cores, core)
		}
	}
	return cores, nil
}

// pinSelf keeps this process on these cores.
func pinSelf(cores []int) error {
	runtime.GOMAXPROCS(len(cores))
	threads, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		return err
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(filepath.Base(thread))
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, setOf(cores)); err != nil && err != unix.ESRCH {
			return fmt.Errorf("pinning this process: %w", err)
		}
	}
	return nil
}

func setOf(cores []int) *unix.CPUSet {
	var set unix.CPUSet
	for _, core := range cores {
		set.Set(core)
	}
	return &set
}

// startPinned starts the command on these cores. It inherits them from the calling
// thread, and dies with that.
func startPinned(cmd *exec.Cmd, cores []int) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if len(cores) == 0 {
		return cmd.Start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	if err := unix.SchedSetaffinity(0, setOf(cores)); err != nil {
		return fmt.Errorf("pinning to cores %v: %w", cores, err)
	}
	defer unix.SchedSetaffinity(0, &before) //nolint:errcheck // it was so before
	return cmd.Start()
}

// event is what a counter counts.
type event struct {
	kind   uint32
	config uint64
	bits   uint64
}

// instructions are those of a process outside of the kernel.
var instructions = event{
	kind:   unix.PERF_TYPE_HARDWARE,
	config: unix.PERF_COUNT_HW_INSTRUCTIONS,
	bits:   unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv,
}

// counter counts an event in the threads of a process.
type counter struct{ threads []int }

// count begins to count an event in the process, in all of its threads and in those
// that they start. It fails where the machine has no such counter, or forbids it.
func count(pid int, e event) (*counter, error) {
	attr := unix.PerfEventAttr{
		Type:   e.kind,
		Size:   uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
		Config: e.config,
		Bits:   e.bits | unix.PerfBitInherit,
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		return nil, err
	}
	c := new(counter)
	for _, thread := range threads {
		id, err := strconv.Atoi(filepath.Base(thread))
		if err != nil {
			return nil, err
		}
		fd, err := unix.PerfEventOpen(&attr, id, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if err == unix.ESRCH { //nolint:errorlint // an errno
			continue // the thread has ended meanwhile
		}
		if err != nil {
			c.stop() //nolint:errcheck // the other error tells
			return nil, fmt.Errorf("perf_event_open: %w", err)
		}
		c.threads = append(c.threads, fd)
	}
	return c, nil
}

// stop returns what was counted, and ends the counting.
func (c *counter) stop() (total uint64, err error) {
	for _, fd := range c.threads {
		var value [8]byte
		if n, readErr := unix.Read(fd, value[:]); readErr != nil || n != len(value) {
			err = fmt.Errorf("reading a counter: %d bytes: %w", n, readErr)
		}
		total += binary.NativeEndian.Uint64(value[:])
		unix.Close(fd) //nolint:errcheck // it was read
	}
	return total, err
}

// machineName describes the machine, for the report.
func machineName() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "an unknown CPU"
	}
	for line := range strings.Lines(string(info)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "an unknown CPU"
}

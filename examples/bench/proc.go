package main

import (
	"fmt"
	"strconv"
	"strings"
)

// parseRollup returns the resident bytes that a /proc/<pid>/smaps_rollup tells.
func parseRollup(text string) (int64, error) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != "Rss:" || fields[2] != "kB" {
			continue
		}
		kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil || kilobytes < 0 || kilobytes > 1<<50 {
			return 0, fmt.Errorf("smaps_rollup: %q is no size", fields[1])
		}
		return kilobytes << 10, nil
	}
	return 0, fmt.Errorf("smaps_rollup: no line begins with Rss")
}

// parseWriteCalls returns how many write calls a /proc/<pid>/io tells.
func parseWriteCalls(text string) (int64, error) {
	for line := range strings.Lines(text) {
		value, ok := strings.CutPrefix(strings.TrimSpace(line), "syscw: ")
		if !ok {
			continue
		}
		if n := parseCount(value); n >= 0 {
			return n, nil
		}
		return 0, fmt.Errorf("io: %q is no number of calls", value)
	}
	return 0, fmt.Errorf("io: no line begins with syscw")
}

// parseHeap returns the bytes that the process uses after a garbage collection, on its
// heap and its stacks, from what /debug/pprof/heap?debug=1 prints.
func parseHeap(text string) (int64, error) {
	var heap, stack int64 = -1, -1
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		switch name {
		case "# HeapAlloc":
			heap = parseCount(value)
		case "# Stack":
			inUse, _, _ := strings.Cut(value, " / ")
			stack = parseCount(inUse)
		}
	}
	if heap < 0 || stack < 0 {
		return 0, fmt.Errorf("the heap profile tells no HeapAlloc, or no Stack")
	}
	return heap + stack, nil
}

// parseCount returns the number, or -1 where it is none of bytes.
func parseCount(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > 1<<60 {
		return -1
	}
	return n
}

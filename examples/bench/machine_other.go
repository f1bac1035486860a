//go:build !linux

package main

import (
	"errors"
	"os/exec"
	"time"
)

// errNotLinux is what measuring comes to elsewhere.
var errNotLinux = errors.New("bench measures on Linux only")

type event struct{}

var instructions event

type counter struct{}

func cpuTime(int) (time.Duration, error) { return 0, errNotLinux }
func writeCalls(int) (int64, error)      { return 0, errNotLinux }
func residentMemory(int) (int64, error)  { return 0, errNotLinux }
func usableCores() ([]int, error)        { return nil, errNotLinux }
func pinSelf([]int) error                { return errNotLinux }
func startPinned(*exec.Cmd, []int) error { return errNotLinux }
func count(int, event) (*counter, error) { return nil, errNotLinux }
func (*counter) stop() (uint64, error)   { return 0, errNotLinux }
func machineName() string                { return "" }

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// process is a program that runs until it is stopped.
type process struct {
	cmd *exec.Cmd
	log string // a file with what it prints to stderr
}

// grace is how long a process may take to end by itself.
const grace = 5 * time.Second

// start runs the program on these cores, none of which means all. What it prints to
// stderr goes to the file log. It dies with the thread that calls start.
func start(ctx context.Context, cores []int, log string, env []string, program string, args ...string) (*process, io.ReadCloser, error) {
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // an operator names it
	cmd.Env = append(os.Environ(), env...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	file, err := os.Create(log)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	cmd.Stderr = file
	if err := startPinned(cmd, cores); err != nil {
		return nil, nil, fmt.Errorf("starting %s: %w", program, err)
	}
	return &process{cmd: cmd, log: log}, stdout, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends the process.
func (p *process) stop() {
	if err := p.cmd.Process.Signal(os.Interrupt); err == nil {
		timer := time.AfterFunc(grace, func() { p.cmd.Process.Kill() }) //nolint:errcheck // it may be gone
		defer timer.Stop()
	}
	p.cmd.Wait() //nolint:errcheck // how it ends is of no interest
}

// said returns the end of what the process has printed, for an error.
func (p *process) said() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(len(lines)-5, 0):], "\n")
}

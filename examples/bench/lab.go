package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// lab is what all scenarios share: the gateway's binary, the upstream, and which cores
// are whose.
type lab struct {
	ctx     context.Context //nolint:containedctx // of one run of this program
	options options
	log     io.Writer
	dir     string
	binary  string

	gatewayCores []int // none: nothing is pinned
	loadCores    []int

	upstream        *process
	upstreamAddress string
	redis           *redisServer   // once a scenario has asked for it
	held            []*plainClient // of a footprint
}

func newLab(ctx context.Context, o options, log io.Writer) (l *lab, err error) {
	l = &lab{ctx: ctx, options: o, log: log}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.dir, err = os.MkdirTemp("", "keycycler-bench-*"); err != nil {
		return l, err
	}
	if l.binary, err = l.build(); err != nil {
		return l, err
	}
	if err := l.pin(); err != nil {
		return l, err
	}
	return l, l.startUpstream()
}

func (l *lab) close() {
	if l.redis != nil {
		l.redis.stop()
	}
	if l.upstream != nil {
		l.upstream.stop()
	}
	os.RemoveAll(l.dir) //nolint:errcheck // a temporary directory
}

// printf tells how it goes.
func (l *lab) printf(format string, args ...any) { fmt.Fprintf(l.log, format+"\n", args...) }

// build builds the one gateway that all scenarios run.
func (l *lab) build() (string, error) {
	if l.options.gateway != "" {
		return filepath.Abs(l.options.gateway)
	}
	root, err := moduleRoot(l.ctx)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(l.dir, "caddy")
	l.printf("building the gateway")
	build := exec.CommandContext(l.ctx, "go", "build", "-o", binary, "./examples/caddy") //nolint:gosec // a file of our own
	build.Dir = root
	build.Stdout, build.Stderr = l.log, l.log
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("building the gateway: %w", err)
	}
	return binary, nil
}

// moduleRoot returns keycycler's directory, two above this program's.
func moduleRoot(ctx context.Context) (string, error) {
	gomod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("looking for go.mod: %w", err)
	}
	root := filepath.Join(filepath.Dir(strings.TrimSpace(string(gomod))), "..", "..")
	if _, err := os.Stat(filepath.Join(root, "examples", "caddy")); err != nil {
		return "", errors.New("run it in examples/bench, or name a Caddy with -gateway")
	}
	return root, nil
}

// pin gives the gateways a core of their own, and the load and the upstream the others.
func (l *lab) pin() error {
	cores, err := usableCores()
	if err != nil {
		return err
	}
	if len(cores) < 2 {
		l.printf("one core: gateway, load and upstream share it; throughput means nothing")
		return nil
	}
	last := len(cores) - 1
	l.gatewayCores, l.loadCores = cores[last:], cores[:last]
	return pinSelf(l.loadCores)
}

// startUpstream starts this program as the upstream.
func (l *lab) startUpstream() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	process, out, err := start(l.ctx, l.loadCores, filepath.Join(l.dir, "upstream.log"), []string{"GOMAXPROCS=1"}, self, upstreamCommand)
	if err != nil {
		return err
	}
	l.upstream = process
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("the upstream does not say where it listens: %w: %s", err, process.said())
	}
	l.upstreamAddress = strings.TrimSpace(line)
	return nil
}

// Command bench compares keycycler with what it could be replaced by: bare Caddy,
// whose reverse_proxy sends one static key. It builds one Caddy, runs it with
// different configs before a scripted upstream, drives them in short slices, and prints
// what a request costs in each: CPU time of the gateway's process, where all are driven
// at the same time; throughput, latency, write calls and what is allocated, where one is
// driven at a time. Ratios are printed with their spread.
//
//	cd examples/bench && go run .
//
// main.go and options.go are the command, scenario.go says what is compared,
// measure.go, together.go and schedule.go when, stats.go what follows from the numbers, report.go
// and markdown.go how it looks. lab.go is what all scenarios share, rig.go what one
// runs: gateway.go (with admin.go), redis.go, neighbour.go and upstream.go are the
// processes, process.go starts them, machine_linux.go (with proc.go) pins and
// measures them. load.go drives them through client.go (HTTP/1.1, with wire.go) and
// client_http2.go. footprint.go measures memory, and how long a start takes,
// profile.go where the CPU time goes.
//
// It needs Linux, Go, and for the scenarios with Redis a redis-server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
)

func init() {
	// Processes are started from the main thread, which lives as long as this one:
	// that they die with it is tied to the thread.
	runtime.LockOSThread()
}

func main() {
	if slices.Equal(os.Args[1:], []string{upstreamCommand}) {
		exit(serveUpstream(os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// exit ends the process: 0 for done, 2 for wrong usage, 1 for any other error.
func exit(err error) {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case errors.Is(err, errUsage):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures what the arguments say and prints it to out; progress goes to log.
func run(ctx context.Context, args []string, out, log io.Writer) error {
	o, err := parseOptions(args, log)
	if err != nil {
		return err
	}
	chosen, footprints := o.chosen()
	if o.list {
		return list(out, chosen, footprints)
	}
	if len(chosen)+len(footprints) == 0 {
		return fmt.Errorf("-run %s: no scenario is called so; -list shows them", o.run)
	}
	lab, err := newLab(ctx, o, log)
	if err != nil {
		return err
	}
	defer lab.close()
	report := newReport(o, lab)
	for _, s := range chosen {
		if err := lab.add(report, s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for _, f := range footprints {
		rows, err := f.measure(lab)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		report.Footprints = append(report.Footprints, rows...)
	}
	return report.print(out, o)
}

// list prints what -run chooses among.
func list(out io.Writer, chosen []scenario, footprints []footprint) error {
	for _, s := range chosen {
		if _, err := fmt.Fprintf(out, "%-18s %s\n", s.name, s.about); err != nil {
			return err
		}
	}
	for _, f := range footprints {
		if _, err := fmt.Fprintf(out, "%-18s %s\n", f.name, f.about); err != nil {
			return err
		}
	}
	return nil
}

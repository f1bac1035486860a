package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"time"
)

// errUsage is returned after what is wrong was told.
var errUsage = errors.New("usage")

// options are what the command line says.
type options struct {
	run     *regexp.Regexp // names of scenarios
	list    bool
	rounds  int           // per start; each drives every gateway once alone, and once together with the others
	starts  int           // of the gateways, anew: what a process is lucky with shows
	slice   time.Duration // how long that takes each time
	warmup  time.Duration // likewise, once a start, before it counts
	format  string        // text or markdown
	json    string        // a file, or ""
	profile string        // a directory, or ""
	carrier string        // keycycler's transport in reverse_proxy
	gateway string        // a Caddy with keycycler, or "" to build one
	seed    uint64
}

func parseOptions(args []string, log io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(log)
	pattern := flags.String("run", "", "measure the scenarios whose name this `regexp` matches")
	flags.BoolVar(&o.list, "list", false, "list the scenarios and measure nothing")
	flags.IntVar(&o.rounds, "rounds", 10, "rounds for each start of the gateways, 2 to 10000")
	flags.IntVar(&o.starts, "starts", 4, "how many times the gateways are started for each scenario, 1 to 100")
	flags.DurationVar(&o.slice, "slice", 300*time.Millisecond, "how long one gateway, or all of them together, are driven in a round, 10ms to 1m")
	flags.DurationVar(&o.warmup, "warmup", 500*time.Millisecond, "how long each gateway is driven before it counts, 10ms to 1m")
	flags.StringVar(&o.format, "format", "text", "text or markdown")
	flags.StringVar(&o.json, "json", "", "write everything that was measured to this `file`, too")
	flags.StringVar(&o.profile, "profile", "", "take a CPU profile of 5s of each gateway in each scenario, into this `directory`")
	flags.StringVar(&o.carrier, "transport", "http", "of keycycler's reverse_proxy: http, as bare Caddy's, or keycycler")
	flags.StringVar(&o.gateway, "gateway", "", "a Caddy with keycycler; default: build examples/caddy")
	flags.Uint64Var(&o.seed, "seed", 1, "of the order of the slices, and of the intervals' bootstrap")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, errUsage
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.run, err = regexp.Compile(*pattern); err != nil {
		return o, fmt.Errorf("-run: %w", err)
	}
	return o, o.check()
}

func (o *options) check() error {
	bounded := func(d time.Duration) bool { return d >= 10*time.Millisecond && d <= time.Minute }
	switch {
	case o.rounds < 2 || o.rounds > 10000:
		return fmt.Errorf("-rounds %d: must be 2 to 10000", o.rounds)
	case o.starts < 1 || o.starts > 100:
		return fmt.Errorf("-starts %d: must be 1 to 100", o.starts)
	case !bounded(o.slice):
		return fmt.Errorf("-slice %s: must be 10ms to 1m", o.slice)
	case !bounded(o.warmup):
		return fmt.Errorf("-warmup %s: must be 10ms to 1m", o.warmup)
	case o.carrier != "http" && o.carrier != "keycycler":
		return fmt.Errorf("-transport %s: must be http or keycycler", o.carrier)
	case o.format != "text" && o.format != "markdown":
		return fmt.Errorf("-format %s: must be text or markdown", o.format)
	}
	return nil
}

// chosen returns what -run names, in order.
func (o *options) chosen() (chosen []scenario, foot []footprint) {
	for _, s := range scenarios {
		if o.run.MatchString(s.name) {
			chosen = append(chosen, s)
		}
	}
	for _, f := range footprints {
		if o.run.MatchString(f.name) {
			foot = append(foot, f)
		}
	}
	return chosen, foot
}

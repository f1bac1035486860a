// Package command is caddy keycycler: it asks the admin endpoint of a running Caddy, and
// shows and changes the state of its keys.
//
// It knows the answers of the admin API (package observe has them) but not the API itself:
// the two may be of different processes. A subcommand goes here, one file each job.
package command

import (
	"fmt"
	"strings"

	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/observe"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func init() {
	caddycmd.RegisterCommand(cliCommand)
}

// cliCommand is `caddy keycycler`.
var cliCommand = caddycmd.Command{
	Name:      "keycycler",
	Usage:     "<command>",
	Short:     "Shows the API keys of a running gateway, and changes their state",
	Long:      cliHelp,
	CobraFunc: buildCLI,
}

const cliHelp = `Shows the API keys of a running gateway, and changes their state: cools, clears,
disables and enables them.

Keys are called by their ids, never shown: an id is 12 hex digits, made of the
key by a hash, the same on every node and in every log line. 'id' tells the ids
of keys that you have. A key that has a name can be called by that, too.
'add', 'import' and 'remove' change which keys a pool has, in a file that the
config lets keycycler write. 'test' asks the provider whether a key is good,
'classify' tells what keycycler makes of an answer, and 'usage' who uses how much.

A key is

  ready      requests may use it;
  cooling    its provider has refused it, or an operator wants it to rest: no
             request uses it until its time is up, or until it is cleared;
  disabled   no request uses it until it is enabled.

The state belongs to the key: all pools that hold the key share it. It outlives
a reload of the config; with 'state redis' it holds on all nodes and outlives a
restart, too. What is counted (attempts, rejections, calls in flight) is counted
by the node that is asked, since its start.

All commands but 'id' and 'classify' ask the admin endpoint of a running Caddy.
Its address is that of --address, or that in the config of --config, or that in
the environment variable CADDY_ADMIN, or localhost:2019.
` + exitCodes

const exitCodes = `
Exit codes:

  0   done
  1   not done: Caddy could not be asked or has refused, no such pool or key, or
      a line that 'id' read is no key
  2   wrong usage: an unknown command or flag, a wrong argument
`

// exitUsage is the exit code for wrong usage. Any other error's is 1.
const exitUsage = 2

// apiPath is where the admin API's pools are.
const apiPath = observe.AdminPrefix + "pools"

// buildCLI gives `caddy keycycler` its subcommands.
func buildCLI(cmd *cobra.Command) {
	cmd.Example = `  $ caddy keycycler list --state cooling
  $ caddy keycycler cool 0123456789ab --for 10m
  $ caddy keycycler disable $(caddy keycycler id < leaked-keys.txt)`
	cmd.DisableFlagsInUseLine = true
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return exit(cmd, wrongFlag(cmd, err)) })
	cmd.RunE = cliRun(noCommand)
	askingFlags(cmd) // so that a command that there is not is told of before them
	cmd.Flags().VisitAll(func(f *pflag.Flag) { f.Hidden = true })
	cmd.AddCommand(listCommand(), showCommand(), coolCommand(),
		verbCommand("clear", "Makes cooling keys ready at once",
			"Ends the cooldown of keys. One that is disabled stays so: see 'enable'.\n"+
				"A provider that refuses the key again makes it cool again."),
		verbCommand("disable", "Takes keys out of use until they are enabled",
			"Takes keys out of use, until they are enabled again. Calls that are under way\n"+
				"with them end as usual."),
		verbCommand("enable", "Takes disabled keys back into use",
			"Takes disabled keys back into use. One that is cooling cools on: see 'clear'."),
		addCommand(), importCommand(), removeCommand(), testCommand(), usageCommand(), idCommand(), classifyCommand())
	completeAll(cmd)
}

// wrongFlag says what is wrong with a flag, or with the command before it that there is not.
func wrongFlag(cmd *cobra.Command, err error) error {
	if before := cmd.Flags().Args(); cmd.HasSubCommands() && len(before) > 0 {
		return noCommand(cmd, before)
	}
	return flagError(cmd, err)
}

// noCommand is what `caddy keycycler` does without a subcommand that exists.
func noCommand(cmd *cobra.Command, args []string) error {
	names := make([]string, 0, len(cmd.Commands()))
	for _, sub := range cmd.Commands() {
		names = append(names, sub.Name())
	}
	all := "one of " + strings.Join(names, ", ")
	if len(args) > 0 && args[0] == "help" {
		return helpOn(cmd, args[1:])
	}
	if len(args) > 0 {
		return wrongf("unknown command %s: %s", directive.Shown(args[0]), directive.Instead(args[0], names, all))
	}
	cmd.SetOut(cmd.ErrOrStderr()) // what is asked for goes to the standard output, and this was not
	if err := cmd.Help(); err != nil {
		return err
	}
	return wrongf("a command is missing: %s", all)
}

// helpOn is `caddy keycycler help [<command>]`, as people write it.
func helpOn(cmd *cobra.Command, args []string) error {
	sub, rest, err := cmd.Find(args)
	if err != nil || len(rest) > 0 {
		return noCommand(cmd, args)
	}
	return sub.Help()
}

func listCommand() *cobra.Command {
	cmd := apiCommand("list", "Lists the pools and their keys", listHelp, list)
	cmd.Example = `  $ caddy keycycler list
  $ caddy keycycler list --pool main --state cooling --class quota_exhausted
  $ caddy keycycler list --json | jq -r '.[].keys[] | select(.attempts == 0) | .id'`
	filterFlags(cmd, "only keys")
	cmd.Flags().Int("limit", observe.DefaultLimit, "how many keys of each pool; 0 is all (with --json the default)")
	cmd.Flags().String("sort", listOrders[0], "by id, or by left: those first that come back first")
	return cmd
}

const listHelp = `Lists the pools, and the keys of each, ordered by id or, with --sort left, by
when they come back:

  NAME       if any key has one
  STATE      ready, cooling or disabled
  CLASS      why it cools: rate_limited, quota_exhausted, invalid_key,
             request_too_large, overloaded, unknown (a refusal that nobody
             here understands), other (a rule of the config) or operator
  SOURCE     where it is stated for how long: a header's name, body:… for a
             value in the answer's body, default or config if the config says
             so, or operator
  LEFT       how long it still cools
  TRIED      calls to the provider
  REJECTED   of them, how many the provider has refused
  USED       how long ago it was used last
  BUSY       calls under way

Above the keys stands when the next of those that cool may serve again, and which
models no key is ready for, or only some are.

Columns for which 80 are not enough are left out, from the right, and a long
source is cut short: 'show' and --json have everything.

With --json it prints one array, of an object for each pool: what the admin API
says of the pool, but its keys as "keys" instead of their number. Where --limit
cut the keys short, there is "next", the id of the last that is there.
` + exitCodes

func showCommand() *cobra.Command {
	cmd := apiCommand("show <id>|<name>", "Shows everything that is known about a key", showHelp, show)
	cmd.Example = `  $ caddy keycycler show 0123456789ab
  $ caddy keycycler show $(caddy keycycler id < key.txt) --json`
	return cmd
}

const showHelp = `Shows everything that is known about a key, in each pool that holds it. Its
counters are those of the node that is asked, since its start.

With --json it prints one array, of an object for each pool: what the admin API
says of the key, and "pool", the pool's name.
` + exitCodes

// verbCommand makes one of the commands that change keys. What all of them have in
// common is added to its help.
func verbCommand(verb, short, help string) *cobra.Command {
	cmd := apiCommand(verb+" <id|name...>|--all", short, help+"\n\n"+verbHelp, change)
	cmd.Example = fmt.Sprintf("  $ caddy keycycler %[1]s 0123456789ab\n"+
		"  $ caddy keycycler %[1]s $(caddy keycycler id < keys.txt)\n"+
		"  $ caddy keycycler %[1]s --all --pool main --class rate_limited", verb)
	cmd.Flags().Bool("all", false, "all keys of one pool, instead of ids or names")
	filterFlags(cmd, "with --all: only keys")
	return cmd
}

const verbHelp = `The keys are given by ids or names, or are all keys of one pool: --all, which
wants --pool unless there is one pool alone, and which --state and --class
narrow. If one of them is unknown, or a name is that of several keys, nothing is
changed: --pool says whose names count.

It prints a line for each key that says how it is now and how it was before; for
--all, how many keys there were and how many it has changed. With --json it
prints one array, of an object for each key: what the admin API says of it now,
and "pool"; for --all one object, with "pool", "keys" and "changed".
` + exitCodes

func coolCommand() *cobra.Command {
	cmd := verbCommand("cool", "Lets keys rest for a while",
		"Lets keys rest for a while. A key that cools for longer already cools for as\n"+
			"long as before: clear it first to shorten that.")
	cmd.Use = "cool <id|name...>|--all --for <duration>"
	cmd.Example = `  $ caddy keycycler cool 0123456789ab --for 10m
  $ caddy keycycler cool --all --pool main --for 1d12h`
	cmd.Flags().String("for", "", "how long, as in 90s, 10m, 1h30m, 2d: at most 365d")
	return cmd
}

func idCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "id",
		Short: "Tells the ids of keys that it reads",
		Long:  idHelp,
		Example: `  $ caddy keycycler id < keys.txt
  $ caddy keycycler disable $(caddy keycycler id < leaked-keys.txt)`,
		DisableFlagsInUseLine: true,
		RunE:                  cliRun(printIDs),
	}
}

const idHelp = `Reads keys from the standard input and prints their ids, in order. The input is
as a keys_file is: one key a line, maybe with a name behind it; blank lines and
lines that begin with # do not count. On a terminal it asks for keys, and does
not show what is typed.

Keys are never printed, and never are arguments, since other users of a machine
can see those. It prints nothing if a line is no key, and says which line that is.
No gateway is needed.
` + exitCodes

// apiCommand makes a command that asks a running gateway.
func apiCommand(use, short, long string, run func(*cobra.Command, []string) error) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long, RunE: cliRun(run)}
	askingFlags(cmd)
	return cmd
}

// askingFlags are those of all commands that ask a running gateway.
func askingFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.String("address", "", "address of Caddy's admin endpoint (default localhost:2019)")
	flags.StringP("config", "c", "", "config file that says the address, if --address does not")
	flags.StringP("adapter", "a", "", "name of the config adapter that --config needs")
	flags.String("pool", "", "only this pool")
	flags.Bool("json", false, "print JSON, for scripts")
}

func filterFlags(cmd *cobra.Command, what string) {
	cmd.Flags().String("state", "", what+" in this state: ready, cooling or disabled")
	cmd.Flags().String("class", "", what+" that cool for this, as in rate_limited")
}

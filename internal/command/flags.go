package command

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/observe"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/keycycler/keycycler/rotator"
)

// usageError is an error of the command line.
type usageError struct{ error }

func wrongf(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// cliRun makes run a cobra function whose errors have their exit codes.
func cliRun(run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error { return exit(cmd, run(cmd, args)) }
}

// exit makes Caddy exit with 2 for wrong usage; for other errors it exits with 1.
// Only caddycmd can make the error that carries a code, and it would log the text
// as well: so the text is printed here, as cobra prints others.
func exit(cmd *cobra.Command, err error) error {
	if _, wrong := errors.AsType[usageError](err); !wrong {
		return err
	}
	cmd.PrintErrln(cmd.ErrPrefix(), err)
	cmd.PrintErrf("Run '%s --help' for usage.\n", cmd.CommandPath())
	cmd.SilenceErrors = true
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return exitUsage, nil })(cmd, nil)
}

// flagError says what is wrong with a flag. Values may be keys that went astray:
// those are not repeated.
func flagError(cmd *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		dashes := "--"
		if e.GetSpecifiedShortnames() != "" {
			dashes = "-"
		}
		return wrongf("unknown flag %s%s", directive.Shown(dashes+e.GetSpecifiedName()), nearFlag(cmd, e.GetSpecifiedName()))
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return wrongf("--%s: %s %s", e.GetFlag().Name, directive.Shown(e.GetValue()), cmp.Or(flagKinds[e.GetFlag().Value.Type()], "is no value of it"))
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return wrongf("--%s: its value is missing", e.GetFlag().Name)
	}
	return wrongf("a flag is malformed: it must be --<name> <value> or --<name>=<value>")
}

// flagKinds are what flags take, by what package pflag calls it.
var flagKinds = map[string]string{"int": "is no whole number", "bool": "is neither true nor false"}

// nearFlag tells of the command's flag that somebody may have meant.
func nearFlag(cmd *cobra.Command, name string) string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := directive.Near(name, names); near != "" && len(name) > 1 {
		return ": did you mean '--" + near + "'?"
	}
	return ""
}

// noArguments refuses arguments, and does not repeat them.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return wrongf("%s takes no arguments", cmd.Name())
	}
	return nil
}

// parseIDs checks that all arguments are ids or names, and makes ids what they are on every
// node: in lower case. It repeats none: one that is neither may be a key.
func parseIDs(args []string) error {
	for i, arg := range args {
		if lower := strings.ToLower(arg); isID(lower) {
			args[i] = lower
			continue
		}
		if keyset.CheckName(arg) != nil {
			return wrongf("argument %d is no key's id, nor a name: an id is 12 hex digits, as 'caddy keycycler list' and 'caddy keycycler id' print them", i+1)
		}
	}
	return nil
}

func isID(arg string) bool {
	_, ok := rotator.ParseID(arg)
	return ok
}

// cliFilter returns the flags state and class as the admin API wants them.
func cliFilter(cmd *cobra.Command) (url.Values, error) {
	query := make(url.Values)
	for _, name := range []string{"state", "class"} {
		if flag := cmd.Flag(name); flag.Changed {
			query.Set(name, flag.Value.String())
			if flag.Value.String() == "" {
				return nil, wrongf("--%s: its value is missing", name)
			}
		}
	}
	if _, err := observe.ParseFilter(query); err != nil {
		return nil, wrongf("--%w", err)
	}
	return query, nil
}

func wantsJSON(cmd *cobra.Command) bool { return cmd.Flag("json").Value.String() == "true" }

func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

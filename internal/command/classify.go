package command

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/peek"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/ttl"
)

func classifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "classify --provider <preset> --status <status>",
		Short: "Tells what keycycler makes of an answer",
		Long:  classifyHelp,
		Example: `  $ caddy keycycler classify --provider openai --status 429 --header 'Retry-After: 3' < body.json
  $ caddy keycycler classify --provider gemini --status 403 < body.json`,
		DisableFlagsInUseLine: true,
		RunE:                  cliRun(classify),
	}
	flags := cmd.Flags()
	flags.String("provider", "openai", "the pool's provider: "+strings.Join(presetNames(), ", "))
	flags.Int("status", 0, "the answer's status: 200, or 400 to 599")
	flags.StringArray("header", nil, "a header of the answer, as in 'Retry-After: 3'; may be repeated")
	flags.String("now", "", "when the answer came, as in 2026-06-01T12:00:00Z, where it has no Date (default now)")
	flags.Bool("json", false, "print JSON, for scripts")
	return cmd
}

const classifyHelp = `Tells what keycycler makes of an answer of a provider, whose body it reads from
the standard input: at most 64 KiB, compressed or not, as it was sent.

  class     what it means: ok, rate_limited, quota_exhausted, invalid_key,
            request_too_large, overloaded or unknown
  seconds   how long it says to wait, before min, max and jitter; - for nothing
  source    where it says so: a header's name, or body:… for a value in the body
  pool      what a pool without rules of its own does
  why       by what the class was recognised, and which row of the provider's
            table says so

An answer that is read wrong is worth an issue: the body without its secrets,
the headers that speak of limits, and what the provider calls it. No gateway is
needed.
` + exitCodes

// classified is what the command prints.
type classified struct {
	Class    string   `json:"class"`
	Seconds  *float64 `json:"seconds"` // nil: nothing is stated
	Source   string   `json:"source"`
	Pool     string   `json:"pool"`
	Cooldown float64  `json:"cooldown_seconds"`
	Why      string   `json:"why"`
}

func classify(cmd *cobra.Command, args []string) error {
	if err := noArguments(cmd, args); err != nil {
		return err
	}
	preset, r, err := answerOf(cmd)
	if err != nil {
		return err
	}
	c := classifyAnswer(preset, r)
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), c)
	}
	seconds := "-"
	if c.Seconds != nil {
		seconds = fmt.Sprint(*c.Seconds)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "class     %s\nseconds   %s\nsource    %s\npool      %s\nwhy       %s\n",
		c.Class, seconds, cmp.Or(c.Source, "-"), c.Pool, c.Why)
	return err
}

// classifyAnswer judges the answer as a pool without rules of its own does.
func classifyAnswer(preset *provider.Preset, r ttl.Response) classified {
	verdict, why := preset.Dialect.Explain(r)
	judge := blame.NewJudge(preset.Dialect, blame.DefaultPolicy, nil)
	does := judge.Judge(r, 0)
	if r.Status < 400 {
		does = judge.JudgeEvent(r.Status, r.Body, r.Now, 0)
	}
	c := classified{Class: verdict.Class.String(), Source: verdict.Source, Pool: "passes it to the client", Why: reasonFor(verdict, why)}
	if verdict.Stated {
		c.Seconds = &verdict.Seconds
	}
	if does.Action == blame.ActionCooldown {
		c.Cooldown = does.Cooldown.Seconds()
		c.Pool = fmt.Sprintf("tries the next key; this one cools for %s, and up to %g %% more", does.Cooldown, blame.DefaultPolicy.Jitter)
	}
	return c
}

// reasonFor tells by what an answer was recognised.
func reasonFor(v ttl.Verdict, why ttl.Evidence) string {
	row := fmt.Sprintf("row %d of the provider's table", why.Row)
	switch {
	case why.Row == 0:
		return "no row of the provider's table fits"
	case why.Kind == "status":
		return "its status: " + row
	case why.Word == "":
		return "the figures in its message: " + row
	case v.Class == ttl.Unknown:
		return fmt.Sprintf("its %s has %q, which may be about the key: %s", why.Kind, why.Word, row)
	default:
		return fmt.Sprintf("its %s has %q: %s", why.Kind, why.Word, row)
	}
}

// answerOf reads the answer from the flags and from the standard input.
func answerOf(cmd *cobra.Command) (*provider.Preset, ttl.Response, error) {
	r := ttl.Response{Header: make(http.Header), Now: time.Now()}
	name := cmd.Flag("provider").Value.String()
	preset := provider.Presets[name]
	if preset == nil {
		return nil, r, wrongf("--provider: unknown provider %s: %s", directive.Shown(name), directive.Instead(name, presetNames(), "one of "+strings.Join(presetNames(), ", ")))
	}
	status, err := cmd.Flags().GetInt("status")
	if err != nil || status != http.StatusOK && (status < 400 || status > 599) {
		return nil, r, wrongf("--status: the answer's status is missing: 200, or 400 to 599")
	}
	r.Status = status
	if err := readHead(cmd, &r); err != nil {
		return nil, r, err
	}
	r.Body, err = readAnswer(cmd.InOrStdin(), r.Header)
	return preset, r, err
}

// readHead reads the flags header and now. What is wrong with one is not repeated: it may
// hold a key.
func readHead(cmd *cobra.Command, r *ttl.Response) error {
	lines, err := cmd.Flags().GetStringArray("header")
	if err != nil {
		return err
	}
	for _, line := range lines {
		name, value, found := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); !found || name == "" || strings.ContainsAny(name, " \t") {
			return wrongf("--header: a header is <name>: <value>, as in 'Retry-After: 3'")
		}
		http.Header(r.Header).Add(name, strings.TrimSpace(value))
	}
	if at := cmd.Flag("now").Value.String(); at != "" {
		if r.Now, err = time.Parse(time.RFC3339, at); err != nil {
			return wrongf("--now: %s is no time, such as 2026-06-01T12:00:00Z", directive.Shown(at))
		}
	}
	return nil
}

// readAnswer reads a body, as far as it is judged: without its coding, and of a stream the
// first event. From a terminal there is none.
func readAnswer(in io.Reader, header http.Header) ([]byte, error) {
	if file, ok := in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(in, peek.MaxRejection))
	if err != nil {
		return nil, fmt.Errorf("reading the body from the standard input: %w", err)
	}
	body = peek.Decode(header.Get("Content-Encoding"), body)
	if peek.IsEventStream(header.Get("Content-Type")) || isStream(body) {
		if data, _ := peek.FirstEvent(body); data != nil {
			return data, nil
		}
	}
	return body, nil
}

// isStream tells of a body without a type whether it is one: it begins with a field or a
// comment.
func isStream(body []byte) bool {
	name, _, found := strings.Cut(string(body[:min(len(body), 8)]), ":")
	return found && slices.Contains([]string{"", "data", "event", "id", "retry"}, name)
}

func presetNames() []string {
	names := make([]string, 0, len(provider.Presets))
	for name := range provider.Presets {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keycycler/keycycler/internal/keyfile"
	"github.com/keycycler/keycycler/internal/observe"
)

func addCommand() *cobra.Command {
	cmd := apiCommand("add", "Adds keys to a pool", addHelp, add)
	cmd.Example = `  $ caddy keycycler add < new.keys
  $ caddy keycycler add --pool main --file openai.keys`
	fileFlag(cmd)
	return cmd
}

const addHelp = `Adds keys to a file of a pool's that keycycler may write: one behind 'keys_file'
whose block says 'managed'. The pool has them when the command is done, without a
reload. It reads <key> or <key> <name> a line from the standard input; blank
lines and lines that begin with # do not count. On a terminal it asks for keys,
and does not show what is typed.

All keys are added in one write, or none: a line that is no key is told by its
number. Keys that the pool has already are told, and left out. Where only one
such file exists, --pool and --file can be left out.
` + exitCodes

func importCommand() *cobra.Command {
	cmd := apiCommand("import <file>", "Adds the keys of another program's file to a pool", importHelp, importKeys)
	cmd.Example = `  $ caddy keycycler import openai_keys.txt
  $ caddy keycycler import --provider openai litellm-config.yaml
  $ pass show openai | caddy keycycler import -`
	fileFlag(cmd)
	cmd.Flags().String("provider", "", "only keys of this provider, where the file has those of several")
	return cmd
}

const importHelp = `Does as 'add' does with the keys of a file, - for the standard input. What the
file is, it finds out by itself:

  a keys file     <key> or <key> <name> a line, as KeyCycler and gpt-load have it
  a list          keys with commas, semicolons or blanks between them
  .env            the variables with API_KEY in their names
  JSON            an array of keys, or an object with one as "keys"; a key is a
                  text, or an object with "key", "api_key", "key_value" or
                  "value", and maybe "name"
  LiteLLM         the api_key of each model in config.yaml

Whose keys they are is told by the names of variables (OPENAI_API_KEY) and of
models (openai/gpt-4o). A pool is of one provider: where there are several,
--provider says which.
` + exitCodes

func removeCommand() *cobra.Command {
	cmd := apiCommand("remove <id|name...>", "Removes keys from a pool", removeHelp, remove)
	cmd.Example = `  $ caddy keycycler remove 0123456789ab
  $ caddy keycycler remove $(caddy keycycler id < leaked-keys.txt)`
	return cmd
}

const removeHelp = `Removes keys from the files that keycycler may write: those behind 'keys_file'
whose block says 'managed'. The pool has them no more when the command is done;
calls that are under way with them end as usual. A key that stands elsewhere is
left, and it is told where. 'disable' takes any key out of use.
` + exitCodes

func fileFlag(cmd *cobra.Command) {
	cmd.Flags().String("file", "", "the managed file, as the config has it or by its base name")
}

// add adds keys from the standard input.
func add(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return wrongf("add takes no arguments: other users of the machine can see those, and the shell remembers them: add reads keys from the standard input, one a line")
	}
	text, err := readSecrets(cmd.InOrStdin(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	return send(cmd, keyfile.Lines(text))
}

// importKeys adds the keys of a file.
func importKeys(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return wrongf("import takes one file, or - for the standard input")
	}
	text, err := readImport(cmd, args[0])
	if err != nil {
		return err
	}
	found := keyfile.Parse(text)
	if err := found.Only(cmd.Flag("provider").Value.String()); err != nil {
		return fmt.Errorf("nothing was added: %w (--provider)", err)
	}
	return send(cmd, found)
}

// readImport reads the file. Its name is not shown: it may be a key.
func readImport(cmd *cobra.Command, name string) ([]byte, error) {
	in := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if failed, ok := errors.AsType[*fs.PathError](err); ok {
			return nil, fmt.Errorf("the file cannot be read: %w", failed.Err)
		}
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, keyfile.MaxFile+1))
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		err = fmt.Errorf("the file cannot be read: %w", failed.Err)
	}
	if err == nil && len(text) > keyfile.MaxFile {
		err = fmt.Errorf("the file is larger than %d MiB", keyfile.MaxFile>>20)
	}
	return text, err
}

// send adds what was found to the pool.
func send(cmd *cobra.Command, found keyfile.Found) error {
	if err := found.Check(); err != nil {
		return fmt.Errorf("nothing was added: %w", err)
	}
	g, pools, err := askPools(cmd)
	if err != nil {
		return err
	}
	pool, err := g.poolFor(pools, cmd.Flag("file").Value.String())
	if err != nil {
		return err
	}
	keys := observe.NewKeys{File: cmd.Flag("file").Value.String()}
	for _, e := range found.Entries {
		keys.Keys = append(keys.Keys, observe.NewKey{Key: e.Key.Secret(), Name: e.Name})
	}
	body, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	var done struct {
		Pool string `json:"pool"`
		observe.KeysAdded
	}
	if err := g.call(http.MethodPost, keysPath(pool), body, &done.KeysAdded); err != nil {
		return errors.New(found.InLines(err.Error()))
	}
	done.Pool = pool
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), done)
	}
	printAdded(cmd.OutOrStdout(), pool, found, done.KeysAdded)
	return nil
}

// poolFor returns the pool that keys are added to: the only one with a managed file, or with
// one that is called so.
func (g endpoint) poolFor(pools []observe.PoolStatus, file string) (string, error) {
	var with []observe.PoolStatus
	for _, p := range pools {
		if slices.ContainsFunc(p.Files, func(f string) bool { return file == "" || f == file || filepath.Base(f) == file }) {
			with = append(with, p)
		}
	}
	switch {
	case len(pools) == 0:
		return "", g.noPool()
	case len(with) == 1:
		return with[0].Pool, onlyFile(with[0], file)
	case len(with) > 1:
		return "", wrongf("--pool is needed, since several pools have such a file: %s", poolNames(with))
	}
	if all := filesOf(pools); file != "" && len(all) > 0 {
		return "", fmt.Errorf("no pool has a managed file of that name (--file): there is %s", strings.Join(all, ", "))
	}
	return "", errors.New("no pool has a file that keycycler may write: add 'managed' to the block of a keys_file")
}

// onlyFile tells whether one of the pool's managed files is meant.
func onlyFile(p observe.PoolStatus, file string) error {
	if file == "" && len(p.Files) > 1 {
		return wrongf("--file is needed, since pool %s has several managed files: %s", p.Pool, strings.Join(p.Files, ", "))
	}
	return nil
}

// filesOf returns the managed files of the pools.
func filesOf(pools []observe.PoolStatus) (all []string) {
	for _, p := range pools {
		all = append(all, p.Files...)
	}
	return all
}

// printAdded tells what was added, and what was not.
func printAdded(w io.Writer, pool string, found keyfile.Found, done observe.KeysAdded) {
	for _, note := range slices.Concat(found.Skipped, found.Twice) {
		fmt.Fprintf(w, "%s\n", note)
	}
	for _, skipped := range done.Skipped {
		fmt.Fprintf(w, "line %d: key %s stands at %s already\n", found.Entries[skipped.Index].Line, skipped.ID, skipped.Origin)
	}
	if len(done.Added) <= shownAdded {
		for _, id := range done.Added {
			fmt.Fprintf(w, "%s was added\n", id)
		}
	}
	fmt.Fprintf(w, "%d of %d keys were added to %s of pool %s\n", len(done.Added), len(found.Entries), done.File, pool)
}

// shownAdded is of how many keys the ids are printed.
const shownAdded = 20

// remove removes keys, one by one, when all of them are found.
func remove(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return wrongf("remove takes ids or names of keys")
	}
	if err := parseIDs(args); err != nil {
		return err
	}
	g, pools, err := askPools(cmd)
	if err != nil {
		return err
	}
	ids, err := g.identify(pools, args)
	if err != nil {
		return fmt.Errorf("%w: nothing was removed", err)
	}
	where, err := g.holders(pools, ids)
	if err != nil {
		return err
	}
	return g.removeAll(cmd, ids, where)
}

// holders returns for each key the pool that has it.
func (g endpoint) holders(pools []observe.PoolStatus, ids []string) (where []string, err error) {
	for _, id := range ids {
		found, err := g.find(pools, id)
		switch {
		case err != nil:
			return nil, err
		case len(found) == 0:
			return nil, fmt.Errorf("%w: nothing was removed", g.unknown(pools, []string{id}))
		case len(found) > 1:
			return nil, wrongf("key %s is in several pools: --pool says which", id)
		}
		where = append(where, found[0].Pool)
	}
	return where, nil
}

// removed is a key that was removed, and the pool that had it.
type removed struct {
	Pool string `json:"pool"`
	observe.KeyRemoved
}

func (g endpoint) removeAll(cmd *cobra.Command, ids, where []string) (err error) {
	done := []removed{}
	for i, id := range ids {
		one := removed{Pool: where[i]}
		if err = g.call(http.MethodDelete, keysPath(where[i])+"/"+id, nil, &one.KeyRemoved); err != nil {
			err = fmt.Errorf("key %s in pool %s: %w", id, where[i], err)
			break
		}
		done = append(done, one)
		if !wantsJSON(cmd) {
			fmt.Fprintf(cmd.OutOrStdout(), "%s was removed from %s of pool %s\n", id, strings.Join(one.Files, ", "), one.Pool)
		}
	}
	if wantsJSON(cmd) { // even if some could not be removed: others were
		return errors.Join(printJSON(cmd.OutOrStdout(), done), err)
	}
	return err
}

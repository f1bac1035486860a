package command

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/keycycler/keycycler/internal/keyfile"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/rotator"
)

// printIDs prints the ids of keys from the standard input. It reads them all before
// it prints the first: on a terminal the two would mingle, and a script that has
// half of its keys is worse off than with none.
func printIDs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return wrongf("id takes no arguments: other users of the machine can see those, and the shell remembers them: id reads keys from the standard input, one a line")
	}
	ids, err := readIDs(cmd.InOrStdin(), cmd.ErrOrStderr())
	switch {
	case err != nil:
		return err
	case len(ids) == 0:
		return errors.New("there is no key on the standard input: id reads one a line")
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s\n", strings.Join(ids, "\n"))
	return nil
}

// readIDs reads keys, and prompts for them if they come from a terminal.
func readIDs(in io.Reader, prompt io.Writer) ([]string, error) {
	return prompted(in, prompt, scanIDs)
}

// readSecrets reads lines likewise.
func readSecrets(in io.Reader, prompt io.Writer) ([]byte, error) {
	lines, err := prompted(in, prompt, readText)
	return []byte(strings.Join(lines, "\n")), err
}

func readText(r io.Reader, _ int) ([]string, error) {
	text, err := io.ReadAll(io.LimitReader(r, keyfile.MaxFile))
	return []string{string(text)}, err
}

// prompted hands what comes to read, from a terminal line by line, with how many came before.
func prompted(in io.Reader, prompt io.Writer, read func(r io.Reader, before int) ([]string, error)) ([]string, error) {
	file, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return read(in, 0)
	}
	// For all keys at once: between two of them, the rest of a paste would show.
	before, err := term.MakeRaw(int(file.Fd()))
	if err != nil {
		return nil, err
	}
	defer func() { _ = term.Restore(int(file.Fd()), before) }()
	return promptLines(struct {
		io.Reader
		io.Writer
	}{file, prompt}, read)
}

// promptIDs reads keys from a raw terminal.
func promptIDs(terminal io.ReadWriter) ([]string, error) { return promptLines(terminal, scanIDs) }

// promptLines reads from a raw terminal, until there is an empty line or an end.
func promptLines(terminal io.ReadWriter, read func(io.Reader, int) ([]string, error)) (ids []string, err error) {
	t := term.NewTerminal(interruptible{terminal}, "")
	for n := 1; ; n++ {
		line, err := t.ReadPassword("Key (it does not show; an empty line ends): ")
		if err != nil && !errors.Is(err, term.ErrPasteIndicator) && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if errors.Is(err, io.EOF) {
			fmt.Fprint(terminal, "\r\n")
			return ids, nil
		}
		if strings.TrimSpace(line) == "" {
			return ids, nil
		}
		more, err := read(strings.NewReader(line), n-1)
		if err != nil {
			return nil, err
		}
		ids = append(ids, more...)
	}
}

// interruptible is a raw terminal on which Ctrl-C is an error. For package term it
// is an end like Ctrl-D, after which the ids of some keys would be used.
type interruptible struct{ io.ReadWriter }

func (t interruptible) Read(p []byte) (int, error) {
	const ctrlC = 3
	n, err := t.ReadWriter.Read(p)
	if bytes.IndexByte(p[:n], ctrlC) >= 0 {
		fmt.Fprint(t, "\r\n")
		return 0, errors.New("interrupted: nothing is done")
	}
	return n, err
}

// scanIDs reads keys as loadKeys reads a keys_file. So many lines came before.
func scanIDs(r io.Reader, before int) (ids []string, err error) {
	at := func(n int) string { return fmt.Sprintf("line %d", before+n) }
	err = keyset.EachLine(r, "standard input", at, func(line string, n int) error {
		var key rotator.Key
		secret, _, err := keyset.ParseLine(line)
		if err == nil {
			key, err = rotator.NewKey(secret)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", at(n), err)
		}
		ids = append(ids, key.String())
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

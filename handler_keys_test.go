package keycycler

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/rotator"
)

func TestWhatProvisionMakesOfKeys(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good.txt", "sk-demo-8\nsk-demo-9\n")
	empty := file("empty.txt", "")
	comments := file("comments.txt", "# none yet\n")
	single := file("single", "sk-demo-7\n")
	windows := file("windows", "sk-demo-7\r\n")
	bad := file("bad.txt", "sk-demo 1\n")
	t.Setenv("KEYCYCLER_TEST_KEY", "sk-demo-6")
	t.Setenv("KEYCYCLER_TEST_SPACE", " sk-demo-6\n")
	t.Setenv("KEYCYCLER_TEST_EMPTY", "")
	t.Setenv("KEYCYCLER_TEST_DIR", dir)
	missing := filepath.Join(dir, "missing.txt")
	for _, test := range []struct {
		name  string
		keys  []string
		files []string
		want  string
		err   string
	}{
		{"keys in the config", []string{"sk-demo-1", " sk-demo-2 "}, nil, "sk-demo-1 sk-demo-2", ""},
		{"keys in the config come before those of files", []string{"sk-demo-1"}, []string{good}, "sk-demo-1 sk-demo-8 sk-demo-9", ""},
		{"a key from the environment", []string{"{env.KEYCYCLER_TEST_KEY}"}, nil, "sk-demo-6", ""},
		{"white space around it is taken off", []string{"{env.KEYCYCLER_TEST_SPACE}"}, nil, "sk-demo-6", ""},
		{"a key made of parts", []string{"sk-{env.KEYCYCLER_TEST_KEY}-x"}, nil, "sk-sk-demo-6-x", ""},
		{"a key from a file whose line ends", []string{"{file." + single + "}"}, nil, "sk-demo-7", ""},
		{"a key from a file whose line ends as on Windows", []string{"{file." + windows + "}"}, nil, "sk-demo-7", ""},
		{"a keys file named by the environment", nil, []string{"{env.KEYCYCLER_TEST_DIR}/good.txt"}, "sk-demo-8 sk-demo-9", ""},
		{"one of several files is empty", nil, []string{empty, good, comments}, "sk-demo-8 sk-demo-9", ""},

		{"no keys at all", nil, nil, "", "no keys: set keys or keys_file"},
		{"an empty key", []string{"sk-demo-1", ""}, nil, "", "keys: key 2: key is empty"},
		{"a key of white space", []string{" \t"}, nil, "", "keys: key 1: key is empty"},
		{"a key with a space", []string{"sk-demo 1"}, nil, "", "keys: key 1: key " + idOf("sk-demo 1") + " has a space at byte 8: only visible ASCII is allowed"},
		{"the environment lacks it", []string{"sk-demo-1", "{env.KEYCYCLER_TEST_UNSET}"}, nil, "", "keys: key 2: evaluated placeholder {env.KEYCYCLER_TEST_UNSET} is empty"},
		{"the environment has it empty", []string{"{env.KEYCYCLER_TEST_EMPTY}"}, nil, "", "keys: key 1: evaluated placeholder {env.KEYCYCLER_TEST_EMPTY} is empty"},
		{"a file that is missing", []string{"{file." + missing + "}"}, nil, "", "keys: key 1: evaluated placeholder {file." + missing + "} is empty"},
		{"a file with several keys where one belongs", []string{"{file." + good + "}"}, nil, "", "keys: key 1: key " + idOf("sk-demo-8\nsk-demo-9") + " has a control character at byte 10: only visible ASCII is allowed"},
		{"a key in braces is not shown", []string{"{sk-demo-1}"}, nil, "", `keys: key 1: unknown placeholder: there are {env.<name>} and {file.<path>}; a brace that is none is written \{`},
		{"a keys file that is missing", nil, []string{missing}, "", "keys_file: open " + missing + ": no such file or directory"},
		{"a keys file that is a directory", nil, []string{dir}, "", "keys_file: read " + dir + ": is a directory"},
		{"a keys file that is empty", nil, []string{empty}, "", "keys_file: no key in " + empty},
		{"keys files without a key", nil, []string{empty, comments}, "", "keys_file: no key in " + empty + ", " + comments},
		{"a keys file with a bad key", nil, []string{good, bad}, "", "keys_file: " + bad + ":1: key " + idOf("sk-demo 1") + " has a space at byte 8: only visible ASCII is allowed"},
		{"a keys file named by nothing", nil, []string{"{env.KEYCYCLER_TEST_UNSET}"}, "", "keys_file: evaluated placeholder {env.KEYCYCLER_TEST_UNSET} is empty"},
		{"a key where a path belongs", nil, []string{"sk-demo-1"}, "", "keys_file: the path begins with sk-, as keys do: keys belong behind 'keys' (write ./sk-… for a file)"},
		{"a key from the environment where a path belongs", nil, []string{"{env.KEYCYCLER_TEST_KEY}"}, "", "keys_file: open {env.KEYCYCLER_TEST_KEY}: no such file or directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &Handler{Keys: test.keys, KeysFiles: test.files}
			err := provisionOnce(h)
			if message(err) != test.err {
				t.Fatalf("error %q, want %q", message(err), test.err)
			}
			if err != nil {
				return
			}
			var got []string
			for i := range h.gateway.keys().Len() {
				got = append(got, h.gateway.keys().Key(rotator.Slot(i)).Secret())
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("keys %v, want %q", got, test.want)
			}
		})
	}
}

// provisionOnce provisions h and cleans up again, as Caddy does.
func provisionOnce(h *Handler) error {
	ctx, cancel := newContext()
	defer cancel()
	err := h.Provision(ctx)
	if cleanup := h.Cleanup(); cleanup != nil {
		return fmt.Errorf("cleanup: %w", cleanup)
	}
	return err
}

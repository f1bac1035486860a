package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// nodeClient is the npm package openai. Each method runs the script of its name,
// which prints its result as one line of JSON.
type nodeClient struct{}

func (nodeClient) chat(t *testing.T, s *stage) result {
	return runNode[result](t, s, nil, "chat.mjs")
}

func (nodeClient) stream(t *testing.T, s *stage) result {
	return runNode[result](t, s, nil, "stream.mjs")
}

func (nodeClient) abandon(t *testing.T, s *stage) result {
	return runNode[result](t, s, nil, "abandon.mjs")
}

func (nodeClient) upload(t *testing.T, s *stage, path string) result {
	return runNode[result](t, s, nil, "upload.mjs", path)
}

func (nodeClient) speech(t *testing.T, s *stage) result {
	return runNode[result](t, s, nil, "speech.mjs")
}

// install runs `npm ci` where nobody has since the packages changed.
var install = sync.OnceValue(func() error {
	wanted, err := os.Stat(filepath.Join("node", "package-lock.json"))
	if err != nil {
		return err
	}
	if have, err := os.Stat(filepath.Join("node", "node_modules", ".package-lock.json")); err == nil && !have.ModTime().Before(wanted.ModTime()) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "npm", "ci")
	command.Dir = "node"
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return nil
})

// runNode runs a script in folder node and returns the result that it prints. The
// script's surroundings are what is named here: no OPENAI_* of the machine's.
func runNode[R any](t *testing.T, s *stage, stdin []byte, script string, args ...string) R {
	t.Helper()
	if err := install(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, "node", append([]string{script}, args...)...)
	command.Dir = "node"
	command.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"NODE_EXTRA_CA_CERTS=" + edge.certFile,
		"GATEWAY=" + s.base,
		"UPSTREAM=" + s.up.url,
		"CLIENT_KEY=" + clientKey,
		"RETRIES=" + strconv.Itoa(s.retries),
	}
	command.Stdin = bytes.NewReader(stdin)
	var out, log bytes.Buffer
	command.Stdout, command.Stderr = &out, &log
	var r R
	if err := command.Run(); err != nil {
		t.Fatalf("node %s: %v\n%s", script, err, log.String())
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("node %s printed %q: %v", script, out.String(), err)
	}
	return r
}

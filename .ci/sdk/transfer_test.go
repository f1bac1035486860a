package sdk

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// randomBytes are the same in every run.
func randomBytes(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{'k', 'e', 'y', 's'}).Read(p) // never fails
	return p
}

// A large upload whose first key meets its limit arrives whole with the next key,
// whether the upstream read it before it refused or not. Most of its copy goes to
// a temporary file; that none is left is checked when the gateway stops.
func TestUpload(t *testing.T) {
	content := randomBytes(30 << 20)
	path := filepath.Join(t.TempDir(), "demo.jsonl")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	want := digestOf(content)
	for _, row := range []struct {
		name  string
		first *refusal
	}{
		{"refused when it was read", rateLimited(40)},
		{"refused before it was read", rateLimited(40).unread()},
	} {
		t.Run(row.name, func(t *testing.T) {
			eachClient(t, func(t *testing.T, c client, base func(*gateway) string) {
				up := startUpstream(t, inOrder(row.first))
				g := startGateway(t, up, 4, "replay {\n memory 1MiB\n disk 64MiB\n }")
				got := c.upload(t, &stage{up: up, base: base(g)}, path).ok(t)
				if got.Bytes != want.Length {
					t.Errorf("the client was told of %d bytes, want %d", got.Bytes, want.Length)
				}
				calls := up.seen()
				if len(calls) != 2 {
					t.Fatalf("%d calls, want 2", len(calls))
				}
				first, second := calls[0], calls[1]
				if second.file != want {
					t.Errorf("the file that arrived is %v, want %v", second.file, want)
				}
				if !row.first.early && first.body != second.body {
					t.Errorf("the bodies differ: %v and %v", first.body, second.body)
				}
				checkCalls(t, calls)
			})
		})
	}
}

// Binary data comes through a refusal byte for byte.
func TestDownload(t *testing.T) {
	eachClient(t, func(t *testing.T, c client, base func(*gateway) string) {
		up, g := firstKeyLimited(t, 4)
		got := c.speech(t, &stage{up: up, base: base(g)}).ok(t)
		if want := digestOf(speech); got.Body != want {
			t.Errorf("the client got %v, want %v", got.Body, want)
		}
		if kind := got.Header["content-type"]; kind != "audio/mpeg" {
			t.Errorf("Content-Type: %s", kind)
		}
		checkCleanHeader(t, got.Header)
		calls := up.seen()
		if len(calls) != 2 || calls[0].key == calls[1].key {
			t.Errorf("%d calls, want 2 with different keys", len(calls))
		}
		checkCalls(t, calls)
	})
}

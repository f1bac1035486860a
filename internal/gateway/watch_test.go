package gateway

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// keysNow returns the secrets in use, sorted.
func keysNow(h *Gateway) []string {
	pool := h.roster.Load().Pool
	var keys []string
	for s := range pool.Len() {
		keys = append(keys, pool.Key(rotator.Slot(s)).Secret())
	}
	slices.Sort(keys)
	return keys
}

// settle waits until a change must have been noticed.
func settle() { time.Sleep(time.Second); synctest.Wait() }

func writeKeys(t *testing.T, path string, keys ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(keys, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestKeysFilesAreWatched(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(t *testing.T, path string)
		want   []string
	}{
		{"a file that is written again", func(t *testing.T, path string) { writeKeys(t, path, "sk-demo-1", "sk-demo-3") }, []string{"sk-demo-1", "sk-demo-3"}},
		{"a file that is renamed over it", func(t *testing.T, path string) {
			writeKeys(t, path+".new", "sk-demo-3")
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		}, []string{"sk-demo-3"}},
		{"a file that is absent for a while", func(t *testing.T, path string) {
			os.Remove(path)
			settle()
			writeKeys(t, path, "sk-demo-3")
		}, []string{"sk-demo-3"}},
		{"a file that is gone keeps the last good keys", func(_ *testing.T, path string) { os.Remove(path) }, []string{"sk-demo-1", "sk-demo-2"}},
		{"so does one that is empty", func(t *testing.T, path string) { writeKeys(t, path) }, []string{"sk-demo-1", "sk-demo-2"}},
		{"and one with a bad key", func(t *testing.T, path string) { writeKeys(t, path, "sk-demo-3", "sk demo key") }, []string{"sk-demo-1", "sk-demo-2"}},
		{"a file of the same size", func(t *testing.T, path string) {
			writeKeys(t, path, "sk-demo-8", "sk-demo-9")
			// Some kernels' times of files are as coarse as what passes here.
			if when := time.Now(); os.Chtimes(path, when, when) != nil {
				t.Fatal("the file's time cannot be set")
			}
		}, []string{"sk-demo-8", "sk-demo-9"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "keys")
				writeKeys(t, path, "sk-demo-1", "sk-demo-2")
				h := provision(t, 0, func(c *Config) { (*c.Keys.Groups)[0].Files = []string{path} })
				test.change(t, path)
				settle()
				if got := keysNow(h); !slices.Equal(got, test.want) {
					t.Errorf("keys %v, want %v", got, test.want)
				}
			})
		})
	}
}

// A key that has refused a request is not asked again by it because the keys were read again
// meanwhile.
func TestWhatWasTriedIsKnownInNewKeys(t *testing.T) {
	inBubble := func(t *testing.T, wait time.Duration, play func(t *testing.T, h *Gateway, reread func())) {
		synctest.Test(t, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys")
			writeKeys(t, path, "sk-demo-1", "sk-demo-2", "sk-demo-3")
			h := patient(t, 0, wait, func(c *Config) { (*c.Keys.Groups)[0].Files = []string{path} })
			play(t, h, func() {
				writeKeys(t, path, "# others", "sk-demo-3", "sk-demo-1", "sk-demo-2")
				if err := h.reloadKeys(); err != nil {
					t.Error(err)
				}
			})
		})
	}
	t.Run("between two attempts", func(t *testing.T) {
		inBubble(t, 0, func(t *testing.T, h *Gateway, reread func()) {
			u := &testkit.Upstream{Answer: func(n int, w http.ResponseWriter, _ *http.Request) error {
				if n == 1 {
					reread()
				}
				return testkit.BadKey.Write(w)
			}}
			_, err := testkit.Serve(h, u, testkit.Post("x"))
			if keys := u.Keys(); err != nil || !slices.Equal(slices.Sorted(slices.Values(keys)), keysNow(h)) {
				t.Errorf("calls with %v, %v", keys, err)
			}
		})
	})
	t.Run("while it waits", func(t *testing.T) {
		inBubble(t, time.Hour, func(t *testing.T, h *Gateway, reread func()) {
			u := testkit.Script(testkit.Limited, testkit.Limited, testkit.Limited, testkit.Fine)
			time.AfterFunc(5*time.Second, func() {
				reread()
				for s := range rotator.Slot(3) {
					h.KeyPool().Clear(time.Now(), s)
				}
			})
			began := time.Now()
			w, err := testkit.Serve(h, u, testkit.Post("x"))
			if took := time.Since(began); err != nil || w.Code != 200 || took != 40*time.Second {
				t.Errorf("the client got %d after %s, %v", w.Code, took, err)
			}
		})
	})
}

// Kubernetes mounts secrets as links to links, and swaps the one in the middle.
func TestSwappedLinksAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		version := func(n int) {
			sub := filepath.Join(dir, fmt.Sprint("v", n))
			if err := os.Mkdir(sub, 0o700); err != nil {
				t.Fatal(err)
			}
			writeKeys(t, filepath.Join(sub, "keys"), fmt.Sprintf("sk-demo-%d", n))
			if err := os.Symlink(sub, filepath.Join(dir, "data.new")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, "data.new"), filepath.Join(dir, "data")); err != nil {
				t.Fatal(err)
			}
		}
		version(1)
		path := filepath.Join(dir, "keys")
		if err := os.Symlink(filepath.Join("data", "keys"), path); err != nil {
			t.Fatal(err)
		}
		h := provision(t, 0, func(c *Config) { (*c.Keys.Groups)[0].Files = []string{path} })
		for n := 2; n < 20; n++ {
			version(n)
			settle()
			if got, want := keysNow(h), []string{fmt.Sprintf("sk-demo-%d", n)}; !slices.Equal(got, want) {
				t.Fatalf("keys %v, want %v", got, want)
			}
		}
	})
}

func TestFilePlaceholdersAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "key")
		writeKeys(t, path, "sk-demo-1")
		h := provision(t, 0, func(c *Config) { (*c.Keys.Groups)[0].Texts = []string{"{file." + path + "}", "sk-demo-2"} })
		writeKeys(t, path, "sk-demo-3")
		settle()
		if got, want := keysNow(h), []string{"sk-demo-2", "sk-demo-3"}; !slices.Equal(got, want) {
			t.Errorf("keys %v, want %v", got, want)
		}
	})
}

func TestCooldownsStayWhenKeysChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "keys")
		writeKeys(t, path, "sk-demo-1", "sk-demo-2")
		h := provision(t, 0, func(c *Config) { (*c.Keys.Groups)[0].Files = []string{path} })
		upstream := testkit.Script(testkit.Limited, testkit.Fine)
		if w, err := testkit.Serve(h, upstream, testkit.Post("x")); err != nil || w.Code != 200 {
			t.Fatal(w.Code, err)
		}
		writeKeys(t, path, "sk-demo-3", "sk-demo-2", "sk-demo-1")
		settle()
		limitedKey := upstream.Keys()[0]
		for range 50 {
			testkit.Serve(h, upstream, testkit.Post("x"))
		}
		if keys := upstream.Keys()[2:]; slices.Contains(keys, limitedKey) || !slices.Contains(keys, "sk-demo-3") {
			t.Errorf("after the change, with %s limited, these were used: %v", limitedKey, keys)
		}
	})
}

// A request under way goes on with the key it has, and its next attempt does not
// take one that was removed.
func TestRequestsUnderWayGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "keys")
		writeKeys(t, path, "sk-demo-1", "sk-demo-2", "sk-demo-3")
		h := provision(t, 0, func(c *Config) { (*c.Keys.Groups)[0].Files = []string{path} })
		upstream := testkit.Script(testkit.Limited, testkit.Fine)
		answer := upstream.Answer
		upstream.Answer = func(n int, w http.ResponseWriter, r *http.Request) error {
			if n == 0 {
				writeKeys(t, path, "sk-demo-4")
				settle()
			}
			return answer(n, w, r)
		}
		if w, err := testkit.Serve(h, upstream, testkit.Post("x")); err != nil || w.Code != 200 {
			t.Fatal(w.Code, err)
		}
		if keys := upstream.Keys(); len(keys) != 2 || keys[1] != "sk-demo-4" {
			t.Errorf("keys %v", keys)
		}
	})
}

func TestBadKeysAreToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		path := filepath.Join(t.TempDir(), "keys")
		writeKeys(t, path, "sk-demo-1")
		provision(t, 0, func(c *Config) {
			(*c.Keys.Groups)[0].Files = []string{path}
			c.Logger = zap.New(core)
		})
		logs.TakeAll()
		for range 3 {
			writeKeys(t, path, "sk demo key")
			settle()
		}
		writeKeys(t, path, "sk-demo-1", "sk-demo-2")
		settle()
		var got []string
		for _, entry := range logs.All() {
			got = append(got, entry.Message)
			if text := fmt.Sprint(entry.ContextMap()); strings.Contains(text, "sk demo") || strings.Contains(text, "sk-demo") {
				t.Errorf("a key is in the log: %s", text)
			}
		}
		want := []string{"keys were not read again: going on with the last good ones", "keys have changed"}
		if !slices.Equal(got, want) {
			t.Errorf("log %q, want %q", got, want)
		}
	})
}

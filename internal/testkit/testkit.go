// Package testkit is what tests of several packages share. It knows the engine and no room
// under internal/, so that the tests of each can use it. A helper that two packages' tests
// want goes here; one that wants a gateway goes into pools, one of the API into adminapi.
package testkit

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/klauspost/compress/zstd"

	"github.com/keycycler/keycycler/rotator"
)

// DemoKeys returns n keys that are obviously none.
func DemoKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("sk-demo-%d", i+1)
	}
	return keys
}

// call is what an upstream saw of one attempt.
type call struct {
	Key    string // what came as bearer token
	Body   string
	Header http.Header
	query  string
}

// Upstream is a next handler that answers by a script: by the number of the
// attempt, from 0 on.
type Upstream struct {
	mu     sync.Mutex
	Calls  []call
	Answer func(n int, w http.ResponseWriter, r *http.Request) error
}

func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	c := call{
		Key:    strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "),
		Header: r.Header.Clone(),
		query:  r.URL.RawQuery,
	}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return caddyhttp.Error(http.StatusBadGateway, err)
		}
		c.Body = string(body)
	}
	u.mu.Lock()
	n := len(u.Calls)
	u.Calls = append(u.Calls, c)
	u.mu.Unlock()
	return u.Answer(n, w, r)
}

// Keys returns the keys of the calls, in order.
func (u *Upstream) Keys() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	keys := make([]string, len(u.Calls))
	for i, c := range u.Calls {
		keys[i] = c.Key
	}
	return keys
}

// Script returns an upstream whose n-th call is answered by the n-th reply; the
// last one answers all that follow.
func Script(replies ...Reply) *Upstream {
	return &Upstream{Answer: func(n int, w http.ResponseWriter, _ *http.Request) error {
		return replies[min(n, len(replies)-1)].Write(w)
	}}
}

// Reply is one scripted response.
type Reply struct {
	Status int
	Header map[string]string
	Body   string
	Err    error // returned by the handler; with status 0, nothing is written
	Panics any
}

func (a Reply) Write(w http.ResponseWriter) error {
	for name, value := range a.Header {
		w.Header().Set(name, value)
	}
	if a.Status != 0 {
		w.WriteHeader(a.Status)
		if _, err := io.WriteString(w, a.Body); err != nil && err.Error() != rejectedText {
			return err
		}
	}
	if a.Panics != nil {
		panic(a.Panics)
	}
	return a.Err
}

var (
	Limited = Reply{Status: 429, Header: map[string]string{"Retry-After": "40"},
		Body: `{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}`}
	Spent = Reply{Status: 429,
		Body: `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}`}
	BadKey = Reply{Status: 401,
		Body: `{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","code":"invalid_api_key"}}`}
	TooLarge = Reply{Status: 429,
		Body: `{"error":{"message":"Request too large. Limit 30000, Requested 36278","type":"tokens","code":"rate_limit_exceeded"}}`}
	Fine = Reply{Status: 200, Header: map[string]string{"Content-Type": "text/plain"}, Body: "fine"}
)

func Post(body string) *http.Request {
	return httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
}

// Distinct fails the test when a key stands twice.
func Distinct(t *testing.T, keys []string) {
	t.Helper()
	sorted := slices.Sorted(slices.Values(keys))
	if unique := slices.Compact(slices.Clone(sorted)); len(unique) != len(keys) {
		t.Errorf("keys were used twice: %v", keys)
	}
}

// Ample is a limit of all requests' memory for tests that are about another one.
const Ample = 1 << 40

// WriteFile returns the path of a new file.
func WriteFile(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func IDOf(secret string) string { return rotator.IDOf(secret).String() }

func Message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Endless repeats a line.
type Endless struct {
	Line  []byte
	Taken int64
}

func (e *Endless) Read(p []byte) (int, error) {
	n := 0
	for n+len(e.Line) <= len(p) {
		n += copy(p[n:], e.Line)
	}
	if n == 0 {
		n = copy(p, e.Line[:min(len(p), len(e.Line))])
	}
	e.Taken += int64(n)
	return n, nil
}

func NewContext() (caddy.Context, func()) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	return ctx, cancel
}

// FreshPool returns a name that no pool had before: what is kept by the name of a pool
// outlives its config, and the test, which may run again in this process.
func FreshPool(name string) string { return fmt.Sprint(name, "-", pools.Add(1)) }

var pools atomic.Int64

// states holds what is known to the gateways of each test that runs, as those of a
// process share it.
var states sync.Map

// StateOf returns what is known to the test's gateways.
func StateOf(t testing.TB) *rotator.State {
	state, known := states.LoadOrStore(t.Name(), rotator.NewState(time.Now()))
	if !known {
		t.Cleanup(func() { states.Delete(t.Name()) })
	}
	return state.(*rotator.State)
}

const PrintedSecret = "sk-Zq7xWv0TmY3rLb9KpDfGhJ"

// Leak returns six bytes of the secret that text shows: plain, in hex, as numbers
// or in base64.
func Leak(text string) string {
	lower := strings.ToLower(text)
	for i := 3; i+6 <= len(PrintedSecret); i++ {
		part := PrintedSecret[i : i+6]
		digits := hex.EncodeToString([]byte(part))
		spaced := fmt.Sprintf("% x", part)
		numbers := strings.Trim(fmt.Sprint([]byte(part)), "[]")
		literal := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", []byte(part)), "[]byte{"), "}")
		for _, shape := range []string{part, digits, spaced, numbers, literal} {
			if strings.Contains(text, shape) || strings.Contains(lower, shape) {
				return part
			}
		}
	}
	for _, prefix := range []string{"", "Bearer ", "Token "} {
		if whole := base64.RawStdEncoding.EncodeToString([]byte(prefix + PrintedSecret)); strings.Contains(text, whole[:16]) {
			return whole
		}
	}
	return ""
}

// Serve sends one request through the handler.
func Serve(h caddyhttp.MiddlewareHandler, next caddyhttp.Handler, r *http.Request) (*httptest.ResponseRecorder, error) {
	w := httptest.NewRecorder()
	err := h.ServeHTTP(w, r, next)
	return w, err
}

func ReasonCounts(c rotator.Census) string {
	return fmt.Sprintf("ready %d, soonest %s, cooling %v", c.Ready, c.Soonest, c.Cooling)
}

func Compress(t testing.TB, coding, content string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := Compressors[coding](&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// HashOf writes a token as its SHA-256.
func HashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Presenting returns a request with this header, one field a line, and query.
func Presenting(query, header string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", nil)
	r.URL.RawQuery = query
	for line := range strings.Lines(header) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		r.Header.Add(name, value)
	}
	return r
}

// TestKeys makes keys of secrets.
func TestKeys(t testing.TB, secrets ...string) []rotator.Key {
	t.Helper()
	keys := make([]rotator.Key, len(secrets))
	for i, secret := range secrets {
		key, err := rotator.NewKey(secret)
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = key
	}
	return keys
}

// Content returns n bytes that tell their place.
func Content(n int) []byte {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// Upload returns a request whose body streams: its length is not stated.
func Upload(body io.Reader) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/v1/files", body)
	r.ContentLength = -1
	return r
}

// TempDir makes temporary files go to a directory of the test's, and returns a
// function that tells how many are there.
func TempDir(t testing.TB) func() int {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return func() int {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
}

// Pattern returns n bytes that differ from their neighbours, from offset on.
func Pattern(offset, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte((offset + i) * 2654435761 >> 8)
	}
	return p
}

// Compressors are the content codings that are understood; "raw" is deflate
// without its zlib header.
var Compressors = map[string]func(io.Writer) (io.WriteCloser, error){
	"gzip":    func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
	"deflate": func(w io.Writer) (io.WriteCloser, error) { return zlib.NewWriter(w), nil },
	"raw":     func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.DefaultCompression) },
	"br":      func(w io.Writer) (io.WriteCloser, error) { return brotli.NewWriter(w), nil },
	"zstd":    func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
}

// rejectedText is the error that a handler gets which writes on after its answer was
// rejected. It is no fault of a scripted upstream.
const rejectedText = "keycycler: the response was rejected"

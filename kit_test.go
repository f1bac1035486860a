package keycycler

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

	"github.com/andybalholm/brotli"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/klauspost/compress/zstd"

	"github.com/keycycler/keycycler/rotator"
)

// demoKeys returns n keys that are obviously none.
func demoKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("sk-demo-%d", i+1)
	}
	return keys
}

// call is what an upstream saw of one attempt.
type call struct {
	key    string // what came as bearer token
	body   string
	header http.Header
	query  string
}

// fakeUpstream is a next handler that answers by a script: by the number of the
// attempt, from 0 on.
type fakeUpstream struct {
	mu     sync.Mutex
	calls  []call
	answer func(n int, w http.ResponseWriter, r *http.Request) error
}

func (u *fakeUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	c := call{
		key:    strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "),
		header: r.Header.Clone(),
		query:  r.URL.RawQuery,
	}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return caddyhttp.Error(http.StatusBadGateway, err)
		}
		c.body = string(body)
	}
	u.mu.Lock()
	n := len(u.calls)
	u.calls = append(u.calls, c)
	u.mu.Unlock()
	return u.answer(n, w, r)
}

// keys returns the keys of the calls, in order.
func (u *fakeUpstream) keys() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	keys := make([]string, len(u.calls))
	for i, c := range u.calls {
		keys[i] = c.key
	}
	return keys
}

// script returns an upstream whose n-th call is answered by the n-th reply; the
// last one answers all that follow.
func script(replies ...reply) *fakeUpstream {
	return &fakeUpstream{answer: func(n int, w http.ResponseWriter, _ *http.Request) error {
		return replies[min(n, len(replies)-1)].write(w)
	}}
}

// reply is one scripted response.
type reply struct {
	status int
	header map[string]string
	body   string
	err    error // returned by the handler; with status 0, nothing is written
	panics any
}

func (a reply) write(w http.ResponseWriter) error {
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
		if _, err := io.WriteString(w, a.body); err != nil && err.Error() != rejectedText {
			return err
		}
	}
	if a.panics != nil {
		panic(a.panics)
	}
	return a.err
}

var (
	limited = reply{status: 429, header: map[string]string{"Retry-After": "40"},
		body: `{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}`}
	spent = reply{status: 429,
		body: `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}`}
	badKey = reply{status: 401,
		body: `{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","code":"invalid_api_key"}}`}
	tooLarge = reply{status: 429,
		body: `{"error":{"message":"Request too large. Limit 30000, Requested 36278","type":"tokens","code":"rate_limit_exceeded"}}`}
	fine = reply{status: 200, header: map[string]string{"Content-Type": "text/plain"}, body: "fine"}
)

func post(body string) *http.Request {
	return httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
}

// distinct fails the test when a key stands twice.
func distinct(t *testing.T, keys []string) {
	t.Helper()
	sorted := slices.Sorted(slices.Values(keys))
	if unique := slices.Compact(slices.Clone(sorted)); len(unique) != len(keys) {
		t.Errorf("keys were used twice: %v", keys)
	}
}

// ample is a limit of all requests' memory for tests that are about another one.
const ample = 1 << 40

// writeFile returns the path of a new file.
func writeFile(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func idOf(secret string) string { return rotator.IDOf(secret).String() }

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// endless repeats a line.
type endless struct {
	line []byte
	read int64
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n+len(e.line) <= len(p) {
		n += copy(p[n:], e.line)
	}
	if n == 0 {
		n = copy(p, e.line[:min(len(p), len(e.line))])
	}
	e.read += int64(n)
	return n, nil
}

func newContext() (caddy.Context, func()) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	return ctx, cancel
}

// freshPool returns a name that no pool had before: what is kept by the name of a pool
// outlives its config, and the test, which may run again in this process.
func freshPool(name string) string { return fmt.Sprint(name, "-", pools.Add(1)) }

var pools atomic.Int64

const printedSecret = "sk-Zq7xWv0TmY3rLb9KpDfGhJ"

// leak returns six bytes of the secret that text shows: plain, in hex, as numbers
// or in base64.
func leak(text string) string {
	lower := strings.ToLower(text)
	for i := 3; i+6 <= len(printedSecret); i++ {
		part := printedSecret[i : i+6]
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
		if whole := base64.RawStdEncoding.EncodeToString([]byte(prefix + printedSecret)); strings.Contains(text, whole[:16]) {
			return whole
		}
	}
	return ""
}

// serve sends one request through the handler.
func serve(h caddyhttp.MiddlewareHandler, next caddyhttp.Handler, r *http.Request) (*httptest.ResponseRecorder, error) {
	w := httptest.NewRecorder()
	err := h.ServeHTTP(w, r, next)
	return w, err
}

func reasonCounts(c rotator.Census) string {
	return fmt.Sprintf("ready %d, soonest %s, cooling %v", c.Ready, c.Soonest, c.Cooling)
}

func compress(t testing.TB, coding, content string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := compressors[coding](&b)
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

// hashOf writes a token as its SHA-256.
func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// presenting returns a request with this header, one field a line, and query.
func presenting(query, header string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", nil)
	r.URL.RawQuery = query
	for line := range strings.Lines(header) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		r.Header.Add(name, value)
	}
	return r
}

// testKeys makes keys of secrets.
func testKeys(t testing.TB, secrets ...string) []rotator.Key {
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

// content returns n bytes that tell their place.
func content(n int) []byte {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// upload returns a request whose body streams: its length is not stated.
func upload(body io.Reader) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/v1/files", body)
	r.ContentLength = -1
	return r
}

// tempDir makes temporary files go to a directory of the test's, and returns a
// function that tells how many are there.
func tempDir(t testing.TB) func() int {
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

// pattern returns n bytes that differ from their neighbours, from offset on.
func pattern(offset, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte((offset + i) * 2654435761 >> 8)
	}
	return p
}

// compressors are the content codings that are understood; "raw" is deflate
// without its zlib header.
var compressors = map[string]func(io.Writer) (io.WriteCloser, error){
	"gzip":    func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
	"deflate": func(w io.Writer) (io.WriteCloser, error) { return zlib.NewWriter(w), nil },
	"raw":     func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.DefaultCompression) },
	"br":      func(w io.Writer) (io.WriteCloser, error) { return brotli.NewWriter(w), nil },
	"zstd":    func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
}

// rejectedText is the error that a handler gets which writes on after its answer was
// rejected. It is no fault of a scripted upstream.
const rejectedText = "keycycler: the response was rejected"

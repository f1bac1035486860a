//go:build unix

package nodes

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// soakClients send requests of every kind, each over a connection of its own and
// the next some time after the last.
type soakClients struct {
	plain, secure string // URLs of the two sites
	think         time.Duration
	stop          context.CancelFunc
	reloaded      atomic.Int64 // when the latest reload was over, in Unix ns; far ahead while one goes on
	workers       sync.WaitGroup

	mu     sync.Mutex
	served map[string]int // kind → right answers
	again  int            // requests that a reload has cut off, and that were sent again
	wrong  []string       // everything else
}

// soakWorker is one of them.
type soakWorker struct {
	*soakClients
	url    string
	client *http.Client
}

// soakKinds are what clients do. What does not return nil was not expected.
var soakKinds = []struct {
	name string
	send func(soakWorker, context.Context) error
}{
	{"small", func(w soakWorker, ctx context.Context) error { return w.upload(ctx, 200) }},
	{"100 KB", func(w soakWorker, ctx context.Context) error { return w.upload(ctx, 100_000) }},
	{"stream", soakWorker.stream},
	{"slow reader", soakWorker.readSlowly},
	{"aborted", soakWorker.abort},
	{"websocket", soakWorker.socket},
	{"failing", soakWorker.fail},
}

// startSoakClients lets n connections send about rate requests a second together.
func startSoakClients(t testing.TB, plain, secure string, n, rate int) *soakClients {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c := &soakClients{
		plain: plain, secure: secure, stop: stop, served: make(map[string]int),
		think: time.Duration(n) * time.Second / time.Duration(rate),
	}
	for i := range n {
		w := soakWorker{c, plain, nil}
		transport := &http.Transport{MaxIdleConns: 1, DialContext: live.DialLoopback}
		if i%2 == 1 {
			w.url = secure
			transport.ForceAttemptHTTP2 = true
			transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
		}
		w.client = &http.Client{Transport: transport}
		kind := soakKinds[i/2%len(soakKinds)]
		c.workers.Go(func() {
			defer transport.CloseIdleConnections()
			for w.pause(ctx, time.Duration(rand.Float64()*2*float64(c.think))) {
				began, err := time.Now(), kind.send(w, context.Background())
				for c.cutOff(began, err) { // by the same reload again, if that takes long
					began, err = time.Now(), kind.send(w, context.Background())
				}
				w.note(kind.name, err)
			}
		})
	}
	t.Cleanup(c.end)
	return c
}

// errNoAnswer says that a connection ended before anything of the answer came.
var errNoAnswer = errors.New("no answer")

// cutOff tells whether a reload is why there was no answer: Caddy then closes
// connections that are idle, whose next request may be under way (RFC 9112 §9.5), a
// listener, with connections that wait to be accepted, and websockets. (With its
// stream_close_delay it would not, but then the race detector finds reverse_proxy's
// handler being copied while a timer is set in it.) A request that began before it may have
// been cut off at any time.
func (c *soakClients) cutOff(began time.Time, err error) bool {
	if !errors.Is(err, errNoAnswer) || began.Sub(time.Unix(0, c.reloaded.Load())) > 2*time.Second {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again++
	return true
}

func (c *soakClients) note(kind string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.wrong = append(c.wrong, fmt.Sprintf("%s: %s: %v", time.Now().Format(time.TimeOnly), kind, err))
		return
	}
	c.served[kind]++
}

// end lets each connection finish what it does.
func (c *soakClients) end() {
	c.stop()
	c.workers.Wait()
}

// pause reports whether there was time enough.
func (c *soakClients) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// post sends a request that may be sent again: a reload ends connections without a
// request, and a request may be on its way there (RFC 9112 §9.5).
func (w soakWorker) post(ctx context.Context, path string, body []byte, header ...string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+path, bytes.NewReader(body))
	if err != nil {
		cancel()
		return nil, err
	}
	r.Header.Set("Idempotency-Key", "soak")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(beganHeader, time.Now().Format(time.RFC3339Nano))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := w.client.Do(r)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	res.Body = &canceling{res.Body, cancel}
	return res, nil
}

// canceling is a body whose request's context ends with it.
type canceling struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (c *canceling) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

// ask wants just this answer.
func (w soakWorker) ask(ctx context.Context, path string, body []byte, status int, want string) error {
	res, err := w.post(ctx, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status || string(got) != want {
		return fmt.Errorf("%s, %.300q: %w", res.Status, got, err)
	}
	return nil
}

func (w soakWorker) upload(ctx context.Context, size int) error {
	body := []byte(`{"model":"demo","input":"` + strings.Repeat(string(rune('a'+rand.IntN(26))), size) + `"}`)
	return w.ask(ctx, "/upload", body, http.StatusOK, fmt.Sprintf("%d %x", len(body), sha256.Sum256(body)))
}

func (w soakWorker) stream(ctx context.Context) error {
	var want strings.Builder
	for i := range soakEvents {
		fmt.Fprintf(&want, "data: %d\n\n", i)
	}
	return w.ask(ctx, "/stream", []byte(`{"stream":true}`), http.StatusOK, want.String())
}

func (w soakWorker) fail(ctx context.Context) error {
	return w.ask(ctx, "/fail", []byte(`{}`), http.StatusInternalServerError, "told to fail\n")
}

func (w soakWorker) readSlowly(ctx context.Context) error {
	res, err := w.post(ctx, "/large", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var got bytes.Buffer
	for w.pause(ctx, 20*time.Millisecond) {
		if _, err = io.CopyN(&got, res.Body, 16<<10); err != nil {
			break
		}
	}
	if !errors.Is(err, io.EOF) || !bytes.Equal(got.Bytes(), soakLarge) {
		return fmt.Errorf("%s, %d bytes: %w", res.Status, got.Len(), err)
	}
	return nil
}

// abort leaves in the middle of a stream, or before it: no answer is wrong, and none is
// right.
func (w soakWorker) abort(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(100))*time.Millisecond)
	defer cancel()
	if res, err := w.post(ctx, "/stream", []byte(strings.Repeat(" ", rand.IntN(200_000))), abortHeader, "yes"); err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	return nil
}

// socket upgrades a connection of HTTP/1.1 and wants back what it sends.
func (w soakWorker) socket(context.Context) error {
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.plain, "http://"))
	if err != nil {
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(conn, strings.Replace(live.Handshake, "/v1/realtime", "/socket", 1))
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return errors.New(res.Status)
	}
	for i := range 5 {
		message := fmt.Sprintf("message %d\n", i)
		_, _ = io.WriteString(conn, message)
		if got, err := r.ReadString('\n'); got != message {
			return fmt.Errorf("%w: %q: %w", errNoAnswer, got, err)
		}
	}
	return nil
}

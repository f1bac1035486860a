//go:build unix

package nodes

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// soakUpstream is a provider whose keys each are limited for half of the time, at
// times of their own. It counts calls with keys that it has said are limited.
type soakUpstream struct {
	*httptest.Server
	began  time.Time
	period time.Duration // of a key: half of it limited
	grace  time.Duration // after the first rejection of a limit: attempts under way

	mu       sync.Mutex
	phase    map[string]time.Duration // key → when its first limit begins
	told     map[string]soakLimit
	calls    int
	rejected int
	early    int // calls that knew better, or should have
}

// soakLimit is a limit as the gateway was told.
type soakLimit struct{ at, until time.Time }

const soakEvents = 10

func startSoakUpstream(t testing.TB, keys int, period, grace time.Duration) *soakUpstream {
	t.Helper()
	u := &soakUpstream{
		began: time.Now(), period: period, grace: grace,
		phase: make(map[string]time.Duration), told: make(map[string]soakLimit),
	}
	for i := range keys {
		u.phase[key(i)] = time.Duration(float64(period) * float64(i) / float64(keys))
	}
	u.Server = httptest.NewServer(u)
	t.Cleanup(func() { live.CloseServer(t, u.Server) })
	return u
}

// limit returns for how long the key is limited from now on, 0 if it is not.
func (u *soakUpstream) limit(key string, now time.Time) time.Duration {
	since := now.Sub(u.began) - u.phase[key]
	if since < 0 {
		return 0
	}
	return max(u.period/2-since%u.period, 0)
}

// abortHeader says that the client will not wait for the answer. Who leaves takes the
// attempt along, and the gateway may not hear that the key is limited.
const abortHeader = "X-Aborts"

// beganHeader says when the request began: on a busy machine it may be long on its way.
const beganHeader = "X-Began"

// rejects tells for how many seconds the key is limited, and notes it if that is heard.
func (u *soakUpstream) rejects(key string, began time.Time, heard bool) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	u.calls++
	told := u.told[key]
	if began.After(told.at.Add(u.grace)) && now.Before(told.until) {
		u.early++
	}
	left := u.limit(key, now)
	if left <= 0 {
		return 0
	}
	u.rejected++
	seconds := int(math.Ceil(left.Seconds()))
	if heard && !now.Before(told.until) {
		u.told[key] = soakLimit{now, now.Add(time.Duration(seconds) * time.Second)}
	}
	return seconds
}

func (u *soakUpstream) counts() (calls, rejected, early int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.calls, u.rejected, u.early
}

func (u *soakUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key, heard := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), r.Header.Get(abortHeader) == ""
	began, err := time.Parse(time.RFC3339Nano, r.Header.Get(beganHeader))
	if err != nil {
		began = time.Now()
	}
	if seconds := u.rejects(key, began, heard); seconds > 0 {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		w.Header().Set("X-Ratelimit-Remaining-Requests", "0") // it is proven, whatever becomes of the request
		w.Header().Set("X-Ratelimit-Reset-Requests", strconv.Itoa(seconds)+"s")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, live.RateLimitBody)
		return
	}
	switch r.URL.Path {
	case "/stream":
		soakStream(w, r)
	case "/large":
		_, _ = w.Write(soakLarge)
	case "/socket":
		soakSocket(w)
	case "/fail":
		_, _ = io.Copy(io.Discard, r.Body)
		http.Error(w, "told to fail", http.StatusInternalServerError)
	default:
		sum := sha256.New()
		n, _ := io.Copy(sum, r.Body)
		fmt.Fprintf(w, "%d %x", n, sum.Sum(nil))
	}
}

// soakLarge is what slow readers get.
var soakLarge = []byte(strings.Repeat("0123456789abcdef", 16<<10))

// soakStream sends events, some time apart.
func soakStream(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "text/event-stream")
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for i := range soakEvents {
		fmt.Fprintf(w, "data: %d\n\n", i)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// soakSocket accepts an upgrade and sends back what it gets.
func soakSocket(w http.ResponseWriter) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_, _ = io.Copy(conn, buffered)
}

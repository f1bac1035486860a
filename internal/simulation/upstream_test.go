package simulation

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// reply is what the upstream says instead of serving a request.
type reply struct {
	status int
	header []string // names and values
	body   string
	resets bool // the connection breaks
	leaves bool // the client does
}

// call is one attempt, as the upstream sees it.
type call struct {
	at   time.Duration // since the situation began
	key  int
	busy int // requests that the key is serving
	v    *visit
	r    *http.Request
}

// rule says how the upstream answers a call; nil: it serves. It is called under a lock.
type rule func(c *call) *reply

// seen is what the upstream remembers of a call.
type seen struct {
	at      time.Duration
	key     int32
	refused bool
	odd     bool
}

// upstream is a next handler that plays the provider by a rule.
type upstream struct {
	serves, refuses time.Duration // how long it takes to
	rule            rule
	keys            map[string]int // by secret

	mu     sync.Mutex
	began  time.Time // when the situation begins: all is well before
	busy   []int     // key → requests that it serves
	flight int       // calls under way …
	most   int       // … at most, since it began
	calls  []seen
}

var errReset = errors.New("connection reset by peer")

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	c := call{v: r.Context().Value(visitKey{}).(*visit), key: u.keyOf(r), r: r}
	a, takes := u.judge(&c)
	time.Sleep(takes)
	u.done(&c, a == nil)
	switch {
	case a == nil:
		w.WriteHeader(http.StatusOK)
		_, err := io.WriteString(w, "fine")
		return err
	case a.leaves:
		c.v.leave()
		<-r.Context().Done()
		w.WriteHeader(499) // as reverse_proxy does
		return nil
	case a.resets:
		return errReset
	}
	return a.write(w)
}

func (a *reply) write(w http.ResponseWriter) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	for i := 0; i < len(a.header); i += 2 {
		h.Set(a.header[i], a.header[i+1])
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body) // an answer that is not wanted any more is no fault
	return nil
}

// carriers are the headers that a key may come in.
var carriers = []string{"Authorization", "X-Api-Key", "X-Goog-Api-Key", "Api-Key", "X-Other-Key"}

// keyOf returns which key the call came with.
func (u *upstream) keyOf(r *http.Request) int {
	for _, name := range carriers {
		if i, ok := u.keys[strings.TrimPrefix(r.Header.Get(name), "Bearer ")]; ok {
			return i
		}
	}
	panic("a call without a key")
}

// judge decides what becomes of a call, as it comes in.
func (u *upstream) judge(c *call) (a *reply, takes time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	c.at, c.busy = time.Since(u.began), u.busy[c.key]
	if c.at >= 0 {
		a = u.rule(c)
	}
	takes = u.refuses
	if a == nil {
		takes = max(u.serves, c.v.took)
		u.busy[c.key]++
	}
	if u.flight++; c.at >= 0 {
		u.most = max(u.most, u.flight)
		u.calls = append(u.calls, seen{c.at, int32(c.key), a != nil, c.v.odd})
	}
	return a, takes
}

func (u *upstream) done(c *call, served bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.flight--
	if served {
		u.busy[c.key]--
	}
}

// oddly refuses odd requests, whatever their key, in these words.
func oddly(words *reply) rule {
	return func(c *call) *reply {
		if c.v.odd {
			return words
		}
		return nil
	}
}

// out refuses what comes with the keys below n from one time to another.
func out(n int, from, to time.Duration, words *reply) rule {
	return func(c *call) *reply {
		if c.key < n && c.at >= from && c.at < to {
			return words
		}
		return nil
	}
}

// bucket holds tokens that come back one by one.
type bucket struct {
	size, tokens float64
	every        time.Duration // until the next one
	at           time.Duration
}

func newBuckets(n int, size float64, every time.Duration) []bucket {
	all := make([]bucket, n)
	for i := range all {
		all[i] = bucket{size: size, tokens: size, every: every}
	}
	return all
}

// fill brings a bucket up to date, and tells whether there is a token in it. Time that
// comes in bits must not cost one.
func (b *bucket) fill(at time.Duration) bool {
	b.tokens = min(b.size, b.tokens+float64(at-b.at)/float64(b.every))
	b.at = at
	return b.tokens >= 1-1e-9
}

// limits gives each key a bucket.
func limits(buckets []bucket, words *reply) rule {
	return func(c *call) *reply {
		b := &buckets[min(c.key, len(buckets)-1)]
		if !b.fill(c.at) {
			return words
		}
		b.tokens--
		return nil
	}
}

// single serves one request a key at a time.
func single(words *reply) rule {
	return func(c *call) *reply {
		if c.busy > 0 {
			return words
		}
		return nil
	}
}

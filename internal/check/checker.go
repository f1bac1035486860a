package check

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/credential"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/internal/roster"
	"github.com/keycycler/keycycler/rotator"
)

// Env is the pool whose keys are checked.
type Env struct {
	Config    *Config                     // nil: keys are asked about only when somebody wants it
	Self      caddyhttp.MiddlewareHandler // whose way checks go
	Pool      *observe.Pool
	Provider  *provider.Preset
	Judge     *blame.Judge
	Keys      func() *roster.Roster // of now
	Metrics   *observe.Metrics
	Announcer *observe.Announcer
}

// Checker asks the upstream about keys, about one at a time. It is safe for concurrent use.
type Checker struct {
	Env
	uri    string
	plan   Plan
	memory *memory // whose turn also guards the rest
	stop   func()

	opens map[string]opening
	known *way

	told  string // the last complaint
	round tally
}

// tally is what a round has come to.
type tally struct {
	asked, changed, useless int
	began                   time.Time
}

// Start returns a checker, which also checks keys by itself if the config wants that: from
// when the config runs until Stop.
func Start(e Env) *Checker {
	c := &Checker{
		Env: e, uri: e.Config.uri(e.Provider.Check.URI), plan: e.Config.plan(),
		memory: memoryOf(e.Pool.Name), opens: make(map[string]opening),
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = sync.OnceFunc(func() {
		stop()
		forget(e.Pool.Name)
	})
	r := rounds{Plan: c.plan, random: rand.Float64, runs: c.runs, keys: c.due, ask: c.ask, over: c.over}
	if c.plan != (Plan{}) {
		go r.run(ctx)
	}
	return c
}

// Stop ends the checks. c may be nil.
func (c *Checker) Stop() {
	if c != nil {
		c.stop()
	}
}

// way returns the way to the upstream, nil while the config does not run.
func (c *Checker) way() *way {
	if c.known == nil {
		c.known = wayOf(c.Self)
	}
	return c.known
}

// runs tells whether the config runs.
func (c *Checker) runs() bool {
	c.memory.begin(context.Background())
	defer c.memory.end()
	return c.way() != nil
}

// wholePatience is how long a test may take: its own question, that without a key, and that
// with another one.
const wholePatience = 14 * time.Second

// Test asks the upstream about the key, and does what follows from the answer. An error says
// why nothing could be asked.
func (c *Checker) Test(ctx context.Context, id rotator.ID) (observe.CheckStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, wholePatience)
	defer cancel()
	if !c.memory.begin(ctx) {
		return observe.CheckStatus{}, errBusy
	}
	defer c.memory.end()
	keys := c.Keys()
	p, ok := keys.Find(id)
	if !ok {
		return observe.CheckStatus{}, errors.New("the key has just left the pool")
	}
	return c.test(ctx, asked{keys, p.Slot})
}

func (c *Checker) test(ctx context.Context, k asked) (observe.CheckStatus, error) {
	s := observe.CheckStatus{ID: k.key().String(), Name: k.place().Name(), Result: observe.CheckFailed, Did: observe.CheckNothing}
	began := time.Now()
	a, err := c.call(ctx, k, false)
	if failed := (failedError{}); errors.As(err, &failed) {
		s.Error = cut(failed.Error())
	} else if err != nil {
		return s, err
	}
	if s.Milliseconds = time.Since(began).Milliseconds(); a != nil {
		c.follow(ctx, k, a, &s)
	}
	if errors.Is(ctx.Err(), context.Canceled) && s.Did == observe.CheckNothing {
		return s, ctx.Err() // nobody waits for it any more: it has not been made
	}
	s.State = k.Pool.Status(time.Now(), k.slot).Condition.String()
	if c.plan != (Plan{}) {
		c.memory.note(k.key().ID(), began)
	}
	checksOf(c.Pool.Name).WithLabelValues(outcomeOf(&s)).Inc()
	return s, nil
}

// follow says what the answer means, and does what follows for the key.
func (c *Checker) follow(ctx context.Context, k asked, a *answer, s *observe.CheckStatus) {
	v := c.judge(a)
	s.Result, s.Status = resultOf(a, v), a.status
	switch s.Result {
	case observe.CheckGood:
		open, err := c.open(ctx, k)
		if open || err != nil {
			s.Result, s.Error = observe.CheckInconclusive, openness(err)
			return
		}
		s.Did = c.acquit(k, a)
		return
	case observe.CheckRefused:
		s.Class, s.Source, s.Seconds = reason.Name(v.Reason()), v.Source, v.Cooldown.Seconds()
		s.Did = c.blame(ctx, k, a, v)
	}
	s.Answer = cut(string(credential.Mask(make(http.Header), a.said(), true, k.key().Secret())))
}

// openness says why a good answer proves nothing.
func openness(err error) string {
	if err != nil {
		return "it was not found out whether the upstream answers without a key: " + cut(err.Error())
	}
	return "the upstream answers this path without a key, too: choose another one with 'check { uri <path> }'"
}

// maxShown is how much of an answer is shown, in bytes.
const maxShown = 300

// cut returns the beginning of a text, as one line.
func cut(text string) string {
	if len(text) > maxShown {
		text = strings.ToValidUTF8(text[:maxShown], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}

// due returns the keys that are to be asked about, in a random order.
func (c *Checker) due(now time.Time) []rotator.ID {
	pool := c.Keys().Pool
	c.memory.keep(now.Add(-c.plan.recent()))
	var all []rotator.ID
	for s := range rotator.Slot(pool.Len()) {
		if id := pool.Key(s).ID(); c.plan.due(now, pool.Status(now, s), c.memory.last(id)) {
			all = append(all, id)
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	c.round = tally{began: now}
	return all
}

// mostUseless is after how many checks that come to nothing, one after the other, a round is
// given up.
const mostUseless = 3

// ask asks about a key in a round, if that is still due, and tells whether the round goes on.
func (c *Checker) ask(ctx context.Context, id rotator.ID) bool {
	if !c.memory.begin(ctx) {
		return false
	}
	defer c.memory.end()
	keys, now := c.Keys(), time.Now()
	p, ok := keys.Find(id)
	if !ok || !c.plan.due(now, p.Status(now), c.memory.last(id)) {
		return true
	}
	if !sleep(ctx, c.memory.rest(now)) {
		return false
	}
	s, err := c.test(ctx, asked{keys, p.Slot})
	return ctx.Err() == nil && c.useful(&s, err)
}

// useful counts a check of a round, and tells whether the round goes on.
func (c *Checker) useful(s *observe.CheckStatus, err error) bool {
	c.round.asked++
	if s.Did != observe.CheckNothing {
		c.round.changed++
	}
	if err == nil && (s.Result == observe.CheckGood || s.Result == observe.CheckRefused) {
		c.round.useless = 0
		return true
	}
	c.round.useless++
	if err == nil && c.round.useless < mostUseless {
		return true
	}
	c.complain(s, err)
	return false
}

// complain tells why checks come to nothing, once.
func (c *Checker) complain(s *observe.CheckStatus, err error) {
	text := s.Error
	if err != nil {
		text = err.Error()
	}
	if what := s.Result + text; what != c.told {
		c.told = what
		c.Pool.Logger.Warn("checks of keys come to nothing", zap.String("uri", c.uri), zap.String("result", s.Result), zap.Int("status", s.Status), zap.String("error", text))
	}
}

// over tells of a round: people see those that changed something, and the first.
func (c *Checker) over(first bool) {
	r := c.round
	if r.changed == 0 && !first {
		return
	}
	c.Pool.Logger.Info("keys were checked", zap.Int("asked", r.asked), zap.Int("changed", r.changed), zap.Float64("seconds", time.Since(r.began).Seconds()))
}

// memory is when a pool's keys were asked about, by whichever of its sites. It outlives a
// reload. It is safe for concurrent use.
type memory struct {
	turn chan struct{} // holds one while a key is asked about

	mu     sync.Mutex
	at     map[rotator.ID]time.Time
	latest time.Time
}

// memories are the process's, by the names of the pools that there are.
var memories = caddy.NewUsagePool()

// memoryOf returns the pool's memory, until forget is called as often.
func memoryOf(pool string) *memory {
	m, _, _ := memories.LoadOrNew(pool, func() (caddy.Destructor, error) { // which does not fail
		return &memory{turn: make(chan struct{}, 1), at: make(map[rotator.ID]time.Time)}, nil
	})
	return m.(*memory)
}

func forget(pool string) { _, _ = memories.Delete(pool) }

// Destruct implements caddy.Destructor. There is nothing to release.
func (*memory) Destruct() error { return nil }

func (m *memory) note(id rotator.ID, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at[id], m.latest = at, at
}

// begin waits until no other key is asked about, and tells whether the context has not ended.
func (m *memory) begin(ctx context.Context) bool {
	select {
	case m.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (m *memory) end() { <-m.turn }

// rest returns how long the next key is not to be asked about.
func (m *memory) rest(now time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.latest.Add(leastGap).Sub(now)
}

func (m *memory) last(id rotator.ID) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at[id]
}

// keep forgets what was before.
func (m *memory) keep(since time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, at := range m.at {
		if at.Before(since) {
			delete(m.at, id)
		}
	}
}

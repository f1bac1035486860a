package keycycler

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared"
	"github.com/keycycler/keycycler/ttl"
)

// gatewayConfig is what a gateway is made from. Whoever fills it in has held every
// value against its bounds.
type gatewayConfig struct {
	Pool     string    // its name, for people
	Provider *provider // the preset

	Auth        *providerAuth // how the key travels; nil: as the preset says
	KeepHeaders []string      // account headers of the client's that pass, in any spelling

	Keys   *keySource
	Tokens *tokenSource // of whom is let in; nil: everybody

	MaxAttempts int           // calls to the upstream for one request
	TryDuration time.Duration // after which no attempt begins; 0: no limit
	MaxWait     time.Duration // for a key; 0: none
	MaxWaiting  int           // requests that wait at a time

	Rules   []rule     // of the config, before the preset's
	Policy  ttl.Policy // bounds of cooldowns
	Ahead   bool       // a success that leaves nothing cools its key
	ByModel bool       // rate limits cool a key for one model

	Memory, Total, Disk int64 // bounds of the copies of bodies, in bytes

	Limit     *rotator.Limit // of each key on this node; nil: none
	Hash      string         // the name of the placeholder that keys are chosen by; "": they are drawn
	Resources bool           // requests go out with the key that made what they name

	State   *rotator.State
	Journal rotator.Journal              // nil: nobody else is told
	Health  func() (shared.Health, bool) // of the state, and whether it is shared
	Backend string                       // its name, for people

	Logger   *zap.Logger
	Events   caddy.Context        // in which events are told, and metrics registered
	Registry *prometheus.Registry // one for all gateways of a config
}

// gateway is a running pool: it sends each request with one of many keys until an
// answer is the client's. It is safe for concurrent use. Close it when no request comes
// any more.
type gateway struct {
	gatewayConfig

	judge  *judge
	replay replayLimits
	guard  *guard
	doubts *doubts
	room   waitingRoom

	resources *resourceAPI           // nil: ids are not followed
	roster    atomic.Pointer[roster] // changes when a keys file does
	unwatch   func()                 // ends the watching of keys files; nil where there is none
	clients   *clients               // nil: everybody is let in

	metrics   *metrics
	announcer *announcer
	history   *history
	seen      *poolView // as operators see it

	// Whether the last request found no key: one log line per change.
	dry atomic.Bool
}

// newGateway reads the keys and joins what is known about them. It calls no upstream.
func newGateway(c gatewayConfig) (*gateway, error) {
	g := &gateway{gatewayConfig: c}
	g.room.most = int64(c.MaxWaiting)
	g.replay = g.replayLimits()
	g.judge = newJudge(c.Provider.dialect, c.Policy, c.Rules)
	g.judge.looksAhead = c.Ahead
	if c.Resources {
		g.resources = c.Provider.made
	}
	if err := g.start(); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *gateway) replayLimits() replayLimits {
	l := replayLimits{
		memory: g.Memory, total: g.Total, disk: g.Disk,
		byModel: g.ByModel, selectsByModel: g.Hash == placeholderPrefix+"model",
	}
	carrier := ""
	if g.Auth != nil {
		carrier = http.CanonicalHeaderKey(g.Auth.Header)
	}
	l.trailer = func(trailer http.Header) http.Header { return endToEndTrailer(trailer, carrier) }
	return l
}

// start reads keys and tokens, and lets operators see the pool.
func (g *gateway) start() error {
	sources := g.Keys.inputs().sources()
	set, err := g.Keys.load()
	if err != nil {
		return err
	}
	roster, err := g.newRoster(set)
	if err != nil {
		return err
	}
	g.roster.Store(roster)
	if err := g.show(); err != nil {
		return err
	}
	if err := g.loadClients(); err != nil {
		return err
	}
	g.unwatch = g.Keys.inputs().watch(sources, g.reloadKeys, func(err error) {
		g.Logger.Warn("keys were not read again: going on with the last good ones", zap.Error(err))
	})
	g.Logger.Info("pool is ready", zap.Int("keys", len(set.keys)), zap.String("provider", g.Provider.name))
	return nil
}

// show lets operators see the pool: in metrics, events and the admin API.
func (g *gateway) show() (err error) {
	g.history, g.doubts = historyOf(g.Pool), doubtsOf(g.Pool)
	g.seen = &poolView{
		name: g.Pool, provider: g.Provider.name, backend: g.Backend,
		config: g.Registry, state: g.State, health: g.Health, history: g.history, logger: g.Logger,
		keys:    func() *keyIndex { return g.roster.Load().keyIndex },
		waiting: g.room.waiting.Load,
	}
	if g.metrics, err = newMetrics(g.Registry, g.seen, replayMetrics...); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	if g.announcer, err = newAnnouncer(g.Events, g.Logger); err != nil {
		return fmt.Errorf("loading the events app: %w", err)
	}
	g.joinServer()
	rooms.Store(&g.room, nil)
	running.add(g)
	live.add(g.seen)
	return nil
}

// Format writes which gateway this is, whatever the verb: its config may hold keys in
// plain text.
func (g *gateway) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "gateway of pool %q", g.Pool) }

// keys returns the pool of keys in use.
func (g *gateway) keys() *rotator.Pool { return g.roster.Load().pool }

// close takes the pool out of the shared state; what is known about its keys stays
// there. It may be called twice.
func (g *gateway) close() {
	live.remove(g.seen)
	running.remove(g)
	g.clients.stop()
	if g.unwatch != nil {
		g.unwatch()
	}
	if r := g.roster.Load(); r != nil {
		// Who still waits must hear of what happens to the keys.
		g.room.whenEmpty(func() {
			rooms.Delete(&g.room)
			r.pool.Close(time.Now())
		})
	}
}

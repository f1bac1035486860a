// Package gateway is a running pool: it sends each request with one key after the other
// until an answer is the client's, lets it wait where no key is ready, and answers where
// none is left.
//
// It is where the rooms below meet, and the only one that knows them all. It knows Caddy
// as a handler does, and nothing of configs: whoever makes a [Config] has checked it. What
// happens between two attempts goes here; what can be said without a request under way
// goes into a room of its own.
package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/catalog"
	"github.com/keycycler/keycycler/internal/check"
	"github.com/keycycler/keycycler/internal/client"
	"github.com/keycycler/keycycler/internal/credential"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/line"
	"github.com/keycycler/keycycler/internal/managed"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/price"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/quota"
	"github.com/keycycler/keycycler/internal/replay"
	"github.com/keycycler/keycycler/internal/roster"
	"github.com/keycycler/keycycler/internal/upstream"
	"github.com/keycycler/keycycler/internal/usage"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared"
)

// Config is what a gateway is made from. Whoever fills it in has held every
// value against its bounds.
type Config struct {
	Pool     string           // its name, for people
	Provider *provider.Preset // the preset

	Auth        *provider.Auth // how the key travels; nil: as the preset says
	KeepHeaders []string       // account headers of the client's that pass, in any spelling

	Keys   *keyset.Source
	Tokens *client.Source // of whom is let in; nil: everybody

	MaxAttempts int           // calls to the upstream for one request
	TryDuration time.Duration // after which no attempt begins; 0: no limit
	MaxWait     time.Duration // for a key; 0: none
	FirstByte   time.Duration // that an attempt has until a response begins; 0: no limit
	Keepalive   time.Duration // of silence, after which a stream gets a comment; 0: never
	MaxWaiting  int           // requests that wait at a time
	Raises      bool          // a request that no key serves becomes an error of Caddy's

	Rules    []blame.Rule // of the config, before the preset's
	Policy   blame.Policy // bounds of cooldowns
	Ahead    bool         // a success that leaves nothing cools its key
	ByModel  bool         // rate limits cool a key for one model
	ProbeOff bool         // keys cool to the letter: none is used before its time

	Memory, Total, Disk int64 // bounds of the copies of bodies, in bytes

	Limit          *rotator.Limit // of each key on this node; nil: none
	Random         bool           // keys are drawn at random; false: they take turns
	Hash           string         // the name of the placeholder that keys are chosen by; "": none
	Sessions       bool           // requests of a conversation stay with a key
	First          bool           // one key serves until it is out, then the next
	ModelsEndpoint bool           // lists of models are answered here, from what keys serve

	Resources bool   // requests go out with the key that made what they name
	Usage     bool   // what answers say that they have used is counted
	Prices    string // the file that says what models cost; "": none

	MetricsPerKey bool // it is counted by key what happens

	Desk *client.Desk // for clients' limits; nil: they have none

	Check *check.Config               // nil: keys are asked about only when somebody wants it
	Self  caddyhttp.MiddlewareHandler // behind which the way to the upstream begins

	State   *rotator.State
	Journal rotator.Journal              // nil: nobody else is told
	Keeper  *rotator.Keeper              // of what answers have used; nil: it stays in memory
	Health  func() (shared.Health, bool) // of the state, and whether it is shared
	Backend string                       // its name, for people

	Logger   *zap.Logger
	Events   caddy.Context        // in which events are told, and metrics registered
	Registry *prometheus.Registry // one for all gateways of a config
}

// Gateway is a running pool: it sends each request with one of many keys until an
// answer is the client's. It is safe for concurrent use. Close it when no request comes
// any more.
type Gateway struct {
	Config

	judge  *blame.Judge
	replay replay.Limits
	pace   *blame.Pace
	room   line.Room
	habits rotator.Habits   // of answers that may have so many tokens at most
	offers []*catalog.Offer // of keys that serve some models only, or by other names

	resources *provider.Resources           // nil: ids are not followed
	roster    atomic.Pointer[roster.Roster] // changes when a keys file does
	managed   *managed.Files                // reads the keys again, one at a time, and writes managed files
	unwatch   func()                        // ends the watching of keys files; nil where there is none
	clients   *client.Clients               // nil: everybody is let in

	restricted map[*quota.Terms]*replay.Limits // of clients that may ask for some models only

	metrics   *observe.Metrics
	faults    upstream.FaultCounts
	announcer *observe.Announcer
	history   *observe.History
	ledger    *usage.Ledger // of what answers have used
	unkeep    func()        // ends that it is kept; nil: it is not
	prices    *price.Book   // nil: nobody knows what they cost
	seen      *observe.Pool // as operators see it
	checker   *check.Checker

	// Whether the last request found no key: one log line per change.
	dry atomic.Bool

	// Likewise, for models.
	dryModels dryModels

	salt uint64 // of the pool's name

	unrenamed unrenamed
	slips     slips
}

// New reads the keys and joins what is known about them. It calls no upstream.
func New(c Config) (*Gateway, error) {
	g := &Gateway{Config: c}
	g.room.Most = int64(c.MaxWaiting)
	g.offers = offersOf(c.Keys)
	g.salt = saltOf(c.Pool)
	g.replay = g.replayLimits()
	g.restrict()
	g.judge = blame.NewJudge(c.Provider.Dialect, c.Policy, c.Rules)
	if spreads(c.Keys) {
		g.judge.Spread()
	}
	g.judge.LooksAhead, g.judge.ToTheLetter = c.Ahead, c.ProbeOff
	if c.Resources {
		g.resources = c.Provider.Made
	}
	if err := g.start(); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

func (g *Gateway) replayLimits() replay.Limits {
	l := replay.Limits{
		Memory: g.Memory, Total: g.Total, Disk: g.Disk,
		ByModel: g.ByModel, SelectsByModel: len(g.offers) > 0 || g.Limit != nil && g.Limit.ByModel || g.Hash == observe.PlaceholderPrefix+"model",
	}
	l.Renames, l.AnyMedia = renames(g.Keys), g.limitsTokens()
	carrier := ""
	if g.Auth != nil {
		carrier = http.CanonicalHeaderKey(g.Auth.Header)
	}
	l.Trailer = func(trailer http.Header) http.Header { return credential.Trailer(trailer, carrier) }
	return l
}

// start reads keys and tokens, and lets operators see the pool.
func (g *Gateway) start() error {
	sources := g.Keys.Inputs().Sources()
	set, err := g.Keys.Load()
	if err != nil {
		return err
	}
	keys, err := g.newRoster(set)
	if err != nil {
		return err
	}
	g.roster.Store(keys)
	g.managed = managed.New(g.Keys, g.reloadKeys, g.Logger)
	if err := g.show(); err != nil {
		return err
	}
	if err := g.loadClients(); err != nil {
		return err
	}
	if g.prices, err = price.Open(g.Prices, g.Logger); err != nil {
		return err
	}
	g.unwatch = g.Keys.Inputs().Watch(sources, g.managed.Reread, func(err error) {
		g.Logger.Warn("keys were not read again: going on with the last good ones", zap.Error(err))
	})
	g.Logger.Info("pool is ready", zap.Int("keys", len(set.Keys)), zap.String("provider", g.Provider.Name))
	return nil
}

// show lets operators see the pool: in metrics, events and the admin API.
func (g *Gateway) show() (err error) {
	g.history, g.ledger = observe.HistoryOf(g.Pool), usage.LedgerOf(g.Pool)
	g.ledger.Know(catalog.Names(g.offers))
	gather := g.keepUsage()
	g.seen = &observe.Pool{
		Name: g.Pool, Provider: g.Provider.Name, Backend: g.Backend,
		Config: g.Registry, State: g.State, Health: g.Health, History: g.history, Ledger: g.ledger, Logger: g.Logger,
		Keys:    func() *observe.Index { return g.roster.Load().Index },
		Waiting: g.room.Waiting,
		ByModel: g.ByModel || len(g.offers) > 0,
		Usage:   g.Usage, Priced: g.Prices != "", PerKey: g.MetricsPerKey, Gather: gather,
	}
	if g.Keys.Manages() {
		g.seen.Managed = g.managed
	}
	if g.metrics, err = observe.NewMetrics(g.Registry, g.seen, slices.Concat(replay.Collectors, upstream.CollectorsOf(g.Pool), usage.CollectorsOf(g.ledger), quota.CollectorsOf(g.Pool), check.CollectorsOf(g.Pool))...); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	g.faults = upstream.CountFaults(g.Pool)
	if g.announcer, err = observe.NewAnnouncer(g.Events, g.Logger); err != nil {
		return fmt.Errorf("loading the events app: %w", err)
	}
	g.joinServer()
	rooms.Store(&g.room, nil)
	running.add(g)
	g.tellClash()
	g.checker = check.Start(check.Env{
		Config: g.Check, Self: g.Self, Pool: g.seen, Provider: g.Provider, Judge: g.judge, Keys: g.roster.Load,
		Metrics: g.metrics, Announcer: g.announcer,
	})
	g.seen.Test = g.checker.Test
	observe.Live.Add(g.seen)
	return nil
}

// Format writes which gateway this is, whatever the verb: its config may hold keys in
// plain text.
func (g *Gateway) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "gateway of pool %q", g.Pool) }

// KeyPool returns the pool of keys in use.
func (g *Gateway) KeyPool() *rotator.Pool { return g.roster.Load().Pool }

// Close takes the pool out of the shared state; what is known about its keys stays
// there. It may be called twice.
func (g *Gateway) Close() {
	observe.Live.Remove(g.seen)
	g.checker.Stop()
	running.remove(g)
	if g.unkeep != nil {
		g.unkeep()
		g.unkeep = nil
	}
	g.Desk.Close()
	g.clients.Stop()
	g.prices.Stop()
	if g.unwatch != nil {
		g.unwatch()
	}
	if g.managed != nil {
		g.managed.Stop() // an operator's change that is under way would bring other keys
	}
	if r := g.roster.Load(); r != nil {
		// Who still waits must hear of what happens to the keys.
		g.room.WhenEmpty(func() {
			rooms.Delete(&g.room)
			r.Pool.Close(time.Now())
		})
	}
}

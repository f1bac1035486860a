package simulation

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/gateway"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared"
)

// setup is what the config says beside the keys.
type setup struct {
	provider string            // "": openai
	before   *provider.Auth    // how keys travel until the config is corrected; nil: as the provider wants them
	groups   int               // keys of a group whose limits they share; 0: none is known
	byModel  bool              // `scope model`
	paths    map[string]string // of requests that name a model there
	probeOff bool              // `probe off`
	small    bool              // nothing of a body is kept
}

// configure puts the setup into a config. It is the one place to change when there are
// new options.
func (s setup) configure(c *gateway.Config) {
	if s.provider != "" {
		c.Provider = provider.Presets[s.provider]
	}
	c.Auth, c.ByModel = s.before, s.byModel
	if s.small {
		c.Memory, c.Total, c.Disk = 1, 1, 0
	}
	if s.probeOff {
		c.ProbeOff = true
	}
}

// stage is where a scenario is played.
type stage struct {
	*scenario
	t        *testing.T
	upstream *upstream
	pool     string
	file     string          // of keys; "": they stand in the config
	running  context.Context // of all configs
	close    func()

	mu    sync.Mutex
	nodes []node // that requests go to in turn
	all   []*gateway.Gateway
}

// node is a process with a gateway.
type node struct {
	state   *rotator.State
	journal rotator.Journal
	*gateway.Gateway
}

func newStage(t *testing.T, s *scenario) *stage {
	st := &stage{scenario: s, t: t, pool: testkit.FreshPool("simulation")}
	st.upstream = &upstream{
		serves: s.serves, refuses: s.refuses, rule: s.rule(),
		keys: make(map[string]int), busy: make([]int, s.keys+1), began: time.Now(),
	}
	if s.warm {
		st.upstream.began = st.upstream.began.Add(warmUp)
	}
	for i, key := range testkit.DemoKeys(s.keys + 1) { // one more than there are at first: see keysChange
		st.upstream.keys[key] = i
	}
	if s.twist.file {
		st.file = filepath.Join(t.TempDir(), "keys")
		st.writeKeys(s.keys)
	}
	var cancel func()
	st.running, cancel = context.WithCancel(context.Background())
	st.close = func() {
		for _, g := range st.all {
			g.Close()
		}
		cancel()
	}
	for _, n := range nodes(max(s.twist.nodes, 1)) {
		n.Gateway = st.start(n, st.pool, s.setup)
		st.nodes = append(st.nodes, n)
	}
	return st
}

func (st *stage) writeKeys(n int) {
	text := strings.Join(testkit.DemoKeys(n), "\n") + "\n"
	if err := os.WriteFile(st.file, []byte(text), 0o600); err != nil {
		st.t.Error(err)
	}
}

// start makes a gateway for the node.
func (st *stage) start(n node, pool string, s setup) *gateway.Gateway {
	ctx, _ := caddy.NewContext(caddy.Context{Context: st.running}) // ends with st.running
	c := gateway.Config{
		Pool: pool, Provider: provider.Presets["openai"],
		Keys:        &keyset.Source{Groups: st.groupsOf(s.groups), Log: zap.NewNop()},
		MaxAttempts: 15, MaxWaiting: 1000,
		Policy: blame.Policy{Default: time.Minute, Min: 30 * time.Second, Max: 24 * time.Hour, Jitter: 10}, Ahead: true,
		Memory: 16 << 20, Total: 256 << 20, Disk: 64 << 20, Resources: true,
		State: n.state, Journal: n.journal,
		Health:  func() (shared.Health, bool) { return shared.Health{Healthy: true}, false },
		Backend: "memory", Logger: zap.NewNop(), Events: ctx, Registry: ctx.GetMetricsRegistry(),
	}
	s.configure(&c)
	g, err := gateway.New(c)
	if err != nil {
		st.t.Fatal(err)
	}
	st.all = append(st.all, g)
	return g
}

// groupsOf returns the keys, of which so many are of an organisation each.
func (st *stage) groupsOf(size int) *[]keyset.Group {
	plain := rotator.Rank{Tier: 1, Weight: 1}
	if st.file != "" {
		return &[]keyset.Group{{Rank: plain, Files: []string{st.file}}}
	}
	keys := testkit.DemoKeys(st.keys)
	if size == 0 {
		return &[]keyset.Group{{Rank: plain, Texts: keys}}
	}
	var all []keyset.Group
	for i := 0; i < len(keys); i += size {
		all = append(all, keyset.Group{Name: fmt.Sprint("org-", i/size), Rank: plain, Texts: keys[i:min(i+size, len(keys))]})
	}
	return &all
}

func (st *stage) gatewayOf(v *visit) *gateway.Gateway {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.nodes[v.turn%len(st.nodes)].Gateway
}

// cooling returns the keys that cool for all requests, as the first node's operator sees
// them.
func (st *stage) cooling(now time.Time) (keys []int) {
	st.mu.Lock()
	pool := st.nodes[0].KeyPool()
	st.mu.Unlock()
	for s := range rotator.Slot(pool.Len()) {
		if pool.Status(now, s).Condition == rotator.Cooling {
			keys = append(keys, st.upstream.keys[pool.Key(s).Secret()])
		}
	}
	return keys
}

// twist is what operators do meanwhile.
type twist struct {
	name  string
	at    time.Duration
	nodes int  // of a cluster; 0: one
	file  bool // keys stand in a file
	do    func(*stage)
}

var (
	reload     = twist{name: "reload", do: func(st *stage) { st.reload(st.setup) }}
	keysChange = twist{name: "keys file", file: true, do: func(st *stage) { st.writeKeys(st.keys + 1) }}
	secondPool = twist{name: "second pool", do: (*stage).addPool}
	twoNodes   = twist{name: "two nodes", nodes: 2}
)

// turn does it when it is time.
func (st *stage) turn(over <-chan struct{}) {
	if st.twist.do == nil {
		return
	}
	select {
	case <-over:
	case <-time.After(time.Until(st.upstream.began.Add(st.twist.at))):
		st.twist.do(st)
	}
}

// reload puts a gateway of a new config into the place of the first one's, as Caddy does:
// the new one runs before the old one is closed.
func (st *stage) reload(s setup) {
	n := st.nodes[0]
	old := n.Gateway
	n.Gateway = st.start(n, st.pool, s)
	st.mu.Lock()
	st.nodes[0] = n
	st.mu.Unlock()
	time.Sleep(time.Second)
	old.Close()
}

// addPool lets half of the requests go to a pool of another name with the same keys.
func (st *stage) addPool() {
	n := st.nodes[0]
	n.Gateway = st.start(n, st.pool+"-second", st.setup)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.nodes = append(st.nodes, n)
}

// nodes returns nodes that hear of each other as through a journal.
func nodes(n int) []node {
	all := make([]node, n)
	for i := range all {
		all[i].state = rotator.NewState(time.Now())
	}
	if n == 2 {
		a, b := &wire{to: all[1].state}, &wire{to: all[0].state}
		a.back, b.back = b, a
		all[0].journal, all[1].journal = a, b
	}
	return all
}

// wire is a journal that tells one other node, a moment later.
type wire struct {
	to   *rotator.State
	back *wire
}

const onTheWire = 10 * time.Millisecond

func (w *wire) Record(c rotator.Change) {
	go func() {
		time.Sleep(onTheWire)
		w.to.Learn(time.Now(), c, w.back)
	}()
}

func (w *wire) RecordOwner(rotator.Owner) {}

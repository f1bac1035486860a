// Package backend holds the Caddy modules that say where the state of keys lives: in
// memory, in a file, or shared through Redis. It reads their config and makes the journal.
//
// It knows Caddy, and how Redis is reached. What nodes tell each other is package
// rotator/shared, and how a file is kept is rotator/disk. A backend that comes with keycycler goes here, as a module in the
// namespace http.keycycler.state, and passes rotator/statetest.
package backend

import (
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/quota"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/keep"
)

func init() {
	caddy.RegisterModule(new(MemoryState))
}

// StateBackend is what a module in the namespace http.keycycler.state provides.
type StateBackend interface {
	// State returns what is known about keys. It is called once for each pool,
	// after the module was provisioned, and must be usable until its Cleanup.
	State() *rotator.State

	// Journal returns what carries the pool's knowledge to other processes, or nil.
	Journal() rotator.Journal
}

// SharesOf returns what divides limits among the nodes of the backend: what its method
// Shares returns, nil if it has none. It must be usable for as long as the state is.
func SharesOf(b StateBackend) rotator.Shares {
	if divides, ok := b.(interface{ Shares() rotator.Shares }); ok {
		return divides.Shares()
	}
	return nil
}

// LenderOf returns what divides clients' limits among the nodes of the backend: what its method
// Shares returns, if that lends; nil otherwise.
func LenderOf(b StateBackend) quota.Lender {
	lender, _ := SharesOf(b).(quota.Lender)
	return lender
}

// KeeperOf returns what keeps the usage of the backend's pools: what its method Keeper
// returns, nil if it has none. It must be usable for as long as the state is.
func KeeperOf(b StateBackend) *rotator.Keeper {
	if keeps, ok := b.(interface{ Keeper() *rotator.Keeper }); ok {
		return keeps.Keeper()
	}
	return nil
}

// AccountsOf returns where what clients have used of their limits outlives the process: what
// its method Accounts returns, nil if it has none. It must be usable for as long as the state is.
func AccountsOf(b StateBackend) keep.Accounts {
	if keeps, ok := b.(interface{ Accounts() keep.Accounts }); ok {
		return keeps.Accounts()
	}
	return nil
}

// states holds what outlives a config. It is a UsagePool, since a reload
// provisions the new config before it cleans up the old one.
var states = caddy.NewUsagePool()

// MemoryState keeps the state of the keys in this process. All pools of the
// process share it; it outlives config reloads, not the process.
type MemoryState struct {
	state  *rotator.State
	joined bool // and not left yet
}

const memoryStateKey = "memory"

// StateNamespace is where state backends are registered.
const StateNamespace = "http.keycycler.state"

// StateBackends returns the names of those that this Caddy has.
func StateBackends() string {
	modules := caddy.GetModules(StateNamespace)
	backends := make([]string, len(modules))
	for i, mod := range modules {
		backends[i] = mod.ID.Name()
	}
	return strings.Join(backends, ", ")
}

// CaddyModule returns the Caddy module information.
func (*MemoryState) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.keycycler.state.memory",
		New: func() caddy.Module { return new(MemoryState) },
	}
}

// Provision joins the process's state.
func (m *MemoryState) Provision(caddy.Context) (err error) {
	m.state, err = joinState()
	m.joined = err == nil
	return err
}

// joinState returns the process's state, of which there is one, whatever the
// backends. Each call wants one of leaveState.
func joinState() (*rotator.State, error) {
	state, _, err := states.LoadOrNew(memoryStateKey, func() (caddy.Destructor, error) {
		return rotator.NewState(time.Now()), nil
	})
	if err != nil {
		return nil, err
	}
	return state.(*rotator.State), nil
}

// Users returns how many modules of configs hold the process's state.
func Users() int {
	n, _ := states.References(memoryStateKey)
	return n
}

func leaveState() error {
	_, err := states.Delete(memoryStateKey)
	return err
}

// State returns the process's state.
func (m *MemoryState) State() *rotator.State { return m.state }

// Journal returns nil: nobody else is told.
func (m *MemoryState) Journal() rotator.Journal { return nil }

// Cleanup leaves the state, which goes when no config uses it any more.
func (m *MemoryState) Cleanup() error {
	if !m.joined {
		return nil
	}
	m.joined = false
	return leaveState()
}

// UnmarshalCaddyfile sets up the backend from Caddyfile tokens. Syntax:
//
//	state memory
func (*MemoryState) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the backend's name
	if d.NextArg() {
		return d.Errf("state memory: surplus argument")
	}
	for d.NextBlock(0) {
		return d.Errf("state memory: unknown option %s: it has none", directive.ShownName(d.Val()))
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*MemoryState)(nil)
	_ caddy.CleanerUpper    = (*MemoryState)(nil)
	_ caddyfile.Unmarshaler = (*MemoryState)(nil)
	_ StateBackend          = (*MemoryState)(nil)
)

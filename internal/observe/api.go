package observe

import (
	"fmt"
	"io"
	"time"
)

// The admin API's answers, which the command and the status page read too. Tools
// build on these names: they stay.

const (
	// AdminPrefix is where the API and the page are, at Caddy's admin endpoint.
	AdminPrefix = "/keycycler/"

	DefaultLimit = 100  // keys in one answer
	MaxLimit     = 1000 // likewise

	// MaxCool is what an operator may cool a key for.
	MaxCool = 365 * 24 * time.Hour
)

// PoolStatus is one pool at one instant.
type PoolStatus struct {
	Pool     string      `json:"pool"`
	Provider string      `json:"provider"`
	Keys     int         `json:"keys"`
	Ready    int         `json:"ready"`
	Cooling  int         `json:"cooling"`
	Disabled int         `json:"disabled"`
	State    StateStatus `json:"state"`

	// Remaining is until the first of the keys that cool is ready, or may be asked: 0 where
	// none cools, or nobody knows.
	Remaining float64 `json:"remaining_seconds"`

	// Models are those that no key can serve, by name: [] where each can be, and while no
	// key is ready for any.
	Models []ModelStatus `json:"models"`

	// Limited are models that some keys cool for, or for all, while others are ready for them,
	// by name. It has the models for which a key cools alone.
	Limited []ModelStatus `json:"limited_models,omitempty"`

	// Files are those of keys that keycycler may write, as the config has them.
	Files []string `json:"managed_files,omitempty"`

	// UsageOff tells that nobody counts what the pool's answers use.
	UsageOff bool `json:"usage_off,omitempty"`
}

// ModelStatus is a model that no key of a pool is ready for, while keys are for others; or
// only some are.
type ModelStatus struct {
	Model     string         `json:"model"` // its name, or * for those beyond the bound
	Keys      int            `json:"keys"`
	Cooling   int            `json:"cooling"` // for the model or for all
	Disabled  int            `json:"disabled"`
	Classes   map[string]int `json:"classes"`           // of those that cool
	Remaining float64        `json:"remaining_seconds"` // until the first is ready; 0 where nobody knows
}

// StateStatus is how a pool's state backend fares.
type StateStatus struct {
	Backend string  `json:"backend"`         // memory, file, redis
	Healthy bool    `json:"healthy"`         // always, where nothing is shared
	LagMS   float64 `json:"lag_ms"`          // how old the last change of another node was when it was applied here
	Error   string  `json:"error,omitempty"` // the last one, while it is not healthy
}

// KeyStatus is one key at one instant. Counters are this node's, since its start.
type KeyStatus struct {
	ID        string            `json:"id"`
	Name      string            `json:"name,omitempty"`       // for people
	Group     string            `json:"group,omitempty"`      // of keys that share their limits
	Tier      int               `json:"tier,omitempty"`       // from 1 on
	Upstream  string            `json:"upstream,omitempty"`   // where it works; "" where the config of reverse_proxy says
	Origin    string            `json:"origin,omitempty"`     // where it stands: openai.keys:17, or keys: key 2
	State     string            `json:"state"`                // ready, cooling, disabled
	Class     string            `json:"class,omitempty"`      // why it cools: of rate_limited, quota_exhausted, …, operator
	Source    string            `json:"source,omitempty"`     // where that was stated: a header's name in lower case, body:…, default, config, operator
	Scope     string            `json:"scope,omitempty"`      // what cools: key
	Remaining float64           `json:"remaining_seconds"`    // 0 unless it cools, and where it cools until a request ends
	Until     *time.Time        `json:"until,omitempty"`      // by this node's clock
	Proven    *bool             `json:"proven,omitempty"`     // of what cools it: false while nobody knows whose fault the refusal was; nil unless it cools
	Suspect   *Suspect          `json:"suspect,omitempty"`    // what it is suspected of, and does not cool for
	Allowance []AllowanceStatus `json:"allowances,omitempty"` // of its own at the upstream, as that has stated them
	Scopes    []ScopeStatus     `json:"scopes,omitempty"`     // in which it cools, ready or not, by name
	Attempts  uint64            `json:"attempts"`             // calls to the upstream
	Rejected  map[string]uint64 `json:"rejections"`           // of them, by class
	InFlight  int64             `json:"in_flight"`            // calls under way
	LastUsed  *time.Time        `json:"last_used,omitempty"`
}

// Suspect is what a key was refused for, as long as nobody knows whether that was the
// key's fault: others are used before it.
type Suspect struct {
	Class     string  `json:"class"`
	Source    string  `json:"source,omitempty"`
	Remaining float64 `json:"remaining_seconds"` // of the cooldown, if it turns out to be
}

// AllowanceStatus is one of a key's limits, as the upstream has stated it last. One that is
// reset is not told any more: all of it is available.
type AllowanceStatus struct {
	Of        string  `json:"of"`              // what is limited: requests, tokens, input-tokens, …
	Model     string  `json:"model,omitempty"` // for which, where keys cool or are limited by model
	Limit     int64   `json:"limit"`
	Remaining int64   `json:"remaining"`     // when that was stated
	Reset     float64 `json:"reset_seconds"` // until all of it is available again
}

// ScopeStatus is a key in one scope in which it cools.
type ScopeStatus struct {
	Scope     string    `json:"scope"` // the model's name, or * for those beyond the bound
	Class     string    `json:"class"`
	Source    string    `json:"source,omitempty"`
	Remaining float64   `json:"remaining_seconds"`
	Until     time.Time `json:"until"`
	Proven    bool      `json:"proven"`
}

// Unproven tells whether the key cools for what it is but suspected of.
func (k *KeyStatus) Unproven() bool { return k.Proven != nil && !*k.Proven }

// KeysPage is a part of a pool's keys, ordered by id.
type KeysPage struct {
	Keys []KeyStatus `json:"keys"`
	Next string      `json:"next,omitempty"` // the value of ?after= that the next page wants; "" on the last
}

// MinuteStatus is a minute of the last hour in which there were rejections.
type MinuteStatus struct {
	Minute     time.Time      `json:"minute"`     // when it began
	Rejections map[string]int `json:"rejections"` // by class
	Served     int            `json:"served"`     // requests that keys served
}

// Changed tells what an operator's verb has done.
type Changed struct {
	Keys    int `json:"keys"`    // that it was meant for
	Changed int `json:"changed"` // of them, whose state it changed
}

// NewKeys is the body of POST …/keys.
type NewKeys struct {
	Keys []NewKey `json:"keys"`
	File string   `json:"file,omitempty"` // where they go, as in managed_files, or its base name; "": the only one
}

// NewKey is a key that is to be added.
type NewKey struct {
	Key  string `json:"key"`
	Name string `json:"name,omitempty"` // for people
}

// Format writes nothing of the key, whatever the verb.
func (NewKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "a key") }

// KeysAdded tells what has become of NewKeys.
type KeysAdded struct {
	File    string       `json:"file"`    // its base name
	Added   []string     `json:"added"`   // ids
	Skipped []KeySkipped `json:"skipped"` // those that the pool has already
}

// KeySkipped is a key that was not added, since the pool has it.
type KeySkipped struct {
	Index  int    `json:"index"` // in keys, from 0 on
	ID     string `json:"id"`
	Origin string `json:"origin"` // where it stands
}

// KeyRemoved tells from where a key was removed.
type KeyRemoved struct {
	ID    string   `json:"id"`
	Files []string `json:"files"` // base names
}

// CoolRequest is the body of POST …/cool.
type CoolRequest struct {
	Seconds float64 `json:"seconds"` // from now on: above 0, at most a year
}

// Package status is keycycler's status page: one page of HTML that shows the pools
// and their keys, and lets an operator clear, cool, disable, enable, test, add and remove them.
//
// It knows nothing but the standard library: what it shows and does is a [Source]. What the
// page shows goes here, a column or a chart; where it is served from does not.
// The page is complete without scripts. With them it keeps itself fresh, by
// fetching itself and taking over what has changed: nothing is rendered but here.
// It loads nothing: style and script stand in it, allowed by their hashes.
package status

import (
	"errors"
	"iter"
	"net/http"
	"time"
)

// Source is what the page shows and does. It must be safe for concurrent use.
type Source interface {
	// Pools returns the pools in an order that stays: those that need somebody are shown
	// before it.
	Pools() []Pool
	// Keys returns all keys of the pool, in any order; none, if it does not know the
	// pool.
	Keys(pool string) iter.Seq[Key]
	// Usage returns what the pool's answers have used, by one of UsageBy, within the last
	// hour or else within the last 30 days; nil, if that is not counted, or if it does not
	// know the pool.
	Usage(pool, by string, hour bool) *Usage
	// Do applies the action to the pool's key of that id, or to all its keys if the id
	// is "", and returns how many have changed by it. The error is ErrNotFound, or
	// wraps it, if there is no such pool or key; its text is shown.
	Do(pool, id string, a Action) (changed int, err error)
	// Add adds the keys that the text holds to the pool's managed file of that name: all of
	// them, or none if there is an error, whose text is shown: it must show nothing of a key.
	Add(pool, file, text string) (Added, error)
	// Test asks the upstream about the pool's key of that id, for as long as the request
	// lasts. The error is as that of Do, or says why it cannot be asked.
	Test(r *http.Request, pool, id string) (Found, error)
	// Remove takes the pool's key of that id out of the files that hold it. The error is as
	// that of Do, or says why it cannot be removed: it shows nothing of a key but the id.
	Remove(pool, id string) error
}

// Added is what has become of keys that were to be added.
type Added struct {
	Keys    int
	Skipped []int // the lines of those that the pool had, or that stood twice, in order
}

// About is what is known of a key besides what the page's columns show: it is asked of the
// keys that are shown, and of no others.
type About interface {
	String() string  // all that people know it by
	Managed() string // the file and line that it can be removed from; "": it cannot be
}

// Found is what a test of a key has found out.
type Found string

// found is what the page says of it.
var found = map[Found]string{
	"good":         "the upstream takes it",
	"freed":        "the upstream takes it, so it is ready again",
	"refused":      "the upstream refuses it",
	"suspected":    "the upstream refuses it, so it is suspect",
	"cools":        "the upstream refuses it, so it cools",
	"inconclusive": "the upstream’s answer says nothing of the key",
	"failed":       "the upstream does not answer",
}

// ErrNotFound is what a Source says of a pool or a key that it does not know.
var ErrNotFound = errors.New("not found")

// Verb is what an operator can do to a key.
type Verb string

// The verbs.
const (
	Clear   Verb = "clear"   // ends a cooldown
	Cool    Verb = "cool"    // for a while
	Disable Verb = "disable" // until it is enabled
	Enable  Verb = "enable"
	Test    Verb = "test"   // asks the upstream about it
	Remove  Verb = "remove" // from its file
)

// Action is what is to be done to keys.
type Action struct {
	Verb Verb
	For  time.Duration // of Cool: how long, a second to a year; otherwise 0
}

// Pool is one pool at one instant.
type Pool struct {
	Name     string
	Provider string

	Keys     int // the sum of the next three
	Ready    int
	Cooling  int
	Disabled int
	Soonest  time.Duration // until the first cooling key is ready; 0 if none cools
	Models   []Model       // that no key can serve, while keys are ready for others
	Files    []string      // to which keys can be added

	Backend string        // where the state is kept: memory, redis
	Healthy bool          // whether it can be read and written there; always, in memory
	Lag     time.Duration // how old another node's last change was when it was applied here
	Queue   int           // changes that are still to be written
	Err     string        // the last error, while it is not healthy

	Minutes []Minute // of the last hour, oldest first: the page shows the last 60
}

// Model is one that no key of a pool is ready for.
type Model struct {
	Name string
	Back time.Duration // until the first key is ready for it; 0 if nobody knows
}

// Minute is what one minute served and rejected.
type Minute struct {
	Start      time.Time
	Rejections map[string]int // by class
	Served     int            // requests that keys served
}

// The states of a key.
const (
	Ready    = "ready"
	Cooling  = "cooling"
	Disabled = "disabled"
)

// Key is one key at one instant.
type Key struct {
	ID         string        // 12 hex digits
	Name       string        // for people; "": none
	Group      string        // of the config that it belongs to; "": none
	About      About         // nil: nothing
	State      string        // Ready, Cooling or Disabled
	Class      string        // why it cools: rate_limited, operator, …
	Suspect    bool          // it was refused for that, and nobody knows whether that was its fault
	Source     string        // where that was stated: retry-after, body:…, default, …
	Scope      string        // what cools, if not the whole key
	Remaining  time.Duration // until it has cooled; 0 unless it cools
	Attempts   uint64        // calls to the upstream
	Rejections uint64        // of them
	InFlight   int64         // calls under way
	LastUsed   time.Time     // zero: never
}

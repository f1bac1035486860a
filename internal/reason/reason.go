// Package reason names why a key cools, for all that name it: logs, metrics, the API and
// what nodes tell each other. It gives the engine's numbers their names.
//
// It knows the classes of package ttl and nothing else. A reason that is no class of
// answers goes here. Names stay: nodes of other versions and tools know them.
package reason

import (
	"slices"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// What a rate limit cools.
const (
	ScopeKey   = "key"   // the key for all requests
	ScopeModel = "model" // the key for requests of one model
)

// Reasons why a key cools. Most are classes of answers; these are not.
const (
	reasonOther = rotator.Reason(ttl.OK) // a rule of the config cools for an answer of no class
	Operator    = rotator.Reason(ttl.Unknown + 1)
	Spent       = Operator + 1 // a success left nothing of the key's allowance
	Limit       = Spent + 1    // the key is at the limit of the config; it does not cool otherwise
)

// NameOther is the name of what has none.
const NameOther = "other"

// Names are the reasons' names, by number.
var Names = func() []string {
	names := make([]string, Limit+1)
	for class := range Operator {
		names[class] = ttl.Class(class).String()
	}
	names[reasonOther], names[Operator], names[Spent] = NameOther, "operator", "spent"
	names[Limit] = "limit"
	return names
}()

// Name returns the reason's name. One of a newer version, which another node
// has told, has none.
func Name(r rotator.Reason) string {
	if int(r) >= len(Names) {
		return NameOther
	}
	return Names[r]
}

func Parse(name string) (rotator.Reason, bool) {
	i := slices.Index(Names, name)
	return rotator.Reason(max(i, 0)), i >= 0
}

// Sources of a duration that no response stated.
const (
	SourceDefault  = "default"
	SourceConfig   = "config"
	SourceOperator = "operator"
)

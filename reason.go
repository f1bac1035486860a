package keycycler

import (
	"slices"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// What a rate limit cools.
const (
	scopeKey   = "key"   // the key for all requests
	scopeModel = "model" // the key for requests of one model
)

// Reasons why a key cools. Most are classes of answers; these are not.
const (
	reasonOther    = rotator.Reason(ttl.OK) // a rule of the config cools for an answer of no class
	reasonOperator = rotator.Reason(ttl.Overloaded + 1)
	reasonSpent    = reasonOperator + 1 // a success left nothing of the key's allowance
	reasonLimit    = reasonSpent + 1    // the key is at the limit of the config; it does not cool otherwise
)

// reasonNameOther is the name of what has none.
const reasonNameOther = "other"

// reasonNames are the reasons' names, by number.
var reasonNames = func() []string {
	names := make([]string, reasonLimit+1)
	for class := range reasonOperator {
		names[class] = ttl.Class(class).String()
	}
	names[reasonOther], names[reasonOperator], names[reasonSpent] = reasonNameOther, "operator", "spent"
	names[reasonLimit] = "limit"
	return names
}()

// reasonName returns the reason's name. One of a newer version, which another node
// has told, has none.
func reasonName(r rotator.Reason) string {
	if int(r) >= len(reasonNames) {
		return reasonNameOther
	}
	return reasonNames[r]
}

func parseReason(name string) (rotator.Reason, bool) {
	i := slices.Index(reasonNames, name)
	return rotator.Reason(max(i, 0)), i >= 0
}

// Sources of a duration that no response stated.
const (
	sourceDefault  = "default"
	sourceConfig   = "config"
	sourceOperator = "operator"
)

// Package usage is who uses how much: it reads what answers say that they have used while
// they stream by, and counts that by client, model and key.
//
// It knows the forms in which providers say it, as rows of a table (forms.go), and nothing of
// attempts. It never guesses: what an answer does not say is unknown. A provider that says it
// in words of its own goes into that table; what shall be counted apart, into the ledger.
package usage

// Type is a kind of tokens.
type Type int

// The kinds of tokens. Each token is counted as one of the first four; those of Reasoning
// are counted in Output as well.
const (
	Input      Type = iota // that were read anew
	Cached                 // that were read from a cache
	CacheWrite             // that were read anew and written to a cache
	Output                 // that were written, with reasoning
	Reasoning              // that nobody but the model has read
	types
)

// Names are the kinds' names, by kind.
var Names = [types]string{"input", "cached", "cache_write", "output", "reasoning"}

// Unknown stands for a number that the answer does not state.
const Unknown = -1

// Tokens is how many tokens of each kind an answer has used, or Unknown.
type Tokens [types]int64

// Known returns how many there are, 0 where that is unknown.
func (t Tokens) Known(of Type) int64 { return max(t[of], 0) }

// Bill is what an answer has used, and what that costs.
type Bill struct {
	Tokens
	Cost USD // NotPriced or NoPrice if nobody knows
}

// Used is what the answer has used. b may be nil: it does not say.
func (b *Bill) Used() *Tokens {
	if b == nil {
		return nil
	}
	return &b.Tokens
}

// stated tells whether an answer says what it has used.
func (t Tokens) stated() bool { return t[Input] != Unknown || t[Output] != Unknown }

// AllInput returns the tokens of the request, from caches or not, or Unknown.
func (t Tokens) AllInput() int64 {
	if t[Input] == Unknown {
		return Unknown
	}
	return t[Input] + t.Known(Cached) + t.Known(CacheWrite)
}

package keep

import "time"

// Spent is so much that was used of a limit, and counts for so much longer.
type Spent struct {
	N    int64
	Left time.Duration
}

// Account is what was used of one limit. Its method is safe for concurrent use.
type Account interface {
	// Spent returns all that counts at that time, in Unix nanoseconds.
	Spent(at int64) []Spent
}

// Accounts keeps what was used of limits, so that it outlives the process that counts it. It
// is safe for concurrent use, and comparable.
type Accounts interface {
	// Open returns what was used of a limit before, as far as it still counts: what the
	// account of that name had when it was kept last. The account is kept from then on
	// whenever changed is called. Open and changed call nothing of the account, and wait for
	// nothing: so they may be called with its locks held.
	Open(name string, of Account) (before []Spent, changed func())
}

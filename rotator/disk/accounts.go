package disk

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keycycler/keycycler/rotator/keep"
)

// piece is so much that was used of a limit and counts until then, by the file's time, in
// milliseconds.
type piece struct{ n, until int64 }

// accounts is what was used of limits, by the hashes of their names: names may tell of clients.
// What counts of it the file says in one line, which counts over the one before. It is safe for
// concurrent use.
type accounts struct {
	mu      sync.Mutex // never held while anything is written; taken under the accounts' locks
	spent   map[string][]piece
	changed []*account
}

// account is one that this process goes on with.
type account struct {
	name string // hashed
	of   keep.Account
	owes atomic.Bool // it is among those that have changed
}

func newAccounts() *accounts { return &accounts{spent: make(map[string][]piece)} }

func hashed(name string) string {
	sum := sha256.Sum256([]byte("keycycler account v1\x00" + name))
	return hex.EncodeToString(sum[:16])
}

// load takes what the file says.
func (a *accounts) load(spent map[string][]piece) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spent = spent
}

// Open implements keep.Accounts.
func (j *Journal) Open(name string, of keep.Account) (before []keep.Spent, changed func()) {
	one := &account{name: hashed(name), of: of}
	now := j.now()
	at := j.clock.at(now)
	j.accounts.mu.Lock()
	defer j.accounts.mu.Unlock()
	for _, p := range j.accounts.spent[one.name] {
		if left := time.Duration(p.until-at) * time.Millisecond; left > 0 {
			before = append(before, keep.Spent{N: p.n, Left: left})
		}
	}
	return before, func() {
		if j.accounts.note(one) {
			rouse(j.wake)
		}
	}
}

// note takes up an account that has changed. It reports whether that is news.
func (a *accounts) note(one *account) bool {
	if one.owes.Swap(true) {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changed = append(a.changed, one)
	return true
}

func (a *accounts) queue() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.changed)
}

// take returns the accounts that have changed. They are written, or put back.
func (a *accounts) take() []*account {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.changed
	a.changed = nil
	for _, one := range all {
		one.owes.Store(false)
	}
	return all
}

func (a *accounts) putBack(all []*account) {
	for _, one := range all {
		a.note(one)
	}
}

// append appends lines with what these accounts are now.
func (a *accounts) append(to []byte, all []*account, now time.Time, c *clock) []byte {
	for _, one := range all {
		pieces := make([]piece, 0, 1)
		for _, s := range one.of.Spent(now.UnixNano()) {
			pieces = append(pieces, piece{s.N, c.at(now.Add(s.Left))})
		}
		a.mu.Lock()
		a.spent[one.name] = pieces
		a.mu.Unlock()
		to = appendLine(to, func(b []byte) []byte { return appendSpent(b, one.name, pieces) })
	}
	return to
}

// appendAll appends lines with all that was used.
func (a *accounts) appendAll(to []byte) []byte {
	a.mu.Lock()
	spent := maps.Clone(a.spent) // clients' requests wait no longer
	a.mu.Unlock()
	for name, pieces := range spent {
		to = appendLine(to, func(b []byte) []byte { return appendSpent(b, name, pieces) })
	}
	return to
}

// forget drops accounts of which nothing counts any more.
func (a *accounts) forget(now int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.spent, func(_ string, pieces []piece) bool {
		for _, p := range pieces {
			if p.until > now {
				return false
			}
		}
		return true
	})
}

func appendSpent(to []byte, name string, pieces []piece) []byte {
	to = appendText(append(to, kindSpent...), name)
	to = append(to, '\t')
	for i, p := range pieces {
		if i > 0 {
			to = append(to, ' ')
		}
		to = strconv.AppendInt(to, p.n, 10)
		to = strconv.AppendInt(append(to, ':'), p.until, 10)
	}
	return to
}

// parseSpent reports false for what no process of this version has written.
func parseSpent(in *fields) (name string, pieces []piece, ok bool) {
	if ok = len(in[1]) == 32; in[2] == "" {
		return strings.Clone(in[1]), nil, ok
	}
	for text := range strings.SplitSeq(in[2], " ") {
		n, until, _ := strings.Cut(text, ":")
		used, err := strconv.ParseInt(n, 10, 64)
		p := piece{used, number(until, &ok)}
		ok = ok && err == nil && p.n >= 0 && p.until >= 0
		pieces = append(pieces, p)
	}
	return strings.Clone(in[1]), pieces, ok
}

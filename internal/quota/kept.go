package quota

import (
	"strconv"
	"sync"
	"time"

	"github.com/keycycler/keycycler/rotator/keep"
)

// Kept returns the plan as one whose clients' use outlives the process in these accounts, which
// may be nil. p may be nil.
func (p *Plan) Kept(pool string, in keep.Accounts) *Plan {
	if p == nil || in == nil {
		return p
	}
	kept := *p
	kept.pool, kept.accounts, kept.serial = pool, in, serials.Add(1)
	return &kept
}

// account is what a meter's counter is kept as. It is a keep.Account.
type account struct {
	mu      *sync.Mutex // the allowance's
	counter counter
	changed func()
}

// open opens the accounts of the meters that have none. The lock is held.
func (a *Allowance) open(at int64) {
	if a.plan.accounts == nil {
		return
	}
	for i, m := range a.meters {
		if names[m.kind] != "" && m.account == nil {
			m.open(at, a.plan.accounts, a.accountName(i))
		}
	}
}

// open opens the account of that name. If the meter is new, what was used before the start
// comes to it. The lock is held.
func (m *Meter) open(at int64, in keep.Accounts, name string) {
	m.account = &account{mu: m.mu, counter: m.counter}
	before, changed := in.Open(name, m.account)
	m.account.changed = changed
	if m.came {
		changed()
		return
	}
	m.came = true
	for _, s := range before {
		m.counter.bringBack(at, s.N, int64(s.Left))
	}
}

// accountName is what the i-th limit's account is called: another name where the period is
// another one.
func (a *Allowance) accountName(i int) string {
	name, p := a.baseName(i), a.meters[i].limit.Period
	if p.Calendar == Sliding {
		return string(append(name, p.Per.String()...))
	}
	name = append(append(name, p.Zone.String()...), 0)
	return string(strconv.AppendInt(name, int64(p.Calendar), 10))
}

// note has what is counted kept. There may be no account.
func (a *account) note() {
	if a != nil {
		a.changed()
	}
}

// Spent implements keep.Account. What requests under way hold is none of it: they end with the
// process.
func (a *account) Spent(at int64) (all []keep.Spent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counter.tail(at, func(n, left int64) { all = append(all, keep.Spent{N: n, Left: time.Duration(left)}) })
	return all
}

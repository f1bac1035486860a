package shared

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/keycycler/keycycler/rotator/lease"
	"github.com/keycycler/keycycler/rotator/shared/lua"
)

// leaseTick is how often a node looks whether it needs more of its limits, or less, where
// there are few nodes.
const leaseTick = 50 * time.Millisecond

// Share makes this node have a part of a limit, which all nodes together keep to: see
// lease.Book. It asks Redis in the background, several times a second while the limit is in
// use and the node needs more or less of it than it has, and every ten seconds besides; for a
// limit that nobody uses, never.
//
// The names of limits go to Redis as hashes. Those of keys are "key <id> <per>" and "tokens <id>
// <per>", which a pool shares whose rotator.Limit says so. Those of clients are lent.
func (j *Journal) Share(name string, m lease.Meter) {
	j.book.Share(name, m)
	rouse(j.shares)
}

// Unshare ends what Share began.
func (j *Journal) Unshare(name string) { j.book.Unshare(name) }

// Lend makes this node have a part of a limit for as long as it is used: see lease.Book.
func (j *Journal) Lend(name string, m lease.Borrower, most int64) (ceiling int64) {
	defer rouse(j.shares)
	return j.book.Lend(name, m, most)
}

// divideLimits asks for the node's parts of all limits until ctx ends.
func (j *Journal) divideLimits(ctx context.Context) {
	var pause pause
	failed := false
	for j.awaitShares(ctx) {
		call, due := j.book.Next(j.state.Unix(j.now()))
		if !due {
			continue
		}
		err := j.divide(ctx, call)
		if ctx.Err() != nil {
			return
		}
		if err != nil || failed {
			j.note(&j.sharing, err)
		}
		if failed = err != nil; !failed {
			pause.reset()
		} else if !pause.wait(ctx, nil) {
			return
		}
	}
}

// awaitShares returns when the limits must be looked at. It reports false when ctx ends.
func (j *Journal) awaitShares(ctx context.Context) bool {
	for j.book.Empty() {
		j.note(&j.sharing, nil)
		select {
		case <-ctx.Done():
			return false
		case <-j.shares:
		}
	}
	return sleep(ctx, max(leaseTick, time.Duration(j.book.Nodes())*share))
}

// leave tells the others what this node leaves behind, if they hear it within ctx.
func (j *Journal) leave(ctx context.Context) {
	if j.book.Empty() || !j.Health().Healthy || j.book.Nodes() == 0 {
		return
	}
	for {
		call := j.book.Leave(j.state.Unix(j.now()))
		if j.divide(ctx, call) != nil || len(call.Asks) == 0 {
			return
		}
	}
}

// divide sends a call, and takes up the answer.
func (j *Journal) divide(ctx context.Context, c lease.Call) error {
	ctx, cancel := context.WithTimeout(ctx, j.timeout)
	defer cancel()
	words, err := lua.Divide.Run(ctx, j.client, []string{j.names.leases, j.names.lapses}, leaseArguments(j.node, c)...).StringSlice()
	var reply lease.Reply
	if err == nil {
		reply, err = parseLeases(words, len(c.Asks))
	}
	if err != nil {
		j.book.Fail(c)
		return err
	}
	j.book.Settle(c, reply)
	return nil
}

// leaseArguments are the script's.
func leaseArguments(node string, c lease.Call) []any {
	how := ""
	switch {
	case c.Leaves:
		how = "leave"
	case c.Beat:
		how = "beat"
	}
	args := make([]any, 0, 6+6*len(c.Asks))
	args = append(args, c.Epoch, shortName(), node, c.Number, lease.Term.Milliseconds(), how)
	for _, a := range c.Asks {
		args = append(args, a.Name, a.Most, max(a.Per.Milliseconds(), 1), a.Want, a.Held, tailText(a))
	}
	return args
}

// tailText writes what leaves a window when, as the script reads it, or that nothing may be more
// than the limit.
func tailText(a lease.Ask) string {
	if a.Exact && len(a.Tail) == 0 {
		return "exact"
	}
	var text []byte
	for _, p := range a.Tail {
		text = append(strconv.AppendInt(text, p.N, 10), ' ')
		text = append(strconv.AppendInt(text, max(p.Left.Milliseconds(), 0), 10), ';')
	}
	return string(text)
}

// parseLeases reads the script's reply to so many asks.
func parseLeases(words []string, asks int) (lease.Reply, error) {
	if len(words) != 3+3*asks {
		return lease.Reply{}, fmt.Errorf("unexpected reply of %d parts", len(words))
	}
	numbers := make([]int64, 0, 1+3*asks)
	for i, word := range words {
		if i == 0 || i == 2 {
			continue
		}
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return lease.Reply{}, fmt.Errorf("unexpected reply: %w", err)
		}
		numbers = append(numbers, n)
	}
	r := lease.Reply{Epoch: words[0], Nodes: numbers[0], Frozen: words[2] != "", Grants: make([]lease.Grant, asks)}
	for i := range r.Grants {
		r.Grants[i] = lease.Grant{Ceiling: numbers[1+3*i], Level: numbers[2+3*i], Room: numbers[3+3*i]}
	}
	return r, nil
}

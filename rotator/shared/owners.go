package shared

import (
	"context"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

const (
	// maxOwners is how many resources stand in Redis: as many as a process remembers.
	maxOwners = 100_000

	// maxOwnersQueued bounds the resources that are still to be written. Past it the
	// oldest are dropped: this process goes on to know them.
	maxOwnersQueued = maxOwners

	// ownersPage is how many of them are read at a time.
	ownersPage = 2000
)

// RecordOwner implements rotator.OwnerJournal: it queues the owner and returns.
func (j *Journal) RecordOwner(o rotator.Owner) {
	j.mu.Lock()
	j.queueOwners(o)
	j.mu.Unlock()
	rouse(j.wake)
}

// queueOwners queues owners behind the others. j.mu is held.
func (j *Journal) queueOwners(owners ...rotator.Owner) {
	j.owners = append(j.owners, owners...)
	if excess := len(j.owners) - maxOwnersQueued; excess > 0 {
		j.owners = append(j.owners[:0], j.owners[excess:]...)
	}
}

// takeOwners removes up to a batch of owners from the queue.
func (j *Journal) takeOwners() []rotator.Owner {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := min(len(j.owners), batch)
	taken := j.owners[:n:n]
	if j.owners = j.owners[n:]; len(j.owners) == 0 {
		j.owners = nil
	}
	return taken
}

// putBackOwners queues owners again, before those that came meanwhile. j.mu is held.
func (j *Journal) putBackOwners(owners []rotator.Owner) {
	later := j.owners
	j.owners = nil
	j.queueOwners(owners...)
	j.queueOwners(later...)
}

// ownerArguments appends what the script is told of each owner.
func (j *Journal) ownerArguments(args []any, owners []rotator.Owner) []any {
	for _, o := range owners {
		args = append(args, hex.EncodeToString(o.Resource[:]), o.Key.String(), j.minute(o.Used))
	}
	return args
}

// minute returns the minute of a use by Redis' clock, in ms. All processes that tell
// of a use tell the same, whatever their clocks are: hardly any is told twice.
func (j *Journal) minute(used time.Time) int64 {
	const minute = 60_000
	return j.clock.remote(used) / minute * minute
}

// readOwners reads all that Redis knows, the latest first: what is used meanwhile moves
// others back, and so hides nothing.
func (j *Journal) readOwners(ctx context.Context, seen knowledge) error {
	for start := int64(0); ; start += ownersPage {
		n, err := j.readOwnersFrom(ctx, start, seen)
		if err != nil {
			return err
		}
		if n < ownersPage {
			return nil
		}
	}
}

func (j *Journal) readOwnersFrom(ctx context.Context, start int64, seen knowledge) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, j.timeout)
	defer cancel()
	page, err := j.client.ZRevRangeWithScores(ctx, j.names.owners, start, start+ownersPage-1).Result()
	if err != nil && strings.HasPrefix(err.Error(), wrongType) {
		j.mu.Lock()
		j.owned = true
		j.mu.Unlock()
		j.haveMended()
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for _, z := range page {
		member, _ := z.Member.(string)
		name, key, _ := strings.Cut(member, " ")
		if r, id, ok := parseOwner(name, key); ok {
			used := j.usedAt(r, int64(z.Score))
			j.learnOwner(r, id, used)
			seen.noteOwner(r, used)
		}
	}
	return len(page), nil
}

// ownersTerm is keep_owners in the script, in ms.
const ownersTerm = 2_592_000_000

// usedAt returns when a resource was used last, of which Redis says that it stands there.
func (j *Journal) usedAt(r rotator.Resource, stands int64) int64 {
	if r.Passes() || stands <= j.clock.shows(j.now()) { // as earlier versions have written it
		return stands
	}
	return stands - ownersTerm
}

// applyOwner tells this process's memory what a field of an entry says. It reports
// false for a field that is not about a resource.
func (j *Journal) applyOwner(field, text string) bool {
	key, minute, _ := strings.Cut(text, " ")
	r, id, ok := parseOwner(field, key)
	if !ok {
		return false
	}
	used, err := strconv.ParseInt(minute, 10, 64)
	if err != nil {
		return false
	}
	j.learnOwner(r, id, used)
	j.mu.Lock()
	j.fill.seen.noteOwner(r, used)
	j.health.Heard++
	j.mu.Unlock()
	return true
}

func (j *Journal) learnOwner(r rotator.Resource, key rotator.ID, used int64) {
	used = max(min(used, maxMillis), 0) // the state takes none that lies ahead
	j.state.LearnOwner(j.now(), rotator.Owner{Resource: r, Key: key, Used: j.clock.local(used)}, j)
}

func parseOwner(name, key string) (r rotator.Resource, id rotator.ID, ok bool) {
	if len(name) != hex.EncodedLen(len(r)) {
		return r, id, false
	}
	if _, err := hex.Decode(r[:], []byte(name)); err != nil {
		return r, id, false
	}
	id, ok = rotator.ParseID(key)
	return r, id, ok
}

// hasOwners tells whether there are any in Redis, as far as this process knows.
func (j *Journal) hasOwners() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.owned
}

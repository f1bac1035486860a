package shared

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator"
)

// write sends what is queued, batch after batch, until ctx ends.
func (j *Journal) write(ctx context.Context) {
	var pause pause
	for j.await(ctx) {
		err := j.flush(ctx)
		if ctx.Err() != nil {
			return
		}
		if !errors.Is(err, errLate) || !j.clock.waits() {
			j.note(&j.saving, err)
		}
		if err == nil {
			pause.reset()
		} else if !pause.wait(ctx, j.back) {
			return
		}
	}
}

// await returns when something must be sent. It reports false when ctx ends.
func (j *Journal) await(ctx context.Context) bool {
	for {
		wait, some := j.owing()
		if some && wait <= 0 {
			return ctx.Err() == nil
		}
		timer := time.NewTimer(wait)
		if !some {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-j.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// owing tells whether something must be sent, and when: changes, or none, to see whether
// Redis takes any again, or to make it drop what is not sound.
func (j *Journal) owing() (wait time.Duration, some bool) {
	now := j.now()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fresh() {
		return 0, true
	}
	return j.fill.at.Sub(now), j.fill.due
}

// fresh tells whether something must be sent at once. j.mu is held.
func (j *Journal) fresh() bool {
	return len(j.pending)+len(j.owners) > 0 || j.mend || j.saving.fails > 0
}

// fillPatience is how long what Redis does not know waits behind a node's own news.
const fillPatience = 50 * time.Millisecond

// flush writes one batch in one round trip: news first. What could not be written is
// queued again, unless something newer was queued meanwhile.
func (j *Journal) flush(ctx context.Context) error {
	now := j.now()
	j.mu.Lock()
	fill := j.fill.due && now.Sub(j.fill.at) > fillPatience || !j.fresh()
	j.mu.Unlock()
	if fill {
		return j.fillNext(ctx)
	}
	changes, owners := j.take(), j.takeOwners()
	news, err := j.send(ctx, changes, owners, "")
	// While a cluster moves the slot it takes no owners where there are none yet.
	apart := len(changes) > 0 && len(owners) > 0 && redis.IsTryAgainError(err)
	if apart {
		lone, failed := j.send(ctx, changes, nil, "")
		apart = failed == nil && lone >= 0
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case err == nil && news != isLost:
		j.owned = j.owned || len(owners) > 0
		j.health.Written += uint64(len(changes) + len(owners))
		j.mend = false
		return nil
	case apart:
		j.health.Written += uint64(len(changes))
		changes = nil
	}
	j.putBack(changes)
	j.putBackOwners(owners)
	return err
}

// errLate says that the batch came at another time than this process thinks.
var errLate = errors.New("redis' clock was set, or the command was on its way for too long")

// What the script says instead of a number of news.
const (
	tooLate     = -1
	notYourTurn = -2
	isLost      = -3
)

// send writes changes and owners. It may be repeated: what is known already is no news.
func (j *Journal) send(ctx context.Context, changes []rotator.Change, owners []rotator.Owner, how string) (news int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, j.timeout)
	defer cancel()
	for n := 0; n < tries && j.clock.rough(); n++ {
		if _, err := j.look(ctx); err != nil {
			return 0, err
		}
	}
	keys := []string{j.names.meta, j.names.state, j.names.log, j.names.deadlines}
	if len(owners) > 0 || j.hasOwners() {
		keys = append(keys, j.names.owners)
	}
	name := shortName()
	j.remember(name, changes, owners)
	news, err = save.Run(ctx, j.client, keys, j.arguments(name, changes, owners, how)...).Int64()
	if err != nil || news <= 0 {
		j.forget(name)
	}
	if err == nil && (news == tooLate || news == isLost) {
		_, err = j.look(ctx)
	}
	if news == tooLate {
		err = errors.Join(errLate, err)
	}
	return news, err
}

// mayMend tells the script whether this process knows of what is lost: it says so itself,
// or never found anything.
func (j *Journal) mayMend() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.mend || !j.had {
		return "mend"
	}
	return ""
}

// take removes up to a batch of changes from the queue. Cooldowns that have ended
// while they waited are of no use to anybody.
func (j *Journal) take() []rotator.Change {
	now := j.state.Told(j.now())
	j.mu.Lock()
	defer j.mu.Unlock()
	changes := make([]rotator.Change, 0, min(len(j.pending), batch))
	for about, c := range j.pending {
		if len(changes) == batch {
			break
		}
		delete(j.pending, about)
		if c.Until.After(now) || !c.Cleared.IsZero() || c.Off != 0 {
			changes = append(changes, c)
		}
	}
	// In the order in which it was learned others hear of it.
	slices.SortFunc(changes, func(a, b rotator.Change) int { return a.Learned.Compare(b.Learned) })
	return changes
}

// putBack queues changes that something newer does not stand for. j.mu is held.
func (j *Journal) putBack(changes []rotator.Change) {
	for _, c := range changes {
		if _, newer := j.pending[subjectOf(c)]; !newer {
			j.pending[subjectOf(c)] = c
		}
	}
}

func (j *Journal) arguments(name string, changes []rotator.Change, owners []rotator.Owner, how string) []any {
	_, wrong, _ := j.clock.status()
	patience := j.timeout + wrong + maxStep
	args := make([]any, 0, fixedArguments+3*len(owners)+7*len(changes))
	args = append(args, name, logBytes, j.node, j.clock.shows(j.now()), patience.Milliseconds(), maxOwners, len(owners),
		j.clock.shifted(), how, (maxStep + wrong).Milliseconds(), j.mayMend())
	args = j.ownerArguments(args, owners)
	for _, c := range changes {
		f := j.remote(c)
		args = append(args, subjectOf(c).field(), f.until, f.learned, f.cleared, int64(f.off), j.codec.reason(f), j.codec.source(f))
	}
	return args
}

// fixedArguments is how many come before owners and changes.
const fixedArguments = 11

// shortName is one that nothing else has: 60 random bits.
func shortName() string { return rand.Text()[:12] }

package shared

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator"
)

// write sends what is queued, batch after batch, until ctx ends.
func (j *Journal) write(ctx context.Context) {
	var pause pause
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.wake:
		}
		for j.owing() {
			err := j.flush(ctx)
			if ctx.Err() != nil {
				return
			}
			j.note(&j.saving, err)
			if err == nil {
				pause.reset()
				continue
			}
			if !pause.wait(ctx, j.back) {
				return
			}
		}
	}
}

// owing tells whether something must be sent: changes, or none, to see whether
// Redis takes any again, or to make it drop what is not sound.
func (j *Journal) owing() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.pending)+len(j.owners) > 0 || j.mend || j.saving.fails > 0
}

// flush writes one batch in one round trip. What could not be written is queued
// again, unless something newer was queued meanwhile.
func (j *Journal) flush(ctx context.Context) error {
	changes, owners := j.take(), j.takeOwners()
	err := j.send(ctx, changes, owners)
	// While a cluster moves the slot it takes no owners where there are none yet.
	apart := len(changes) > 0 && len(owners) > 0 && redis.IsTryAgainError(err) && j.send(ctx, changes, nil) == nil

	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case err == nil:
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

// send writes changes and owners. It may be repeated: what is known already is no news.
func (j *Journal) send(ctx context.Context, changes []rotator.Change, owners []rotator.Owner) error {
	ctx, cancel := context.WithTimeout(ctx, j.timeout)
	defer cancel()
	if known, _, _ := j.clock.state(); !known {
		if _, err := j.look(ctx); err != nil {
			return err
		}
	}
	keys := []string{j.names.meta, j.names.state, j.names.log, j.names.deadlines}
	if len(owners) > 0 {
		keys = append(keys, j.names.owners)
	}
	news, err := save.Run(ctx, j.client, keys, j.arguments(changes, owners)...).Int64()
	if err != nil {
		return err
	}
	if news < 0 {
		_, err := j.look(ctx)
		return errors.Join(errLate, err)
	}
	return nil
}

// take removes up to a batch of changes from the queue. Cooldowns that have ended
// while they waited are of no use to anybody.
func (j *Journal) take() []rotator.Change {
	now := j.now()
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

func (j *Journal) arguments(changes []rotator.Change, owners []rotator.Owner) []any {
	_, wrong, _ := j.clock.state()
	patience := j.timeout + wrong + maxStep
	args := make([]any, 0, 7+3*len(owners)+7*len(changes))
	args = append(args, rand.Text(), logLength, j.node, j.clock.remote(j.now()), patience.Milliseconds(), maxOwners, len(owners))
	args = j.ownerArguments(args, owners)
	for _, c := range changes {
		f := j.remote(c)
		args = append(args, subjectOf(c).field(), f.until, f.learned, f.cleared, int64(f.off), j.codec.reason(f), j.codec.source(f))
	}
	return args
}

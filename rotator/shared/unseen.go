package shared

import (
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// sent is a batch that Redis has taken, or may have. A Redis that comes back without its
// last writes has lost it, and if nobody has read its entry before, no gap tells so. So the
// sender keeps what it has sent until it reads the entry itself.
type sent struct {
	at      time.Time
	changes []rotator.Change
	owners  []rotator.Owner
}

// remember keeps a batch until its entry, of this name, is read.
func (j *Journal) remember(name string, changes []rotator.Change, owners []rotator.Owner) {
	if len(changes)+len(owners) == 0 {
		return
	}
	s := sent{j.now(), changes, owners}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.unseen == nil {
		j.unseen = make(map[string]sent)
	}
	j.unseen[name] = s
}

// forget drops a batch: its entry was read, or there is none.
func (j *Journal) forget(name string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.unseen, name)
}

// sendUnseen queues batches again that are no longer on their way and whose entries have not
// come within the patience. To a Redis that has them they are no news.
func (j *Journal) sendUnseen(patience time.Duration) {
	late := j.now().Add(-j.timeout - patience)
	j.mu.Lock()
	defer j.mu.Unlock()
	for name, s := range j.unseen {
		if s.at.Before(late) {
			delete(j.unseen, name)
			j.putBack(s.changes)
			j.putBackOwners(s.owners)
			rouse(j.wake)
		}
	}
}

// forgetAll drops all batches: everything is read, and what Redis lacks is written.
func (j *Journal) forgetAll() {
	j.mu.Lock()
	defer j.mu.Unlock()
	clear(j.unseen)
}

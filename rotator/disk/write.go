package disk

import (
	"context"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

const (
	// gather is how long what was learned waits for more to be written with it.
	gather = 250 * time.Millisecond

	// beat is how often the time is written while anything cools, so that it is known
	// about when a process ended that was killed.
	beat = time.Minute

	minPause = time.Second // between two tries, while writing fails …
	maxPause = time.Minute // … and the longest, to which it doubles
)

// run writes what is queued, until the journal is closed.
func (j *Journal) run() {
	defer close(j.done)
	defer j.file.release()
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		j.keeper.Run(j.ctx)
		j.keeper.Flush(context.Background()) // to the memory
	}()
	for pause := time.Duration(0); j.await(pause); {
		err := j.flush()
		j.note(err)
		pause = next(pause, err)
	}
	<-kept
	j.note(j.flush())
}

// next is for how long not to write after err.
func next(pause time.Duration, err error) time.Duration {
	if err == nil {
		return 0
	}
	return min(max(2*pause, minPause), maxPause)
}

// await returns when something is to be written: after the pause, if there is one. It
// reports false when the journal is closed.
func (j *Journal) await(pause time.Duration) bool {
	if pause > 0 {
		return sleep(j.ctx, pause)
	}
	timer := time.NewTimer(beat)
	defer timer.Stop()
	select {
	case <-j.ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-j.wake:
		return sleep(j.ctx, gather)
	}
}

// sleep reports false when ctx ends.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// flush writes what is queued. What could not be written is queued again, unless something
// newer was queued meanwhile.
func (j *Journal) flush() error {
	j.sweep(j.now())
	if err := j.file.hold(); err != nil {
		return err
	}
	if err := j.setAside(); err != nil {
		return err
	}
	changes, owners := j.take()
	owed, changed := j.tally.take(), j.accounts.take()
	now := j.now()
	ledgers := j.accounts.append(j.tally.append(nil, owed), changed, now, &j.clock)
	if err := j.write(now, j.news(changes, owners), ledgers); err != nil {
		j.putBack(changes, owners)
		j.tally.putBack(owed)
		j.accounts.putBack(changed)
		return err
	}
	j.read = nil
	j.mu.Lock()
	defer j.mu.Unlock()
	j.health.Written += uint64(len(changes) + len(owners))
	return nil
}

// sweeping is how often what was counted is looked through for what is too old.
const sweeping = time.Minute

// sweep forgets now and then what was counted and counts no more.
func (j *Journal) sweep(now time.Time) {
	if now.Sub(j.swept) >= sweeping {
		j.swept = now
		j.tally.forget(now)
		j.accounts.forget(j.clock.at(now))
	}
}

// ledgers appends lines with all that was counted.
func (j *Journal) ledgers(to []byte) []byte { return j.accounts.appendAll(j.tally.appendAll(to)) }

// setAside gives a damaged file another name, besides its own.
func (j *Journal) setAside() error {
	if !j.aside {
		return nil
	}
	name, err := setAside(j.file.path, j.clock.wall())
	if err != nil {
		return err
	}
	j.aside = false
	j.damaged(Damage{Aside: name, Newer: j.read.newer, Lines: j.read.lines, Lost: j.read.lost})
	return nil
}

// take removes all that is queued.
func (j *Journal) take() (map[subject]rotator.Change, map[rotator.Resource]rotator.Owner) {
	j.mu.Lock()
	defer j.mu.Unlock()
	changes, owners := j.pending, j.owners
	j.pending, j.owners = make(map[subject]rotator.Change), make(map[rotator.Resource]rotator.Owner)
	return changes, owners
}

func (j *Journal) putBack(changes map[subject]rotator.Change, owners map[rotator.Resource]rotator.Owner) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for about, c := range j.pending {
		changes[about] = c
	}
	for r, o := range j.owners {
		owners[r] = o
	}
	j.pending, j.owners = changes, owners
}

// write writes the news behind the others, and lines of what was counted; or all anew.
func (j *Journal) write(now time.Time, news *contents, ledgers []byte) error {
	if j.file.open == nil || j.file.outgrown() {
		return j.rewrite(now, news)
	}
	if m := j.clock.mark(now); len(news.facts)+len(news.owners)+len(ledgers) > 0 {
		return j.file.append(append(news.append(nil, j.codec, m), ledgers...), true)
	} else if j.ends > m.file {
		return j.file.append(news.append(nil, j.codec, m), false)
	}
	return nil
}

// news is what the changes and owners say that the file does not, as far as that is known.
func (j *Journal) news(changes map[subject]rotator.Change, owners map[rotator.Resource]rotator.Owner) *contents {
	all := newContents(len(changes))
	for about, c := range changes {
		f := j.clock.fact(c)
		if j.read == nil || j.read.facts[about] != f {
			all.facts[about] = f
			j.ends = max(j.ends, f.until)
		}
	}
	for r, o := range owners {
		all.owners[r] = use{o.Key, j.clock.millis(o.Used)}
	}
	return all
}

// rewrite writes all that is known: what the file says, what the state knows if that may not
// be all, and what is new.
func (j *Journal) rewrite(now time.Time, news *contents) error {
	text, _, _ := readFile(j.file.path) // what cannot be read is lost
	all := j.codec.read(text)
	if j.file.open == nil || all.lost > 0 {
		all.join(j.remembered())
	}
	all.join(news)
	return j.file.replace(j.ledgers(all.text(j.codec, j.clock.mark(now))))
}

// remembered is what the state knows.
func (j *Journal) remembered() *contents {
	known := j.known()
	all := newContents(len(known))
	for _, c := range known {
		all.facts[subjectOf(c)] = j.clock.fact(c)
	}
	for _, o := range j.knownOwners() {
		all.owners[o.Resource] = use{o.Key, j.clock.millis(o.Used)}
	}
	return all
}

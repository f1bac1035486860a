package shared

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// place is how far this process has read: where to go on after a connection was
// lost, and how to see that this is not possible.
type place struct {
	epoch  string // of the data; "": there was none yet
	entry  int64  // where the last entry of the stream that was applied ends; 0: there was none
	mark   string // its name
	kept   string // the epoch of the owners
	owners int64  // how many there were
}

// errGap says that entries are missing: everything must be read.
var errGap = errors.New("the journal has a gap")

// errAhead says that an entry comes from a time that is not known here yet.
var errAhead = errors.New("the journal is ahead of this process's clock")

// listen keeps this process up to date until ctx ends.
func (j *Journal) listen(ctx context.Context) {
	var pause pause
	known := false    // whether j.place is where this process stands
	var gap time.Time // when the last one was found
	for {
		err := j.catchUp(ctx, known)
		if err == nil {
			known = true
			rouse(j.back)
			rouse(j.wake) // for what readAll has queued
			err = j.follow(ctx, &pause)
		}
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errGap), errors.Is(err, errAhead):
			known = known && !errors.Is(err, errGap)
			// Nothing is wrong with Redis: at once, if that does not happen all the time.
			if now := j.now(); now.Sub(gap) > heartbeat {
				gap = now
				continue
			}
		default:
			j.note(&j.hearing, err)
		}
		if !pause.wait(ctx, nil) {
			return
		}
	}
}

// catchUp goes on where the process stopped, if the stream still has what came
// since; otherwise it reads everything that is known, and writes what Redis does
// not know.
func (j *Journal) catchUp(ctx context.Context, known bool) error {
	there, err := j.look(ctx)
	if err == nil && j.clock.coarse() {
		// That took long: it had to connect first. Now the time can be had better.
		there, err = j.look(ctx)
	}
	if err != nil {
		return err
	}
	if known && j.place.continues(there) {
		j.sendUnseen(0)
		return nil
	}
	return j.readAll(ctx, there)
}

// continues tells whether the stream leads on from p to there, as far as can be
// seen from here. Whether something between them is missing its entries will tell.
func (p place) continues(there place) bool {
	if p == (place{}) {
		return true // the first entry says that it is that
	}
	return p.epoch == there.epoch && p.kept == there.kept &&
		(p.entry < there.entry || p.entry == there.entry && p.mark == there.mark)
}

// readAll reads the whole hash, and the owners. The stream is read on from where it stood before,
// so that what changes meanwhile is not missed.
func (j *Journal) readAll(ctx context.Context, there place) error {
	j.forgetAll()
	seen := newKnowledge()
	for cursor := uint64(0); there.epoch != ""; {
		fields, next, err := j.scan(ctx, cursor)
		if err != nil {
			return err
		}
		for i := 0; i+1 < len(fields); i += 2 {
			if about, f, ok := j.apply(fields[i], fields[i+1]); ok {
				seen.note(about, f)
			}
		}
		if cursor = next; cursor == 0 {
			break
		}
	}
	if there.epoch == "" || there.owners > 0 {
		if err := j.readOwners(ctx, seen); err != nil {
			return err
		}
	}
	j.stand(there)
	j.anew = true
	j.refill(seen)
	j.mu.Lock()
	j.health.Resyncs++
	j.mu.Unlock()
	return nil
}

// stand notes how far this process has read.
func (j *Journal) stand(there place) {
	if there.epoch == "" {
		there = place{}
	}
	j.place = there
	j.mu.Lock()
	defer j.mu.Unlock()
	j.had = there.epoch != ""
	j.everHad = j.everHad || j.had
}

// scanCount is how many fields of the hash are read at a time.
const scanCount = 2000

func (j *Journal) scan(ctx context.Context, cursor uint64) ([]string, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, j.timeout)
	defer cancel()
	return j.client.HScan(ctx, j.names.state, cursor, "", scanCount).Result()
}

// follow applies what the stream brings, and looks now and then whether it brings
// everything. What is there already it reads without waiting: only a process that has read
// the stream hears, and something between may cut off who waits.
func (j *Journal) follow(ctx context.Context, pause *pause) error {
	looked, ahead := j.now(), int64(0)
	for block := noWait; ; block = heartbeat {
		entries, err := j.read(ctx, block)
		if err != nil {
			return err
		}
		if block == noWait {
			j.note(&j.hearing, nil)
		}
		for _, m := range entries {
			if err := j.applyEntry(m); err != nil {
				return err
			}
		}
		if block == noWait {
			continue
		}
		pause.reset()
		if now := j.now(); len(entries) > 0 && now.Sub(looked) < heartbeat {
			if !sleep(ctx, j.crowd.pace()) {
				return ctx.Err()
			}
			continue
		}
		there, err := j.look(ctx)
		if err != nil {
			return err
		}
		// What was there a heartbeat ago should have come, if it was not evicted.
		if !j.place.continues(there) || len(entries) == 0 && j.place.entry < ahead {
			return errGap
		}
		looked, ahead = j.now(), there.entry
		j.sendUnseen(2 * heartbeat)
	}
}

// readCount is how many entries are read at a time: as many as come while a command
// crosses an ocean, and more.
const readCount = 2000

// wrongType begins the error for a key that is of another type than it should be.
const wrongType = "WRONGTYPE"

// noWait is how long a command waits that does not.
const noWait = time.Duration(-1)

// read returns what comes next, if anything does within that time.
func (j *Journal) read(ctx context.Context, block time.Duration) ([]redis.XMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, heartbeat+j.timeout)
	defer cancel()
	streams, err := j.client.XRead(ctx, &redis.XReadArgs{
		Streams: []string{j.names.log, strconv.FormatInt(j.place.entry, 10) + "-0"}, Count: readCount, Block: block,
	}).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil && strings.HasPrefix(err.Error(), wrongType):
		j.haveMended()
		return nil, errGap
	case err != nil || len(streams) == 0:
		return nil, err
	}
	return streams[0].Messages, nil
}

// haveMended makes the writer drop what is in the way.
func (j *Journal) haveMended() {
	j.mu.Lock()
	j.mend = true
	j.mu.Unlock()
	rouse(j.wake)
}

// applyEntry applies one entry of the stream, which must be the next of the data that
// this process knows.
func (j *Journal) applyEntry(m redis.XMessage) error {
	e, ok := parseEntry(m)
	if !ok {
		j.haveMended()
		return errGap
	}
	switch {
	case j.place == (place{}) && e.after == "":
		j.stand(place{epoch: e.epoch, kept: e.epoch})
	case e.epoch != j.place.epoch || e.after != j.place.mark:
		if j.anew { // to read everything does not help: no such entry belongs there
			j.haveMended()
		}
		return errGap
	}
	if j.ahead(e.time) {
		return errAhead
	}
	j.crowd.note(j.now(), e.node)
	if e.node == j.node {
		j.forget(e.mark)
	} else {
		for field, value := range e.each {
			if !j.applyOwner(field, value) {
				j.apply(field, value)
			}
		}
		j.noteLag(e.time)
	}
	j.place.entry, j.place.mark, j.anew = e.end, e.mark, false
	return nil
}

// ahead tells whether an entry comes from the future, as this process sees the
// journal's time: then this process has stood still, or Redis' clock was set.
func (j *Journal) ahead(ms int64) bool {
	_, wrong, _ := j.clock.status()
	return ms-j.clock.shows(j.now()) > (2*maxStep + wrong).Milliseconds()
}

// apply tells this process's memory what a field of the hash or of an entry says.
// It reports false for a field that is not about a key.
func (j *Journal) apply(field, text string) (subject, fact, bool) {
	about, ok := parseField(field)
	if !ok {
		return about, fact{}, false
	}
	now := j.now()
	f, ok := j.codec.decode(text)
	at := j.clock.shows(now)
	if !ok || !f.plausible(at) {
		return about, f, false
	}
	f = f.bounded(at)
	news := j.state.Learn(now, j.local(about, f), j)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fill.seen.note(about, f)
	if news {
		j.health.Heard++
	}
	return about, f, true
}

// noteLag keeps how old an entry was when it was applied.
func (j *Journal) noteLag(ms int64) {
	lag := time.Duration(j.clock.shows(j.now())-ms) * time.Millisecond
	j.mu.Lock()
	j.health.Lag = max(lag, 0)
	j.mu.Unlock()
}

// sleep waits for d. It reports false when ctx ends.
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

package shared

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator"
)

// place is how far this process has read: where to go on after a connection was
// lost, and how to see that this is not possible.
type place struct {
	epoch string // of the data; "": there was none yet
	entry string // the last one of the stream that was applied; 0-0: none
}

// errGap says that entries are missing: everything must be read.
var errGap = errors.New("the journal has a gap")

// listen keeps this process up to date until ctx ends.
func (j *Journal) listen(ctx context.Context) {
	var pause pause
	known := false // whether j.place is where this process stands
	for {
		err := j.catchUp(ctx, known)
		if err == nil {
			known = true
			j.note(&j.hearing, nil)
			rouse(j.back)
			rouse(j.wake) // for what readAll has queued
			err = j.follow(ctx, &pause)
		}
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errGap):
			known = false // nothing is wrong with Redis
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
	if known && j.goesOn(there) {
		return nil
	}
	return j.readAll(ctx, there)
}

// goesOn tells whether the stream leads on from where this process stands.
func (j *Journal) goesOn(there place) bool {
	if _, _, jumps := j.clock.state(); jumps != j.jumps || !j.place.continues(there) {
		return false
	}
	j.place.epoch = there.epoch
	return true
}

// continues tells whether the stream leads on from p to there, as far as can be
// seen from here. Whether something between them is missing its entries will tell.
func (p place) continues(there place) bool {
	return (p.epoch == there.epoch || p.epoch == "") && !before(there.entry, p.entry)
}

// look asks where the data stands, and what time it is.
func (j *Journal) look(ctx context.Context) (place, error) {
	ctx, cancel := context.WithTimeout(ctx, j.timeout)
	defer cancel()
	sent := j.now()
	reply, err := look.Run(ctx, j.client, []string{j.names.meta, j.names.state}).StringSlice()
	if err != nil {
		return place{}, err
	}
	received := j.now()
	if len(reply) != 5 {
		return place{}, fmt.Errorf("unexpected reply of %d parts", len(reply))
	}
	seconds, err1 := strconv.ParseInt(reply[0], 10, 64)
	micros, err2 := strconv.ParseInt(reply[1], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return place{}, fmt.Errorf("unexpected reply: %w", err)
	}
	j.clock.sample(sent, received, time.Duration(seconds)*time.Second+time.Duration(micros)*time.Microsecond)
	if reply[2] == "0" {
		j.mu.Lock()
		j.mend = true
		j.mu.Unlock()
		rouse(j.wake)
	}
	return place{epoch: reply[3], entry: reply[4]}, nil
}

// readAll reads the whole hash, and the owners. The stream is read on from where it stood before,
// so that what changes meanwhile is not missed.
func (j *Journal) readAll(ctx context.Context, there place) error {
	_, _, jumps := j.clock.state()
	seen := make(map[subject]fact)
	for cursor := uint64(0); there.epoch != ""; {
		fields, next, err := j.scan(ctx, cursor)
		if err != nil {
			return err
		}
		for i := 0; i+1 < len(fields); i += 2 {
			if about, f, ok := j.apply(fields[i], fields[i+1]); ok {
				seen[about] = f
			}
		}
		if cursor = next; cursor == 0 {
			break
		}
	}
	if err := j.readOwners(ctx); err != nil {
		return err
	}
	j.place, j.jumps = there, jumps
	j.refill(seen)
	j.mu.Lock()
	j.health.Resyncs++
	j.mu.Unlock()
	return nil
}

// scanCount is how many fields of the hash are read at a time.
const scanCount = 2000

func (j *Journal) scan(ctx context.Context, cursor uint64) ([]string, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, j.timeout)
	defer cancel()
	return j.client.HScan(ctx, j.names.state, cursor, "", scanCount).Result()
}

// refill queues what this process knows and Redis does not: it has restarted
// empty, or with old data. More than one process may do so, since what is known
// already is no news.
func (j *Journal) refill(seen map[subject]fact) {
	now := j.now()
	var missing []rotator.Change
	j.state.Known(now, j, func(c rotator.Change) bool {
		if j.missing(c, seen, j.clock.remote(now)) {
			missing = append(missing, c)
		}
		return true
	})
	j.mu.Lock()
	defer j.mu.Unlock()
	j.putBack(missing)
}

// missing reports whether the change is news to who has written what was seen.
func (j *Journal) missing(c rotator.Change, seen map[subject]fact, now int64) bool {
	about := subjectOf(c)
	ours, theirs := j.remote(c), seen[about]
	if about.scope != "" {
		theirs.cleared = max(theirs.cleared, seen[about.key()].cleared)
		if theirs.void(theirs.cleared) {
			theirs.until = 0
		}
	}
	return ours.adds(theirs, now)
}

// What is no news, and for how long a clearing is: as in the script, in ms.
const (
	tolerance = 100
	tombstone = 24 * 60 * 60 * 1000
)

// adds reports whether f is news to who knows g.
func (f fact) adds(g fact, now int64) bool {
	if f.cleared > g.cleared+tolerance && f.cleared+tombstone > now || f.off.After(g.off) {
		return true
	}
	if g.void(f.cleared) {
		g.until = 0
	}
	return f.until > max(g.until+tolerance, now) && f.learned > max(f.cleared, g.cleared)
}

// follow applies what the stream brings, and looks now and then whether it brings
// everything.
func (j *Journal) follow(ctx context.Context, pause *pause) error {
	looked, ahead := j.now(), ""
	for {
		streams, err := j.read(ctx)
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		for _, s := range streams {
			for _, m := range s.Messages {
				if err := j.applyBatch(m); err != nil {
					return err
				}
			}
		}
		pause.reset()
		if now := j.now(); len(streams) > 0 && now.Sub(looked) < heartbeat {
			continue
		}
		there, err := j.look(ctx)
		if err != nil {
			return err
		}
		// What was there a heartbeat ago should have come, if it was not evicted.
		if !j.goesOn(there) || len(streams) == 0 && before(j.place.entry, ahead) {
			return errGap
		}
		looked, ahead = j.now(), there.entry
	}
}

func (j *Journal) read(ctx context.Context) ([]redis.XStream, error) {
	ctx, cancel := context.WithTimeout(ctx, heartbeat+j.timeout)
	defer cancel()
	return j.client.XRead(ctx, &redis.XReadArgs{
		Streams: []string{j.names.log, j.place.entry}, Count: 100, Block: heartbeat,
	}).Result()
}

// applyBatch applies one entry of the stream, which must be the next.
func (j *Journal) applyBatch(m redis.XMessage) error {
	if m.Values["p"] != j.place.entry || j.ahead(m.ID) {
		return errGap
	}
	if m.Values["n"] != j.node {
		for field, value := range m.Values {
			text, _ := value.(string)
			if !j.applyOwner(field, text) {
				j.apply(field, text)
			}
		}
		j.noteLag(m.ID)
	}
	j.place.entry = m.ID
	return nil
}

// ahead tells whether an entry comes from the future, as this process sees Redis' time:
// then Redis' clock was set forward, and what the entry says would be taken for too late.
func (j *Journal) ahead(entry string) bool {
	ms, _ := splitEntry(entry)
	_, wrong, _ := j.clock.state()
	return ms-j.clock.remote(j.now()) > (maxStep + wrong).Milliseconds()
}

// apply tells this process's memory what a field of the hash or of an entry says.
// It reports false for a field that is not about a key.
func (j *Journal) apply(field, text string) (subject, fact, bool) {
	about, ok := parseField(field)
	if !ok {
		return about, fact{}, false
	}
	f, ok := j.codec.decode(text)
	if ok && j.state.Learn(j.now(), j.local(about, f), j) {
		j.mu.Lock()
		j.health.Heard++
		j.mu.Unlock()
	}
	return about, f, ok
}

// noteLag keeps how old an entry was when it was applied: its id begins with the
// time at which Redis took it.
func (j *Journal) noteLag(entry string) {
	ms, _ := splitEntry(entry)
	lag := time.Duration(j.clock.remote(j.now())-ms) * time.Millisecond
	j.mu.Lock()
	j.health.Lag = max(lag, 0)
	j.mu.Unlock()
}

// before compares ids of stream entries, "<ms>-<n>".
func before(a, b string) bool {
	aTime, aSeq := splitEntry(a)
	bTime, bSeq := splitEntry(b)
	return aTime < bTime || aTime == bTime && aSeq < bSeq
}

func splitEntry(id string) (ms, seq int64) {
	left, right, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseInt(left, 10, 64)
	seq, _ = strconv.ParseInt(right, 10, 64)
	return ms, seq
}

package shared

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// errSlow says that nothing can be told of Redis' clock.
var errSlow = errors.New("redis takes too long to tell its time")

// errClock says that Redis' clock was set back while nobody was there who has seen it.
var errClock = errors.New("redis' clock was set back: waiting for a node that knows better")

// sight is what a look at Redis has found.
type sight struct {
	place
	sent, received time.Time     // by this process's clock
	redis          time.Duration // its clock, since 1970
	sound          bool          // the data can be believed; or there are none
	holds          bool          // there are some
	broken         string        // what of them cannot be believed
	shift          int64         // the journal's time less Redis' clock, in ms
	seen           int64         // the latest time that a process has found to be right, in ms
}

// journal is the journal's time, if the shift is that.
func (s sight) journal(shift int64) time.Duration {
	return s.redis + time.Duration(shift)*time.Millisecond
}

// within tells whether the journal's time is one that is written, if the shift is that.
func (s sight) within(shift int64) bool {
	now := s.redis.Milliseconds() + shift
	return now >= 1 && now <= maxMillis
}

// step is a change of the shift. One that sets the journal's time back wants a second
// process that finds the same: the first may have stood still itself.
type step struct {
	from, to int64
	back     bool
}

// look asks where the data stands, and what time it is.
func (j *Journal) look(ctx context.Context) (place, error) {
	s, err := j.ask(ctx, nil)
	if err != nil {
		return place{}, err
	}
	j.complain(s)
	change, err := j.settle(s)
	if change != nil {
		if s, err = j.ask(ctx, change); err == nil {
			_, err = j.settle(s)
		}
	}
	return s.place, err
}

// ask runs the script, which changes the shift if that is to be done.
func (j *Journal) ask(ctx context.Context, change *step) (sight, error) {
	ctx, cancel := context.WithTimeout(ctx, j.timeout)
	defer cancel()
	s := sight{sent: j.now()}
	args := []any{"", 0, j.node, "", "", ""}
	if _, wrong, _ := j.clock.status(); !j.clock.unsure(s.sent) {
		args[0], args[1] = j.clock.shows(s.sent), (maxStep + wrong).Milliseconds()
	}
	if change != nil {
		args[3], args[4] = change.from, change.to
		if change.back {
			args[5] = "back"
		}
	}
	reply, err := look.Run(ctx, j.client, j.lookKeys(), args...).StringSlice()
	if err != nil {
		return s, err
	}
	s.received = j.now()
	return s, s.parse(reply)
}

// lookKeys are those that the script reads. The owners are named where there are any: a
// cluster that moves the slot refuses a command for one that is not there.
func (j *Journal) lookKeys() []string {
	keys := []string{j.names.meta, j.names.state, j.names.deadlines}
	if j.hasOwners() {
		keys = append(keys, j.names.owners)
	}
	return keys
}

func (s *sight) parse(reply []string) error {
	if len(reply) != 10 {
		return fmt.Errorf("unexpected reply of %d parts", len(reply))
	}
	var numbers [6]int64
	for i, text := range []string{reply[0], reply[1], reply[4], reply[6], reply[7], reply[8]} {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("unexpected reply: %w", err)
		}
		numbers[i] = n
	}
	s.redis = time.Duration(numbers[0])*time.Second + time.Duration(numbers[1])*time.Microsecond
	s.broken = reply[2]
	s.sound, s.holds = reply[2] == "" || reply[2] == "owners", reply[3] != ""
	s.place = place{epoch: reply[3], entry: numbers[2], mark: reply[9], kept: reply[5], owners: numbers[5]}
	s.shift, s.seen = numbers[3], numbers[4]
	if s.received.Sub(s.sent) > slowTrip {
		return errSlow
	}
	return nil
}

// settle takes up what time it is, or returns what must be done about Redis' clock. All
// that is known counts by the journal's time, which goes on evenly, as the processes'
// own clocks find it that have been there for a while:
//
//   - Redis is behind of what a process knows: its clock was set back. A process's own
//     never shows more time than has passed.
//   - Redis is ahead, and another process has seen a later time than this one thinks it
//     is: this one has stood still, and its clock with it. It skips that time.
//   - Redis is ahead, and nobody has seen such a time: its clock was set forward, if a
//     second process finds the same within a while. Otherwise the later time counts:
//     cooldowns may get shorter by this, and never longer.
//
// What was skipped, and the shift, leave deadlines by the journal's time as they are. So
// nothing needs to be read or written again.
//
// One goroutine at a time does it: two that find the same would both skip it.
func (j *Journal) settle(s sight) (*step, error) {
	j.settling.Lock()
	defer j.settling.Unlock()
	if !s.sound || !s.holds || !s.within(s.shift) {
		j.restart(s)
		return nil, nil
	}
	if known, _, _ := j.clock.status(); !known {
		if wait := s.seen - s.journal(s.shift).Milliseconds(); wait > maxStep.Milliseconds() && wait < maxSetBack {
			if j.clock.claim(s.received, true) < youth {
				return nil, errClock
			}
			return &step{from: s.shift, to: s.shift + wait}, nil
		}
	}
	j.clock.begin(s.journal(s.shift).Milliseconds()-s.seen > (2 * heartbeat).Milliseconds())
	off := j.clock.off(s.sent, s.received, s.journal(s.shift))
	switch {
	case off == 0, off < 0 && j.clock.unsure(s.received):
	case off < 0:
		return &step{from: s.shift, to: s.shift - off.Milliseconds()}, nil
	case j.vouched(s), j.clock.claim(s.received, true) >= youth:
		if j.shared() { // else it knows nothing by another time than its own
			j.state.Skip(off)
		}
	default:
		return &step{from: s.shift, to: s.shift - off.Milliseconds(), back: true}, nil
	}
	j.clock.claim(s.received, false)
	j.clock.setShift(s.shift)
	j.clock.sample(s.sent, s.received, s.journal(s.shift))
	return nil, nil
}

// maxSetBack is by how much Redis' clock may have been set back while nobody was there,
// in ms: what is more is somebody else's doing.
const maxSetBack = 25 * 60 * 60 * 1000

// vouched tells whether another process has seen a later time than this one knows of,
// and no later one than it is.
func (j *Journal) vouched(s sight) bool {
	_, wrong, _ := j.clock.status()
	slack := (maxStep + wrong + s.received.Sub(s.sent)).Milliseconds()
	return s.seen > j.clock.shows(s.received)+slack && s.seen <= s.journal(s.shift).Milliseconds()+slack
}

// restart is settle for a Redis that holds nothing that can be believed: the journal's
// time goes on as this process knows it, if it does and that is one that is written.
func (j *Journal) restart(s sight) {
	shift := j.clock.shifted()
	if s.within(shift) {
		shift -= j.clock.off(s.sent, s.received, s.journal(shift)).Milliseconds()
	}
	if !s.within(shift) {
		shift = 0
	}
	j.clock.setShift(shift)
	j.clock.sample(s.sent, s.received, s.journal(shift))
}

// complain tells once, until Redis is whole again, that it has lost what this process
// had found there, or that somebody else has written into it; and has it mended.
func (j *Journal) complain(s sight) {
	broken := s.broken
	if broken == "" && !s.holds && j.hadData() {
		broken = "everything"
	}
	j.mu.Lock()
	news := broken != "" && j.broken == ""
	j.broken = broken
	if broken != "" {
		j.mend = true
	}
	j.owned = j.owned || s.owners > 0
	j.mu.Unlock()
	if broken != "" {
		rouse(j.wake)
	}
	if news {
		j.mended(broken)
	}
}

package shared

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/statetest"
)

func TestQueue(t *testing.T) {
	now := time.Now()
	j := journalAt(now, time.Hour)
	keys := statetest.Keys(t, batch+100)
	cooled := func(i int, d time.Duration) rotator.Change {
		return rotator.Change{ID: keys[i].ID(), Until: now.Add(d), Learned: now}
	}
	j.Record(cooled(0, time.Minute))
	j.Record(cooled(0, time.Hour))
	j.Record(cooled(1, -time.Second))
	j.Record(rotator.Change{ID: keys[2].ID(), Cleared: now})
	if n := j.Health().Queue; n != 3 {
		t.Errorf("%d changes are queued, want one a key", n)
	}
	taken := j.take()
	if len(taken) != 2 {
		t.Errorf("took %d changes, want the newer cooldown and the clearing", len(taken))
	}
	for _, c := range taken {
		if c.ID == keys[0].ID() && !c.Until.Equal(now.Add(time.Hour)) {
			t.Error("took the older cooldown")
		}
	}
	j.Record(cooled(0, 2*time.Hour)) // while the batch is under way, which fails
	j.putBack(taken)
	if c := j.pending[subject{id: keys[0].ID()}]; len(j.pending) != 2 || !c.Until.Equal(now.Add(2*time.Hour)) {
		t.Errorf("%d changes are queued, the first until %s", len(j.pending), c.Until.Sub(now))
	}
	for i := range keys {
		j.Record(cooled(i, time.Minute))
	}
	if n := len(j.take()); n != batch || j.Health().Queue != 100 {
		t.Errorf("took %d changes, left %d", n, j.Health().Queue)
	}
	if n := len(j.take()); n != 100 || j.Health().Queue != 0 {
		t.Errorf("then took %d changes, left %d", n, j.Health().Queue)
	}
}

// lacking is what the journal fills in when it is its turn.
func lacking(j *Journal, facts map[subject]fact) map[subject]rotator.Change {
	seen := newKnowledge()
	for about, f := range facts {
		seen.note(about, f)
	}
	j.refill(seen)
	if j.fill.due {
		j.computeFill(j.fill.number)
	}
	lacking := make(map[subject]rotator.Change)
	for _, c := range j.fill.facts {
		lacking[subjectOf(c)] = c
	}
	return lacking
}

// What Redis lacks is filled in, and leaves what is queued alone.
func TestRefill(t *testing.T) {
	now := time.Now()
	j := journalAt(now, 1000*time.Hour)
	keys := statetest.Keys(t, 6)
	pool, err := rotator.NewPool(keys, j.state, now, rotator.WithJournal(j))
	if err != nil {
		t.Fatal(err)
	}
	for s := range rotator.Slot(5) {
		pool.Cool(now, s, rotator.Cooldown{For: time.Hour})
	}
	pool.Clear(now, 4)
	clear(j.pending)
	redis := (1000 * time.Hour).Milliseconds()
	hour := time.Hour.Milliseconds()
	pool.Cool(now, 3, rotator.Cooldown{For: 2 * time.Hour})
	lacking := lacking(j, map[subject]fact{
		{id: keys[0].ID()}: {until: redis + hour, learned: redis},
		{id: keys[1].ID()}: {until: redis + hour/2, learned: redis},
		{id: keys[4].ID()}: {until: redis + hour, learned: redis - 1},
	})
	for i, want := range []bool{false, true, true, true, true, false} {
		if c, got := lacking[subject{id: keys[i].ID()}]; got != want {
			t.Errorf("slot %d is queued: %t (%+v)", i, got, c)
		}
	}
	if c := j.pending[subject{id: keys[3].ID()}]; !c.Until.Equal(now.Add(2 * time.Hour)) {
		t.Errorf("the queued change was replaced: until %s", c.Until.Sub(now))
	}
}

func TestHealth(t *testing.T) {
	lost := errors.New("EOF")
	late := fmt.Errorf("read: %w", os.ErrDeadlineExceeded)
	for _, row := range []struct {
		sentence string
		hearing  []error
		saving   []error
		turns    []bool
	}{
		{"all is well", []error{nil, nil}, []error{nil}, nil},
		{"a connection that is lost once is nothing to tell", []error{lost, nil, lost, nil}, []error{lost, nil}, nil},
		{"two failures in a row are", []error{lost, lost, lost}, nil, []bool{false}},
		{"back again", []error{lost, lost, nil, nil}, nil, []bool{false, true}},
		{"each side counts for itself", []error{lost}, []error{lost}, nil},
		{"it takes both sides", []error{lost, lost, nil}, []error{late, late, nil}, []bool{false, true, false, true}},
		{"a reply that refuses is a failure like others", nil, []error{redis.Nil, redis.Nil, nil}, []bool{false, true}},
	} {
		j := journalAt(time.Now(), time.Hour)
		var turns []bool
		j.changed = func(h Health) {
			turns = append(turns, h.Healthy)
			if h.Healthy == (h.Err != nil) || h.Healthy != j.Health().Healthy {
				t.Errorf("%s: told %+v", row.sentence, h)
			}
		}
		for _, err := range row.hearing {
			j.note(&j.hearing, err)
		}
		for _, err := range row.saving {
			j.note(&j.saving, err)
		}
		if fmt.Sprint(turns) != fmt.Sprint(row.turns) {
			t.Errorf("%s: told %v, want %v", row.sentence, turns, row.turns)
		}
	}
}

// What failed once while Redis was away does not make the next failure the second of another
// outage: the sides do not come back at the same moment.
func TestHealthAfterAnOutage(t *testing.T) {
	late := fmt.Errorf("read: %w", os.ErrDeadlineExceeded)
	j := journalAt(time.Now(), time.Hour)
	var turns []bool
	j.changed = func(h Health) { turns = append(turns, h.Healthy) }
	for _, step := range []struct {
		sentence string
		side     *side
		err      error
		turns    string
	}{
		{"one side has failed once", &j.saving, late, "[]"},
		{"another one twice", &j.hearing, late, "[]"},
		{"which is an outage", &j.hearing, late, "[false]"},
		{"it is over", &j.hearing, nil, "[false true]"},
		{"what was on its way meanwhile fails", &j.saving, late, "[false true]"},
		{"and works again", &j.saving, nil, "[false true]"},
		{"another outage takes two failures", &j.saving, late, "[false true]"},
		{"as the first did", &j.saving, late, "[false true false]"},
	} {
		j.note(step.side, step.err)
		if got := fmt.Sprint(turns); got != step.turns {
			t.Fatalf("%s: told %s, want %s", step.sentence, got, step.turns)
		}
	}
}

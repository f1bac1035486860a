package gateway

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/keycycler/keycycler/internal/line"
	"github.com/keycycler/keycycler/internal/replay"
	"github.com/keycycler/keycycler/rotator"
)

// rooms are those of the process in which requests wait for keys, by their addresses: one whose config was unloaded goes
// when its last request does.
var rooms sync.Map

// closeRooms is called when a server begins to shut down: with the process, or when a
// config is unloaded. Then its requests go on, and may wait.
func closeRooms() {
	if !caddy.Exiting() {
		return
	}
	rooms.Range(func(room, _ any) bool {
		room.(*line.Room).Close()
		return true
	})
}

// What became of a request that would have waited.
const (
	waitReady    = "ready"    // it got a key
	waitTimeout  = "timeout"  // it waited in vain
	waitFull     = "full"     // too many wait already, or it has made room for others
	waitCanceled = "canceled" // the client has left
	waitStopped  = "stopped"  // the process stops
)

// line names the line that the request belongs into: those that want other keys must
// not keep it from its own.
func (x *exchange) line() string {
	name := x.scope + nameOfLots(x.shut())
	if x.bound {
		return "\x00" + string(x.owner[:]) + name
	}
	return name
}

// next chooses a key for the next attempt: at once or, where none is ready or the pace
// does not let the request out, after waiting.
func (x *exchange) next(now time.Time) bool {
	waits := x.g.MaxWait > 0
	switch {
	case x.calls == 0 && waits && x.g.room.Waiting() > 0 && x.g.room.Occupied(x.line()):
		return x.wait(now) // others were here before
	case x.calls == 0 && x.goes(now):
		return true
	case x.calls > 0 && !x.paced(now) && x.pick(now):
		return true
	}
	return waits && x.wait(now)
}

// goes draws a key for a request that comes, or that has waited, if the pace lets it out.
func (x *exchange) goes(now time.Time) (ok bool) {
	if x.pause, ok = x.admit(now); !ok {
		return false
	}
	return x.pick(now)
}

// wait waits for a key for as long as that may be of use, and picks it.
func (x *exchange) wait(now time.Time) bool {
	left := x.patience(now)
	if after, busy, ok := x.soonest(now); !ok || after > left && !busy {
		return false
	}
	w := x.g.room.Join(x.line(), x.client(), x.stay.Weight())
	if w == nil {
		x.g.metrics.Waited(waitFull)
		return false
	}
	outcome := x.inLine(w, left)
	x.g.room.Leave(w, outcome == waitReady)
	x.latest = time.Now()
	x.waited += x.latest.Sub(now)
	x.g.metrics.Waited(outcome)
	return outcome == waitReady
}

// inLine waits for the request's turn, and for a key.
func (x *exchange) inLine(w *line.Waiter, left time.Duration) (outcome string) {
	x.forgive(time.Now())
	x.release()
	ctx, cancel := context.WithTimeout(x.r.Context(), left)
	defer cancel()
	stop := x.body.Prefetch(cancel)
	outcome = x.watch(ctx, w, left)
	if reading := stop(); reading && outcome != waitReady && !x.handsOn() || outcome == waitStopped && x.body != nil {
		// The server must not wait for the rest of an upload before it answers, or ends.
		//nolint:errcheck // then it does
		http.NewResponseController(x.writer.Client).SetReadDeadline(time.Now())
	}
	return outcome
}

// handsOn tells whether somebody else may want the body, if the request gets no key now.
func (x *exchange) handsOn() bool {
	return x.g.Raises || x.failure != nil || replay.IsBuffered(x.writer.Client)
}

// watch looks for a key whenever there may be one and it is the request's turn.
func (x *exchange) watch(ctx context.Context, w *line.Waiter, left time.Duration) (outcome string) {
	soonest := time.NewTimer(left)
	soonest.Stop() // until it is this one's turn
	defer soonest.Stop()
	client := x.observe()
	defer client.stop()
	for {
		select {
		case <-ctx.Done():
			if x.gone = x.r.Context().Err() != nil || x.body.Abandoned(); x.gone {
				return waitCanceled
			}
			return waitTimeout
		case <-client.look:
			if x.gone = hungUp(client.conn); x.gone {
				return waitCanceled
			}
			continue
		case <-w.Look:
		case <-soonest.C:
		}
		mine, over := x.turn(w)
		if over != "" {
			return over
		}
		if !mine {
			continue
		}
		now := time.Now()
		x.forgive(now)
		if x.goes(now) {
			return waitReady
		}
		if after, _, _ := x.soonest(now); after > 0 {
			soonest.Reset(after)
		}
		x.giveWay(now, w)
	}
}

// giveWay lets the next one look, where keys are ready that have refused this request.
func (x *exchange) giveWay(now time.Time, w *line.Waiter) {
	if len(x.want.Tried) == 0 || x.pause > 0 {
		return
	}
	if c, _ := x.census(now); c.Free > 0 {
		x.g.room.StepAside(w)
	}
}

// turn tells whether it is the request's turn, or what has become of it if it waits no longer.
func (x *exchange) turn(w *line.Waiter) (mine bool, over string) {
	switch x.g.room.Says(w) {
	case line.Look:
		return true, ""
	case line.Yield:
		return false, waitFull
	case line.Stop:
		x.stopped = true
		return false, waitStopped
	}
	return false, ""
}

// client names who waits: clients have turns in a line.
func (x *exchange) client() string {
	if x.stay != nil {
		return x.stay.Client()
	}
	return x.report.Client
}

// forgive lets the request ask those keys again that have refused it long enough ago.
func (x *exchange) forgive(now time.Time) {
	x.want.Tried, x.want.Limited = x.want.Tried[:0], false
	for i := range x.met {
		m := &x.met[i]
		if s, ok := x.slotNow(m.pool, m.asked); ok && m.again().After(now) {
			x.want.Tried = append(x.want.Tried, s)
			x.want.Limited = x.want.Limited || m.refusal.Limit
		}
	}
}

// tryNot keeps the request from the keys that it was sent with before its roster was replaced.
func (x *exchange) tryNot(old *rotator.Pool) {
	kept := x.want.Tried[:0]
	for _, was := range x.want.Tried {
		if s, ok := x.slotNow(old, was); ok {
			kept = append(kept, s)
		}
	}
	x.want.Tried = kept
}

// slotNow returns where a key of the pool stands in the request's roster.
func (x *exchange) slotNow(pool *rotator.Pool, s rotator.Slot) (rotator.Slot, bool) {
	if pool == x.roster.Pool {
		return s, true
	}
	place, ok := x.roster.Find(pool.Key(s).ID())
	return place.Slot, ok
}

// refusing returns when the first of the keys may be asked again that have refused the
// request; 0 if there is none.
func (x *exchange) refusing(now time.Time) (after time.Duration) {
	for i := range x.met {
		if left := x.met[i].again().Sub(now); left > 0 && (after == 0 || left < after) {
			after = left
		}
	}
	return after
}

// patience returns for how long the request may still wait.
func (x *exchange) patience(now time.Time) time.Duration {
	left := x.g.MaxWait - x.waited
	if limit := x.g.TryDuration; limit > 0 {
		left = min(left, limit-now.Sub(x.started))
	}
	return left
}

// atOnce is when a key may be ready for a request that only waits for its turn.
const atOnce = time.Nanosecond

// soonest returns when a key may be ready for the request, 0 where nobody knows, and
// whether one may be at any time before, as when a request ends. It reports false where
// waiting is of no use: no key would become ready, or one is and has been tried.
func (x *exchange) soonest(now time.Time) (after time.Duration, busy, ok bool) {
	c, _ := x.census(now)
	after = c.Soonest
	if again := x.refusing(now); again > 0 && (after == 0 || again < after) {
		after = again
	}
	untried := x.calls == 0
	switch {
	case x.pause > 0:
		after = x.pause
	case untried && c.Usable > 0:
		after = atOnce // others were here before, or it has come back just now
	}
	return after, c.Busy > 0, c.Keys > c.Disabled && (c.Free == 0 || untried || x.pause > 0)
}

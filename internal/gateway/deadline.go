package gateway

import (
	"sync"
	"time"

	"github.com/keycycler/keycycler/internal/replay"
	"github.com/keycycler/keycycler/internal/respond"
	"github.com/keycycler/keycycler/internal/upstream"
)

// deadline ends an attempt that has had no response for so long: since it began, or since
// more of the request's body has gone upstream. While it waits for the client to send more
// of that, the time stands still.
type deadline struct {
	limit  time.Duration
	body   *replay.Body // or nil
	writer *respond.Writer

	mu    sync.Mutex
	over  bool // the attempt is
	timer *time.Timer
	read  int64     // of the body, when it was last looked at
	since time.Time // from when the time counts
}

// looks is how often the body is looked at within the limit: an attempt ends so much of
// it later at the most.
const looks = 16

// beginDeadline begins the attempt's, where there is a limit.
func (x *exchange) beginDeadline() *deadline {
	if x.g.FirstByte == 0 {
		return nil
	}
	d := &deadline{limit: x.g.FirstByte, body: x.body, writer: &x.writer, since: time.Now()}
	d.mu.Lock() // the timer may be quick
	defer d.mu.Unlock()
	d.timer = time.AfterFunc(d.pause(d.limit), d.look)
	return d
}

// pause returns when to look again, at the latest when what is left has passed.
func (d *deadline) pause(left time.Duration) time.Duration {
	if d.body == nil {
		return left
	}
	return min(left, d.limit/looks)
}

// look ends the attempt, if it is time.
func (d *deadline) look() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return
	}
	now := time.Now()
	if read, waits := d.body.Progress(); waits || read != d.read {
		d.read, d.since = read, now
	}
	if left := d.limit - now.Sub(d.since); left > 0 {
		d.timer.Reset(d.pause(left))
		return
	}
	d.writer.Expire(upstream.ErrFirstByte)
}

// end ends the deadline: the attempt is over. The writer's lock is not held. d may be nil.
func (d *deadline) end() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	d.timer.Stop()
}

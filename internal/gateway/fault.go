package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/respond"
	"github.com/keycycler/keycycler/internal/roster"
	"github.com/keycycler/keycycler/internal/upstream"
	"github.com/keycycler/keycycler/rotator"
)

// What happens where an attempt fails at its address, and no key is to blame.

// rests are the addresses of the process that rest.
var rests = &upstream.Resting

// spreads tells whether keys of the source work at different addresses.
func spreads(s *keyset.Source) bool {
	places := make([]*keyset.Place, 0, len(*s.Groups))
	for _, g := range *s.Groups {
		places = append(places, g.Place)
	}
	return roster.Addresses(places) != nil
}

// shut returns the lots whose keys the request does not get, nil for none: those that do
// not serve its model, and those that have failed it. It is good until the next call.
func (x *exchange) shut() rotator.Lots {
	unserved := x.roster.Lots.Without(x.model).Lots
	switch {
	case len(x.closed) == 0:
		return unserved
	case len(unserved) == 0:
		return x.closed
	}
	x.merged = append(x.merged[:0], unserved...)
	x.merged.Merge(x.closed)
	return x.merged
}

// nameOfLots writes the set so that equal ones are written alike, and an empty one as "".
func nameOfLots(l rotator.Lots) string {
	for len(l) > 0 && l[len(l)-1] == 0 {
		l = l[:len(l)-1]
	}
	if len(l) == 0 {
		return ""
	}
	return fmt.Sprintf("\x00%x", []uint64(l))
}

// draw draws a key: of an address that does not rest, if there is one. Where all rest, they
// are used all the same.
func (x *exchange) draw(now time.Time) (rotator.Drawn, bool) {
	if x.roster.Addresses == nil || !rests.Any() {
		return x.roster.Pool.Draw(now, x.want)
	}
	all := x.want.Shut
	if drawn, ok := x.drawAwake(now); ok {
		return drawn, true
	}
	x.want.Shut = all
	return x.roster.Pool.Draw(now, x.want)
}

// drawAwake draws a key of an address that does not rest. When a rest is over, it draws for
// one request at a time.
func (x *exchange) drawAwake(now time.Time) (rotator.Drawn, bool) {
	pool := x.roster.Pool
	x.avoided = append(x.avoided[:0], x.want.Shut...)
	rests.Each(now, x.roster.Addresses, func(lot int) { x.avoided.Add(uint16(lot)) })
	for {
		x.want.Shut = x.avoided
		drawn, ok := pool.Draw(now, x.want)
		if !ok {
			return drawn, false
		}
		a := x.roster.Address(drawn.Slot)
		if a == "" || rests.Try(now, a) {
			return drawn, true
		}
		pool.Settled(drawn)
		pool.Finish(now, drawn, rotator.Used{})
		x.roster.At(a, &x.avoided)
	}
}

// close keeps the request away from the address, where it has failed.
func (x *exchange) close(address string) {
	if address == "" {
		return
	}
	if !slices.Contains(x.failedAt, address) {
		x.failedAt = append(x.failedAt, address)
	}
	x.roster.At(address, &x.closed)
}

// closeAgain does so in a roster that is new.
func (x *exchange) closeAgain() {
	x.closed = x.closed[:0]
	for _, a := range x.failedAt {
		x.roster.At(a, &x.closed)
	}
}

// away tells whether the request may go to an address that is not the attempt's. What one
// key has made is at its own.
func (x *exchange) away() bool { return !x.bound && x.roster.Address(x.drawn.Slot) != "" }

// watched returns what sees how far the attempt comes; nil where nothing follows from that.
func (x *exchange) watched(ctx context.Context) (context.Context, *upstream.Watch) {
	if x.g.FirstByte == 0 && !x.g.judge.HeedsFaults() {
		return ctx, nil
	}
	w := new(upstream.Watch)
	if x.away() {
		return w.In(ctx, &x.writer), w
	}
	return w.In(ctx, nil), w
}

// fault tells how the attempt has failed at its upstream, and a status that it says.
func (x *exchange) fault(err error, reach upstream.Reach) (f upstream.Fault, status int) {
	switch {
	case x.r.Context().Err() != nil:
		return upstream.None, 0
	case x.writer.Expired() && (reach == upstream.Dialing || reach == upstream.Untaken):
		return upstream.Connect, 0
	case x.writer.Expired():
		return upstream.Timeout, 0
	case err == nil || x.writer.Begun() || x.body.Abandoned():
		return upstream.None, 0
	}
	return upstream.FaultOf(err, reach)
}

// ends notes what has become of the attempt, and whether the next key is tried. It returns
// the error, which is the client's if not.
func (x *exchange) ends(err error, reach upstream.Reach) error {
	expired := x.writer.Expired()
	if x.again = x.writer.Rejected() && !expired; x.again || err == nil && !expired {
		return nil
	}
	f, status := x.fault(err, reach)
	if f == upstream.None {
		x.again = expired // the client has left, and nothing was answered
		return err
	}
	if expired {
		err = endedAt(reach)
	}
	x.rest(f, err)
	if x.again = x.g.judge.MovesOn(f.String(), status, x.away()) && (x.body == nil || x.body.Reject()); x.again {
		x.failure = err
		x.close(x.roster.Address(x.drawn.Slot))
	}
	return err
}

// endedAt is the error of an attempt that was ended, having come so far.
func endedAt(reach upstream.Reach) error {
	if reach == upstream.Untaken {
		return caddyhttp.Error(http.StatusBadGateway, upstream.ErrUntaken)
	}
	return caddyhttp.Error(http.StatusGatewayTimeout, upstream.ErrFirstByte)
}

// rest notes that the attempt has failed at its address.
func (x *exchange) rest(f upstream.Fault, err error) {
	x.g.faults[f].Inc()
	a := x.roster.Address(x.drawn.Slot)
	if a == "" {
		return
	}
	if seconds := rests.Fail(x.latest, time.Now(), a); seconds > 0 {
		x.tellRest(observe.Rested{Address: a, Kind: f.String(), Err: shown(f, err), Rests: seconds})
	}
}

// tellRest tells people that an address rests, or is back.
func (x *exchange) tellRest(r observe.Rested) {
	r.Pool = x.g.Pool
	x.g.announcer.LogRest(r)
	x.rested = &r
}

// shown returns what an error may show in the log: one that comes before a connection
// holds nothing of what was sent.
func shown(f upstream.Fault, err error) error {
	var e caddyhttp.HandlerError
	if f == upstream.Connect && errors.As(err, &e) {
		return e.Err
	}
	return nil
}

// heard notes that the attempt's upstream has answered, if it has.
func (x *exchange) heard(status int) {
	if !x.open {
		return
	}
	x.answered()
	if x.left(status) {
		return
	}
	if f := upstream.FaultOfStatus(status); f != upstream.None {
		x.rest(f, nil)
		return
	}
	if a := x.roster.Address(x.drawn.Slot); a != "" && rests.Any() && rests.Serve(a) {
		x.tellRest(observe.Rested{Address: a})
	}
}

// leave notes that the held answer of an upstream that is not available is not the
// client's, unless no other is.
func (x *exchange) leave(w *respond.Writer, k *respond.Kept) {
	if upstream.FaultOfStatus(w.Status) == upstream.None {
		return
	}
	x.close(x.roster.Address(x.drawn.Slot))
	x.failure = nil // the answer is, which was the last
	if k == nil {
		x.failure = caddyhttp.Error(w.Status, upstream.ErrNoAnswer)
	}
}

package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/keycycler/keycycler/internal/testkit"
)

// FuzzReplayInterleavings plays what a client's and an upstream's timing can make of
// one body: reads that pause within the client's body while their attempt is rejected,
// closed, followed by the next, committed or handed over. It compares each byte.
func FuzzReplayInterleavings(f *testing.F) {
	// A read that pauses while its attempt is rejected outgrows all limits; the next reads.
	f.Add([]byte{opNext, opRead, 200, opReject, opClose, opFeed, 200, opNext, opRead, 200}, uint16(1000), uint16(0), uint16(0), false)
	f.Add([]byte{opNext, opRead, 99, opFeed, 50, opRead, 99, opClose, opFeed, 250, opNext, opRead, 250}, uint16(900), uint16(40), uint16(0), true)
	f.Add([]byte{opNext, opRead, 99, opFeed, 50, opRead, 99, opHandOver, opFeed, 250}, uint16(5000), uint16(100), uint16(100), false)
	f.Add([]byte{opPrefetch, opNext, opFeed, 9, opRead, 10, opCommit, opRead, 250, opClose, opFeed, 9}, uint16(700), uint16(400), uint16(400), false)
	f.Fuzz(func(t *testing.T, ops []byte, size, memory, disk uint16, stated bool) {
		if len(ops) > 200 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			before := KeptMemory.Load()
			p := newPlay(t, testkit.Content(int(size)+1), 0, Limits{Total: testkit.Ample, Memory: int64(memory), Disk: int64(disk)}, stated)
			p.run(ops)
			p.end()
			if kept := KeptMemory.Load() - before; kept != 0 {
				t.Errorf("%d bytes are kept for nobody", kept)
			}
		})
	})
}

// FuzzRenamedInterleavings is the same with a body that names a model, which attempts name
// otherwise, or not.
func FuzzRenamedInterleavings(f *testing.F) {
	f.Add([]byte{opNext, opRead, 9, opReject, opClose, opNext, opFeed, 99, opRead, 250, opReject, opNext, opRead, 250}, uint16(3000), uint16(60000), uint16(0), false)
	f.Add([]byte{opNext, opRead, 30, opClose, opNext, opRead, 40, opReject, opRead, 40, opHandOver, opFeed, 250}, uint16(5000), uint16(4000), uint16(9000), true)
	f.Add([]byte{opNext, opRead, 2, opCommit, opRead, 3, opFeed, 200, opRead, 250}, uint16(700), uint16(400), uint16(400), false)
	f.Fuzz(func(t *testing.T, ops []byte, size, memory, disk uint16, stated bool) {
		if len(ops) > 200 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			before := KeptMemory.Load()
			limits := Limits{Total: testkit.Ample, Memory: int64(memory), Disk: int64(disk), Renames: true}
			p := newPlay(t, naming("gpt", int(size)), int(size)+100, limits, stated)
			p.run(ops)
			p.end()
			if kept := KeptMemory.Load() - before; kept != 0 {
				t.Errorf("%d bytes are kept for nobody", kept)
			}
		})
	})
}

// naming returns a body that names the model behind so many bytes, and at its end again.
func naming(model string, before int) []byte {
	return fmt.Appendf(nil, `{"a":"%s","model":"%s","b":"%s","model":"%s"}`, strings.Repeat("a", before), model, strings.Repeat("b", 9000), model)
}

const (
	opNext     = iota // an attempt begins
	opReject          // its answer is rejected
	opClose           // it is over
	opRead            // it, or one before it, reads so much
	opFeed            // so much comes from the client
	opCommit          // its answer is the client's
	opPrefetch        // the gateway reads on while it waits
	opHandOver        // keycycler gives up
	ops
)

// play is one body on its way, and the model that it is compared with.
type play struct {
	t       *testing.T
	content []byte
	limits  Limits
	client  *uploader
	request *http.Request
	body    *Body
	cancel  context.CancelFunc
	readers []*reader
	active  *reader // who must get everything; nil between attempts
	last    bool    // nobody comes after it
	whole   bool    // the body could be replayed when the last one ended

	stop func() (reading bool) // ends the reading ahead; or nil
}

// reader is an attempt's transport.
type reader struct {
	body *AttemptBody
	want []byte
	busy sync.Mutex // held while it reads
	got  []byte
	err  error
}

// newPlay begins with a client that has sent so many bytes of the content.
func newPlay(t *testing.T, content []byte, sent int, limits Limits, stated bool) *play {
	p := &play{t: t, content: content, limits: limits, whole: true}
	p.client = &uploader{data: p.content, may: sent}
	p.client.more.L = &p.client.mu
	p.request = testkit.Upload(p.client)
	if limits.Renames {
		p.request.Header.Set("Content-Type", "application/json")
	}
	if stated {
		p.request.ContentLength = int64(len(content))
		p.request.Header.Set("Incremental", "?1") // or it would be read before
	}
	ctx, cancel := context.WithCancel(t.Context())
	p.request, p.cancel = p.request.WithContext(ctx), cancel
	p.body = newReplayBody(p.request, limits)
	return p
}

func (p *play) run(script []byte) {
	for len(script) > 0 && !p.t.Failed() {
		op := script[0] % ops
		script = script[1:]
		n := 0
		if (op == opRead || op == opFeed) && len(script) > 0 {
			n, script = 1+int(script[0])*int(script[0]), script[1:]
		}
		p.play(op, n)
		synctest.Wait()
		p.compare()
	}
}

func (p *play) play(op byte, n int) {
	switch op {
	case opNext:
		p.stopAhead()
		if p.active == nil && !p.last && p.body.Replayable() {
			p.next()
		}
	case opReject:
		if p.active != nil && p.body.Reject() {
			p.active, p.whole = nil, true
		}
	case opClose:
		if len(p.readers) > 0 {
			p.whole = p.body.Replayable()
			p.readers[len(p.readers)-1].body.Close()
			p.active = nil
		}
	case opRead:
		if len(p.readers) > 0 {
			p.readers[n%len(p.readers)].read(n)
			p.readers[len(p.readers)-1].read(n)
		}
	case opFeed:
		p.client.feed(n)
	case opCommit:
		if p.active != nil {
			p.last = true
			p.body.Commit()
		}
	case opPrefetch:
		if p.active == nil && !p.last {
			p.stopAhead()
			p.stop = p.body.Prefetch(func() {})
		}
	case opHandOver:
		p.stopAhead()
		p.handOver()
	}
}

// stopAhead ends the reading ahead, as the gateway does when it goes on.
func (p *play) stopAhead() {
	if p.stop != nil {
		p.stop()
		p.stop = nil
	}
}

// next begins an attempt. One in three has the client's name of the model, the others a
// shorter and a longer one.
func (p *play) next() {
	request := p.request.Clone(p.t.Context())
	p.active = &reader{body: p.body.Attempt(request), want: p.content}
	p.readers = append(p.readers, p.active)
	if !p.limits.Renames {
		return
	}
	to := []string{"m", "gpt", "a name that is longer"}[len(p.readers)%3]
	if p.body.came() >= int64(len(p.content)-len("}")) {
		p.active.want = bytes.ReplaceAll(p.content, []byte(`"gpt"`), []byte(`"`+to+`"`))
	} else if _, known := p.body.ModelName(); known {
		p.active.want = bytes.Replace(p.content, []byte(`"gpt"`), []byte(`"`+to+`"`), 1)
	}
	if !p.active.body.Rename(request, called(to)) {
		p.t.Error("it was not renamed")
	}
	if length := request.ContentLength; length >= 0 && length != int64(len(p.active.want)) {
		p.t.Errorf("the length is %d, want %d", length, len(p.active.want))
	}
}

// called renames the model gpt.
func called(to string) func(string) (string, bool) {
	return func(name string) (string, bool) { return to, name == "gpt" && to != name }
}

func (p *play) handOver() {
	if p.active != nil {
		p.active.body.Close()
		p.active = nil
	}
	whole := p.body.Replayable()
	p.body.HandOver(p.request)
	if whole && p.body.after != nil {
		p.active = &reader{body: p.body.after, want: p.content}
		p.readers = append(p.readers, p.active)
	}
	p.last = true
}

// compare compares what has been read, and whether the body can be replayed.
func (p *play) compare() {
	for i, r := range p.readers {
		if !r.busy.TryLock() {
			continue // it waits for the client
		}
		if !bytes.HasPrefix(r.want, r.got) {
			p.t.Errorf("reader %d of %d got %d bytes that are not the body's", i+1, len(p.readers), len(r.got))
		}
		if r.err != nil && r == p.active && (!errors.Is(r.err, io.EOF) || len(r.got) != len(r.want)) {
			p.t.Errorf("the active reader got %d bytes of %d, and %v", len(r.got), len(r.want), r.err)
		}
		r.busy.Unlock()
	}
	fits := int64(p.client.given()) <= p.limits.Memory+p.limits.Disk
	if must := fits || p.active == nil && p.whole; must && !p.last && !p.body.Replayable() {
		p.t.Error("the body cannot be replayed")
	}
}

// end lets the client send everything: who is active must get it, and if nobody is, the
// next attempt.
func (p *play) end() {
	p.play(opNext, 0)
	p.client.feed(len(p.content) + 1)
	synctest.Wait()
	if a := p.active; a != nil {
		for !a.over() && !p.t.Failed() {
			a.read(4096)
			synctest.Wait()
		}
		p.compare()
	}
	p.body.Finish()
	p.cancel()
	synctest.Wait()
}

// read reads n bytes or less, beside the caller, unless it does already.
func (r *reader) read(n int) {
	if !r.busy.TryLock() {
		return
	}
	if r.err != nil {
		r.busy.Unlock()
		return
	}
	go func() {
		defer r.busy.Unlock()
		b := make([]byte, n)
		n, err := r.body.Read(b)
		r.got, r.err = append(r.got, b[:n]...), err
	}()
}

// over tells whether there is no more for it. Nothing reads meanwhile.
func (r *reader) over() bool {
	r.busy.Lock()
	defer r.busy.Unlock()
	return r.err != nil
}

// uploader is a client that sends data as it is told to.
type uploader struct {
	mu   sync.Mutex
	more sync.Cond
	data []byte
	may  int // send so many bytes, and then the end
	sent int
}

func (c *uploader) feed(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.may += n
	c.more.Broadcast()
}

func (c *uploader) given() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent
}

func (c *uploader) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.sent >= min(c.may, len(c.data)) {
		if c.may > len(c.data) {
			return 0, io.EOF
		}
		c.more.Wait()
	}
	n := copy(b, c.data[c.sent:min(c.may, len(c.data))])
	c.sent += n
	return n, nil
}

// A read of the attempt before may be under way when the request begins to wait: it is told of,
// and the reading ahead goes on after it.
func TestReadingAheadGoesOnAfterALateRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, memory := range []int64{1 << 20, 0} {
			p := newPlay(t, testkit.Content(100_000), 0, Limits{Total: testkit.Ample, Memory: memory, Disk: 1 << 20}, false)
			p.play(opNext, 0)
			p.play(opRead, 10)
			synctest.Wait()
			p.play(opReject, 0)
			stop := p.body.Prefetch(func() {})
			for range 3 {
				p.client.feed(1000)
				synctest.Wait()
			}
			want := 3000
			if memory == 0 {
				want = 10 // nothing but the late read
			}
			if got := p.client.given(); got != want {
				t.Errorf("memory %d: %d bytes were read ahead, want %d", memory, got, want)
			}
			if reading := stop(); reading != (memory > 0) {
				t.Errorf("memory %d: a read is under way: %t", memory, reading)
			}
			p.end()
		}
	})
}

// It is told of also where nothing may be read ahead.
func TestALateReadIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t, testkit.Content(1000), 0, Limits{Total: testkit.Ample, Disk: 1 << 20}, false)
		p.play(opNext, 0)
		p.play(opRead, 10)
		synctest.Wait()
		p.play(opReject, 0)
		if stop := p.body.Prefetch(func() {}); !stop() {
			t.Error("no read is under way")
		}
		p.end()
	})
}

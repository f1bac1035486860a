package redistest

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy stands between a client and a server and makes the network bad.
type Proxy struct {
	listener net.Listener
	done     sync.WaitGroup
	end      chan struct{}

	mu     sync.Mutex
	target string
	delay  time.Duration
	hole   bool   // nothing passes
	deaf   string // no reply passes to what contains this
	conns  map[net.Conn]bool
	bytes  int64
	held   int // parcels
}

// StartProxy passes connections on to target until the test ends.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: listener, target: target, end: make(chan struct{}), conns: make(map[net.Conn]bool)}
	p.done.Go(p.accept)
	t.Cleanup(func() {
		close(p.end)
		listener.Close()
		p.Cut()
		p.done.Wait()
	})
	return p
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Delay makes every byte in each direction late, from now on.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Blackhole lets connections stand, but nothing through, in either direction. What
// is sent meanwhile is lost with its connection, which Cut ends.
func (p *Proxy) Blackhole(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hole = on
}

// Deafen lets all commands through, but no reply to one that contains the word, nor
// what follows on that connection. An empty word ends it for new connections.
func (p *Proxy) Deafen(word string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = word
}

// Redirect lets new connections go to another server.
func (p *Proxy) Redirect(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Cut ends all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// Bytes is how many bytes have passed, both directions together.
func (p *Proxy) Bytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes
}

// Pending is how many parcels are still on their way.
func (p *Proxy) Pending() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target := p.target
		p.mu.Unlock()
		server, err := net.Dial("tcp", target)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		var deaf atomic.Bool
		p.pass(client, server, func(data []byte) bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.deaf != "" && bytes.Contains(data, []byte(p.deaf)) {
				deaf.Store(true)
			}
			return true
		})
		p.pass(server, client, func([]byte) bool { return !deaf.Load() })
	}
}

// parcel is what one read has brought, and when it may go on.
type parcel struct {
	data []byte
	due  time.Time
}

// pass copies from one connection to the other, each parcel when it is due, if let
// lets it.
func (p *Proxy) pass(from, to net.Conn, let func([]byte) bool) {
	parcels := make(chan parcel, 1000)
	p.done.Go(func() {
		defer close(parcels)
		for {
			buffer := make([]byte, 16<<10)
			n, err := from.Read(buffer)
			if n > 0 {
				p.mu.Lock()
				late := p.delay
				p.held++
				p.mu.Unlock()
				parcels <- parcel{buffer[:n], time.Now().Add(late)}
			}
			if err != nil {
				return
			}
		}
	})
	p.done.Go(func() {
		for it := range parcels {
			if p.hold(it) && let(it.data) {
				to.Write(it.data)
			}
		}
		p.mu.Lock()
		delete(p.conns, to)
		p.mu.Unlock()
		to.Close()
	})
}

// hold waits until the parcel is due. It reports false when it is lost.
func (p *Proxy) hold(it parcel) bool {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.held--
	}()
	timer := time.NewTimer(time.Until(it.due))
	defer timer.Stop()
	select {
	case <-p.end:
		return false
	case <-timer.C:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.hole {
		p.bytes += int64(len(it.data))
	}
	return !p.hole
}

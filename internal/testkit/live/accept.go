package live

import (
	"net"
	"slices"
	"sync"
	"testing"
)

// Accept starts an upstream of connections, each of which serve answers and then is closed.
// They end with the test, whoever keeps them: a client's transport may hold a connection for
// minutes if its last request was not quite over when the transport was told to let go.
func Accept(t testing.TB, serve func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &accepted{serve: serve}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() { a.run(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		a.end()
		InTime(t, "the upstream's connections end", served.Wait)
	})
	return l.Addr().String()
}

// accepted are the connections that are open.
type accepted struct {
	serve func(net.Conn)

	mu    sync.Mutex
	all   []net.Conn
	ended bool
}

func (a *accepted) run(conn net.Conn) {
	defer conn.Close()
	if a.add(conn) {
		defer a.remove(conn)
		a.serve(conn)
	}
}

// add reports false where all are to end.
func (a *accepted) add(conn net.Conn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, conn)
	return !a.ended
}

func (a *accepted) remove(conn net.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = slices.DeleteFunc(a.all, func(other net.Conn) bool { return other == conn })
}

func (a *accepted) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	for _, conn := range a.all {
		conn.Close()
	}
}

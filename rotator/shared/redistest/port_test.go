package redistest

import (
	"fmt"
	"net"
	"testing"
)

// A port is one test's alone, and a server may listen there again and again.
func TestPorts(t *testing.T) {
	seen := make(map[int]bool)
	for range 200 {
		port := Port(t)
		if seen[port] {
			t.Fatalf("port %d was given twice", port)
		}
		seen[port] = true
		if _, _, err := holdPort(port); err == nil {
			t.Fatalf("port %d was given to another, who asked for it", port)
		}
		for range 2 {
			l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
		}
	}
	for range 2000 { // of those that the kernel chooses
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if port := l.Addr().(*net.TCPAddr).Port; seen[port] {
			t.Fatalf("port %d was given to another, who asked for any", port)
		}
	}
}

// Redis listens where the test holds the port, and its cluster's bus.
func TestRedisListensAtAPort(t *testing.T) {
	s := Start(t, "cluster-enabled yes")
	if _, _, err := holdPort(s.Port()); err == nil {
		t.Errorf("port %d was given to another", s.Port())
	}
	s.Kill()
	s.Restart()
}

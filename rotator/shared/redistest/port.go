package redistest

import "testing"

// Port returns a port of 127.0.0.1 that the kernel has chosen and that is this test's
// until it ends, or nobody's: no other process that asks for a port gets it, and no
// connection goes out from it. Servers may listen there that set SO_REUSEADDR or
// SO_REUSEPORT, as Redis, Caddy and Go's do. It is safe for concurrent use.
func Port(t testing.TB) int {
	t.Helper()
	port, release, err := holdPort(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return port
}

// busOffset is how far above a server's port its cluster's bus is.
const busOffset = 10_000

// freePort is Port for a server that may be one of a cluster, whose bus needs a port, too.
func freePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port, release, err := holdPort(0)
		if err != nil {
			t.Fatal(err)
		}
		if _, releaseBus, err := holdPort(port + busOffset); err == nil {
			t.Cleanup(releaseBus)
			t.Cleanup(release)
			return port
		}
		release()
	}
	t.Fatal("no free port")
	return 0
}

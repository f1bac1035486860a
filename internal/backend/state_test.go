package backend

import (
	"testing"

	"github.com/caddyserver/caddy/v2"
)

func TestTheStateModuleCountsOnce(t *testing.T) {
	before := Users()
	m := new(MemoryState)
	if err := m.Cleanup(); err != nil || Users() != before {
		t.Errorf("cleanup before provision: %v, %d references", err, Users())
	}
	if err := m.Provision(caddy.Context{}); err != nil || Users() != before+1 {
		t.Errorf("provision: %v, %d references", err, Users())
	}
	for range 2 {
		if err := m.Cleanup(); err != nil || Users() != before {
			t.Errorf("cleanup: %v, %d references", err, Users())
		}
	}
}

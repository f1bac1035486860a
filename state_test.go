package keycycler

import (
	"testing"

	"github.com/caddyserver/caddy/v2"
)

func TestTheStateModuleCountsOnce(t *testing.T) {
	before := stateUsers()
	m := new(MemoryState)
	if err := m.Cleanup(); err != nil || stateUsers() != before {
		t.Errorf("cleanup before provision: %v, %d references", err, stateUsers())
	}
	if err := m.Provision(caddy.Context{}); err != nil || stateUsers() != before+1 {
		t.Errorf("provision: %v, %d references", err, stateUsers())
	}
	for range 2 {
		if err := m.Cleanup(); err != nil || stateUsers() != before {
			t.Errorf("cleanup: %v, %d references", err, stateUsers())
		}
	}
}

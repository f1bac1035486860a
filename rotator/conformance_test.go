package rotator_test

import (
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// The state of one process: its nodes are pools that share it.
func TestConformance(t *testing.T) {
	statetest.Run(t, func(testing.TB) statetest.Backend {
		state := rotator.NewState(time.Now())
		return func(testing.TB) statetest.Node { return statetest.Node{State: state} }
	})
}

//go:build unix

package e2e

import (
	"strconv"
	"testing"

	"github.com/keycycler/keycycler/rotator/shared/redistest"
)

// freePort returns a port of the test's own, at which a server listens again and again.
func freePort(t testing.TB) string {
	t.Helper()
	return strconv.Itoa(redistest.Port(t))
}

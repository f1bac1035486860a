//go:build unix

package live

import (
	"strconv"
	"testing"

	"github.com/keycycler/keycycler/rotator/shared/redistest"
)

// FreePort returns a port of the test's own, at which a server listens again and again.
func FreePort(t testing.TB) string {
	t.Helper()
	return strconv.Itoa(redistest.Port(t))
}

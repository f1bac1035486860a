package e2e

import (
	"net/http"
	"os"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

func TestMain(m *testing.M) {
	http.DefaultClient.Timeout = live.Patience
	live.MoreAtATime()
	os.Exit(m.Run())
}

package command

import (
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/observe"
)

func TestTheCommandShowsScopes(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	lines := keyLines(now, &observe.KeyStatus{State: "ready", Scopes: []observe.ScopeStatus{{
		Scope: "gpt-a", Class: "rate_limited", Source: "retry-after", Remaining: 40, Until: now.Add(40 * time.Second),
	}}})
	if want := [2]string{"cools for", "gpt-a: rate_limited, retry-after, 40s left, until 2026-11-24 12:00:40 UTC"}; lines[1] != want {
		t.Errorf("%q, want %q", lines[1], want)
	}
}

package command

import (
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/observe"
)

// suspects is a pool of a key that is ready and suspect, one that cools unproven, one that
// cools for its own fault, and one that is disabled.
func suspects() *fakeAdmin {
	ready, unproven, proven, disabled := fakeKey(1), fakeKey(2), fakeKey(3), fakeKey(4)
	ready.Suspect = &observe.Suspect{Class: "invalid_key", Source: "default", Remaining: 86400}
	unproven.State, unproven.Class, unproven.Source, unproven.Remaining = "cooling", "rate_limited", "default", 60
	proven.State, proven.Class, proven.Source, proven.Remaining = "cooling", "unknown", "default", 60
	unproven.Proven, proven.Proven = new(false), new(true)
	disabled.State, disabled.Suspect = "disabled", ready.Suspect
	a := new(fakeAdmin)
	a.addPool("main", ready, unproven, proven, disabled)
	return a
}

func TestListMarksSuspects(t *testing.T) {
	want := `ID            STATE     CLASS         SOURCE    LEFT  TRIED  REJECTED  USED
000000000001  ready?    invalid_key   default      -      0         0     -
000000000002  cooling?  rate_limited  default  1m00s      0         0     -
000000000003  cooling   unknown       default  1m00s      0         0     -
000000000004  disabled  -             -            -      0         0     -
?  a suspect: it refused a request, and nobody knows yet whether that was its
   fault; other keys are used first
`
	got := runAt(t, suspects().start(t), "list")
	if _, table, _ := strings.Cut(got, "alone\n"); table != want {
		t.Errorf("list says\n%s\nwant\n%s", table, want)
	}
	if got := runAt(t, twoPools().start(t), "list"); strings.Contains(got, "?") {
		t.Errorf("without suspects, and of a gateway that tells of none:\n%s", got)
	}
}

func TestShowTellsOfSuspects(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for i, want := range []string{
		"suspect invalid_key, default: 24h00m to cool, if it is its fault",
		"proven no: nobody knows yet whether that was its fault",
		"",
	} {
		k := suspects().keys["main"][i]
		var got []string
		for _, line := range keyLines(now, &k) {
			if line[0] == "suspect" || line[0] == "proven" {
				got = append(got, line[0]+" "+line[1])
			}
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("%s: %q, want %q", k.ID, got, want)
		}
	}
}

package keyset

import (
	"fmt"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit"
)

func TestASetPrintsNoKey(t *testing.T) {
	set, _ := newKeySet()
	if err := set.add(testkit.PrintedSecret, "", origin{}); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%10v", "%.3s"} {
		if text := fmt.Sprintf(verb, set); testkit.Leak(text) != "" {
			t.Errorf("%s shows %s", verb, text)
		}
	}
}

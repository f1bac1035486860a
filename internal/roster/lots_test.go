package roster

import (
	"fmt"
	"sync"
	"testing"

	"github.com/keycycler/keycycler/internal/catalog"
	"github.com/keycycler/keycycler/internal/keyset"
)

// However many names clients invent, what is remembered of them is bounded, and names that
// came lately cost nothing.
func TestInventedModelsAreForgotten(t *testing.T) {
	serving := func(models ...string) *keyset.Place {
		return &keyset.Place{Offer: &catalog.Offer{Models: models}}
	}
	l, err := newLots([]*keyset.Place{serving("gpt-a*"), serving("gpt-b")})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 * MaxModels {
		name := fmt.Sprint("junk-", i)
		if news := l.News(name); !l.Without(name).All || news != (i < MaxModels) {
			t.Fatalf("%s: served, or news: %t", name, news)
		}
		if len(l.models) > MaxModels || len(l.told) > MaxModels {
			t.Fatalf("%d names are remembered, %d were told", len(l.models), len(l.told))
		}
	}
	if u := l.Without("gpt-a1"); u.All || !u.Lots.Has(1) || u.Lots.Has(0) {
		t.Errorf("a good name after them: %+v", u)
	}
	if n := testing.AllocsPerRun(100, func() { l.Without("gpt-a1") }); n != 0 {
		t.Errorf("a name that came lately allocates %v times", n)
	}
	var asked sync.WaitGroup
	for i := range 8 {
		asked.Go(func() {
			for j := range 500 {
				if !l.Without(fmt.Sprint("junk-", i, "-", j)).All || l.Without("gpt-b").Lots.Has(1) {
					t.Error("a wrong answer")
				}
			}
		})
	}
	asked.Wait()
}

package gateway

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// Keys of one group learn from each other what is about the account.
func TestGroups(t *testing.T) {
	for _, row := range []struct {
		sentence string
		answer   testkit.Reply
		cool     int
	}{
		{"a rate limit is the account's", testkit.Limited, 3},
		{"so is a spent quota", testkit.Spent, 3},
		{"a key that is refused cools alone", testkit.BadKey, 1},
		{"what cools no key cools none of the group", testkit.TooLarge, 0},
	} {
		h := provision(t, 1, func(c *Config) {
			(*c.Keys.Groups)[0].Texts = nil
			*c.Keys.Groups = append(*c.Keys.Groups,
				keyset.Group{Name: "a", Rank: plainRank, Texts: []string{"sk-demo-1", "sk-demo-2"}},
				keyset.Group{Name: "b", Rank: plainRank, Texts: []string{"sk-demo-4", "sk-demo-5", "sk-demo-6"}},
				keyset.Group{Name: "a", Rank: plainRank, Files: []string{testkit.WriteFile(t, "keys", "sk-demo-3\nsk-demo-1\n")}},
			)
		})
		u := testkit.Script(row.answer, testkit.Fine)
		if _, err := testkit.Serve(h, u, testkit.Post("x")); err != nil {
			t.Fatal(err)
		}
		pool := h.roster.Load().Pool
		if c := pool.Census(time.Now()); c.Keys != 6 || c.Keys-c.Ready != row.cool {
			t.Errorf("%s: %s", row.sentence, testkit.ReasonCounts(c))
		}
		for s := range pool.Len() {
			pool.Clear(time.Now(), rotator.Slot(s))
		}
	}
}

func TestAGroupChangesWithItsFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := testkit.WriteFile(t, "keys", "sk-demo-1\n")
		h := provision(t, 1, func(c *Config) {
			(*c.Keys.Groups)[0].Texts = []string{"sk-demo-9"}
			*c.Keys.Groups = append(*c.Keys.Groups, keyset.Group{Name: "a", Rank: plainRank, Files: []string{path}})
		})
		if err := os.WriteFile(path, []byte("sk-demo-1\nsk-demo-2\nsk-demo-3\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		r := h.roster.Load()
		if r.Pool.Len() != 4 || len(r.Family(1)) != 3 || len(r.Family(0)) != 1 {
			t.Errorf("%d keys, families %v and %v", r.Pool.Len(), r.Family(0), r.Family(1))
		}
	})
}

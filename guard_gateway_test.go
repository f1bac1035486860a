package keycycler

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// Keys of one group learn from each other what is about the account.
func TestGroups(t *testing.T) {
	for _, row := range []struct {
		sentence string
		answer   reply
		cool     int
	}{
		{"a rate limit is the account's", limited, 3},
		{"so is a spent quota", spent, 3},
		{"a key that is refused cools alone", badKey, 1},
		{"what cools no key cools none of the group", tooLarge, 0},
	} {
		h := provision(t, 1, func(c *gatewayConfig) {
			(*c.Keys.groups)[0].texts = nil
			*c.Keys.groups = append(*c.Keys.groups,
				keyGroup{name: "a", rank: plainRank, texts: []string{"sk-demo-1", "sk-demo-2"}},
				keyGroup{name: "b", rank: plainRank, texts: []string{"sk-demo-4", "sk-demo-5", "sk-demo-6"}},
				keyGroup{name: "a", rank: plainRank, files: []string{writeFile(t, "keys", "sk-demo-3\nsk-demo-1\n")}},
			)
		})
		u := script(row.answer, fine)
		if _, err := serve(h, u, post("x")); err != nil {
			t.Fatal(err)
		}
		pool := h.roster.Load().pool
		if c := pool.Census(time.Now()); c.Keys != 6 || c.Keys-c.Ready != row.cool {
			t.Errorf("%s: %s", row.sentence, reasonCounts(c))
		}
		for s := range pool.Len() {
			pool.Clear(time.Now(), rotator.Slot(s))
		}
	}
}

func TestAGroupChangesWithItsFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := writeFile(t, "keys", "sk-demo-1\n")
		h := provision(t, 1, func(c *gatewayConfig) {
			(*c.Keys.groups)[0].texts = []string{"sk-demo-9"}
			*c.Keys.groups = append(*c.Keys.groups, keyGroup{name: "a", rank: plainRank, files: []string{path}})
		})
		if err := os.WriteFile(path, []byte("sk-demo-1\nsk-demo-2\nsk-demo-3\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		r := h.roster.Load()
		if r.pool.Len() != 4 || len(r.family(1)) != 3 || len(r.family(0)) != 1 {
			t.Errorf("%d keys, families %v and %v", r.pool.Len(), r.family(0), r.family(1))
		}
	})
}

// A reload keeps what is on trial: a success after it brings the keys back.
func TestAReloadKeepsTheTrial(t *testing.T) {
	h := provision(t, 3, func(c *gatewayConfig) { c.Pool = "reloaded-trial" })
	pool, now := h.roster.Load().pool, time.Now()
	token, _ := pool.CoolRevocably(now, 0, rotator.Cooldown{For: time.Hour, Reason: 1})
	h.guard.refuse(now, new(run), false, nil, nil, now)
	h.guard.giveUp(run{length: 10}, []sentence{{pool, token}})
	other := provision(t, 0, func(c *gatewayConfig) {
		c.Pool, (*c.Keys.groups)[0].texts = "reloaded-trial", []string{"sk-demo-stranger"}
	})
	next := provision(t, 0, func(c *gatewayConfig) {
		c.Pool, (*c.Keys.groups)[0].texts = "reloaded-trial", append(demoKeys(3), "sk-demo-new")
	})
	h.close()
	for _, row := range []struct {
		h     *gateway
		ready int
	}{{other, 3}, {next, 4}} {
		serve(row.h, script(fine), post("x"))
		if c := next.roster.Load().pool.Census(time.Now()); c.Ready != row.ready {
			t.Errorf("%d keys are ready, want %d", c.Ready, row.ready)
		}
	}
}

package admin_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/gateway"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/adminapi"
	"github.com/keycycler/keycycler/internal/testkit/pools"
	"github.com/keycycler/keycycler/rotator"
)

// What answers state of a key's limits is told, by model where keys are limited by model.
func TestAllowancesAreTold(t *testing.T) {
	for _, byModel := range []bool{false, true} {
		pool := testkit.FreshPool("allowances")
		h := pools.New(t, 1, func(c *gateway.Config) {
			c.Pool, c.Limit = pool, &rotator.Limit{Tokens: 1e6, TokensPer: time.Hour, ByModel: byModel}
		})
		up := &testkit.Upstream{Answer: func(_ int, w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("X-Ratelimit-Limit-Tokens", "90000")
			w.Header().Set("X-Ratelimit-Remaining-Tokens", "812")
			w.Header().Set("X-Ratelimit-Reset-Tokens", "6m0s")
			return testkit.Fine.Write(w)
		}}
		r := testkit.Post(`{"model":"gpt-demo"}`)
		r.Header.Set("Content-Type", "application/json")
		if w, err := testkit.Serve(h, up, r); err != nil || w.Code != http.StatusOK {
			t.Fatalf("status %d, %v", w.Code, err)
		}
		model := ""
		if byModel {
			model = `"model":"gpt-demo",`
		}
		_, body := adminapi.Ask("GET", "/keycycler/pools/"+pool+"/keys", "")
		if want := `{"of":"tokens",` + model + `"limit":90000,"remaining":812,"reset_seconds":3`; !strings.Contains(body, want) {
			t.Errorf("by model: %t: %s", byModel, body)
		}
	}
}

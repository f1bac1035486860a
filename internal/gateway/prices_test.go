package gateway

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/adminapi"
)

// pricesFile writes a file of prices and returns its path.
func pricesFile(t testing.TB, text string) string {
	path := filepath.Join(t.TempDir(), "prices.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The placeholder and the API tell what an answer costs, by the client's name of the model;
// without prices nothing of costs shows.
func TestCosts(t *testing.T) {
	const prices = `{"gpt-*": {"input": 2.5, "cached": 1.25, "output": 10}, "free": {"input": 0}}`
	for _, row := range []struct {
		sentence, prices, model, shown, told string
	}{
		{"a model that has a price", prices, "gpt-demo", "0.0001425", `"cost_usd":0.0001425`}, // 15, 4 and 10 tokens
		{"a model that is free", prices, "free", "0", `"cost_usd":0}`},
		{"a model that has none", prices, "claude", "", `"cost_usd":0,"unpriced":1`},
		{"no prices", "", "gpt-demo", "", `"reasoning":3}`},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			g := counting(t, func(c *Config) {
				if row.prices != "" {
					c.Prices = pricesFile(t, row.prices)
				}
			})
			silence(g)
			r, repl := inCaddy(httptest.NewRequest("POST", "/v1/chat/completions", strings.NewReader(fmt.Sprintf(`{"model":%q}`, row.model))))
			r.Header.Set("Content-Type", "application/json")
			serveBroken(t, g, testkit.Script(stating("application/json", saidOnce)), r)
			if shown := repl.ReplaceKnown("{http.keycycler.usage.cost}", ""); shown != row.shown {
				t.Errorf("the placeholder shows %q, want %q", shown, row.shown)
			}
			_, text := adminapi.Ask("GET", "/keycycler/pools/"+g.Pool+"/usage?by=model", "")
			if !strings.Contains(text, row.told) || row.prices == "" && strings.Contains(text, "cost") {
				t.Errorf("the API tells %s, want %s", text, row.told)
			}
		})
	}
}

// A file that is absent or bad lets no config run, and nothing is left of it.
func TestBadPrices(t *testing.T) {
	for path, want := range map[string]string{
		filepath.Join(t.TempDir(), "absent.json"): "prices: open ",
		pricesFile(t, `{"m": {"input": -1}}`):     "prices.json: line 1: model 'm': input: the price must be a decimal",
	} {
		c := configOf(t, 1)
		c.Pool, c.Usage, c.Prices = testkit.FreshPool("prices"), true, path
		if g, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want %s", path, g, err, want)
		}
		if observe.Live.View(nil, c.Pool) != nil {
			t.Errorf("%s: operators see the pool", path)
		}
	}
}

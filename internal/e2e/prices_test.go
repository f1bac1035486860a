package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/testkit/adminapi"
	"github.com/keycycler/keycycler/internal/testkit/live"
	"github.com/keycycler/keycycler/internal/usage"
)

// stating is an upstream whose answers say that they have used 1,000 tokens of input and 100
// of output.
func stating(t *testing.T) *live.Provider {
	return live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"usage":{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100}}`)
	})
}

// asking sends a request for the model, which stands in the body as it is.
func (g *gateway) asking(model, token string) {
	g.t.Helper()
	r := live.Request(g.t, "POST", g.plain+"/v1/chat/completions", `{"model":"`+model+`"}`)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("X-User", model)
	if res, body := live.Do(g.t, http.DefaultClient, r); res.StatusCode != http.StatusOK {
		g.t.Fatalf("%.40q: %d %s", model, res.StatusCode, body)
	}
}

// Access logs, spans, metrics and the admin API tell what answers cost. New prices hold for
// answers from then on; a bad file changes nothing, and the log says so.
func TestPricesThroughCaddy(t *testing.T) {
	told := new(spans)
	server := httptest.NewServer(told)
	defer live.CloseServer(t, server)
	for name, value := range map[string]string{
		"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
		"OTEL_EXPORTER_OTLP_ENDPOINT": server.URL, "OTEL_BSP_SCHEDULE_DELAY": "20",
	} {
		t.Setenv(name, value)
	}
	path := filepath.Join(t.TempDir(), "prices.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"demo*": {"input": 2.5, "output": 10}}`)
	g := startGateway(t, fmt.Sprintf(`metrics /metrics
		tracing {
			span gateway
		}
		log_append cost {http.keycycler.usage.cost}
		keycycler prices-e2e {
			keys %s
			prices %s
		}
		reverse_proxy %s`, demoKeys(2), path, stating(t).URL))
	n := 0
	ask := func(model, want string) {
		t.Helper()
		n++
		g.asking(model, "nobody")
		live.Eventually(t, "the access log tells that it costs "+want, func() bool {
			entries := g.logged("handled request")
			return len(entries) == n && fmt.Sprint(entries[n-1]["cost"]) == want
		})
	}
	ask("demo-1", "0.0035")
	live.Eventually(t, "the span tells", func() bool {
		told.mu.Lock()
		defer told.mu.Unlock()
		for _, span := range told.all {
			for _, a := range span.GetAttributes() {
				if a.GetKey() == "keycycler.usage.cost_usd" && a.GetValue().GetDoubleValue() == 0.0035 {
					return true
				}
			}
		}
		return false
	})
	ask("nothing", "")
	write(`{"demo*": {"input": 5, "output": 10}}`)
	live.Eventually(t, "the file is read again", func() bool { return len(g.logged("prices have changed")) == sites })
	ask("demo-1", "0.006")
	write(`{"demo*": {"input": "5"}}`)
	live.Eventually(t, "the log tells of a bad file", func() bool {
		lines := g.logged("prices were not read again: going on with the last good ones")
		return len(lines) == sites && lines[0]["level"] == "warn" && lines[0]["error"] == "prices: "+path+": line 1: model 'demo*': input: the price is no number: it is USD per million tokens, without quotes"
	})
	ask("demo-1", "0.006")
	lines := g.logged("model has no price: its answers cost nothing")
	if len(lines) != 1 || lines[0]["model"] != "'nothing'" || lines[0]["prices"] != path {
		t.Errorf("the log tells %v of models without a price", lines)
	}
	all := adminapi.AskFor[[]observe.UsageStatus](t, "GET", "/keycycler/pools/prices-e2e/usage?by=model", "")
	if len(all) != 2 || all[0].Hour.Cost == nil || *all[0].Hour.Cost != 15_500_000 || *all[1].Month.Cost != 0 || all[1].Month.Unpriced != 1 {
		text, _ := json.Marshal(all)
		t.Errorf("the API tells %s", text)
	}
	_, metrics := live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain+"/metrics", ""))
	const series = `caddy_keycycler_cost_usd_total{client="",model="demo-1",pool="prices-e2e"} 0.0155`
	if !strings.Contains(string(metrics), series+"\n") || strings.Contains(string(metrics), `cost_usd_total{client="",model="nothing"`) {
		t.Errorf("the metrics do not show %s, or a cost of what has no price", series)
	}
}

// Whatever clients call models, and whoever they say they are: metrics, page, API and log stay
// small, whole, and say the truth in sum.
func TestHostileNamesOfModels(t *testing.T) {
	const requests, token = 2000, "ada-token-0123456789"
	path := filepath.Join(t.TempDir(), "prices.json")
	if err := os.WriteFile(path, []byte(`{"real": {"input": 1}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	g := newGateway(t)
	g.level = "INFO"
	g.start(fmt.Sprintf(`metrics /metrics
		keycycler hostile-e2e {
			keys %s {
				models real *
			}
			client_tokens ada:%s %s
			prices %s
		}
		reverse_proxy %s`, demoKeys(2), token, "nameless-token-0123456789", path, stating(t).URL))
	names := []string{
		`<script>alert(%d)</script>`, `\"} 1\ncaddy_keycycler_fake{x=\"%d`, `\u0000\u001b[31m%d`, `\ud800%d`, "\xff\xfe%d", `%d\u202e`,
		`sk-demo-model-%d`, `../../etc/%d`, `{http.request.header.Authorization}%d`, strings.Repeat("m", 240) + `%d`, strings.Repeat("l", 5000) + `%d`,
		`plain-%d`,
	}
	for n := range requests {
		tokens := []string{token, "nameless-token-0123456789"}
		g.asking(fmt.Sprintf(names[n%len(names)], n), tokens[n%2])
	}
	g.asking("real", token)
	_, body := live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain+"/metrics", ""))
	metrics := string(body)
	models := make(map[string]bool)
	for _, series := range regexp.MustCompile(`(?m)^caddy_keycycler_(?:tokens|cost_usd|usage_answers)_?\w*\{.*model="((?:[^"\\]|\\.)*)",pool="hostile-e2e".*\} \d`).FindAllStringSubmatch(metrics, -1) {
		if models[series[1]] = true; len(series[0]) > 1500 || !utf8.ValidString(series[0]) {
			t.Errorf("a series is %.200q", series[0])
		}
	}
	if most := usage.MaxModels + 3; len(models) > most || len(models) < usage.MaxModels || !models["real"] || !models[usage.Other] {
		t.Errorf("%d models in the metrics, at most %d: %v", len(models), most, models)
	}
	if strings.Contains(metrics, "\ncaddy_keycycler_fake") {
		t.Error("a name has become a metric")
	}
	for by, most := range map[string]int{"client": 2, "model": usage.MaxModels + 3, "key": 2} {
		all := adminapi.AskFor[[]observe.UsageStatus](t, "GET", "/keycycler/pools/hostile-e2e/usage?by="+by, "")
		var answers, input, unpriced int64
		var cost usage.USD
		for _, s := range all {
			answers, input, unpriced, cost = answers+s.Month.Answers, input+s.Month.Input, unpriced+s.Month.Unpriced, cost+*s.Month.Cost
		}
		if len(all) > most || answers != requests+1 || input != 1000*answers || unpriced != requests || cost != 1_000_000 {
			t.Errorf("by %s: %d lines, %d answers, %d input, %d without a price, %s USD", by, len(all), answers, input, unpriced, cost)
		}
	}
	for _, query := range []string{"?by=model", "?by=model&used=month", "?by=client", "?by=key"} {
		status, page := adminapi.Ask("GET", "/keycycler/"+query+"&pool=hostile-e2e", "")
		_, section, _ := strings.Cut(page, `<section id="usage"`)
		if rows := strings.Count(section, "<tr"); status != 200 || rows < 3 || rows > 12 || strings.Contains(page, "<script>alert") || len(section) > 20_000 {
			t.Errorf("%s: %d, %d rows of %d bytes", query, status, rows, len(section))
		}
	}
	lines := g.logged("model has no price: its answers cost nothing")
	if len(lines) != usage.MaxModels {
		t.Errorf("the log tells of %d models", len(lines))
	}
	for _, line := range lines {
		if model := fmt.Sprint(line["model"]); len(model) > 300 || strings.Contains(model, "sk-demo") {
			t.Errorf("the log tells of %.300q", model)
		}
	}
	if leak := regexp.MustCompile(`sk-demo-secret-\d|(ada|nameless)-token-\d+`).FindString(metrics); leak != "" {
		t.Errorf("the metrics show %s", leak)
	}
}

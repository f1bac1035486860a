//go:build unix

package nodes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
)

// requireTools is the environment variable that, set to 1, makes tests fail that
// would be skipped because this machine has no Prometheus.
const requireTools = "KEYCYCLER_REQUIRE_TOOLS"

func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv(requireTools) == "1" {
			t.Fatalf("%s=1: %v", requireTools, err)
		}
		t.Skipf("there is no %s on this machine", name)
	}
	return path
}

// dashboard is what these tests read of examples/grafana.json.
type dashboard struct {
	Inputs []struct {
		Name, Type, PluginID string
	} `json:"__inputs"`
	Requires []struct {
		Type, ID, Version string
	} `json:"__requires"`
	UID           string
	SchemaVersion int
	Annotations   struct {
		List []struct{ Name, Expr string }
	}
	Templating struct {
		List []struct {
			Name, Type, Definition string
			Current                struct{ Value any }
		}
	}
	Panels []dashboardPanel
}

type dashboardPanel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               struct{ Type, UID string }
	Targets                  []struct {
		RefID, Expr, LegendFormat string
		Datasource                struct{ Type, UID string }
	}
	FieldConfig struct {
		Defaults struct {
			Unit string
		}
	}
	Options struct {
		YAxis struct{ Unit string }
	}
}

func readDashboard(t *testing.T) (d dashboard, text []byte) {
	t.Helper()
	text, err := os.ReadFile("../../../examples/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d, text
}

// Grafana asks for the data source when the dashboard is imported, and lays panels
// out anew that overlap.
func TestDashboardCanBeImported(t *testing.T) {
	d, text := readDashboard(t)
	if len(d.Inputs) != 1 || d.Inputs[0].Type != "datasource" || d.Inputs[0].PluginID != "prometheus" {
		t.Fatalf("inputs: %+v", d.Inputs)
	}
	if d.UID == "" || d.SchemaVersion < 38 {
		t.Errorf("uid %q, schemaVersion %d", d.UID, d.SchemaVersion)
	}
	required := make(map[string]bool)
	for _, r := range d.Requires {
		if required[r.Type+" "+r.ID] = true; r.Type != "panel" && r.Version == "" {
			t.Errorf("%s %s is required in no version", r.Type, r.ID)
		}
	}
	if !required["grafana grafana"] || !required["datasource prometheus"] {
		t.Errorf("requires %v", required)
	}
	known := map[string]bool{"${" + d.Inputs[0].Name + "}": true, "$__rate_interval": true, "$__range": true}
	for _, v := range d.Templating.List {
		known["$"+v.Name], known["${"+v.Name+"}"] = true, true
		if v.Type == "datasource" && v.Current.Value != "${"+d.Inputs[0].Name+"}" {
			t.Errorf("the input is not what %s begins with: %v", v.Name, v.Current.Value)
		}
	}
	for _, used := range regexp.MustCompile(`\$\{\w+\}|\$[a-z]\w*|\$__\w+`).FindAllString(string(text), -1) {
		if !known[used] && used != "$__all" {
			t.Errorf("nothing defines %s", used)
		}
	}
	ids := make(map[int]string)
	for i, p := range d.Panels {
		if other, taken := ids[p.ID]; taken || p.ID == 0 {
			t.Errorf("%q and %q have the id %d", p.Title, other, p.ID)
		}
		ids[p.ID] = p.Title
		a := p.GridPos
		if a.X < 0 || a.Y < 0 || a.W <= 0 || a.H <= 0 || a.X+a.W > 24 {
			t.Errorf("%q does not fit into the grid: %+v", p.Title, a)
		}
		for _, other := range d.Panels[:i] {
			if b := other.GridPos; a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%q overlaps %q", p.Title, other.Title)
			}
		}
		if p.Type == "row" {
			continue
		}
		if !required["panel "+p.Type] {
			t.Errorf("%q needs the panel %s, which is not required", p.Title, p.Type)
		}
		if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit+p.Options.YAxis.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("%q lacks its title, description, unit or queries", p.Title)
		}
		refs := make(map[string]bool)
		for _, target := range p.Targets {
			if target.Datasource.UID != "${datasource}" || p.Datasource.UID != "${datasource}" || target.Datasource.Type != "prometheus" {
				t.Errorf("%q asks %+v", p.Title, target.Datasource)
			}
			if target.LegendFormat == "" || refs[target.RefID] {
				t.Errorf("%q: query %q has no legend, or is not the only one of this name", p.Title, target.RefID)
			}
			refs[target.RefID] = true
		}
	}
}

func TestAlertRules(t *testing.T) {
	t.Parallel()
	promtool := tool(t, "promtool")
	for _, args := range [][]string{
		{"check", "rules", "--lint=all", "--lint-fatal", "alerts.yml"},
		{"test", "rules", "alerts_test.yml"},
	} {
		var out bytes.Buffer
		cmd := exec.Command(promtool, args...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = "../../../examples", &out, &out
		if err := live.RunInTime(cmd); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, &out)
		}
	}
}

// prometheus is a running server.
type prometheus struct {
	t   *testing.T
	url string
}

// startPrometheus runs a Prometheus with the example's alerts that looks at these
// targets every second, until the test ends.
func startPrometheus(t *testing.T, targets ...string) *prometheus {
	t.Helper()
	binary, dir := tool(t, "prometheus"), t.TempDir()
	rules, err := filepath.Abs("../../../examples/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{ // JSON is YAML
		"global":     map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
		"rule_files": []string{rules},
		"scrape_configs": []any{map[string]any{
			"job_name": "caddy", "static_configs": []any{map[string]any{"targets": targets}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file, address := filepath.Join(dir, "prometheus.yml"), "127.0.0.1:"+live.FreePort(t)
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	cmd := exec.Command(binary, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	live.Eventually(t, "Prometheus is ready", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("Prometheus has ended: %v\n%s", err, &output)
		default:
		}
		res, err := http.Get("http://" + address + "/-/ready")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return &prometheus{t, "http://" + address}
}

// get asks the HTTP API.
func (p *prometheus) get(path string, data any) error {
	p.t.Helper()
	res, body := live.Do(p.t, http.DefaultClient, live.Request(p.t, http.MethodGet, p.url+path, ""))
	answer := struct{ Data any }{data}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", res.Status, body)
	}
	return json.Unmarshal(body, &answer)
}

// query evaluates an expression now, and returns what is a number.
func (p *prometheus) query(expr string) (values []float64, err error) {
	p.t.Helper()
	var data struct {
		Result []struct{ Value [2]any }
	}
	if err := p.get("/api/v1/query?query="+url.QueryEscape(expr), &data); err != nil {
		return nil, err
	}
	for _, r := range data.Result {
		text, _ := r.Value[1].(string)
		if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
			values = append(values, v)
		}
	}
	return values, nil
}

// holds tells whether an expression has a result other than 0.
func (p *prometheus) holds(expr string) bool {
	p.t.Helper()
	values, err := p.query(expr)
	if err != nil {
		p.t.Fatalf("%s: %v", expr, err)
	}
	return slices.ContainsFunc(values, func(v float64) bool { return v != 0 })
}

// scrape returns when Prometheus has what all nodes say since now. A node that is late it takes
// for down, and knows nothing of it until it looks again.
func (p *prometheus) scrape() {
	p.t.Helper()
	now := float64(time.Now().UnixMilli()) / 1000
	live.Eventually(p.t, "Prometheus looks at all nodes", func() bool {
		return p.holds(fmt.Sprintf("count(up == 1 and timestamp(up) > %.3f) == count(up)", now))
	})
}

// some waits until an expression has a result: see scrape.
func (p *prometheus) some(what, expr string) {
	p.t.Helper()
	live.Eventually(p.t, what+": there are data of "+expr, func() bool {
		values, err := p.query(expr)
		if err != nil {
			p.t.Fatalf("%s: %s: %v", what, expr, err)
		}
		return len(values) > 0
	})
}

// prometheusAlert is a rule, and what came of it.
type prometheusAlert struct {
	Name, Query, Health, LastError string
	Alerts                         []struct {
		State       string
		Labels      map[string]string
		Annotations map[string]string
	}
}

func (p *prometheus) alerts() []prometheusAlert {
	p.t.Helper()
	var data struct {
		Groups []struct{ Rules []prometheusAlert }
	}
	if err := p.get("/api/v1/rules?type=alert", &data); err != nil {
		p.t.Fatal(err)
	}
	var all []prometheusAlert
	for _, g := range data.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// startMoody runs an upstream that limits the first key, has spent the quota of the
// second, refuses the third, and does what paths say to the others.
func startMoody(t *testing.T) *httptest.Server {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		sent := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		reject := func(status int, code string) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("X-Key", sent)
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"error":{"message":"Not with %s.","type":%q,"param":null,"code":%q}}`, sent, code, code)
		}
		switch {
		case r.URL.Path == "/hangup":
			panic(http.ErrAbortHandler)
		case r.URL.Path == "/busy":
			reject(http.StatusServiceUnavailable, "overloaded")
		case r.URL.Path == "/teapot":
			reject(http.StatusTeapot, "teapot")
		case sent == key(0):
			w.Header().Set("Retry-After", "3600")
			w.Header().Set("X-Ratelimit-Remaining-Requests", "0") // it is proven, and so told to other nodes
			w.Header().Set("X-Ratelimit-Reset-Requests", "3600s")
			reject(http.StatusTooManyRequests, "rate_limit_exceeded")
		case sent == key(1):
			reject(http.StatusTooManyRequests, "insufficient_quota")
		case sent == key(2):
			reject(http.StatusUnauthorized, "invalid_api_key")
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"usage":{"prompt_tokens":1000,"completion_tokens":100,"prompt_tokens_details":{"cached_tokens":10}}}`)
		}
	}))
	t.Cleanup(func() { live.CloseServer(t, upstream) })
	return upstream
}

// What a dashboard and alerts are for has happened to the nodes: every query has
// something to show but these.
var (
	zeroQueries = map[string]string{
		"Time until the last attempt A": "the median request has one attempt, at once",
		"Lag A":                         "may be less than a tick of Redis' clock",
		"Queue A":                       "changes are written within milliseconds",
		"Failed commands A":             "Redis does not fail here",

		"Models without a ready key by pool A": "the pools do not tell models apart",
	}
	silentAlerts = map[string]string{
		"KeycyclerCostJumps":             "takes a day",
		"KeycyclerModelExhausted":        "the pools do not tell models apart",
		"KeycyclerRequestsWaitLong":      "no request waits five seconds",
		"KeycyclerStateQueueNotDraining": "takes ten minutes",
		"KeycyclerStateUnhealthy":        "comes when Redis is ended",
	}
)

func TestNodesFeedPrometheus(t *testing.T) {
	t.Parallel()
	tool(t, "prometheus")
	const keys = 7
	prices := filepath.Join(t.TempDir(), "prices.json")
	if err := os.WriteFile(prices, []byte(`{"*": {"input": 2.5, "output": 10}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c := nodeConfig{
		keys: keys, only: upTo(3), state: "memory", upstream: startMoody(t).URL,
		options: "on 418 retry\nreplay {\nmemory 16KiB\ndisk 256KiB\n}\nprices " + prices,
	}
	var redis *redisServer
	if _, err := exec.LookPath("redis-server"); err == nil || os.Getenv(redistest.Require) == "1" {
		redis = startRedis(t)
		c.state = "redis " + redis.Addr()
	}
	nodes := startNodes(t, 2, c)
	p := startPrometheus(t, strings.TrimPrefix(nodes[0].admin, "http://"), strings.TrimPrefix(nodes[1].admin, "http://"))
	live.Eventually(t, "Prometheus knows both nodes", func() bool { return p.holds(`count(caddy_keycycler_exhausted_total{pool="main"}) == 2`) })

	makeTraffic(nodes)
	p.scrape()
	// A cooldown's series begins with the first of its class and source. For
	// increase() there is something when a second one follows. So it is with usage.
	nodes[0].operate("only-0", "clear")
	send(nodes[0], onlyPath(0), 10, http.StatusTooManyRequests)
	send(nodes[0], "/", 1000, http.StatusOK)
	p.scrape()

	t.Run("dashboard", func(t *testing.T) { checkDashboard(t, p, redis != nil) })
	t.Run("alerts", func(t *testing.T) { checkAlerts(t, p, redis != nil) })
	t.Run("metrics", func(t *testing.T) { checkMetrics(t, nodes, keys) })
	if redis == nil {
		return
	}
	redis.Kill()
	for _, a := range p.alerts() {
		if a.Name == "KeycyclerStateUnhealthy" {
			live.Eventually(t, "Prometheus sees that Redis is away", func() bool { return p.holds("count(" + a.Query + ") == count(caddy_keycycler_state_healthy)") })
		}
	}
}

// send sends a request with a body of a length that nobody states, so that it is
// not read before the first attempt.
func send(n *node, path string, size, want int) {
	n.t.Helper()
	body := struct{ io.Reader }{strings.NewReader(strings.Repeat("x", size))}
	r, err := http.NewRequest(http.MethodPost, n.url+path, body)
	if err != nil {
		n.t.Fatal(err)
	}
	if res, answer := live.Do(n.t, http.DefaultClient, r); res.StatusCode != want {
		n.t.Fatalf("%s with %d bytes: %s %s, want %d", path, size, res.Status, answer, want)
	}
}

// operate does to all keys of a pool what the verb says.
func (n *node) operate(pool, verb string) {
	n.t.Helper()
	r := live.Request(n.t, http.MethodPost, n.admin+"/keycycler/pools/"+pool+"/keys/"+verb, "")
	if res, answer := live.Do(n.t, http.DefaultClient, r); res.StatusCode != http.StatusOK {
		n.t.Fatalf("%s %s: %s %s", verb, pool, res.Status, answer)
	}
}

// makeTraffic lets everything happen that metrics count.
func makeTraffic(nodes []*node) {
	// Each key meets what it is to meet, and each node knows. Where no other key serves, its
	// client gets what the upstream says.
	for i, want := range []int{http.StatusTooManyRequests, http.StatusTooManyRequests, http.StatusUnauthorized} {
		for _, n := range nodes {
			send(n, onlyPath(i), 10, want)
		}
	}
	for i := range 10 {
		n := nodes[i%2]
		send(n, "/", 1000, http.StatusOK)
		send(n, "/", 100_000, http.StatusOK)
		send(n, "/", 400_000, http.StatusOK)
		send(n, "/busy", 10, http.StatusServiceUnavailable)
		send(n, "/hangup", 10, http.StatusBadGateway)
		send(n, "/teapot", 10, http.StatusTeapot)
		send(n, "/teapot", 10, http.StatusTeapot)
	}
	for _, n := range nodes {
		n.operate("only-1", "disable")
	}
}

// filled puts in what Grafana would.
var filled = strings.NewReplacer("$__rate_interval", "1m", "$__range", "1m", "$pool", ".*", "$instance", ".*").Replace

var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

func checkDashboard(t *testing.T, p *prometheus, shared bool) {
	p = &prometheus{t, p.url} // this test ends where it waits in vain
	d, _ := readDashboard(t)
	queries := make(map[string]string)
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		call := labelValues.FindStringSubmatch(v.Definition)
		if call == nil {
			t.Errorf("variable %s: %s", v.Name, v.Definition)
			continue
		}
		queries["variable "+v.Name] = fmt.Sprintf("count by (%s) (%s)", call[2], call[1])
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" {
			queries["annotation "+a.Name] = a.Expr
		}
	}
	for _, panel := range d.Panels {
		for _, target := range panel.Targets {
			queries[panel.Title+" "+target.RefID] = target.Expr
		}
	}
	for name, expr := range queries {
		expr = filled(expr)
		_, zero := zeroQueries[name]
		switch {
		case strings.Contains(expr, "$"):
			t.Errorf("%s: %s: a variable is left", name, expr)
		case !shared && strings.Contains(expr, "caddy_keycycler_state_"):
			if _, err := p.query(expr); err != nil {
				t.Errorf("%s: %s: %v", name, expr, err)
			}
		case zero:
			p.some(name, expr)
		default:
			live.Eventually(t, name+": there are data other than 0 of "+expr, func() bool { return p.holds(expr) })
		}
	}
	t.Logf("%d queries", len(queries))
}

var selector = regexp.MustCompile(`caddy_keycycler_\w+(\{[^}]*\})?`)

func checkAlerts(t *testing.T, p *prometheus, shared bool) {
	p = &prometheus{t, p.url}
	alerts := p.alerts()
	for _, a := range alerts {
		if a.Health != "ok" {
			t.Errorf("%s is %s: %s", a.Name, a.Health, a.LastError)
		}
		_, silent := silentAlerts[a.Name]
		if _, err := p.query(a.Query); err != nil {
			t.Errorf("%s: %s: %v", a.Name, a.Query, err)
		} else if !silent {
			p.some(a.Name, a.Query)
		}
		for _, s := range selector.FindAllString(a.Query, -1) {
			if shared || !strings.Contains(s, "_state_") {
				p.some(a.Name, s)
			}
		}
		for _, one := range a.Alerts {
			summary, text := one.Annotations["summary"], one.Annotations["description"]
			if summary == "" || text == "" || strings.Contains(summary+text, "<error") || strings.Contains(summary+text, "%!") {
				t.Errorf("%s says %q: %q", a.Name, summary, text)
			}
			if one.Labels["severity"] == "" || one.Labels["pool"] == "" && a.Name != "KeycyclerReplayDropped" {
				t.Errorf("%s has the labels %v", a.Name, one.Labels)
			}
			t.Logf("%s %s: %s", one.State, a.Name, summary)
		}
	}
	if len(alerts) != 14 {
		t.Errorf("%d alerts", len(alerts))
	}
}

// checkMetrics looks at what the nodes tell everybody.
func checkMetrics(t *testing.T, nodes []*node, keys int) {
	promtool := tool(t, "promtool")
	_, dashboardText := readDashboard(t)
	for _, n := range nodes {
		_, body := live.Do(t, http.DefaultClient, live.Request(t, http.MethodGet, n.admin+"/metrics", ""))
		text := string(body)
		var ours strings.Builder
		for line := range strings.Lines(text) {
			if _, name, found := strings.Cut(line, "caddy_keycycler_"); found && (line[0] == '#' || strings.HasPrefix(line, "caddy_keycycler_")) {
				ours.WriteString(line)
				if family, ok := strings.CutPrefix(line, "# TYPE "); ok && !bytes.Contains(dashboardText, []byte(strings.Fields(family)[0])) {
					t.Logf("the dashboard does not show %s", name)
				}
			}
		}
		cmd := exec.Command(promtool, "check", "metrics")
		var out bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(ours.String()), &out, &out
		if err := live.RunInTime(cmd); err != nil || out.Len() > 0 || ours.Len() == 0 {
			t.Errorf("promtool check metrics: %v\n%s", err, &out)
		}
		if part := keyPart(text, keys); part != "" {
			t.Errorf("node %s: /metrics shows %q of a key", n.config.name, part)
		}
		if keyPart(text+key(keys-1), keys) == "" {
			t.Error("a key in /metrics would not be found")
		}
		// Nor what there is one of for every key.
		_, body = live.Do(t, http.DefaultClient, live.Request(t, http.MethodGet, n.admin+"/keycycler/pools/main/keys", ""))
		var list struct {
			Keys []struct{ ID string }
		}
		if err := json.Unmarshal(body, &list); err != nil || len(list.Keys) != keys {
			t.Fatalf("the admin API lists %s, %v", body, err)
		}
		for _, k := range list.Keys {
			if strings.Contains(text, k.ID) {
				t.Errorf("node %s: /metrics shows the key's id %s", n.config.name, k.ID)
			}
		}
	}
}

package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/adminapi"
	"github.com/keycycler/keycycler/internal/testkit/live"
	"github.com/keycycler/keycycler/internal/testkit/pools"
)

// fakeAdmin plays the admin API: paging, filters, verbs and errors.
type fakeAdmin struct {
	pools []observe.PoolStatus
	keys  map[string][]observe.KeyStatus // by pool, ordered by id
	calls []string                       // method, path, query and body of all but GETs
	asked int                            // requests
	uris  []string                       // that it was asked for
}

func (a *fakeAdmin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.asked++
	a.uris = append(a.uris, r.URL.RequestURI())
	if r.Method != http.MethodGet {
		body, _ := io.ReadAll(r.Body)
		a.calls = append(a.calls, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /keycycler/pools", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, append([]observe.PoolStatus{}, a.pools...))
	})
	mux.HandleFunc("GET /keycycler/pools/{pool}/keys", a.list)
	mux.HandleFunc("GET /keycycler/pools/{pool}/keys/{id}", a.one)
	mux.HandleFunc("POST /keycycler/pools/{pool}/keys/{id}", a.all)
	mux.HandleFunc("POST /keycycler/pools/{pool}/keys/{id}/{verb}", a.one)
	mux.ServeHTTP(w, r)
}

func refusing(w http.ResponseWriter, status int, message string) {
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": message})
}

// taken returns the pool's keys that the query takes.
func (a *fakeAdmin) taken(r *http.Request) []*observe.KeyStatus {
	var taken []*observe.KeyStatus
	query, keys := r.URL.Query(), a.keys[r.PathValue("pool")]
	for i := range keys {
		k := &keys[i]
		if (query.Get("state") == "" || query.Get("state") == k.State) && (query.Get("class") == "" || query.Get("class") == k.Class) && k.ID > query.Get("after") {
			taken = append(taken, k)
		}
	}
	return taken
}

func (a *fakeAdmin) list(w http.ResponseWriter, r *http.Request) {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit < 1 || limit > 1000 {
		refusing(w, 400, "limit: out of range")
		return
	}
	page := observe.KeysPage{Keys: []observe.KeyStatus{}}
	for _, k := range a.taken(r) {
		if len(page.Keys) == limit {
			page.Next = page.Keys[limit-1].ID
			break
		}
		page.Keys = append(page.Keys, *k)
	}
	answerJSON(w, page)
}

func answerJSON(w http.ResponseWriter, v any) { json.NewEncoder(w).Encode(v) }

func (a *fakeAdmin) one(w http.ResponseWriter, r *http.Request) {
	keys := a.keys[r.PathValue("pool")]
	i := slices.IndexFunc(keys, func(k observe.KeyStatus) bool { return k.ID == r.PathValue("id") })
	if i < 0 {
		refusing(w, 404, "no such key")
		return
	}
	a.do(r, r.PathValue("verb"), &keys[i])
	answerJSON(w, keys[i])
}

func (a *fakeAdmin) all(w http.ResponseWriter, r *http.Request) {
	var c observe.Changed
	for _, k := range a.taken(r) {
		c.Keys++
		before := k.State
		if a.do(r, r.PathValue("id"), k); k.State != before {
			c.Changed++
		}
	}
	answerJSON(w, c)
}

func (*fakeAdmin) do(r *http.Request, verb string, k *observe.KeyStatus) {
	switch verb {
	case "cool":
		var request observe.CoolRequest
		json.NewDecoder(r.Body).Decode(&request)
		if request.Seconds > k.Remaining {
			k.Class, k.Remaining = "operator", request.Seconds
		}
		if k.State == "ready" {
			k.State = "cooling"
		}
	case "clear":
		k.Class, k.Remaining = "", 0
		if k.State == "cooling" {
			k.State = "ready"
		}
	case "disable":
		k.State = "disabled"
	case "enable":
		if k.State = "ready"; k.Remaining > 0 {
			k.State = "cooling"
		}
	}
}

// fakeKey returns a ready key with the i-th id.
func fakeKey(i int) observe.KeyStatus {
	return observe.KeyStatus{ID: fakeID(i), State: "ready", Rejected: map[string]uint64{}}
}

func fakeID(i int) string { return fmt.Sprintf("%012x", i) }

// addPool adds a pool with these keys.
func (a *fakeAdmin) addPool(name string, keys ...observe.KeyStatus) {
	p := observe.PoolStatus{Pool: name, Provider: "openai", Keys: len(keys), State: observe.StateStatus{Backend: "memory", Healthy: true}}
	for _, k := range keys {
		switch k.State {
		case "ready":
			p.Ready++
		case "cooling":
			p.Cooling++
		default:
			p.Disabled++
		}
	}
	if a.keys == nil {
		a.keys = make(map[string][]observe.KeyStatus)
	}
	a.pools, a.keys[name] = append(a.pools, p), keys
}

// twoPools is a gateway whose pools share the key 2.
func twoPools() *fakeAdmin {
	cooling, disabled := fakeKey(2), fakeKey(3)
	cooling.State, cooling.Class, cooling.Source, cooling.Scope, cooling.Remaining = "cooling", "rate_limited", "retry-after", "key", 40
	cooling.Attempts, cooling.Rejected, cooling.InFlight = 12, map[string]uint64{"rate_limited": 3, "quota_exhausted": 1}, 2
	until, used := time.Now().Add(40*time.Second), time.Now().Add(-5*time.Minute)
	cooling.Until, cooling.LastUsed = &until, &used
	disabled.State = "disabled"
	a := new(fakeAdmin)
	a.addPool("main", fakeKey(1), cooling)
	a.addPool("spare", cooling, disabled)
	return a
}

// start serves the fake and returns its address.
func (a *fakeAdmin) start(t *testing.T) string {
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// cli is a run of `caddy keycycler`.
type cli struct {
	out, errors string
	code        int
}

// runCLI runs `caddy keycycler` with these arguments, within this process.
func runCLI(stdin string, args ...string) cli {
	return runRoot(stdin, append([]string{"keycycler"}, args...))
}

// runAs runs `caddy` with these arguments, within this process.
func runAs(args ...string) cli { return runRoot("", args) }

func runRoot(stdin string, args []string) cli {
	root := &cobra.Command{Use: "caddy", SilenceUsage: true}
	cmd := &cobra.Command{Use: cliCommand.Name + " " + cliCommand.Usage, Short: cliCommand.Short, Long: cliCommand.Long}
	cliCommand.CobraFunc(cmd)
	root.AddCommand(cmd)
	var out, errs bytes.Buffer
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs(args)
	err := root.Execute()
	r := cli{out: out.String(), errors: errs.String()}
	switch {
	case err != nil && err.Error() == "exiting with status 2": // caddycmd's own error, which nobody else can name
		r.code = 2
	case err != nil:
		r.code = 1
	}
	return r
}

// runAt likewise, against a gateway. It wants success.
func runAt(t *testing.T, address string, args ...string) string {
	t.Helper()
	r := runCLI("", append(args, "--address", address)...)
	if r.code != 0 || r.errors != "" {
		t.Fatalf("%v: exit code %d, %s", args, r.code, r.errors)
	}
	return r.out
}

func byFakeID(a, b observe.KeyStatus) int { return strings.Compare(a.ID, b.ID) }

// decodeCLI decodes what is one JSON document.
func decodeCLI[T any](t *testing.T, text string) (v T) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		t.Fatalf("more than one document: %s", text)
	}
	return v
}

func TestCommandList(t *testing.T) {
	address := twoPools().start(t)
	want := `main: openai, 2 keys: 1 ready, 1 cooling, 0 disabled
state: memory, of this node alone
ID            STATE    CLASS         SOURCE       LEFT  TRIED  REJECTED   USED
000000000001  ready    -             -               -      0         0      -
000000000002  cooling  rate_limited  retry-after   40s     12         4  5m00s

spare: openai, 2 keys: 0 ready, 1 cooling, 1 disabled
state: memory, of this node alone
ID            STATE     CLASS         SOURCE       LEFT  TRIED  REJECTED   USED
000000000002  cooling   rate_limited  retry-after   40s     12         4  5m00s
000000000003  disabled  -             -               -      0         0      -
`
	got := runAt(t, address, "list")
	if got = strings.ReplaceAll(got, "5m01s", "5m00s"); got != want {
		t.Errorf("list says\n%s\nwant\n%s", got, want)
	}
	if got := runAt(t, address, "list", "--pool", "spare", "--state", "disabled"); strings.Contains(got, "main") || strings.Contains(got, fakeID(2)) || !strings.Contains(got, fakeID(3)) {
		t.Errorf("the disabled keys of spare are\n%s", got)
	}
	if got := runAt(t, address, "list", "--class", "overloaded"); strings.Count(got, "no such key") != 2 {
		t.Errorf("of a class that no key has:\n%s", got)
	}
}

// A list of many keys ends early, and says so; --json has all of them.
func TestCommandListPages(t *testing.T) {
	a := new(fakeAdmin)
	var keys []observe.KeyStatus
	for i := range 2500 {
		k := fakeKey(i)
		if i%5 == 0 {
			k.State, k.Class, k.Remaining = "cooling", "rate_limited", 60
		}
		keys = append(keys, k)
	}
	a.addPool("main", keys...)
	address := a.start(t)
	for _, row := range []struct {
		sentence string
		args     []string
		keys     int
		asked    int
		says     string
	}{
		{"a hundred keys unless more are wanted", nil, 100, 2, "… and 2400 more: --limit 0 shows all"},
		{"some keys", []string{"--limit", "7"}, 7, 2, "… and 2493 more: "},
		{"more than fit into an answer", []string{"--limit", "1001"}, 1001, 3, "… and 1499 more: "},
		{"all keys", []string{"--limit", "0"}, 2500, 4, ""},
		{"as many as there are", []string{"--limit", "2500"}, 2500, 4, ""},
		{"keys of a state", []string{"--state", "cooling"}, 100, 2, "… and 400 more: "},
		{"keys of a class are not counted", []string{"--class", "rate_limited"}, 100, 2, "… and more: "},
		{"all keys of a state", []string{"--state", "cooling", "--limit", "0"}, 500, 2, ""},
	} {
		a.asked = 0
		got := runAt(t, address, append([]string{"list"}, row.args...)...)
		lines := strings.Split(strings.TrimSpace(got), "\n")
		last := lines[len(lines)-1]
		if more := strings.HasPrefix(last, "…"); more != (row.says != "") || !strings.HasPrefix(last, row.says) {
			t.Errorf("%s: the last line is %s", row.sentence, last)
		}
		if n := strings.Count(got, "ready ") + strings.Count(got, "cooling  "); n != row.keys {
			t.Errorf("%s: %d keys, want %d", row.sentence, n, row.keys)
		}
		if a.asked != row.asked {
			t.Errorf("%s: %d requests, want %d", row.sentence, a.asked, row.asked)
		}
	}
	for args, want := range map[string]int{"": 2500, "--limit=3": 3, "--state=cooling": 500} {
		lists := decodeCLI[[]poolKeys](t, runAt(t, address, append([]string{"list", "--json"}, strings.Fields(args)...)...))
		if len(lists) != 1 || lists[0].Pool != "main" || lists[0].Ready != 2000 || len(lists[0].Keys) != want || (lists[0].Next != "") != (want == 3) {
			t.Errorf("list --json %s: %d keys, next %q", args, len(lists[0].Keys), lists[0].Next)
		}
	}
}

// Whatever there is to show, the table fits, each key has one line, and what the
// columns hold is not cut but for the source.
func TestCommandTableFits(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	long := strings.Repeat("anthropic-ratelimit-", 10)
	for _, row := range []struct {
		sentence, state, class, source string
		remaining                      float64
		attempts                       uint64
		rejections                     uint64
		busy                           int64
		used                           time.Duration
		want                           string
	}{
		{"nothing has happened", "ready", "", "", 0, 0, 0, 0, -1,
			"000000000001  ready  -      -          -      0         0     -     0"},
		{"a ready key is busy", "ready", "", "", 0, 1234, 99, 17, time.Second,
			"000000000001  ready  -      -          -   1234        99    1s    17"},
		{"the longest of all", "disabled", "request_too_large", long, 99*3600 + 59*60, 999_999, 999_949_999, 999_999, 99*time.Hour + 59*time.Minute,
			"000000000001  disabled  request_too_large  anthropic-…  99h59m  999999    999.9M"},
		{"numbers without end", "cooling", "request_too_large", long, 1e300, 1<<64 - 1, 1 << 63, 1<<63 - 1, 1 << 62,
			"000000000001  cooling  request_too_large  anthropic-rate…  365d  18.4E      9.2E"},
		{"there is room for a source", "cooling", "overloaded", long, 1, 1, 1, 0, 0,
			"000000000001  cooling  overloaded  anthropic-ratel…    1s      1         1    0s"},
		{"a class of a newer gateway", "cooling", "something_that_is_new", "x", 0.001, 1, 1, 0, 0,
			"000000000001  cooling  something_that_i…  x         1s      1         1    0s"},
		{"a name that a terminal would obey", "cooling", "rate_limited", "x\x1b[2Jé\n", 61, 1, 1, 0, 59 * time.Minute,
			"000000000001  cooling  rate_limited  x?[2Jé?  1m01s      1         1  59m00s"},
	} {
		k := fakeKey(1)
		k.State, k.Class, k.Source, k.Remaining, k.Attempts, k.InFlight = row.state, row.class, row.source, row.remaining, row.attempts, row.busy
		k.Rejected = map[string]uint64{"rate_limited": row.rejections / 2, "overloaded": row.rejections - row.rejections/2}
		if row.used >= 0 {
			used := now.Add(-row.used)
			k.LastUsed = &used
		}
		var out strings.Builder
		printTable(&out, now, []observe.KeyStatus{k})
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != 2 || lines[1] != row.want {
			t.Errorf("%s:\n%s\nwant\n%s", row.sentence, out.String(), row.want)
		}
		for _, line := range lines {
			if n := utf8.RuneCountInString(line); n > 80 {
				t.Errorf("%s: %d columns: %s", row.sentence, n, line)
			}
		}
	}
}

func TestCommandTableFitsManyKeys(t *testing.T) {
	var keys []observe.KeyStatus
	for i, state := range []string{"ready", "cooling", "disabled"} {
		for j, class := range reason.Names {
			for _, source := range []string{"", "x", "body:error.details.retryDelay", strings.Repeat("é", 90)} {
				k := fakeKey(i<<16 + j)
				k.State, k.Class, k.Source, k.Remaining = state, class, source, float64(i*j*100_000)
				k.Attempts, k.InFlight = uint64(i*j)*300_000, int64(j)*1000
				keys = append(keys, k)
			}
		}
	}
	for n := range len(keys) {
		var out strings.Builder
		printTable(&out, time.Now(), keys[n:])
		for line := range strings.Lines(out.String()) {
			if utf8.RuneCountInString(line) > 81 { // with its end
				t.Fatalf("too wide: %s", line)
			}
		}
	}
}

func TestCommandHeadlines(t *testing.T) {
	for _, row := range []struct {
		sentence string
		state    observe.StateStatus
		want     string
	}{
		{"a file", observe.StateStatus{Backend: "file", Healthy: true}, "file, of this node alone"},
		{"a full disk", observe.StateStatus{Backend: "file", Error: "no space left on device"}, "file, of this node alone, cannot be written: no space left on device"},
		{"nothing is shared", observe.StateStatus{Backend: "memory", Healthy: true}, "memory, of this node alone"},
		{"all is well", observe.StateStatus{Backend: "redis", Healthy: true, LagMS: 1.26}, "redis, healthy, 1.3ms behind other nodes"},
		{"Redis is away", observe.StateStatus{Backend: "redis", Error: "dial tcp: refused"}, "redis, not reachable: this node goes on alone: dial tcp: refused"},
		{"nobody knows why", observe.StateStatus{Backend: "redis"}, "redis, not reachable: this node goes on alone"},
	} {
		if got := backendText(row.state); got != row.want {
			t.Errorf("%s: %s, want %s", row.sentence, got, row.want)
		}
	}
}

func TestCommandShow(t *testing.T) {
	a := twoPools()
	address := a.start(t)
	got := runAt(t, address, "show", fakeID(2))
	for _, want := range []string{
		"key 000000000002 in pool main\n  state       cooling\n  class       rate_limited\n  source      retry-after\n  scope       key\n  time left   40s, until 20",
		"  attempts    12\n  rejections  4: quota_exhausted 1, rate_limited 3\n  in flight   2\n  last used   5m00s ago, at 20",
		"\n\nkey 000000000002 in pool spare\n",
	} {
		if !strings.Contains(strings.ReplaceAll(got, "5m01s", "5m00s"), want) {
			t.Errorf("show says\n%s\nwant\n%s", got, want)
		}
	}
	if got, want := runAt(t, address, "show", fakeID(2), "--pool", "spare"), "in pool spare"; strings.Count(got, "in pool ") != 1 || !strings.Contains(got, want) {
		t.Errorf("in one pool:\n%s", got)
	}
	want := "key 000000000003 in pool spare\n  state       disabled\n  attempts    0\n  rejections  0\n  in flight   0\n  last used   never\n"
	if got := runAt(t, address, "show", fakeID(3)); got != want {
		t.Errorf("a key that was never used:\n%s", got)
	}
	keys := decodeCLI[[]poolKey](t, runAt(t, address, "show", "--json", fakeID(2)))
	if len(keys) != 2 || keys[1].Pool != "spare" || keys[1].Rejected["rate_limited"] != 3 || keys[1].Until == nil {
		t.Errorf("show --json: %+v", keys)
	}
}

func TestCommandTimes(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.FixedZone("CET", 3600))
	until, used := now.Add(90*time.Second).UTC(), now.Add(-90*time.Second).UTC()
	k := fakeKey(1)
	k.State, k.Remaining, k.Until, k.LastUsed = "cooling", 89.2, &until, &used
	var out strings.Builder
	printKeys(&out, now, []poolKey{{"main", k}})
	for _, want := range []string{"1m30s, until 2026-03-04 05:07:37 CET", "1m30s ago, at 2026-03-04 05:04:37 CET"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestCommandVerbs(t *testing.T) {
	const keys = "POST /keycycler/pools/"
	for _, row := range []struct {
		sentence, args string
		out            string
		calls          []string
	}{
		{"a key cools", "cool 000000000001 --for 10m",
			"000000000001 in main: cooling for 10m00s (operator); before: ready\n",
			[]string{keys + `main/keys/000000000001/cool {"seconds":600}`}},
		{"days are durations", "cool 000000000001 --for 1d12h",
			"000000000001 in main: cooling for 36h00m (operator); before: ready\n",
			[]string{keys + `main/keys/000000000001/cool {"seconds":129600}`}},
		{"a key cools for longer already", "cool 000000000002 --for 10s",
			"000000000002 in main: cooling for 40s (rate_limited), as before\n",
			[]string{keys + `main/keys/000000000002/cool {"seconds":10}`}},
		{"a key cools for longer now", "cool 000000000002 --for 1.5m",
			"000000000002 in main: cooling for 1m30s (operator); before: cooling for 40s (rate_limited)\n",
			[]string{keys + `main/keys/000000000002/cool {"seconds":90}`}},
		{"a disabled key cools", "cool 000000000003 --for 1m",
			"000000000003 in spare: disabled and cooling for 1m00s (operator); before: disabled\n",
			[]string{keys + `spare/keys/000000000003/cool {"seconds":60}`}},
		{"a key is cleared in the first pool that has it", "clear 000000000002",
			"000000000002 in main: ready; before: cooling for 40s (rate_limited)\n",
			[]string{keys + "main/keys/000000000002/clear"}},
		{"or in the one that is named", "clear 000000000002 --pool spare",
			"000000000002 in spare: ready; before: cooling for 40s (rate_limited)\n",
			[]string{keys + "spare/keys/000000000002/clear"}},
		{"several keys, in order", "disable 000000000003 000000000001",
			"000000000003 in spare: disabled, as before\n000000000001 in main: disabled; before: ready\n",
			[]string{keys + "spare/keys/000000000003/disable", keys + "main/keys/000000000001/disable"}},
		{"a key is enabled", "enable 000000000003",
			"000000000003 in spare: ready; before: disabled\n",
			[]string{keys + "spare/keys/000000000003/enable"}},
		{"all keys of a pool", "disable --all --pool spare",
			"pool spare: disabled 1 of 2 keys; the others did not need it\n",
			[]string{keys + "spare/keys/disable"}},
		{"all that cool for a reason", "clear --all --pool main --class rate_limited --state cooling",
			"pool main: cleared 1 of 1 key\n",
			[]string{keys + "main/keys/clear?class=rate_limited&state=cooling"}},
		{"all keys cool", "cool --all --pool=main --for 2s",
			"pool main: cooled 1 of 2 keys; the others did not need it\n",
			[]string{keys + `main/keys/cool {"seconds":2}`}},
		{"all keys are enabled", "enable --all --pool main",
			"pool main: enabled 0 of 2 keys; the others did not need it\n",
			[]string{keys + "main/keys/enable"}},
	} {
		a := twoPools()
		got := runAt(t, a.start(t), strings.Fields(row.args)...)
		if got != row.out {
			t.Errorf("%s: %s says\n%s\nwant\n%s", row.sentence, row.args, got, row.out)
		}
		if !slices.Equal(a.calls, row.calls) {
			t.Errorf("%s: it called %q, want %q", row.sentence, a.calls, row.calls)
		}
	}
}

func TestCommandVerbsPrintJSON(t *testing.T) {
	address := twoPools().start(t)
	keys := decodeCLI[[]poolKey](t, runAt(t, address, "disable", fakeID(1), fakeID(3), "--json"))
	if len(keys) != 2 || keys[0].Pool != "main" || keys[0].ID != fakeID(1) || keys[0].State != "disabled" || keys[1].Pool != "spare" {
		t.Errorf("disable --json: %+v", keys)
	}
	all := decodeCLI[struct {
		Pool          string
		Keys, Changed int
	}](t, runAt(t, address, "clear", "--all", "--pool", "main", "--json"))
	if all.Pool != "main" || all.Keys != 2 || all.Changed != 1 {
		t.Errorf("clear --all --json: %+v", all)
	}
}

// With one pool alone, --all needs no --pool.
func TestCommandAllOfTheOnlyPool(t *testing.T) {
	a := new(fakeAdmin)
	a.addPool("main", fakeKey(1), fakeKey(2))
	if got := runAt(t, a.start(t), "disable", "--all"); got != "pool main: disabled 2 of 2 keys\n" {
		t.Errorf("disable --all says %s", got)
	}
}

// What is wrong is said before anything is changed, with its exit code.
func TestCommandErrors(t *testing.T) {
	a := twoPools()
	address := a.start(t)
	for _, row := range []struct {
		args string
		code int
		says string
	}{
		{"", 2, "a command is missing: one of add, classify, clear, cool, disable, enable, id, import, list, remove, show, test, usage"},
		{"forget", 2, "unknown command 'forget': one of add, classify, clear, cool"},
		{"sk-demo-1", 2, "unknown command (not shown"},
		{"--none", 2, "unknown flag '--none'"},
		{"forget --address localhost", 2, "unknown command 'forget': one of add, classify, clear"},
		{"--json forget", 2, "unknown command 'forget': one of add, classify, clear"},
		{"--json=maybe forget", 2, "--json: 'maybe' is neither true nor false"},
		{"remov --none", 2, "unknown command 'remov': did you mean 'remove'?"},
		{"help lst", 2, "unknown command 'lst': did you mean 'list'?"},
		{"ls", 2, "unknown command 'ls': here it is 'list'"},
		{"lst --none", 2, "unknown command 'lst': did you mean 'list'?"},
		{"Clear 000000000001", 2, "unknown command 'Clear': did you mean 'clear'?"},
		{"list --adddress x", 2, "unknown flag '--adddress': did you mean '--address'?"},
		{"list --stat ready", 2, "unknown flag '--stat': did you mean '--state'?"},
		{"list --sort name", 2, "--sort: 'name' is none of id, left"},
		{"list --pool mian", 1, "no pool is named 'mian': did you mean 'main'?"},
		{"list --none", 2, "unknown flag '--none'"},
		{"list -x", 2, "unknown flag '-x'"},
		{"list --sk-demo-1", 2, "unknown flag (not shown"},
		{"list --=x", 2, "a flag is malformed"},
		{"list main", 2, "list takes no arguments"},
		{"list --limit", 2, "--limit: its value is missing"},
		{"list --limit -1", 2, "--limit: -1 is out of range"},
		{"list --limit sk-demo-1", 2, "--limit: (not shown: it could be a key) is no whole number"},
		{"list --json=maybe", 2, "--json: 'maybe' is neither true nor false"},
		{"list --state tired", 2, "--state: unknown state 'tired': ready, cooling or disabled"},
		{"list --class tired", 2, "--class: unknown class 'tired': one of "},
		{"list --class=", 2, "--class: its value is missing"},
		{"list --pool none", 1, "no pool is named 'none': there is main, spare"},
		{"list --pool=", 1, "no pool is named ''"},
		{"list --pool sk-demo-1", 1, "no pool is named (not shown"},
		{"show", 2, "show takes one id"},
		{"show 000000000001 000000000002", 2, "show takes one id"},
		{"show sk-demo-1", 2, "argument 1 is no key's id"},
		{"show 00000000000A", 1, "no pool has key 00000000000a"},
		{"show 00000000000G", 1, "no key has the name that argument 1 is"},
		{"show east", 1, "no key has the name that argument 1 is: 'caddy keycycler list' shows names"},
		{"show east/1", 2, "argument 1 is no key's id, nor a name"},
		{"clear 000000000001 0123456789abcdef0123456789abcdef", 2, "argument 2 is no key's id, nor a name"},
		{"clear 000000000001 east", 1, "no key has the name that argument 2 is: 'caddy keycycler list' shows names: nothing was changed"},
		{"show 000000000009", 1, "no pool has key 000000000009"},
		{"show 000000000001 --pool spare", 1, "pool spare has no key 000000000001"},
		{"cool 000000000001", 2, "cool needs --for <duration>"},
		{"cool 000000000001 --for soon", 2, "--for: 'soon' is no duration"},
		{"cool 000000000001 --for sk-demo-1", 2, "--for: (not shown"},
		{"cool 000000000001 --for 0s", 2, "--for: '0s' is out of range"},
		{"cool 000000000001 --for 366d", 2, "--for: '366d' is out of range: above 0, at most 365d"},
		{"cool --for 10m", 2, "cool takes ids or names of keys, or --all"},
		{"clear", 2, "clear takes ids or names of keys, or --all"},
		{"clear 000000000001 sk-demo-1", 2, "argument 2 is no key's id"},
		{"clear 000000000001 --for 10m", 2, "unknown flag '--for'"},
		{"clear 000000000001 --all", 2, "clear takes ids or --all, not both"},
		{"clear 000000000001 --state cooling", 2, "--state and --class narrow --all"},
		{"clear 000000000001 000000000009", 1, "no pool has key 000000000009: nothing was changed"},
		{"clear 000000000008 000000000001 000000000009", 1, "no pool has key 000000000008, nor 1 more of these keys: nothing was changed"},
		{"clear --all", 2, "--all needs --pool, since there are 2 pools: main, spare"},
		{"clear --all --state tired", 2, "--state: unknown state 'tired'"},
		{"clear --all --pool none", 1, "no pool is named 'none'"},
		{"id sk-demo-1", 2, "id takes no arguments"},
		{"id --json", 2, "unknown flag '--json'"},
	} {
		args := strings.Fields(row.args)
		if len(args) > 1 && args[0] != "id" {
			args = append([]string{args[0], "--address", address}, args[1:]...)
		}
		r := runCLI("sk-demo-2\n", args...)
		if r.code != row.code || r.out != "" || !strings.Contains(r.errors, "Error: "+row.says) {
			t.Errorf("%s: exit code %d, %s%s, want %d and %s", row.args, r.code, r.errors, r.out, row.code, row.says)
		}
		if hint := "--help' for usage.\n"; strings.HasSuffix(r.errors, hint) != (row.code == 2) {
			t.Errorf("%s: it says %s", row.args, r.errors)
		}
		if strings.Contains(r.errors, "sk-demo") {
			t.Errorf("%s: it shows what may be a key: %s", row.args, r.errors)
		}
	}
	if len(a.calls) > 0 {
		t.Errorf("it has changed something: %q", a.calls)
	}
}

// stub answers everything alike.
func stub(t *testing.T, status int, body string) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestCommandGateways(t *testing.T) {
	for _, row := range []struct {
		sentence, address, says string
	}{
		{"nobody is there", "127.0.0.1:" + live.FreePort(t), "connection refused: is it running, and is its admin endpoint at 127.0.0.1:"},
		{"Caddy is built without the module", stub(t, 404, "404 page not found\n"), "is built without keycycler"},
		{"Caddy refuses", stub(t, 403, `{"error":"host not allowed: x"}`), "has refused: host not allowed: x (status 403)"},
		{"something else refuses", stub(t, 502, "<html>\nbad\n</html>"), "has refused: <html> (status 502)"},
		{"something else answers", stub(t, 200, "<html>"), "does not answer as Caddy's admin endpoint does (--address, --config)"},
	} {
		for _, args := range []string{"list", "list --json", "show 000000000001", "disable 000000000001", "cool --all --for 1s"} {
			r := runCLI("", append(strings.Fields(args), "--address", row.address)...)
			if r.code != 1 || r.out != "" || !strings.Contains(r.errors, row.says) || strings.Count(r.errors, "\n") != 1 {
				t.Errorf("%s: %s: exit code %d, %s%s, want %s", row.sentence, args, r.code, r.errors, r.out, row.says)
			}
		}
	}
}

// Without a pool there is nothing to list, which is no error; other commands have
// nothing to work on.
func TestCommandWithoutPools(t *testing.T) {
	address := new(fakeAdmin).start(t)
	if got := runAt(t, address, "list"); !strings.Contains(got, "has no keycycler pool") {
		t.Errorf("list says %s", got)
	}
	if got := runAt(t, address, "list", "--json"); got != "[]\n" {
		t.Errorf("list --json says %s", got)
	}
	for _, args := range []string{"show 000000000001", "clear 000000000001", "clear --all", "list --pool main"} {
		if r := runCLI("", append(strings.Fields(args), "--address", address)...); r.code != 1 || !strings.Contains(r.errors, "has no keycycler pool") {
			t.Errorf("%s: exit code %d, %s", args, r.code, r.errors)
		}
	}
}

// When a gateway goes away half-way, what is done is said.
func TestCommandBreaksOff(t *testing.T) {
	a := twoPools()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/000000000002/disable") {
			refusing(w, 503, "going down")
			return
		}
		a.ServeHTTP(w, r)
	}))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	for _, args := range [][]string{{}, {"--json"}} {
		r := runCLI("", append([]string{"disable", fakeID(1), fakeID(2), fakeID(3), "--address", address}, args...)...)
		if r.code != 1 || !strings.Contains(r.errors, "key 000000000002 in pool main: ") || !strings.Contains(r.errors, "going down (status 503)") {
			t.Errorf("%v: exit code %d, %s", args, r.code, r.errors)
		}
		if !strings.Contains(r.out, fakeID(1)) || strings.Contains(r.out, fakeID(3)) {
			t.Errorf("%v: it says %s", args, r.out)
		}
	}
}

// The config says where the admin endpoint is, as for `caddy reload`.
func TestCommandFindsTheAddress(t *testing.T) {
	address := twoPools().start(t)
	file := filepath.Join(t.TempDir(), "gateway.caddy")
	if err := os.WriteFile(file, fmt.Appendf(nil, "{\n\tadmin %s\n}\n", address), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := runCLI("", "show", fakeID(1), "--config", file, "--adapter", "caddyfile"); r.code != 0 || !strings.Contains(r.out, "pool main") {
		t.Errorf("exit code %d, %s%s", r.code, r.errors, r.out)
	}
	if r := runCLI("", "list", "-c", file+".none"); r.code != 1 || !strings.Contains(r.errors, "no such file") {
		t.Errorf("without the file: exit code %d, %s", r.code, r.errors)
	}
}

func TestCommandID(t *testing.T) {
	long := strings.Repeat("k", 4096)
	for _, row := range []struct {
		sentence, input string
		ids             string // keys whose ids it prints
		says            string
	}{
		{"a key", "sk-demo-1\n", "sk-demo-1", ""},
		{"keys, in order, each time they come", "sk-demo-2\nsk-demo-1\nsk-demo-2", "sk-demo-2 sk-demo-1 sk-demo-2", ""},
		{"a file as Windows writes it", "\xef\xbb\xbfsk-demo-1\r\n\r\n# old\r\n  # older\r\n\t sk-demo-2 \r\n", "sk-demo-1 sk-demo-2", ""},
		{"the longest key", long + "\n", long, ""},
		{"a comment after the key", "sk-demo-1 # mine\n", "", "line 1: a comment stands behind it"},
		{"a name after the key", "sk-demo-1 mine\n", "sk-demo-1", ""},
		{"a list", "sk-demo-1\nsk-demo-1,sk-demo-2\n", "", "line 2: commas or semicolons stand between several"},
		{"a bad key after a good one", "# head\nsk-demo-1\nsk-demo-ü\n", "", "line 3: key "},
		{"a mark in the middle", "sk-demo-1\n\xef\xbb\xbfsk-demo-2\n", "", "line 2: key "},
		{"a key that is too long", "sk-demo-1\n" + long + "k", "", "line 2: key "},
		{"a line without end", "sk-demo-1\n" + strings.Repeat("sk-demo-1", 1000), "", "line 2: the line is longer than a key may be, 4096 bytes"},
		{"nothing", "", "", "there is no key on the standard input"},
		{"comments alone", "# sk-demo-1\n\n", "", "there is no key on the standard input"},
	} {
		r := runCLI(row.input, "id")
		var want strings.Builder
		for key := range strings.FieldsSeq(row.ids) {
			fmt.Fprintln(&want, testkit.IDOf(key))
		}
		if r.out != want.String() || (r.code == 1) != (row.says != "") || !strings.Contains(r.errors, row.says) || r.code == 2 {
			t.Errorf("%s: exit code %d, %s%s, want %s%s", row.sentence, r.code, r.out, r.errors, want.String(), row.says)
		}
		if strings.Contains(r.out+r.errors, "sk-demo") || strings.Contains(r.out+r.errors, "kkkk") {
			t.Errorf("%s: it shows a key: %s%s", row.sentence, r.out, r.errors)
		}
	}
	if _, err := scanIDs(&testkit.Endless{Line: []byte("#" + long[:500] + "\n")}, 0); err == nil || !strings.Contains(err.Error(), "larger than 256 MiB") {
		t.Errorf("an input without end: %v", err)
	}
}

// terminal is a raw one: what is typed, and what it shows.
type terminal struct {
	io.Reader
	strings.Builder
}

func TestCommandIDAtTerminal(t *testing.T) {
	for _, row := range []struct {
		sentence, typed, ids, says string
	}{
		{"an empty line ends", "sk-demo-1\rsk-demo-2\r\rsk-demo-3\r", "sk-demo-1 sk-demo-2", ""},
		{"so does the end", "sk-demo-1\r\x04", "sk-demo-1", ""},
		{"a key is corrected", "sk-demo-9\x7f1\r\r", "sk-demo-1", ""},
		{"Ctrl-C is no end", "sk-demo-1\r\x03", "", "interrupted"},
		{"no key", "\r", "", ""},
		{"a bad key", "sk-demo-1\rsk demo 2\r\r", "", "line 2: the line has more than two words"},
	} {
		screen := &terminal{Reader: strings.NewReader(row.typed)}
		ids, err := promptIDs(screen)
		var want []string
		for key := range strings.FieldsSeq(row.ids) {
			want = append(want, testkit.IDOf(key))
		}
		if !slices.Equal(ids, want) || (err != nil) != (row.says != "") || !strings.Contains(testkit.Message(err), row.says) {
			t.Errorf("%s: %v, %v, want %v", row.sentence, ids, err, want)
		}
		if !strings.Contains(screen.String(), "Key (it does not show") || strings.Contains(screen.String(), "demo") {
			t.Errorf("%s: the screen shows %q", row.sentence, screen.String())
		}
	}
}

// All commands tell their flags, how to use them, and their exit codes, within the
// width of a terminal.
func TestCommandHelp(t *testing.T) {
	for _, name := range []string{"", "list", "show", "add", "import", "remove", "cool", "clear", "disable", "enable", "test", "id"} {
		r := runCLI("", append(strings.Fields(name), "--help")...)
		if r.code != 0 || r.errors != "" {
			t.Fatalf("%s --help: exit code %d, %s", name, r.code, r.errors)
		}
		for _, want := range []string{"Exit codes:", "Examples:\n  $ caddy keycycler", "caddy keycycler " + name} {
			if !strings.Contains(r.out, want) {
				t.Errorf("%s --help lacks %s", name, want)
			}
		}
		if wantAPI := name != "" && name != "id"; strings.Contains(r.out, "--address string") != wantAPI || strings.Contains(r.out, "--json ") != wantAPI {
			t.Errorf("%s --help has wrong flags:\n%s", name, r.out)
		}
		long, _, _ := strings.Cut(r.out, "Flags:")
		for line := range strings.Lines(long) {
			if utf8.RuneCountInString(line) > 86 {
				t.Errorf("%s --help: too wide: %s", name, line)
			}
		}
	}
}

// The binary's exit codes, by way of caddycmd.Main: this test's process plays it
// (see main_test.go).
func TestCommandExitCodes(t *testing.T) {
	a := twoPools()
	address := a.start(t)
	for _, row := range []struct {
		args   string
		code   int
		stderr string
	}{
		{"list --address " + address, 0, ""},
		{"id", 0, ""},
		{"show 000000000009 --address " + address, 1, "Error: no pool has key 000000000009\n"},
		{"disable --all --address " + address, 2, "Error: --all needs --pool, since there are 2 pools: main, spare\nRun 'caddy keycycler disable --help' for usage.\n"},
		{"list --none", 2, "Error: unknown flag '--none'\nRun 'caddy keycycler list --help' for usage.\n"},
		{"forget", 2, "Error: unknown command 'forget': one of add, classify, clear, cool, disable, enable, id, import, list, remove, show, test, usage\nRun 'caddy keycycler --help' for usage.\n"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0], append([]string{"keycycler"}, strings.Fields(row.args)...)...)
		cmd.Env = append(os.Environ(), "KEYCYCLER_TEST_CADDY=1", "GORACE=atexit_sleep_ms=0")
		cmd.Stdin = strings.NewReader("sk-demo-1\n")
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); cmd.ProcessState == nil {
			t.Fatal(err)
		}
		if code := cmd.ProcessState.ExitCode(); code != row.code || stderr.String() != row.stderr || (stdout.Len() > 0) != (row.code == 0) {
			t.Errorf("%s: exit code %d, %s%s, want %d and %s", row.args, code, stdout.String(), stderr.String(), row.code, row.stderr)
		}
	}
}

// The same command against the admin API itself.
func TestCommandAsksTheAdminAPI(t *testing.T) {
	pools.Named(t, "command-test")
	server := httptest.NewServer(adminapi.Mux())
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	id := testkit.IDOf("sk-demo-1")
	for _, row := range [][2]string{
		{"list --limit 1", "… and 19 more"},
		{"show " + id, "last used   never"},
		{"cool " + id + " --for 10m", ": cooling for 10m00s (operator); before: ready"},
		{"list --state cooling --class operator", id},
		{"disable " + id, ": disabled and cooling for "},
		{"clear " + id, ": disabled; before: disabled and cooling"},
		{"enable --all", "pool command-test: enabled 1 of 20 keys"},
		{"cool --all --for 90s --state ready", "pool command-test: cooled 20 of 20 keys"},
		{"clear --all --class operator", "pool command-test: cleared 20 of 20 keys"},
		{"list --json", `{"pool":"command-test","provider":"openai","ready":20,`},
	} {
		if got := runAt(t, address, strings.Fields(row[0])...); !strings.Contains(got, row[1]) {
			t.Errorf("%s says\n%s\nwant %s", row[0], got, row[1])
		}
	}
	if r := runCLI("", "show", "0123456789ab", "--address", address); r.code != 1 || !strings.Contains(r.errors, "pool command-test has no key 0123456789ab") {
		t.Errorf("an unknown key: exit code %d, %s", r.code, r.errors)
	}
}

// Help is where people look for it, also as a word behind the command.
func TestHelpOfACommand(t *testing.T) {
	for args, want := range map[string]string{"help list": "Lists the pools, and the keys of each", "help": "Shows the API keys of a running gateway"} {
		if r := runCLI("", strings.Fields(args)...); r.code != 0 || !strings.HasPrefix(r.out, want) {
			t.Errorf("%s: exit code %d, %.80s%s", args, r.code, r.out, r.errors)
		}
	}
}

package keycycler

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

func TestEveryBoundHolds(t *testing.T) {
	const day = 24 * time.Hour
	rule := func(r ...Rule) func(*Handler) { return func(h *Handler) { h.On = r } }
	cooldown := func(c Cooldown) func(*Handler) { return func(h *Handler) { h.Cooldown = &c } }
	replay := func(r Replay) func(*Handler) { return func(h *Handler) { h.Replay = &r } }
	auth := func(a Auth) func(*Handler) { return func(h *Handler) { h.Auth = &a } }
	for _, test := range []struct {
		name   string
		change func(*Handler)
		err    string // "" where it is within the bounds
	}{
		{"nothing but keys", func(h *Handler) {}, ""},
		{"the longest name of a pool", func(h *Handler) { h.Pool = strings.Repeat("p", 64) }, ""},
		{"a name that is too long", func(h *Handler) { h.Pool = strings.Repeat("p", 65) }, "pool: "},
		{"a name with a slash", func(h *Handler) { h.Pool = "a/b" }, "pool: the name 'a/b' must be"},
		{"a name with a letter outside ASCII, whose lower case is within", func(h *Handler) { h.Pool = "\u212aey" }, "pool: "},
		{"a name with a control character", func(h *Handler) { h.Pool = "a\nb" }, "pool: the name (not shown"},
		{"a key where the name belongs", func(h *Handler) { h.Pool = "sk-demo-1" }, "pool: the name begins with sk-"},
		{"a key where a path belongs", func(h *Handler) { h.KeysFiles = []string{"sk-demo-1"} }, "keys_file: the path begins with sk-"},
		{"a group of no kind", func(h *Handler) { h.Groups = []Group{{Keys: demoKeys(1)}} }, "group: a name, a weight or a tier is needed"},
		{"a group's name with a slash", func(h *Handler) { h.Groups = []Group{{Name: "a/b"}} }, "group: the name 'a/b' must be 1 to 64 letters"},
		{"the largest weight and the highest tier", func(h *Handler) { h.Groups = []Group{{Weight: 100, Tier: 100}} }, ""},
		{"a weight over it", func(h *Handler) { h.Groups = []Group{{Weight: 101}} }, "weight: 101 is out of range: 1 to 100"},
		{"a negative weight", func(h *Handler) { h.Groups = []Group{{Weight: -1}} }, "weight: -1 is out of range: 1 to 100"},
		{"a tier over it", func(h *Handler) { h.Groups = []Group{{Tier: 101}} }, "tier: 101 is out of range: 1 to 100"},
		{"a negative tier of a named group", func(h *Handler) { h.Groups = []Group{{Name: "a", Tier: -1}} }, "tier: -1 is out of range: 1 to 100"},
		{"as many different ranks as there may be", func(h *Handler) { h.Groups = manyRanks(99) }, ""},
		{"one more, with the one of the handler's own keys", func(h *Handler) { h.Groups = manyRanks(100) }, "group: 101 different pairs of tier and weight are too many: at most 100"},
		{"a policy that nobody knows", func(h *Handler) { h.Select = &Select{Policy: "first"} }, "select: unknown policy 'first': random or hash"},
		{"no policy", func(h *Handler) { h.Select = &Select{} }, ""},
		{"a value without hash", func(h *Handler) { h.Select = &Select{Value: "{http.request.host}"} }, "select: a placeholder goes with hash"},
		{"hash without a value", func(h *Handler) { h.Select = &Select{Policy: "hash"} }, "select hash: one placeholder is needed"},
		{"an escaped placeholder", func(h *Handler) { h.Select = &Select{Policy: "hash", Value: `\\{a}`} }, "select hash: one placeholder is needed"},
		{"a response's header", func(h *Handler) { h.Select = &Select{Policy: "hash", Value: "{http.response.header.X}"} }, "select hash: {http.response.} is not known"},
		{"a limit of nothing", func(h *Handler) { h.Limit = &Limit{} }, "limit: concurrency or requests is needed"},
		{"the largest limits", func(h *Handler) { h.Limit = &Limit{100_000, 1_000_000, caddy.Duration(day)} }, ""},
		{"a negative concurrency", func(h *Handler) { h.Limit = &Limit{Concurrency: -1} }, "limit concurrency: -1 is out of range: 1 to 100000"},
		{"too many requests", func(h *Handler) { h.Limit = &Limit{Requests: 1_000_001, Per: caddy.Duration(day)} }, "limit requests: 1000001 is out of range: 1 to 1000000"},
		{"requests without a duration", func(h *Handler) { h.Limit = &Limit{Requests: 1} }, "limit requests: 0s is out of range: 1s to 24h0m0s"},
		{"a duration without requests", func(h *Handler) { h.Limit = &Limit{Concurrency: 1, Per: caddy.Duration(day)} }, "limit requests: a duration goes with a number of requests"},
		{"an unknown provider", func(h *Handler) { h.Provider = "opneai" }, "provider: unknown provider 'opneai': one of anthropic, azure, cohere, gemini, generic, github, openai"},
		{"a provider's name in capitals", func(h *Handler) { h.Provider = "OpenAI" }, "provider: unknown provider 'OpenAI': one of anthropic, "},
		{"an account's header of another provider", func(h *Handler) { h.Provider, h.KeepHeaders = "azure", []string{"openai-project"} }, ""},
		{"fewer attempts than none", func(h *Handler) { h.MaxAttempts = -1 }, "max_attempts: -1 is out of range: 1 to 1000"},
		{"most attempts", func(h *Handler) { h.MaxAttempts = 1000 }, ""},
		{"too many attempts", func(h *Handler) { h.MaxAttempts = 1001 }, "max_attempts: 1001 is out of range: 1 to 1000"},
		{"a negative time", func(h *Handler) { h.TryDuration = -1 }, "try_duration: -1ns is negative: 0 means no limit"},
		{"a negative wait", func(h *Handler) { h.MaxWait = -1 }, "max_wait: -1ns is out of range: 0s to 1h0m0s"},
		{"a wait that is too long", func(h *Handler) { h.MaxWait = caddy.Duration(time.Hour + 1) }, "max_wait: "},
		{"negative waiting requests", func(h *Handler) { h.MaxWaiting = -1 }, "max_waiting: -1 is out of range: 1 to 1000000"},
		{"too many waiting requests", func(h *Handler) { h.MaxWaiting = 1_000_001 }, "max_waiting: "},
		{"the longest time", func(h *Handler) { h.TryDuration = math.MaxInt64 }, ""},
		{"a header that is no account's", func(h *Handler) { h.KeepHeaders = []string{"Cookie"} }, "keep_headers: 'Cookie' is not one of"},
		{"a header that carries credentials", func(h *Handler) { h.KeepHeaders = []string{"authorization"} }, "keep_headers: 'authorization' is not one of"},

		{"no way of sending the key", auth(Auth{}), "auth: exactly one of bearer, header <name> and query <parameter> is needed"},
		{"two ways", auth(Auth{Bearer: true, Query: "key"}), "auth: exactly one of"},
		{"a prefix without a header", auth(Auth{Bearer: true, Prefix: "Token"}), "auth: a prefix goes with header"},
		{"a header's name with a space", auth(Auth{Header: "X Key"}), "auth header: 'X Key' is no header name"},
		{"a header that reverse_proxy takes off", auth(Auth{Header: "proxy-Authorization"}), "auth header: 'proxy-Authorization' cannot carry a key"},
		{"a header that frames the message", auth(Auth{Header: "content-length"}), "auth header: 'content-length' cannot carry a key"},
		{"a prefix with a line end", auth(Auth{Header: "X-Key", Prefix: "a\nb"}), "auth header: (not shown"},
		{"a prefix with a blank behind it", auth(Auth{Header: "X-Key", Prefix: "Token "}), "auth header: 'Token ' is no prefix"},

		{"a rule about nothing", rule(Rule{Action: "pass"}), "on: a rule needs either statuses or a class"},
		{"a rule about both", rule(Rule{Status: []int{429}, Class: "rate_limited", Action: "pass"}), "on: a rule needs either statuses or a class"},
		{"a status below", rule(Rule{Status: []int{399}, Action: "pass"}), "on: status 399 is out of range: 400 to 599, 4xx or 5xx"},
		{"a status above", rule(Rule{Status: []int{600}, Action: "pass"}), "on: status 600 is out of range"},
		{"all of 2xx", rule(Rule{Status: []int{2}, Action: "pass"}), "on: status 2 is out of range"},
		{"the first and the last status", rule(Rule{Status: []int{4, 400, 599, 5}, Action: "pass"}), ""},
		{"an unknown class", rule(Rule{Class: "ok", Action: "pass"}), "on: unknown class 'ok': one of rate_limited, quota_exhausted, invalid_key, request_too_large, overloaded"},
		{"no action", rule(Rule{Class: "overloaded"}), "on: unknown action '': cooldown, retry or pass"},
		{"an unknown action", rule(Rule{Class: "overloaded", Action: "rotate"}), "on: unknown action 'rotate': cooldown, retry or pass"},
		{"two rules for a status", rule(Rule{Status: []int{500}, Action: "pass"}, Rule{Status: []int{400, 500}, Action: "retry"}), "on: two rules for 500"},
		{"two rules for all of 5xx", rule(Rule{Status: []int{5}, Action: "pass"}, Rule{Status: []int{5}, Action: "retry"}), "on: two rules for 5xx"},
		{"two rules for a class", rule(Rule{Class: "overloaded", Action: "pass"}, Rule{Class: "overloaded", Action: "retry"}), "on: two rules for overloaded"},
		{"a duration without cooldown", rule(Rule{Class: "overloaded", Action: "retry", Duration: 1}), "on: a duration goes with cooldown, not with retry"},
		{"a negative duration", rule(Rule{Class: "overloaded", Action: "cooldown", Duration: -1}), "on: cooldown -1ns is negative"},
		{"a duration of max", rule(Rule{Class: "overloaded", Action: "cooldown", Duration: caddy.Duration(day)}), ""},
		{"a duration over max", rule(Rule{Class: "overloaded", Action: "cooldown", Duration: caddy.Duration(day + 1)}), "on: cooldown 24h0m0.000000001s is longer than the cooldown's max, 24h0m0s"},

		{"a negative min", cooldown(Cooldown{Min: duration(-1)}), "cooldown min: -1ns is out of range: 0s to 24h0m0s"},
		{"a min over a day", cooldown(Cooldown{Min: duration(day + 1), Max: duration(3 * day)}), "cooldown min: "},
		{"a max under a second", cooldown(Cooldown{Max: duration(time.Second - 1)}), "cooldown max: 999.999999ms is out of range: 1s to 8760h0m0s"},
		{"a negative max", cooldown(Cooldown{Max: duration(-1)}), "cooldown max: -1ns is out of range"},
		{"a max over a year", cooldown(Cooldown{Max: duration(365*day + 1)}), "cooldown max: "},
		{"a min over max", cooldown(Cooldown{Min: duration(2 * time.Hour), Max: duration(time.Hour)}), "cooldown min: 2h0m0s is more than max, 1h0m0s"},
		{"a default under min", cooldown(Cooldown{Default: duration(1)}), "cooldown default: 1ns is out of range: min, 30s, to max, 24h0m0s"},
		{"a default over max", cooldown(Cooldown{Default: duration(2 * time.Hour), Max: duration(time.Hour)}), "cooldown default: 2h0m0s is out of range: min, 30s, to max, 1h0m0s"},
		{"negative jitter", cooldown(Cooldown{Jitter: new(-0.1)}), "cooldown jitter: -0.1% is out of range: 0% to 100%"},
		{"too much jitter", cooldown(Cooldown{Jitter: new(100.1)}), "cooldown jitter: 100.1% is out of range"},
		{"jitter that is no number", cooldown(Cooldown{Jitter: new(math.NaN())}), "cooldown jitter: NaN% is out of range"},
		{"a max below the other defaults moves them", cooldown(Cooldown{Max: duration(time.Second)}), ""},
		{"a min above the other defaults moves them", cooldown(Cooldown{Min: duration(day)}), ""},
		{"all bounds at once", cooldown(Cooldown{Default: duration(0), Min: duration(0), Max: duration(365 * day), Jitter: new(100.0)}), ""},

		{"negative memory", replay(Replay{Memory: new(int64(-1))}), "replay memory: -1 bytes are out of range: 0 to 1073741824"},
		{"too much memory", replay(Replay{Memory: new(int64(1<<30 + 1))}), "replay memory: "},
		{"negative total", replay(Replay{Total: new(int64(-1))}), "replay total: -1 bytes are out of range: 0 to 1099511627776"},
		{"too much in total", replay(Replay{Total: new(int64(1<<40 + 1))}), "replay total: "},
		{"negative disk", replay(Replay{Disk: new(int64(-1))}), "replay disk: -1 bytes are out of range: 0 to 1099511627776"},
		{"too much disk", replay(Replay{Disk: new(int64(1<<40 + 1))}), "replay disk: "},
		{"all there is", replay(Replay{Memory: new(int64(1 << 30)), Disk: new(int64(1 << 40))}), ""},
		{"nothing is kept", replay(Replay{Memory: new(int64(0)), Disk: new(int64(0))}), ""},

		{"a client's token", func(h *Handler) { h.ClientTokens = []string{"demo-token-0123456789"} }, ""},
		{"the shortest", func(h *Handler) { h.ClientTokens = []string{"t"} }, ""},
		{"the longest, with the longest name", func(h *Handler) {
			h.ClientTokens = []string{strings.Repeat("n", 64) + ":" + strings.Repeat("t", 4096)}
		}, ""},
		{"a list of tokens without any", func(h *Handler) { h.ClientTokens = []string{} }, "client_tokens: the list is empty"},
		{"a list of files without any", func(h *Handler) { h.ClientTokensFiles = []string{} }, "client_tokens_file: the list is empty"},
		{"an empty token", func(h *Handler) { h.ClientTokens = []string{"ada:t", ""} }, "client_tokens: token 2: the token is empty"},
		{"a token that is too long", func(h *Handler) { h.ClientTokens = []string{strings.Repeat("t", 4097)} }, "client_tokens: token 1: the token is 4097 bytes long: at most 4096"},
		{"a client's name that is too long", func(h *Handler) { h.ClientTokens = []string{strings.Repeat("n", 65) + ":t"} }, "client_tokens: token 1: the name before the colon must be"},
		{"a placeholder that is not set", func(h *Handler) { h.ClientTokens = []string{"{env.KEYCYCLER_TEST_UNSET}"} }, "client_tokens: token 1: "},
		{"a placeholder that nobody knows", func(h *Handler) { h.ClientTokens = []string{"ada:{sk-demo-1}"} }, "client_tokens: token 1: unknown placeholder"},
		{"an empty path of tokens", func(h *Handler) { h.ClientTokensFiles = []string{""} }, "client_tokens_file: the path is empty"},
		{"a key where the path of tokens belongs", func(h *Handler) { h.ClientTokensFiles = []string{"sk-demo-1"} }, "client_tokens_file: the path begins with sk-"},
		{"a token where their path belongs", func(h *Handler) { h.ClientTokensFiles = []string{"demo0token"} }, "client_tokens_file: open (not shown: it could be a token): "},
		{"a file of tokens that does not exist", func(h *Handler) { h.ClientTokensFiles = []string{"/nowhere/tokens"} }, "client_tokens_file: open /nowhere/tokens: "},
		{"a file of tokens that has none", func(h *Handler) { h.ClientTokensFiles = []string{os.DevNull} }, "client_tokens_file: no token in the files"},

		{"a state that nobody knows", func(h *Handler) { h.StateRaw = []byte(`{"backend":"etcd"}`) }, "state: "},
		{"a state without a backend", func(h *Handler) { h.StateRaw = []byte(`{}`) }, "state: "},
		{"an unknown field of the state's", func(h *Handler) { h.StateRaw = []byte(`{"backend":"memory","size":1}`) }, "state: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &Handler{Keys: []string{"sk-demo-1"}}
			test.change(h)
			err := provisionOnce(h)
			if test.err == "" && err != nil || test.err != "" && !strings.HasPrefix(message(err), test.err) {
				t.Errorf("error %q, want %q…", message(err), test.err)
			}
			if strings.Contains(message(err), "sk-demo") {
				t.Errorf("the error shows a key: %v", err)
			}
		})
	}
}

// manyRanks returns n groups of different ranks, none of which is 1/1.
func manyRanks(n int) []Group {
	groups := make([]Group, n)
	for i := range groups {
		groups[i] = Group{Tier: 2 + i%2, Weight: 1 + i/2}
	}
	return groups
}

func TestPolicy(t *testing.T) {
	const hour = time.Hour
	for _, test := range []struct {
		name     string
		cooldown *Cooldown
		want     [3]time.Duration // default, min, max
		jitter   float64
	}{
		{"no cooldown block", nil, [3]time.Duration{time.Minute, 30 * time.Second, 24 * hour}, 10},
		{"an empty one", &Cooldown{}, [3]time.Duration{time.Minute, 30 * time.Second, 24 * hour}, 10},
		{"a low max lowers the rest", &Cooldown{Max: duration(time.Second)}, [3]time.Duration{time.Second, time.Second, time.Second}, 10},
		{"a max between min and default", &Cooldown{Max: duration(40 * time.Second)}, [3]time.Duration{40 * time.Second, 30 * time.Second, 40 * time.Second}, 10},
		{"a high min raises the default", &Cooldown{Min: duration(hour)}, [3]time.Duration{hour, hour, 24 * hour}, 10},
		{"zeros count", &Cooldown{Min: duration(0), Default: duration(0), Jitter: new(0.0)}, [3]time.Duration{0, 0, 24 * hour}, 0},
		{"all are set", &Cooldown{Default: duration(2), Min: duration(1), Max: duration(hour), Jitter: new(50.0)}, [3]time.Duration{2, 1, hour}, 50},
	} {
		p := test.cooldown.policy()
		if got := [3]time.Duration{p.Default, p.Min, p.Max}; got != test.want || p.Jitter != test.jitter {
			t.Errorf("%s: %v, %v%%, want %v, %v%%", test.name, got, p.Jitter, test.want, test.jitter)
		}
	}
}

// load loads a handler from JSON as Caddy does.
func load(t *testing.T, config string) (*Handler, error) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	mod, err := ctx.LoadModuleByID("http.handlers.keycycler", json.RawMessage(config))
	if err != nil {
		return nil, err
	}
	return mod.(*Handler), nil
}

func TestJSONConfig(t *testing.T) {
	for _, test := range []struct {
		name   string
		config string
		err    string // a part of it
	}{
		{"keys alone", `{"keys":["sk-demo-1"]}`, ""},
		{"durations as Caddy writes them", `{"keys":["sk-demo-1"],"try_duration":"1m","cooldown":{"max":"2d"}}`, ""},
		{"an unknown field", `{"keys":["sk-demo-1"],"max_waits":"1s"}`, `unknown field "max_waits"`},
		{"an unknown field of cooldown", `{"keys":["sk-demo-1"],"cooldown":{"scopes":"model"}}`, `unknown field "scopes"`},
		{"an unknown field of replay", `{"keys":["sk-demo-1"],"replay":{"ram":1}}`, `unknown field "ram"`},
		{"an unknown field of auth", `{"keys":["sk-demo-1"],"auth":{"basic":true}}`, `unknown field "basic"`},
		{"an unknown field of a rule", `{"keys":["sk-demo-1"],"on":[{"status":[500],"action":"pass","for":1}]}`, `unknown field "for"`},
		{"an unknown field of the state", `{"keys":["sk-demo-1"],"state":{"backend":"memory","size":1}}`, `unknown field "size"`},
		{"an unknown state", `{"keys":["sk-demo-1"],"state":{"backend":"etcd"}}`, "http.keycycler.state.etcd"},
		{"nothing", `{}`, "no keys: set keys or keys_file"},
		{"a wrong type", `{"keys":"sk-demo-1"}`, "cannot unmarshal string"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, err := load(t, test.config)
			if test.err == "" && (err != nil || h.gateway.keys().Len() != 1) {
				t.Fatal(err)
			}
			if test.err != "" && !strings.Contains(message(err), test.err) {
				t.Errorf("error %v, want …%s…", err, test.err)
			}
			if strings.Contains(message(err), "sk-demo-1") {
				t.Errorf("the error shows a key: %v", err)
			}
		})
	}
}

// every returns a handler with every option set.
func every() *Handler {
	return &Handler{
		Pool: "demo", Keys: []string{"sk-demo-1", "{env.KEY}"}, KeysFiles: []string{"a.txt"}, Provider: "generic",
		Auth: &Auth{Header: "X-Key", Prefix: "Token"}, MaxAttempts: 3, TryDuration: caddy.Duration(time.Minute),
		MaxWait: caddy.Duration(time.Second), MaxWaiting: 7,
		On: []Rule{
			{Status: []int{5, 429}, Action: "retry"},
			{Class: "invalid_key", Action: "cooldown", Duration: caddy.Duration(time.Hour)},
		},
		Groups:       []Group{{Name: "acme", Weight: 2, Tier: 3, Keys: []string{"{env.ACME_KEY}"}, KeysFiles: []string{"/run/acme.keys"}}},
		Select:       &Select{Policy: "hash", Value: "{http.request.host}"},
		Cooldown:     &Cooldown{Default: duration(2), Min: duration(0), Max: duration(time.Hour), Jitter: new(0.0)},
		Replay:       &Replay{Memory: new(int64(0)), Disk: new(int64(7))},
		ClientTokens: []string{"ada:{env.ADA_TOKEN}"}, ClientTokensFiles: []string{"/run/tokens"},
		StateRaw: json.RawMessage(`{"backend":"memory"}`), Resources: new(bool),
		KeepHeaders: []string{"OpenAI-Project"},
		Limit:       &Limit{Concurrency: 4, Requests: 5, Per: caddy.Duration(time.Minute)},
	}
}

func TestJSONRoundTrip(t *testing.T) {
	for name, h := range map[string]*Handler{"every option": every(), "no option": {}, "bearer": {Auth: &Auth{Bearer: true}}, "query": {Auth: &Auth{Query: "key"}}} {
		first, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		read := new(Handler)
		if err := caddy.StrictUnmarshalJSON(first, read); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		second, err := json.Marshal(read)
		if err != nil || string(first) != string(second) {
			t.Errorf("%s: %s became %s, %v", name, first, second, err)
		}
	}
	v := reflect.ValueOf(every()).Elem()
	for i := range v.NumField() {
		if field := v.Type().Field(i); field.IsExported() && v.Field(i).IsZero() {
			t.Errorf("%s is not set: this test looks past it", field.Name)
		}
	}
	if empty, err := json.Marshal(new(Handler)); string(empty) != "{}" {
		t.Errorf("no option is %s, %v", empty, err)
	}
}

// A header that ties a key to an account can be kept at every provider, and none that
// carries credentials.
func TestWhichHeadersCanBeKept(t *testing.T) {
	for name := range providers {
		for _, kept := range accountHeaders {
			if err := (&Handler{Provider: name, KeepHeaders: []string{strings.ToLower(kept)}}).check(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, credential := range credentialHeaders {
			if err := (&Handler{Provider: name, KeepHeaders: []string{credential}}).check(); err == nil {
				t.Errorf("%s: %s can be kept", name, credential)
			}
		}
	}
}

package keycycler

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/keycycler/keycycler/internal/check"
	"github.com/keycycler/keycycler/internal/client"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
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
		{"a group of no kind", func(h *Handler) { h.Groups = []Group{{Keys: testkit.DemoKeys(1)}} }, "group: a name, a weight, a tier, an upstream, models or a label is needed"},
		{"keys of the config that are managed", func(h *Handler) { h.Groups = []Group{{Keys: testkit.DemoKeys(1), Managed: true}} }, "managed: it goes with keys_file"},
		{"a managed file that does not exist", func(h *Handler) { h.Groups = []Group{{KeysFiles: []string{"/nowhere/demo.keys"}, Managed: true}} }, ""},
		{"a managed file named by a key", func(h *Handler) {
			t.Setenv("KEYCYCLER_TEST_PATH", "sk-demo-6")
			h.Groups = []Group{{KeysFiles: []string{"{env.KEYCYCLER_TEST_PATH}"}, Managed: true}}
		}, "keys_file: the path (not shown) begins as keys do: write ./… for a file"},
		{"an upstream of no scheme", func(h *Handler) { h.Upstream = "east.example.com" }, "upstream: the URL must begin with https:// or http://"},
		{"a proxy of another scheme", func(h *Handler) { h.Groups = []Group{{Proxy: "ftp://ada:word@proxy"}} }, "proxy: the URL must begin with http://, https://, socks5:// or socks5h://"},
		{"a proxy with user and password", func(h *Handler) { h.Groups = []Group{{Proxy: "socks5://ada:word@proxy:1080"}} }, ""},
		{"a proxy that is an empty placeholder", func(h *Handler) { h.Groups = []Group{{Proxy: "{env.DEMO_PROXY}"}} }, "proxy: evaluated placeholder {env.DEMO_PROXY} is empty"},
		{"a group's name with a slash", func(h *Handler) { h.Groups = []Group{{Name: "a/b"}} }, "group: the name 'a/b' must be 1 to 64 letters"},
		{"as many other names of models as there may be", func(h *Handler) { h.Groups = []Group{{Renames: otherNames(1000)}} }, ""},
		{"one more", func(h *Handler) { h.Groups = []Group{{Renames: otherNames(1001)}} }, "keys_file model: <from>: 1001 are too many: at most 1000"},
		{"a pattern and a name of the greatest length", func(h *Handler) {
			h.Groups = []Group{{Renames: []Rename{{strings.Repeat("*", 256), strings.Repeat("m", 256)}}}}
		}, ""},
		{"a pattern that is longer", func(h *Handler) { h.Groups = []Group{{Renames: []Rename{{strings.Repeat("m", 257), "m"}}}} }, "keys_file model: <from>: (not shown: it could be a key) must be 1 to 256 bytes"},
		{"a name with a control character", func(h *Handler) { h.Groups = []Group{{Renames: []Rename{{"m", "a\nb"}}}} }, "keys_file model: <to>: (not shown: it could be a key) must be"},
		{"a key for a name", func(h *Handler) {
			h.Groups = []Group{{Keys: testkit.DemoKeys(1), Renames: []Rename{{"m", "gsk_demo"}}}}
		}, "keys model: <to>: it looks like a key (not shown)"},
		{"the largest weight and the highest tier", func(h *Handler) { h.Groups = []Group{{Weight: 100, Tier: 100}} }, ""},
		{"a weight over it", func(h *Handler) { h.Groups = []Group{{Weight: 101}} }, "weight: 101 is out of range: 1 to 100"},
		{"a negative weight", func(h *Handler) { h.Groups = []Group{{Weight: -1}} }, "weight: -1 is out of range: 1 to 100"},
		{"a tier over it", func(h *Handler) { h.Groups = []Group{{Tier: 101}} }, "tier: 101 is out of range: 1 to 100"},
		{"a negative tier of a named group", func(h *Handler) { h.Groups = []Group{{Name: "a", Tier: -1}} }, "tier: -1 is out of range: 1 to 100"},
		{"as many different ranks as there may be", func(h *Handler) { h.Groups = manyRanks(999) }, ""},
		{"one more, with the one of the handler's own keys", func(h *Handler) { h.Groups = manyRanks(1000) }, "group: 1001 different combinations of tier, weight, upstream, proxy, models and model are too many: at most 1000; let more blocks of keys have the same"},
		{"more groups than that, of few kinds", func(h *Handler) { h.Groups = append(manyRanks(900), manyRanks(900)...) }, ""},
		{"a policy that nobody knows", func(h *Handler) { h.Select = &Select{Policy: "last"} }, "select: unknown policy 'last': even, random, first, hash or session"},
		{"no policy", func(h *Handler) { h.Select = &Select{} }, ""},
		{"a value without hash", func(h *Handler) { h.Select = &Select{Value: "{http.request.host}"} }, "select: a placeholder goes with hash"},
		{"hash without a value", func(h *Handler) { h.Select = &Select{Policy: "hash"} }, "select hash: one placeholder is needed"},
		{"hash of the conversation", func(h *Handler) { h.Select = &Select{Policy: "hash", Value: "{http.keycycler.session}"} }, ""},
		{"a value with session", func(h *Handler) { h.Select = &Select{Policy: "session", Value: "{http.request.host}"} }, "select: a placeholder goes with hash"},
		{"a value with first", func(h *Handler) { h.Select = &Select{Policy: "first", Value: "{http.request.host}"} }, "select: a placeholder goes with hash"},
		{"an escaped placeholder", func(h *Handler) { h.Select = &Select{Policy: "hash", Value: `\\{a}`} }, "select hash: one placeholder is needed"},
		{"a response's header", func(h *Handler) { h.Select = &Select{Policy: "hash", Value: "{http.response.header.X}"} }, "select hash: {http.response.} is not known"},
		{"a client's limit", func(h *Handler) { h.Clients = everyClientLimit(); h.Clients.Limits["ada"].Budgets[0].Most = 2 }, ""},
		{"a client's limit that is wrong", func(h *Handler) { h.Clients = everyClientLimit() }, "clients 'ada': budget: 2.5 is no number of tokens"},
		{"a budget of dollars without prices", func(h *Handler) {
			h.Clients = everyClientLimit()
			h.Clients.Limits["ada"].Budgets = []client.Budget{{Most: 2.5, Unit: "usd", Calendar: "month"}}
		}, "clients 'ada': budget: usd needs prices"},
		{"clients' names by what is known too late", func(h *Handler) { h.Clients = &client.Limits{Placeholder: "{http.keycycler.key_id}"} }, "clients: {http.keycycler.key_id} is not known before"},
		{"a limit of nothing", func(h *Handler) { h.Limit = &Limit{} }, "limit: concurrency, requests or tokens is needed"},
		{"the largest limits", func(h *Handler) {
			h.Limit = &Limit{Concurrency: 100_000, Requests: 1_000_000, Per: caddy.Duration(day), Tokens: 1_000_000_000, TokensPer: caddy.Duration(day), Scope: "model"}
		}, ""},
		{"a negative concurrency", func(h *Handler) { h.Limit = &Limit{Concurrency: -1} }, "limit concurrency: -1 is out of range: 1 to 100000"},
		{"too many requests", func(h *Handler) { h.Limit = &Limit{Requests: 1_000_001, Per: caddy.Duration(day)} }, "limit requests: 1000001 is out of range: 1 to 1000000"},
		{"requests without a duration", func(h *Handler) { h.Limit = &Limit{Requests: 1} }, "limit requests: 0s is out of range: 1s to 24h0m0s"},
		{"too many tokens", func(h *Handler) { h.Limit = &Limit{Tokens: 1_000_000_001, TokensPer: caddy.Duration(day)} }, "limit tokens: 1000000001 is out of range: 1 to 1000000000"},
		{"tokens without a duration", func(h *Handler) { h.Limit = &Limit{Tokens: 1} }, "limit tokens: 0s is out of range: 1s to 24h0m0s"},
		{"a duration without tokens", func(h *Handler) { h.Limit = &Limit{Concurrency: 1, TokensPer: caddy.Duration(day)} }, "limit tokens: a duration goes with a number of tokens"},
		{"an unknown scope of limits", func(h *Handler) { h.Limit = &Limit{Concurrency: 1, Scope: "node"} }, "limit scope: 'node' is neither key nor model"},
		{"a duration without requests", func(h *Handler) { h.Limit = &Limit{Concurrency: 1, Per: caddy.Duration(day)} }, "limit requests: a duration goes with a number of requests"},
		{"a shared concurrency", func(h *Handler) { h.Limit = &Limit{Concurrency: 1, Shared: true} }, "limit shared: it goes with requests or tokens: concurrency is each node's own"},
		{"shared tokens", func(h *Handler) {
			h.Limit = &Limit{Tokens: 1, TokensPer: caddy.Duration(day), Shared: true}
		}, "state: limit shared needs one that other nodes see: add 'state redis <address...>', or leave 'shared' out"},
		{"shared limits of models", func(h *Handler) {
			h.Limit = &Limit{Requests: 1, Per: caddy.Duration(day), Scope: "model", Shared: true}
		}, "limit shared: it goes with scope key: limits of models are each node's own"},
		{"a limit that is shared with nobody", func(h *Handler) { h.Limit = &Limit{Requests: 1, Per: caddy.Duration(day), Shared: true} }, "state: limit shared needs one that other nodes see: add 'state redis <address...>', or leave 'shared' out"},
		{"a first_byte below 100ms", func(h *Handler) { h.FirstByte = caddy.Duration(100*time.Millisecond - 1) }, "first_byte: 99.999999ms is out of range: 0s, or 100ms to 1h0m0s"},
		{"the shortest first_byte", func(h *Handler) { h.FirstByte = caddy.Duration(100 * time.Millisecond) }, ""},
		{"the longest first_byte", func(h *Handler) { h.FirstByte = caddy.Duration(time.Hour) }, ""},
		{"a longer first_byte", func(h *Handler) { h.FirstByte = caddy.Duration(time.Hour + 1) }, "first_byte: 1h0m0.000000001s is out of range"},
		{"a negative first_byte", func(h *Handler) { h.FirstByte = -1 }, "first_byte: -1ns is out of range"},
		{"a keepalive below a second", func(h *Handler) { h.Keepalive = caddy.Duration(time.Second - 1) }, "keepalive: 999.999999ms is out of range: 0s, or 1s to 1h0m0s"},
		{"the longest keepalive", func(h *Handler) { h.Keepalive = caddy.Duration(time.Hour) }, ""},
		{"a longer keepalive", func(h *Handler) { h.Keepalive = caddy.Duration(time.Hour + 1) }, "keepalive: 1h0m0.000000001s is out of range"},
		{"checks more often than every ten seconds", func(h *Handler) { h.Check = &check.Config{Interval: duration(10*time.Second - 1)} }, "check interval: 9.999999999s is out of range: 0s, or 10s to 168h0m0s"},
		{"every ten seconds", func(h *Handler) { h.Check = &check.Config{Interval: duration(10 * time.Second)} }, ""},
		{"never", func(h *Handler) { h.Check = &check.Config{Interval: duration(0)} }, ""},
		{"once a week", func(h *Handler) { h.Check = &check.Config{Interval: duration(7 * 24 * time.Hour)} }, ""},
		{"more seldom", func(h *Handler) { h.Check = &check.Config{Interval: duration(7*24*time.Hour + 1)} }, "check interval: 168h0m0.000000001s is out of range"},
		{"a negative interval of checks", func(h *Handler) { h.Check = &check.Config{Interval: duration(-1)} }, "check interval: -1ns is out of range"},
		{"checks of another host", func(h *Handler) { h.Check = &check.Config{URI: "//api.example.com/v1/models"} }, "check uri: it must be a path"},
		{"of a URL", func(h *Handler) { h.Check = &check.Config{URI: "https://api.example.com/v1/models"} }, "check uri: it must be a path"},
		{"of a path with a fragment", func(h *Handler) { h.Check = &check.Config{URI: "/v1/models#x"} }, "check uri: it must be a path"},
		{"of a path with a space", func(h *Handler) { h.Check = &check.Config{URI: "/v1/mod els"} }, "check uri: it must be a path"},
		{"of a path that is too long", func(h *Handler) { h.Check = &check.Config{URI: "/" + strings.Repeat("x", 1024)} }, "check uri: it must be a path"},
		{"checks of a provider that has no path", func(h *Handler) { h.Provider, h.Check = "generic", new(check.Config) }, "check: provider generic has no path that is known to cost nothing: add 'uri <path>'"},
		{"and is told one", func(h *Handler) { h.Provider, h.Check = "generic", &check.Config{URI: "/v1/models"} }, ""},
		{"a negative keepalive", func(h *Handler) { h.Keepalive = -1 }, "keepalive: -1ns is out of range"},
		{"an unknown provider", func(h *Handler) { h.Provider = "opneai" }, "provider: unknown provider 'opneai': did you mean 'openai'?"},
		{"a provider that is like none", func(h *Handler) { h.Provider = "bedrock" }, "provider: unknown provider 'bedrock': one of anthropic, azure, cohere, gemini, generic, github, openai, volcengine"},
		{"a provider's name in capitals", func(h *Handler) { h.Provider = "OpenAI" }, "provider: unknown provider 'OpenAI': did you mean 'openai'?"},
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

		{"a rule about nothing", rule(Rule{Action: "pass"}), "on: a rule needs either statuses, a class or errors of the connection"},
		{"a rule about both", rule(Rule{Status: []int{429}, Class: "rate_limited", Action: "pass"}), "on: a rule needs either statuses, a class or errors of the connection"},
		{"a status below", rule(Rule{Status: []int{399}, Action: "pass"}), "on: status 399 is out of range: 400 to 599, 4xx or 5xx"},
		{"a status above", rule(Rule{Status: []int{600}, Action: "pass"}), "on: status 600 is out of range"},
		{"all of 2xx", rule(Rule{Status: []int{2}, Action: "pass"}), "on: status 2 is out of range"},
		{"the first and the last status", rule(Rule{Status: []int{4, 400, 599, 5}, Action: "pass"}), ""},
		{"an unknown class", rule(Rule{Class: "ok", Action: "pass"}), "on: unknown class 'ok': one of rate_limited, quota_exhausted, invalid_key, request_too_large, overloaded, unknown"},
		{"a text of space", rule(Rule{Status: []int{403}, Text: "  ", Action: "pass"}), "on: a text is of 1 to 200 bytes, and not space alone"},
		{"a text that is too long", rule(Rule{Status: []int{403}, Text: strings.Repeat("x", 201), Action: "pass"}), "on: a text is of 1 to 200 bytes"},
		{"two texts for a status", rule(Rule{Status: []int{403}, Text: "a", Action: "pass"}, Rule{Status: []int{403}, Text: "b", Action: "retry"}, Rule{Status: []int{403}, Action: "retry"}), ""},
		{"the same text twice", rule(Rule{Status: []int{403}, Text: "a", Action: "pass"}, Rule{Status: []int{403}, Text: "A", Action: "retry"}), "on: two rules for 403 and 'a'"},
		{"no action", rule(Rule{Class: "overloaded"}), "on: unknown action '': cooldown, retry or pass"},
		{"an unknown action", rule(Rule{Class: "overloaded", Action: "rotate"}), "on: unknown action 'rotate': cooldown, retry or pass"},
		{"two rules for a status", rule(Rule{Status: []int{500}, Action: "pass"}, Rule{Status: []int{400, 500}, Action: "retry"}), "on: two rules for 500"},
		{"two rules for all of 5xx", rule(Rule{Status: []int{5}, Action: "pass"}, Rule{Status: []int{5}, Action: "retry"}), "on: two rules for 5xx"},
		{"two rules for a class", rule(Rule{Class: "overloaded", Action: "pass"}, Rule{Class: "overloaded", Action: "retry"}), "on: two rules for overloaded"},
		{"a duration without cooldown", rule(Rule{Class: "overloaded", Action: "retry", Duration: caddy.Duration(time.Second)}), "on: a duration goes with cooldown, not with retry"},
		{"an error of the connection", rule(Rule{Fault: []string{"connect", "timeout", "reset"}, Action: "retry"}), ""},
		{"… that is unknown", rule(Rule{Fault: []string{"eof"}, Action: "retry"}), "on: unknown error of the connection 'eof': one of connect, timeout, reset"},
		{"… and a status", rule(Rule{Fault: []string{"reset"}, Status: []int{502}, Action: "retry"}), "on: a rule needs either statuses, a class or errors of the connection"},
		{"… for which a key cools", rule(Rule{Fault: []string{"reset"}, Action: "cooldown"}), "on: reset is retry or pass: it is no key's fault"},
		{"… with a text", rule(Rule{Fault: []string{"reset"}, Text: "x", Action: "retry"}), "on: a text goes with statuses and classes: reset has no body"},
		{"… with a duration", rule(Rule{Fault: []string{"reset"}, Action: "retry", Duration: caddy.Duration(time.Second)}), "on: a duration goes with cooldown, not with retry"},
		{"… twice", rule(Rule{Fault: []string{"reset"}, Action: "retry"}, Rule{Fault: []string{"connect", "reset"}, Action: "pass"}), "on: two rules for reset"},
		{"a negative duration", rule(Rule{Class: "overloaded", Action: "cooldown", Duration: -1}), "on: cooldown -1ns is negative"},
		{"a duration of max", rule(Rule{Class: "overloaded", Action: "cooldown", Duration: caddy.Duration(day)}), ""},
		{"a duration over max", rule(Rule{Class: "overloaded", Action: "cooldown", Duration: caddy.Duration(day + 1)}), "on: cooldown 24h0m0.000000001s is longer than the cooldown's max, 24h0m0s"},

		{"a negative min", cooldown(Cooldown{Min: duration(-1)}), "cooldown min: -1ns is out of range: 0s to 24h0m0s"},
		{"a min over a day", cooldown(Cooldown{Min: duration(day + 1), Max: duration(3 * day)}), "cooldown min: "},
		{"a max under a second", cooldown(Cooldown{Max: duration(time.Second - 1)}), "cooldown max: 999.999999ms is out of range: 1s to 8760h0m0s"},
		{"a negative max", cooldown(Cooldown{Max: duration(-1)}), "cooldown max: -1ns is out of range"},
		{"a max over a year", cooldown(Cooldown{Max: duration(365*day + 1)}), "cooldown max: "},
		{"a min over max", cooldown(Cooldown{Min: duration(2 * time.Hour), Max: duration(time.Hour)}), "cooldown min: 2h0m0s is more than max, 1h0m0s"},
		{"a default under min", cooldown(Cooldown{Default: duration(time.Second)}), "cooldown default: 1s is out of range: min, 30s, to max, 24h0m0s"},
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

		{"exhaustion that responds", func(h *Handler) { h.Exhausted = "respond" }, ""},
		{"exhaustion that raises", func(h *Handler) { h.Exhausted = "error" }, ""},
		{"exhaustion that does anything else", func(h *Handler) { h.Exhausted = "Error" }, "exhausted: 'Error' is neither respond nor error"},

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
			if test.err == "" && err != nil || test.err != "" && !strings.HasPrefix(testkit.Message(err), test.err) {
				t.Errorf("error %q, want %q…", testkit.Message(err), test.err)
			}
			if strings.Contains(testkit.Message(err), "sk-demo") {
				t.Errorf("the error shows a key: %v", err)
			}
		})
	}
}

// manyRanks returns n groups of different ranks, none of which is 1/1.
func manyRanks(n int) []Group {
	groups := make([]Group, n)
	for i := range groups {
		groups[i] = Group{Tier: 2 + i/100, Weight: 1 + i%100}
	}
	return groups
}

func otherNames(n int) (all []Rename) {
	for i := range n {
		all = append(all, Rename{fmt.Sprint("model-", i), "m"})
	}
	return all
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
		{"an unknown state", `{"keys":["sk-demo-1"],"state":{"backend":"etcd"}}`, "state: unknown backend 'etcd': one of file, memory, redis"},
		{"a state in Caddy's own spelling", `{"keys":["sk-demo-1"],"state":{"module":"redis","password":"sk-demo-1"}}`, `state: "backend" is missing, the name of a backend: one of file, memory, redis`},
		{"a state whose name is no text", `{"keys":["sk-demo-1"],"state":{"backend":7,"password":"sk-demo-1"}}`, `state: "backend" is missing`},
		{"a state that is a word", `{"keys":["sk-demo-1"],"state":"memory"}`, `state: an object is needed, such as {"backend": "memory"}`},
		{"seconds for nanoseconds", `{"keys":["sk-demo-1"],"try_duration":30}`, `try_duration: 30ns is less than a millisecond: a number in JSON is one of nanoseconds, write "30s" for seconds`},
		{"seconds for nanoseconds in cooldown", `{"keys":["sk-demo-1"],"cooldown":{"min":60}}`, `cooldown min: 60ns is less than a millisecond`},
		{"seconds for nanoseconds in a limit", `{"keys":["sk-demo-1"],"limit":{"requests":5,"per":60}}`, `limit requests: 60ns is less than a millisecond`},
		{"seconds for nanoseconds in a rule", `{"keys":["sk-demo-1"],"on":[{"status":[500],"action":"cooldown","duration":30}]}`, `on: 30ns is less than a millisecond`},
		{"seconds for nanoseconds of clients", `{"keys":["sk-demo-1"],"clients":{"limits":{"ada":{"requests":{"most":5,"per":60}}}}}`, `clients 'ada': requests: 60ns is less than a millisecond`},
		{"a duration that is none", `{"keys":["sk-demo-1"],"check":{"interval":"often"}}`, `check: it is no duration such as "30s"`},
		{"nothing", `{}`, "no keys: set keys or keys_file"},
		{"a wrong type", `{"keys":"sk-demo-1"}`, "keys: a list is needed, and not a text"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, err := load(t, test.config)
			if test.err == "" && (err != nil || h.gateway.KeyPool().Len() != 1) {
				t.Fatal(err)
			}
			if test.err != "" && !strings.Contains(testkit.Message(err), test.err) {
				t.Errorf("error %v, want …%s…", err, test.err)
			}
			if strings.Contains(testkit.Message(err), "sk-demo-1") {
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
		FirstByte: caddy.Duration(time.Second), MaxWait: caddy.Duration(time.Second), MaxWaiting: 7, Keepalive: caddy.Duration(time.Minute),
		On: []Rule{
			{Status: []int{5, 429}, Action: "retry"},
			{Class: "invalid_key", Text: "gone", Action: "cooldown", Duration: caddy.Duration(time.Hour)},
			{Fault: []string{"reset"}, Action: "pass"},
		},
		Groups:       []Group{{Name: "acme", Weight: 2, Tier: 3, Keys: []string{"{env.ACME_KEY}"}, KeysFiles: []string{"/run/acme.keys"}, Managed: true}},
		Select:       &Select{Policy: "hash", Value: "{http.request.host}"},
		Cooldown:     &Cooldown{Default: duration(2), Min: duration(0), Max: duration(time.Hour), Jitter: new(0.0)},
		Replay:       &Replay{Memory: new(int64(0)), Disk: new(int64(7))},
		ClientTokens: []string{"ada:{env.ADA_TOKEN}"}, ClientTokensFiles: []string{"/run/tokens"},
		StateRaw: json.RawMessage(`{"backend":"memory"}`), Resources: new(bool), ModelsEndpoint: new(bool), Usage: new(true), Prices: "/run/prices.json", Metrics: &Metrics{PerKey: true}, Upstream: "https://api.example.com", Exhausted: "error",
		KeepHeaders: []string{"OpenAI-Project"},
		Limit:       &Limit{Concurrency: 4, Requests: 5, Per: caddy.Duration(time.Minute), Tokens: 6, TokensPer: caddy.Duration(time.Second), Scope: "key", Shared: true},
		Clients:     everyClientLimit(),
		Check:       &check.Config{URI: "/v1/models", Interval: duration(time.Hour), OnStart: true},
	}
}

func everyClientLimit() *client.Limits {
	rate := &client.Rate{Most: 7, Per: caddy.Duration(time.Minute)}
	return &client.Limits{Placeholder: "{http.request.header.X-Team}", Limits: map[string]*client.Limit{
		"*": {Weight: 2},
		"ada": {
			Requests: rate, Tokens: rate, Concurrency: 4, Models: []string{"gpt-4o*"},
			Budgets: []client.Budget{{Most: 2.5, Unit: "tokens", Per: caddy.Duration(time.Hour)}, {Most: 5, Unit: "tokens", Calendar: "day", Zone: "Europe/Berlin"}},
		},
	}}
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
	for name := range provider.Presets {
		for _, kept := range provider.AccountHeaders {
			if err := (&Handler{Provider: name, KeepHeaders: []string{strings.ToLower(kept)}}).check(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, credential := range provider.CredentialHeaders {
			if err := (&Handler{Provider: name, KeepHeaders: []string{credential}}).check(); err == nil {
				t.Errorf("%s: %s can be kept", name, credential)
			}
		}
	}
}

func TestWhatProvisionMakesOfKeys(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good.txt", "sk-demo-8\nsk-demo-9\n")
	empty := file("empty.txt", "")
	comments := file("comments.txt", "# none yet\n")
	single := file("single", "sk-demo-7\n")
	windows := file("windows", "sk-demo-7\r\n")
	bad := file("bad.txt", "sk-demo 1 2\n")
	t.Setenv("KEYCYCLER_TEST_KEY", "sk-demo-6")
	t.Setenv("KEYCYCLER_TEST_SPACE", " sk-demo-6\n")
	t.Setenv("KEYCYCLER_TEST_EMPTY", "")
	t.Setenv("KEYCYCLER_TEST_DIR", dir)
	missing := filepath.Join(dir, "missing.txt")
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		keys  []string
		files []string
		want  string
		err   string
	}{
		{"keys in the config", []string{"sk-demo-1", " sk-demo-2 "}, nil, "sk-demo-1 sk-demo-2", ""},
		{"keys in the config come before those of files", []string{"sk-demo-1"}, []string{good}, "sk-demo-1 sk-demo-8 sk-demo-9", ""},
		{"a key from the environment", []string{"{env.KEYCYCLER_TEST_KEY}"}, nil, "sk-demo-6", ""},
		{"white space around it is taken off", []string{"{env.KEYCYCLER_TEST_SPACE}"}, nil, "sk-demo-6", ""},
		{"a key made of parts", []string{"sk-{env.KEYCYCLER_TEST_KEY}-x"}, nil, "sk-sk-demo-6-x", ""},
		{"a key from a file whose line ends", []string{"{file." + single + "}"}, nil, "sk-demo-7", ""},
		{"a key from a file whose line ends as on Windows", []string{"{file." + windows + "}"}, nil, "sk-demo-7", ""},
		{"a keys file named by the environment", nil, []string{"{env.KEYCYCLER_TEST_DIR}/good.txt"}, "sk-demo-8 sk-demo-9", ""},
		{"one of several files is empty", nil, []string{empty, good, comments}, "sk-demo-8 sk-demo-9", ""},

		{"no keys at all", nil, nil, "", "no keys: set keys or keys_file"},
		{"an empty key", []string{"sk-demo-1", ""}, nil, "", "keys: key 2: the value is empty: is the environment variable set?"},
		{"a key of white space", []string{" \t"}, nil, "", "keys: key 1: the value is empty: is the environment variable set?"},
		{"a key with a space", []string{"sk-demo 1"}, nil, "", "keys: key 1: a second word stands behind the key: its name belongs into a block, as 'name <label>'"},
		{"the environment lacks it", []string{"sk-demo-1", "{env.KEYCYCLER_TEST_UNSET}"}, nil, "", "keys: key 2: evaluated placeholder {env.KEYCYCLER_TEST_UNSET} is empty"},
		{"the environment has it empty", []string{"{env.KEYCYCLER_TEST_EMPTY}"}, nil, "", "keys: key 1: evaluated placeholder {env.KEYCYCLER_TEST_EMPTY} is empty"},
		{"a file that is missing", []string{"{file." + missing + "}"}, nil, "", "keys: key 1: evaluated placeholder {file." + missing + "} is empty"},
		{"a file with several keys where one belongs", []string{"{file." + good + "}"}, nil, "", "keys: key 1: the value has several lines: a file with one key a line belongs behind 'keys_file'"},
		{"a key in braces is not shown", []string{"{sk-demo-1}"}, nil, "", `keys: key 1: unknown placeholder: there are {env.<name>} and {file.<path>}; a brace that is none is written \{`},
		{"a keys file that is missing", nil, []string{missing}, "", "keys_file: open " + missing + ": no such file or directory: make it, or correct the path"},
		{"a keys file that is a directory", nil, []string{dir}, "", "keys_file: " + dir + ": it is a directory: name a file in it"},
		{"a keys file that is empty", nil, []string{empty}, "", "keys_file: no key in " + empty},
		{"keys files without a key", nil, []string{empty, comments}, "", "keys_file: no key in " + empty + ", " + comments},
		{"a keys file with a bad key", nil, []string{good, bad}, "", "keys_file: " + bad + ":1: the line has more than two words: a line is <key> or <key> <name>"},
		{"a keys file named by nothing", nil, []string{"{env.KEYCYCLER_TEST_UNSET}"}, "", "keys_file: evaluated placeholder {env.KEYCYCLER_TEST_UNSET} is empty"},
		{"a key where a path belongs", nil, []string{"sk-demo-1"}, "", "keys_file: the path begins with sk-, as keys do: keys belong behind 'keys' (write ./sk-… for a file)"},
		{"a key from the environment where a path belongs", nil, []string{"{env.KEYCYCLER_TEST_KEY}"}, "", "keys_file: open {env.KEYCYCLER_TEST_KEY}: no such file or directory: a path like this one begins where Caddy was started, in " + here},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &Handler{Keys: test.keys, KeysFiles: test.files}
			err := provisionOnce(h)
			if testkit.Message(err) != test.err {
				t.Fatalf("error %q, want %q", testkit.Message(err), test.err)
			}
			if err != nil {
				return
			}
			var got []string
			for i := range h.gateway.KeyPool().Len() {
				got = append(got, h.gateway.KeyPool().Key(rotator.Slot(i)).Secret())
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("keys %v, want %q", got, test.want)
			}
		})
	}
}

// provisionOnce provisions h and cleans up again, as Caddy does.
func provisionOnce(h *Handler) error {
	ctx, cancel := testkit.NewContext()
	defer cancel()
	err := h.Provision(ctx)
	if cleanup := h.Cleanup(); cleanup != nil {
		return fmt.Errorf("cleanup: %w", cleanup)
	}
	return err
}

// A line break or another control character in what ends up in headers, logs and
// Redis is an error when the config is loaded, and the error does not repeat it.
func TestControlCharactersInTheConfig(t *testing.T) {
	for name, bad := range map[string]string{
		"CRLF": "demo\r\nX-Injected: 1", "a line feed": "demo\nx", "a carriage return": "demo\rx", "NUL": "demo\x00x",
		"an escape": "demo\x1b[2Jx", "DEL": "demo\x7fx", "a C1 control": "demo\u0085x", "a line separator": "demo\u2028x",
	} {
		for option, set := range map[string]func(*Handler){
			"keys":             func(h *Handler) { h.Keys = []string{bad} },
			"keys {env}":       func(h *Handler) { h.Keys = []string{"{env.DEMO_CONTROL_KEY}"} },
			"keys of a group":  func(h *Handler) { h.Groups = []Group{{Name: "a", Keys: []string{bad}}} },
			"the pool's name":  func(h *Handler) { h.Pool = bad },
			"a group's name":   func(h *Handler) { h.Groups = []Group{{Name: bad, Keys: []string{"sk-demo-2"}}} },
			"auth header":      func(h *Handler) { h.Auth = &Auth{Header: bad} },
			"auth's prefix":    func(h *Handler) { h.Auth = &Auth{Header: "X-Own", Prefix: bad} },
			"a kept header":    func(h *Handler) { h.KeepHeaders = []string{bad} },
			"the provider":     func(h *Handler) { h.Provider = bad },
			"a rule's class":   func(h *Handler) { h.On = []Rule{{Class: bad, Action: "pass"}} },
			"a rule's action":  func(h *Handler) { h.On = []Rule{{Status: []int{429}, Action: bad}} },
			"cooldown's scope": func(h *Handler) { h.Cooldown = &Cooldown{Scope: bad} },
		} {
			t.Run(option+", "+name, func(t *testing.T) {
				if strings.Contains(option, "env") && strings.Contains(bad, "\x00") {
					return // the environment has no such value
				}
				if !strings.Contains(bad, "\x00") {
					t.Setenv("DEMO_CONTROL_KEY", bad)
				}
				h := &Handler{Keys: []string{"sk-demo-1"}}
				set(h)
				wantRefusal(t, h, bad)
			})
		}
	}
}

// In a keys file a line feed ends a key; a carriage return or a form feed within one
// does not, and is an error.
func TestControlCharactersInAKeysFile(t *testing.T) {
	for name, line := range map[string]string{
		"a carriage return": "sk-demo-1\rX: y", "NUL": "sk-demo-1\x00", "an escape": "\x1b[2Jsk-demo-1", "a form feed": "sk-demo\x0c-1",
		"a line separator": "sk-demo\u2028-1", "a byte order mark in the middle": "sk-\ufeffdemo-1",
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "keys")
			if err := os.WriteFile(file, []byte("sk-demo-2\n"+line+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, &Handler{KeysFiles: []string{file}}, line)
		})
	}
}

// wantRefusal wants an error in one line, without what is wrong in raw form.
func wantRefusal(t *testing.T, h *Handler, raw string) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	err := h.Provision(ctx)
	defer h.Cleanup()
	if err == nil {
		t.Fatal("it was taken")
	}
	if strings.Contains(err.Error(), raw) || strings.ContainsAny(err.Error(), "\r\n\x00\x1b") {
		t.Errorf("the error repeats it: %q", err)
	}
}

func TestLeakIsFound(t *testing.T) {
	for _, verb := range []string{"%v", "%q", "%x", "%X", "% x", "%#v"} {
		for _, secret := range []any{testkit.PrintedSecret, []byte(testkit.PrintedSecret), struct{ s string }{testkit.PrintedSecret}, &http.Request{Header: http.Header{"A": {testkit.PrintedSecret}}}} {
			if text := fmt.Sprintf(verb, secret); testkit.Leak(text) == "" {
				t.Errorf("%s is not seen as a leak", text)
			}
		}
	}
}

// ways are the ways to send a key, each of which prepares it otherwise.
var ways = map[string]*Auth{
	"default": nil, "header": {Header: "X-Key"}, "prefix": {Header: "X-Key", Prefix: "Token"}, "query": {Query: "key"},
}

func TestNoHandlerPrintsAKey(t *testing.T) {
	t.Setenv("KEYCYCLER_TEST_KEY", testkit.PrintedSecret)
	for name, auth := range ways {
		t.Run(name, func(t *testing.T) {
			placeholder := provisionHandler(t, 1, func(h *Handler) { h.Keys, h.Auth = []string{"{env.KEYCYCLER_TEST_KEY}"}, auth })
			inline := provisionHandler(t, 1, func(h *Handler) { h.Keys, h.Auth = []string{testkit.PrintedSecret}, auth })
			client := provisionHandler(t, 1, func(h *Handler) { h.ClientTokens, h.Auth = []string{"ada:" + testkit.PrintedSecret}, auth })
			hidden := provisionHandler(t, 1, func(h *Handler) { h.ClientTokens, h.Auth = []string{"ada:{env.KEYCYCLER_TEST_KEY}"}, auth })
			for what, holder := range map[string]any{
				"a handler":                       placeholder,
				"a handler with a key inline":     inline,
				"a slice of handlers":             []any{placeholder, inline},
				"a struct with a handler":         struct{ H *Handler }{inline},
				"a struct that hides a handler":   struct{ h *Handler }{placeholder},
				"a handler with a client's token": client,
				"a struct that hides one":         struct{ h *Handler }{hidden},
				"an error that wraps all of it":   fmt.Errorf("%v %+v: %w", inline, inline.gateway, http.ErrAbortHandler),
			} {
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%10v", "%.3s"} {
					if text := fmt.Sprintf(verb, holder); testkit.Leak(text) != "" {
						t.Errorf("%s: %s shows %s", what, verb, text)
					}
				}
			}
		})
	}
}

func TestNoHandlerMarshalsAKey(t *testing.T) {
	t.Setenv("KEYCYCLER_TEST_KEY", testkit.PrintedSecret)
	h := provisionHandler(t, 1, func(h *Handler) { h.Keys = []string{"{env.KEYCYCLER_TEST_KEY}"} })
	client := provisionHandler(t, 1, func(h *Handler) { h.ClientTokens = []string{"ada:{env.KEYCYCLER_TEST_KEY}"} })
	for what, v := range map[string]any{
		"a handler with a client's token": client,
		"a handler":                       h,
	} {
		text, err := json.Marshal(v)
		if err != nil || testkit.Leak(string(text)) != "" {
			t.Errorf("%s: %s, %v", what, text, err)
		}
		var b bytes.Buffer
		slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&b, nil)).Info("x", "v", v)
		encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
		logger := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&b), zap.DebugLevel))
		logger.Info("x", zap.Any("v", v), zap.Reflect("r", v))
		logger.Sugar().Infof("%v %+v", v, v)
		if testkit.Leak(b.String()) != "" {
			t.Errorf("%s: logged %s", what, b.String())
		}
	}
	if text, _ := json.Marshal(h); !strings.Contains(string(text), "{env.KEYCYCLER_TEST_KEY}") {
		t.Errorf("the config has lost its placeholder: %s", text)
	}
}

func TestErrorsOfKeysShowNone(t *testing.T) {
	for _, keys := range [][]string{
		{testkit.PrintedSecret + " " + testkit.PrintedSecret}, {testkit.PrintedSecret + "\x00"}, {testkit.PrintedSecret + "é"}, {"{" + testkit.PrintedSecret + "}"},
		{strings.Repeat(testkit.PrintedSecret, rotator.MaxKeyLen/10)}, {"{env.KEYCYCLER_TEST_UNSET}" + testkit.PrintedSecret}, {testkit.PrintedSecret + "{x}"},
	} {
		if err := provisionOnce(&Handler{Keys: keys}); err == nil || testkit.Leak(err.Error()) != "" {
			t.Errorf("%q: error %v", keys, err)
		}
	}
}

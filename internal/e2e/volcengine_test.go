package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/testkit/adminapi"
	"github.com/keycycler/keycycler/internal/testkit/live"
)

// What Volcengine's Ark says, through a real Caddy: clients are served by the key that is
// left, and the others cool for as long as their answers say, by China's clock.
func TestVolcengine(t *testing.T) {
	reset := time.Now().Add(5 * time.Hour).In(time.FixedZone("", 8*3600)).Format(time.DateTime)
	answers := map[string]struct {
		status      int
		media, body string
	}{
		"plan":   {429, "application/json", `{"error":{"code":"AccountQuotaExceeded","message":"You have exceeded the 5-hour usage quota. It will reset at ` + reset + ` +0800 CST.","param":"","type":"TooManyRequests"}}`},
		"local":  {429, "application/json", `{"error":{"code":"SetLimitExceeded","message":"The limit will reset at ` + reset + `.","param":"","type":"TooManyRequests"}}`},
		"minute": {429, "application/json", `{"error":{"code":"ModelAccountTpmRateLimitExceeded","message":"TPM (Tokens Per Minute) limit of this model is exceeded.","param":"","type":"TooManyRequests"}}`},
		"money":  {403, "application/json", `{"error":{"code":"AccountOverdueError","message":"The request failed because your account has an overdue balance.","param":"","type":"Forbidden"}}`},
		"dead":   {401, "application/json", `{"error":{"code":"AuthenticationError","message":"the API key or AK/SK in the request is missing or invalid.","param":"","type":"Unauthorized"}}`},
		"stream": {200, "text/event-stream", "data: {\"error\":{\"code\":\"RateLimitExceeded.EndpointTPMExceeded\",\"message\":\"Please try again in 2h.\",\"type\":\"TooManyRequests\"}}\n\n"},
		"good":   {200, "application/json", theAnswer},
	}
	upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		a := answers[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer sk-ark-secret-")]
		if r.URL.Path != "/api/v3/chat/completions" {
			t.Errorf("path %q", r.URL.Path)
		}
		w.Header().Set("Content-Type", a.media)
		w.WriteHeader(a.status)
		io.WriteString(w, a.body)
	})
	var blocks strings.Builder
	for name := range answers {
		fmt.Fprintf(&blocks, "keys sk-ark-secret-%s {\n name %s\n}\n", name, name)
	}
	g := startGateway(t, fmt.Sprintf("keycycler volcengine-e2e {\n provider volcengine\n cooldown {\n jitter 0\n }\n %s}\nreverse_proxy %s", &blocks, upstream.URL))
	for range 3 * len(answers) {
		r := live.Request(t, "POST", g.plain+"/api/v3/chat/completions", `{"model":"doubao","stream":true}`)
		if res, body := live.Do(t, http.DefaultClient, r); res.StatusCode != http.StatusOK || string(body) != theAnswer {
			t.Fatalf("%s %q", res.Status, body)
		}
	}
	for _, k := range adminapi.AskFor[observe.KeysPage](t, "GET", "/keycycler/pools/volcengine-e2e/keys", "").Keys {
		class, source, rests := volcengineCools(k.Name)
		left := time.Duration(k.Remaining * float64(time.Second))
		if k.Class != class || k.Source != source || left > rests || left < rests-2*time.Minute || rests == 0 && left > 0 {
			t.Errorf("%s: %s, %s by %q, want %s, %s by %q", k.Name, k.Class, left, k.Source, class, rests, source)
		}
	}
}

// volcengineCools returns why the key of that name cools, by what, and for how long at most.
func volcengineCools(name string) (class, source string, rests time.Duration) {
	switch name {
	case "plan", "local":
		return "quota_exhausted", "body:message", 5 * time.Hour
	case "minute":
		return "rate_limited", "default", time.Minute
	case "money":
		return "quota_exhausted", "default", 24 * time.Hour
	case "dead":
		return "invalid_key", "default", 24 * time.Hour
	case "stream":
		return "rate_limited", "body:message", 2 * time.Hour
	}
	return "", "", 0
}

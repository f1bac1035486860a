package check

import (
	"net/http"
	"testing"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/provider"
)

// What each answer says of a key, by provider.
func TestWhatAnAnswerProves(t *testing.T) {
	for _, row := range []struct {
		sentence, provider string
		status             int
		body, want         string
	}{
		{"a list of models", "openai", 200, `{"object":"list","data":[]}`, observe.CheckGood},
		{"nothing at all, and well", "openai", 204, "", observe.CheckGood},
		{"an error in a 200", "openai", 200, `{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}`, observe.CheckRefused},
		{"a redirect", "openai", 302, "", observe.CheckInconclusive},
		{"a refused key", "openai", 401, `{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}`, observe.CheckRefused},
		{"a spent quota", "openai", 429, `{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}`, observe.CheckRefused},
		{"a request that is wrong", "openai", 400, `{"error":{"message":"Invalid parameter"}}`, observe.CheckInconclusive},
		{"a path that does not exist", "openai", 404, `{"error":{"message":"Invalid URL"}}`, observe.CheckInconclusive},
		{"one whose words speak of the key", "openai", 404, `{"error":{"message":"Your account has been suspended, billing is overdue"}}`, observe.CheckInconclusive},
		{"a method that is not allowed", "openai", 405, "", observe.CheckInconclusive},
		{"an upstream that fails", "openai", 500, "", observe.CheckFailed},
		{"one that is overloaded", "openai", 503, "", observe.CheckFailed},
		{"Anthropic's refusal", "anthropic", 401, `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}`, observe.CheckRefused},
		{"Gemini's, which is a 400", "gemini", 400, `{"error":{"code":400,"message":"API key not valid","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}`, observe.CheckRefused},
		{"another's 401 that nobody understands", "generic", 401, `{"nope":1}`, observe.CheckInconclusive},
		{"another's 429", "generic", 429, "", observe.CheckRefused},
	} {
		c := &Checker{Env: Env{Judge: blame.NewJudge(provider.Presets[row.provider].Dialect, blame.DefaultPolicy, nil)}}
		a := &answer{status: row.status, header: make(http.Header), body: []byte(row.body)}
		if got := resultOf(a, c.judge(a)); got != row.want {
			t.Errorf("%s: %s, want %s", row.sentence, got, row.want)
		}
	}
}

// A rule of the config that makes keys cool for a 404 is about requests.
func TestARuleAboutPathsProvesNothing(t *testing.T) {
	rules := []blame.Rule{{Status: []int{4}, Action: "cooldown"}}
	c := &Checker{Env: Env{Judge: blame.NewJudge(provider.Presets["openai"].Dialect, blame.DefaultPolicy, rules)}}
	for status, want := range map[int]string{403: observe.CheckRefused, 404: observe.CheckInconclusive, 405: observe.CheckInconclusive} {
		a := &answer{status: status, header: make(http.Header)}
		if got := resultOf(a, c.judge(a)); got != want {
			t.Errorf("%d: %s", status, got)
		}
	}
}

// Each provider but the generic one has a question, which is a path as the option wants it.
func TestEachProviderHasAQuestion(t *testing.T) {
	for name, preset := range provider.Presets {
		uri := preset.Check.URI
		if err := (&Config{URI: uri}).Check(); err != nil || (uri == "") != (name == "generic") {
			t.Errorf("%s asks for %q: %v", name, uri, err)
		}
		if err := new(Config).CheckProvider(name, uri); (err == nil) != (name != "generic") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (*Config)(nil).CheckProvider("generic", ""); err != nil {
		t.Errorf("without checks: %v", err)
	}
	if err := (&Config{URI: "/v1/models"}).CheckProvider("generic", ""); err != nil {
		t.Errorf("with a path: %v", err)
	}
}

// What an answer says is shown in part, as one line.
func TestWhatIsShownOfAnAnswer(t *testing.T) {
	long := make([]byte, 2*maxShown)
	for i := range long {
		long[i] = 'x'
	}
	if got := cut(string(long)); len(got) != maxShown+len("…") {
		t.Errorf("%d bytes", len(got))
	}
	if got := cut("a\nb\x1b[31m"); got != "a b [31m" {
		t.Errorf("%q", got)
	}
}

// The recorder keeps as much of a body as is judged, and reads the rest.
func TestRecording(t *testing.T) {
	w := &recorder{header: make(http.Header)}
	w.WriteHeader(103)
	w.WriteHeader(401)
	w.WriteHeader(200)
	chunk := make([]byte, 40<<10)
	for range 3 {
		if n, err := w.Write(chunk); n != len(chunk) || err != nil {
			t.Fatal(n, err)
		}
	}
	if w.status != 401 || len(w.body) != 64<<10 {
		t.Errorf("status %d, %d bytes", w.status, len(w.body))
	}
}

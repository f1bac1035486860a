package directive

import (
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/keycycler/keycycler/internal/testkit"
)

type demoConfig struct {
	Keys   []string       `json:"keys,omitempty"`
	Wait   caddy.Duration `json:"max_wait,omitempty"`
	Many   int            `json:"many,omitempty"`
	Share  float64        `json:"share,omitempty"`
	On     *bool          `json:"on,omitempty"`
	Within *struct {
		Per caddy.Duration `json:"per,omitempty"`
		At  []int          `json:"at,omitempty"`
	} `json:"within,omitempty"`
}

func TestDecode(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{`{"keys":["sk-demo-1"],"max_wait":"30s","many":3,"share":0.5,"on":false,"within":{"per":1,"at":[1]}}`, ""},
		{`{}`, ""},
		{`{"keys":"sk-demo-1"}`, "keys: a list is needed, and not a text"},
		{`{"keys":[{"key":"sk-demo-1"}]}`, "keys: a text is needed, and not an object"},
		{`{"many":"sk-demo-1"}`, "many: a whole number within the bounds is needed, and not a text"},
		{`{"many":1.5}`, "many: a whole number within the bounds is needed, and not a number"},
		{`{"share":"10%"}`, "share: a number is needed, and not a text"},
		{`{"on":"on"}`, "on: true or false is needed, and not a text"},
		{`{"max_wait":"30"}`, `max_wait: it is no duration such as "30s", "5m" or "1d"`},
		{`{"max_wait":"sk-demo-1"}`, `max_wait: it is no duration such as "30s", "5m" or "1d"`},
		{`{"keys":["a"],"within":{"per":"month"}}`, `within: it is no duration such as "30s", "5m" or "1d"`},
		{`{"within":{"at":["4xx"]}}`, "within.at: a whole number within the bounds is needed, and not a text"},
		{`{"within":"x"}`, "within: an object is needed, and not a text"},
		{`{"key":["sk-demo-1"]}`, `unknown field "key": did you mean 'keys'?`},
		{`{"api_key":["sk-demo-1"]}`, `unknown field "api_key": here it is 'keys'`},
		{`{"sk-demo-1":1}`, `unknown field "(not shown: it could be a key, and keys belong behind 'keys')"`},
		{`{"within":{"every":1}}`, `within: unknown field "every"`},
		{`["sk-demo-1"]`, "an object is needed, and not a list"},
	} {
		err := Decode([]byte(test.text), new(demoConfig))
		if testkit.Message(err) != test.want {
			t.Errorf("%s: %v, want %s", test.text, err, test.want)
		}
		if strings.Contains(testkit.Message(err), "sk-demo-1") {
			t.Errorf("the error shows a key: %v", err)
		}
	}
}

func TestCheckUnit(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "", -1: "", time.Millisecond: "", time.Hour: "", 30: `write "30s" for seconds`, 86400: `write "86400s" for seconds`} {
		if err := CheckUnit("max_wait", d); (err == nil) != (want == "") || !strings.HasSuffix(testkit.Message(err), want) {
			t.Errorf("%s: %v, want %s", d, err, want)
		}
	}
}

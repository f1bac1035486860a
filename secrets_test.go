package keycycler

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/keycycler/keycycler/rotator"
)

const printedSecret = "sk-Zq7xWv0TmY3rLb9KpDfGhJ"

// leak returns six bytes of the secret that text shows: plain, in hex, as numbers
// or in base64.
func leak(text string) string {
	lower := strings.ToLower(text)
	for i := 3; i+6 <= len(printedSecret); i++ {
		part := printedSecret[i : i+6]
		digits := hex.EncodeToString([]byte(part))
		spaced := fmt.Sprintf("% x", part)
		numbers := strings.Trim(fmt.Sprint([]byte(part)), "[]")
		literal := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", []byte(part)), "[]byte{"), "}")
		for _, shape := range []string{part, digits, spaced, numbers, literal} {
			if strings.Contains(text, shape) || strings.Contains(lower, shape) {
				return part
			}
		}
	}
	for _, prefix := range []string{"", "Bearer ", "Token "} {
		if whole := base64.RawStdEncoding.EncodeToString([]byte(prefix + printedSecret)); strings.Contains(text, whole[:16]) {
			return whole
		}
	}
	return ""
}

func TestLeakIsFound(t *testing.T) {
	for _, verb := range []string{"%v", "%q", "%x", "%X", "% x", "%#v"} {
		for _, secret := range []any{printedSecret, []byte(printedSecret), struct{ s string }{printedSecret}, &http.Request{Header: http.Header{"A": {printedSecret}}}} {
			if text := fmt.Sprintf(verb, secret); leak(text) == "" {
				t.Errorf("%s is not seen as a leak", text)
			}
		}
	}
}

// ways are the ways to send a key, each of which prepares it otherwise.
var ways = map[string]*Auth{
	"default": nil, "header": {Header: "X-Key"}, "prefix": {Header: "X-Key", Prefix: "Token"}, "query": {Query: "key"},
}

func TestNothingPrintsAKey(t *testing.T) {
	t.Setenv("KEYCYCLER_TEST_KEY", printedSecret)
	for name, auth := range ways {
		t.Run(name, func(t *testing.T) {
			placeholder := provision(t, 1, func(h *Handler) { h.Keys, h.Auth = []string{"{env.KEYCYCLER_TEST_KEY}"}, auth })
			inline := provision(t, 1, func(h *Handler) { h.Keys, h.Auth = []string{printedSecret}, auth })
			client := provision(t, 1, func(h *Handler) { h.ClientTokens, h.Auth = []string{"ada:" + printedSecret}, auth })
			hidden := provision(t, 1, func(h *Handler) { h.ClientTokens, h.Auth = []string{"ada:{env.KEYCYCLER_TEST_KEY}"}, auth })
			set, _ := newKeySet()
			if err := set.add(printedSecret, "here"); err != nil {
				t.Fatal(err)
			}
			for what, holder := range map[string]any{
				"a handler":                       placeholder,
				"a handler with a key inline":     inline,
				"a slice of handlers":             []any{placeholder, inline},
				"a struct with a handler":         struct{ H *Handler }{inline},
				"a struct that hides a handler":   struct{ h *Handler }{placeholder},
				"an injector":                     inline.roster.Load().injector,
				"an injector's value":             *inline.roster.Load().injector,
				"a struct that hides a value":     struct{ in injector }{*inline.roster.Load().injector},
				"what is sent":                    inline.roster.Load().injector.credentials,
				"a pointer to it":                 &inline.roster.Load().injector.credentials,
				"a pool":                          inline.roster.Load().pool,
				"a set of keys":                   set,
				"a handler with a client's token": client,
				"a struct that hides one":         struct{ h *Handler }{hidden},
				"its clients":                     client.clients,
				"their tokens":                    client.clients.tokens.Load(),
				"the client":                      client.clients.tokens.Load().find(printedSecret),
				"an error that wraps all of it":   fmt.Errorf("%v %+v: %w", inline, inline.roster.Load().injector, http.ErrAbortHandler),
				"an injector seen by reflection":  reflect.ValueOf(inline.roster.Load().injector).Elem(),
			} {
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%10v", "%.3s"} {
					if text := fmt.Sprintf(verb, holder); leak(text) != "" {
						t.Errorf("%s: %s shows %s", what, verb, text)
					}
				}
			}
		})
	}
}

func TestNothingMarshalsAKey(t *testing.T) {
	t.Setenv("KEYCYCLER_TEST_KEY", printedSecret)
	h := provision(t, 1, func(h *Handler) { h.Keys = []string{"{env.KEYCYCLER_TEST_KEY}"} })
	client := provision(t, 1, func(h *Handler) { h.ClientTokens = []string{"ada:{env.KEYCYCLER_TEST_KEY}"} })
	for what, v := range map[string]any{
		"a handler with a client's token": client, "its clients": client.clients, "one of them": client.clients.tokens.Load().find(printedSecret),
		"a handler": h, "an injector": h.roster.Load().injector, "what is sent": h.roster.Load().injector.credentials,
	} {
		text, err := json.Marshal(v)
		if err != nil || leak(string(text)) != "" {
			t.Errorf("%s: %s, %v", what, text, err)
		}
		var b bytes.Buffer
		slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&b, nil)).Info("x", "v", v)
		encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
		logger := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&b), zap.DebugLevel))
		logger.Info("x", zap.Any("v", v), zap.Reflect("r", v))
		logger.Sugar().Infof("%v %+v", v, v)
		if leak(b.String()) != "" {
			t.Errorf("%s: logged %s", what, b.String())
		}
	}
	if text, _ := json.Marshal(h); !strings.Contains(string(text), "{env.KEYCYCLER_TEST_KEY}") {
		t.Errorf("the config has lost its placeholder: %s", text)
	}
}

// Whatever an upstream answers, the log has the key's id alone.
func TestNoOutcomeLogsAKey(t *testing.T) {
	echo := reply{status: 401, header: map[string]string{"Www-Authenticate": printedSecret},
		body: `{"error":{"message":"Incorrect API key provided: ` + printedSecret + `","code":"invalid_api_key"}}`}
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		h := provision(t, 1, func(h *Handler) { h.Keys = []string{printedSecret, "sk-demo-2", printedSecret} })
		h.logger = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&b), zap.DebugLevel))
		h.announcer.logger, h.announcer.sampled = h.logger, h.logger
		for _, replies := range [][]reply{{echo}, {limited}, {fine}} {
			for range 3 {
				w, err := serve(h, script(replies...), post("x"))
				if err != nil || leak(w.Body.String()+fmt.Sprint(w.Header())) != "" {
					t.Errorf("the client got %v %s, %v", w.Header(), w.Body, err)
				}
			}
			time.Sleep(100 * time.Hour)
		}
		if text := b.String(); leak(text) != "" || !strings.Contains(text, idOf(printedSecret)) || !strings.Contains(text, "no key is ready") {
			t.Errorf("logged %s", text)
		}
	})
}

func TestErrorsOfKeysShowNone(t *testing.T) {
	for _, keys := range [][]string{
		{printedSecret + " " + printedSecret}, {printedSecret + "\x00"}, {printedSecret + "é"}, {"{" + printedSecret + "}"},
		{strings.Repeat(printedSecret, rotator.MaxKeyLen/10)}, {"{env.KEYCYCLER_TEST_UNSET}" + printedSecret}, {printedSecret + "{x}"},
	} {
		if err := provisionOnce(&Handler{Keys: keys}); err == nil || leak(err.Error()) != "" {
			t.Errorf("%q: error %v", keys, err)
		}
	}
}

package keycycler

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/keycycler/keycycler/rotator"
)

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

func TestNoHandlerPrintsAKey(t *testing.T) {
	t.Setenv("KEYCYCLER_TEST_KEY", printedSecret)
	for name, auth := range ways {
		t.Run(name, func(t *testing.T) {
			placeholder := provisionHandler(t, 1, func(h *Handler) { h.Keys, h.Auth = []string{"{env.KEYCYCLER_TEST_KEY}"}, auth })
			inline := provisionHandler(t, 1, func(h *Handler) { h.Keys, h.Auth = []string{printedSecret}, auth })
			client := provisionHandler(t, 1, func(h *Handler) { h.ClientTokens, h.Auth = []string{"ada:" + printedSecret}, auth })
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
					if text := fmt.Sprintf(verb, holder); leak(text) != "" {
						t.Errorf("%s: %s shows %s", what, verb, text)
					}
				}
			}
		})
	}
}

func TestNoHandlerMarshalsAKey(t *testing.T) {
	t.Setenv("KEYCYCLER_TEST_KEY", printedSecret)
	h := provisionHandler(t, 1, func(h *Handler) { h.Keys = []string{"{env.KEYCYCLER_TEST_KEY}"} })
	client := provisionHandler(t, 1, func(h *Handler) { h.ClientTokens = []string{"ada:{env.KEYCYCLER_TEST_KEY}"} })
	for what, v := range map[string]any{
		"a handler with a client's token": client,
		"a handler":                       h,
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

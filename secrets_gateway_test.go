package keycycler

import (
	"bytes"
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
)

// ways are the ways to send a key, each of which prepares it otherwise.
var waysToSend = map[string]*providerAuth{
	"default": nil, "header": {Header: "X-Key"}, "prefix": {Header: "X-Key", Prefix: "Token"}, "query": {Query: "key"},
}

// hiding returns gateways whose key, and whose client's token, are the printed secret.
func hiding(t *testing.T, auth *providerAuth) (g, client *gateway) {
	g = provision(t, 1, func(c *gatewayConfig) { (*c.Keys.groups)[0].texts, c.Auth = []string{printedSecret}, auth })
	client = provision(t, 1, func(c *gatewayConfig) {
		c.Tokens, c.Auth = &tokenSource{from: &inputs{texts: []string{"ada:" + printedSecret}}, log: c.Logger}, auth
	})
	return g, client
}

func TestNothingPrintsAKey(t *testing.T) {
	for name, auth := range waysToSend {
		t.Run(name, func(t *testing.T) {
			g, client := hiding(t, auth)
			in := g.roster.Load().injector
			for what, holder := range map[string]any{
				"a gateway":                      g,
				"its config":                     g.gatewayConfig,
				"a struct that hides a config":   struct{ c gatewayConfig }{g.gatewayConfig},
				"where keys come from":           g.Keys,
				"where tokens come from":         client.Tokens,
				"an injector":                    in,
				"an injector's value":            *in,
				"a struct that hides a value":    struct{ in injector }{*in},
				"a pool":                         g.keys(),
				"its clients":                    client.clients,
				"an error that wraps all of it":  fmt.Errorf("%v %+v: %w", g, in, http.ErrAbortHandler),
				"an injector seen by reflection": reflect.ValueOf(in).Elem(),
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
	g, client := hiding(t, nil)
	for what, v := range map[string]any{"its clients": client.clients, "an injector": g.roster.Load().injector} {
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
}

// Whatever an upstream answers, the log has the key's id alone.
func TestNoOutcomeLogsAKey(t *testing.T) {
	echo := reply{status: 401, header: map[string]string{"Www-Authenticate": printedSecret},
		body: `{"error":{"message":"Incorrect API key provided: ` + printedSecret + `","code":"invalid_api_key"}}`}
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		h := provision(t, 0, func(c *gatewayConfig) {
			(*c.Keys.groups)[0].texts = []string{printedSecret, "sk-demo-2", printedSecret}
			c.Logger = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&b), zap.DebugLevel))
		})
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

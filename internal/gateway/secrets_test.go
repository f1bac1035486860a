package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/keycycler/keycycler/internal/client"
	"github.com/keycycler/keycycler/internal/credential"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/testkit"
)

// ways are the ways to send a key, each of which prepares it otherwise.
var waysToSend = map[string]*provider.Auth{
	"default": nil, "header": {Header: "X-Key"}, "prefix": {Header: "X-Key", Prefix: "Token"}, "query": {Query: "key"},
}

// hiding returns gateways whose key, and whose client's token, are the printed secret.
func hiding(t *testing.T, auth *provider.Auth) (g, by *Gateway) {
	g = provision(t, 1, func(c *Config) { (*c.Keys.Groups)[0].Texts, c.Auth = []string{testkit.PrintedSecret}, auth })
	by = provision(t, 1, func(c *Config) {
		c.Tokens, c.Auth = &client.Source{From: &keyset.Inputs{Texts: []string{"ada:" + testkit.PrintedSecret}}, Log: c.Logger}, auth
	})
	return g, by
}

func TestNothingPrintsAKey(t *testing.T) {
	for name, auth := range waysToSend {
		t.Run(name, func(t *testing.T) {
			g, by := hiding(t, auth)
			in := g.roster.Load().Injector
			for what, holder := range map[string]any{
				"a gateway":                      g,
				"its config":                     g.Config,
				"a struct that hides a config":   struct{ c Config }{g.Config},
				"where keys come from":           g.Keys,
				"where tokens come from":         by.Tokens,
				"an injector":                    in,
				"an injector's value":            *in,
				"a struct that hides a value":    struct{ in credential.Injector }{*in},
				"a pool":                         g.KeyPool(),
				"its clients":                    by.clients,
				"an error that wraps all of it":  fmt.Errorf("%v %+v: %w", g, in, http.ErrAbortHandler),
				"an injector seen by reflection": reflect.ValueOf(in).Elem(),
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

func TestNothingMarshalsAKey(t *testing.T) {
	g, by := hiding(t, nil)
	for what, v := range map[string]any{"its clients": by.clients, "an injector": g.roster.Load().Injector} {
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
}

// Whatever an upstream answers, the log has the key's id alone.
func TestNoOutcomeLogsAKey(t *testing.T) {
	echo := new(testkit.Upstream) // says which key it got
	echo.Answer = func(n int, w http.ResponseWriter, _ *http.Request) error {
		key := echo.Keys()[n]
		return testkit.Reply{Status: 401, Header: map[string]string{"Www-Authenticate": key},
			Body: `{"error":{"message":"Incorrect API key provided: ` + key + `","code":"invalid_api_key"}}`}.Write(w)
	}
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		h := provision(t, 0, func(c *Config) {
			(*c.Keys.Groups)[0].Texts = []string{testkit.PrintedSecret, "sk-demo-2", testkit.PrintedSecret}
			c.Logger = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&b), zap.DebugLevel))
		})
		for _, next := range []*testkit.Upstream{echo, testkit.Script(used), testkit.Script(testkit.Fine)} {
			for range 3 {
				w, err := testkit.Serve(h, next, testkit.Post("x"))
				if err != nil || testkit.Leak(w.Body.String()+fmt.Sprint(w.Header())) != "" {
					t.Errorf("the client got %v %s, %v", w.Header(), w.Body, err)
				}
				time.Sleep(11 * time.Second) // the next one goes out, too
			}
			time.Sleep(100 * time.Hour)
		}
		if text := b.String(); testkit.Leak(text) != "" || !strings.Contains(text, testkit.IDOf(testkit.PrintedSecret)) || !strings.Contains(text, "no key is ready") {
			t.Errorf("logged %s", text)
		}
	})
}

// A key that travels in the URL does not come back in a header, whatever the status: redirects
// keep the query, and so do the addresses of what was made.
func TestAnAddressInAnAnswerShowsNoKey(t *testing.T) {
	for _, status := range []int{200, 201, 307, 404} {
		h := provision(t, 1, func(c *Config) {
			(*c.Keys.Groups)[0].Texts, c.Auth = []string{"sk-demo/+1"}, &provider.Auth{Query: "key"}
		})
		var hints []http.Header
		w := httptest.NewRecorder()
		err := h.ServeHTTP(hinted{w, &hints}, testkit.Post("x"), handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Link", "<https://example.com/?"+r.URL.RawQuery+">; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("Location", "https://example.com/v1?"+r.URL.RawQuery)
			w.Header().Set("Content-Location", "/v1?key=sk-demo/+1")
			w.WriteHeader(status)
			return nil
		}))
		shown := fmt.Sprint(w.Result().Header, hints)
		if err != nil || w.Code != status || len(hints) != 1 || strings.Contains(shown, "demo") || w.Result().Header.Get("Location") != "https://example.com/v1?key="+strings.Repeat("*", len("sk-demo%2F%2B1")) {
			t.Errorf("%d: the client got %d, %s, %v", status, w.Code, shown, err)
		}
	}
}

// hinted notes the early hints.
type hinted struct {
	*httptest.ResponseRecorder
	hints *[]http.Header
}

func (w hinted) WriteHeader(status int) {
	if status == http.StatusEarlyHints {
		*w.hints = append(*w.hints, w.Header().Clone())
		return
	}
	w.ResponseRecorder.WriteHeader(status)
}

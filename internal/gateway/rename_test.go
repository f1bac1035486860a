package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/keycycler/keycycler/internal/catalog"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/replay"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// renamer returns a gateway whose first key has other names of models, and whose second has
// the clients'.
func renamer(t testing.TB, configure func(*Config), renames ...catalog.Rename) *Gateway {
	return provision(t, 0, func(c *Config) {
		c.Keys = &keyset.Source{Log: zap.NewNop(), Groups: &[]keyset.Group{
			{Rank: rotator.Rank{Tier: 1, Weight: 1}, Texts: []string{"sk-first-1"}, Place: &keyset.Place{Offer: &catalog.Offer{Renames: renames}}},
			{Rank: rotator.Rank{Tier: 2, Weight: 1}, Texts: []string{"sk-second-1"}},
		}}
		if configure != nil {
			configure(c)
		}
	})
}

// seen are the attempts as the next handler has seen them: URI, path and body.
type seen []string

func (s *seen) next(replies ...testkit.Reply) handlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		body := ""
		if r.Body != nil {
			all, err := io.ReadAll(r.Body)
			if body = string(all); err != nil || r.ContentLength >= 0 && r.ContentLength != int64(len(all)) {
				return fmt.Errorf("%d bytes of %d, %w", len(all), r.ContentLength, err)
			}
		}
		*s = append(*s, fmt.Sprint(r.RequestURI, " ", r.URL, " ", body))
		return replies[min(len(*s), len(replies))-1].Write(w)
	}
}

func TestEachKeyHasItsNameOfTheModel(t *testing.T) {
	for _, test := range []struct {
		name          string
		uri, body     string
		first, second string
	}{
		{"in the body", "/v1/chat/completions", `{"model":"gpt-4o"}`, `/v1/chat/completions /v1/chat/completions {"model":"mine"}`, `/v1/chat/completions /v1/chat/completions {"model":"gpt-4o"}`},
		{"by a pattern", "/v1/x", `{"model":"o3-mini"}`, `/v1/x /v1/x {"model":"o/3"}`, `/v1/x /v1/x {"model":"o3-mini"}`},
		{"as a resource", "/v1/x", `{"model":"models/gpt-4o"}`, `/v1/x /v1/x {"model":"models/mine"}`, `/v1/x /v1/x {"model":"models/gpt-4o"}`},
		{"none of those", "/v1/x", `{"model":"gpt-4"}`, `/v1/x /v1/x {"model":"gpt-4"}`, `/v1/x /v1/x {"model":"gpt-4"}`},
		{"no model", "/v1/x", `{}`, `/v1/x /v1/x {}`, `/v1/x /v1/x {}`},
		{"in the path and the body", "/openai/deployments/gpt-4o/chat?a=b", `{"model":"o3"}`,
			`/openai/deployments/mine/chat?a=b /openai/deployments/mine/chat?a=b {"model":"o/3"}`, `/openai/deployments/gpt-4o/chat?a=b /openai/deployments/gpt-4o/chat?a=b {"model":"o3"}`},
		{"in the path alone", "/v1beta/models/o3:x", "", `/v1beta/models/o%2F3:x /v1beta/models/o%2F3:x `, `/v1beta/models/o3:x /v1beta/models/o3:x `},
		{"in the query", "/v1/realtime?model=gpt-4o", "", `/v1/realtime?model=mine /v1/realtime?model=mine `, `/v1/realtime?model=gpt-4o /v1/realtime?model=gpt-4o `},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := renamer(t, nil, catalog.Rename{From: "gpt-4o", To: "mine"}, catalog.Rename{From: "o3*", To: "o/3"})
			var saw seen
			r := httptest.NewRequest(http.MethodPost, test.uri, strings.NewReader(test.body))
			r.Header.Set("Content-Type", "application/json")
			w, err := testkit.Serve(h, saw.next(testkit.Limited, testkit.Fine), r)
			if err != nil || w.Body.String() != testkit.Fine.Body {
				t.Fatalf("%v, %s", err, w.Body)
			}
			if want := fmt.Sprintf("%q", []string{test.first, test.second}); fmt.Sprintf("%q", saw) != want {
				t.Errorf("the upstreams saw %q, want %s", saw, want)
			}
			if r.RequestURI != test.uri || r.URL.String() != test.uri || r.ContentLength != int64(len(test.body)) {
				t.Errorf("the client's request is %s, %s now", r.RequestURI, r.URL)
			}
		})
	}
}

// The key that travels in the query is not in the line that is logged.
func TestARenamedRequestShowsNoKey(t *testing.T) {
	h := renamer(t, func(c *Config) { c.Auth = &provider.Auth{Query: "key"} }, catalog.Rename{From: "*", To: "mine"})
	var saw seen
	r := httptest.NewRequest(http.MethodPost, "/v1beta/models/g:x?key=client&a=b", strings.NewReader("{}"))
	if _, err := testkit.Serve(h, saw.next(testkit.Fine), r); err != nil {
		t.Fatal(err)
	}
	if want := "/v1beta/models/mine:x?a=b /v1beta/models/mine:x?a=b&key=sk-first-1 {}"; saw[0] != want {
		t.Errorf("%s, want %s", saw[0], want)
	}
}

// Cooldowns are for the client's name of the model.
func TestAScopeIsTheClientsName(t *testing.T) {
	for _, uri := range []string{"/v1/x", "/openai/deployments/gpt-4o/chat", "/v1/realtime?model=gpt-4o"} {
		t.Run(uri, func(t *testing.T) {
			h := renamer(t, func(c *Config) { c.ByModel = true }, catalog.Rename{From: "*", To: "mine"})
			r := httptest.NewRequest(http.MethodPost, uri, strings.NewReader(`{"model":"gpt-4o"}`))
			r.Header.Set("Content-Type", "application/json")
			var saw seen
			if _, err := testkit.Serve(h, saw.next(testkit.Limited, testkit.Fine), r); err != nil || len(saw) != 2 || !strings.Contains(saw[0], "mine") {
				t.Fatalf("%v, %q", err, saw)
			}
			st := h.roster.Load().Pool.Status(time.Now(), 0)
			if len(st.Scopes) != 1 || st.Scopes[0].Scope != "gpt-4o" {
				t.Errorf("%+v", st)
			}
		})
	}
}

// Who comes after a failure finds the client's body.
func TestWhoComesAfterFindsTheClientsName(t *testing.T) {
	h := renamer(t, nil, catalog.Rename{From: "*", To: "mine"})
	r := testkit.Post(`{"model":"gpt-4o"}`).WithContext(t.Context())
	r.Header.Set("Content-Type", "application/json")
	var saw seen
	_, err := testkit.Serve(h, saw.next(testkit.Reply{Err: io.ErrUnexpectedEOF}), r)
	if err == nil || !strings.HasSuffix(saw[0], `{"model":"mine"}`) {
		t.Fatalf("%v, %q", err, saw)
	}
	if body, err := io.ReadAll(r.Body); string(body) != `{"model":"gpt-4o"}` || err != nil {
		t.Errorf("%s, %v", body, err)
	}
}

// One line tells that bodies are not renamed.
func TestBodiesThatCannotBeRenamedAreTold(t *testing.T) {
	core, logs := observer.New(zapcore.WarnLevel)
	h := renamer(t, func(c *Config) { c.Logger = zap.New(core) }, catalog.Rename{From: "*", To: "mine"})
	for range 3 {
		text := fmt.Sprintf(`{"model":"gpt-4o","a":"%x"}`, testkit.Content(200_000))
		u := testkit.Script(testkit.Fine)
		w, err := testkit.Serve(h, u, coded(t, testkit.Post(""), "gzip", text, true))
		if err != nil || w.Code != http.StatusOK || u.Calls[0].Header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("%v, %d, %v", err, w.Code, u.Calls[0].Header)
		}
	}
	if n := logs.FilterMessageSnippet("not renamed").Len(); n != 1 {
		t.Errorf("%d lines", n)
	}
	u := testkit.Script(testkit.Fine)
	if _, err := testkit.Serve(h, u, coded(t, testkit.Post(""), "gzip", `{"model":"gpt-4o"}`, true)); err != nil || u.Calls[0].Body != `{"model":"mine"}` {
		t.Errorf("%v, %s", err, u.Calls[0].Body)
	}
}

// Where no key has other names, nothing is looked for.
func TestWithoutRenamesNothingIsMarked(t *testing.T) {
	if l := provision(t, 2, nil).replay; l.Renames {
		t.Error("names are marked")
	}
	if l := renamer(t, nil).replay; l.Renames {
		t.Error("names are marked for an offer of none")
	}
	if l := renamer(t, nil, catalog.Rename{From: "a", To: "b"}).replay; !l.Renames {
		t.Error("names are not marked")
	}
}

func BenchmarkRenamedRequest(b *testing.B) {
	for name, size := range map[string]int{"1KB": 1 << 10, "10MB": 10 << 20} {
		content := []byte(`{"model":"gpt-4o","a":"` + strings.Repeat("x", size) + `"}`)
		for what, g := range map[string]*Gateway{"none": provision(b, 2, nil), "renamed": renamer(b, nil, catalog.Rename{From: "gpt-4o", To: "another-name"})} {
			b.Run(name+"/"+what, func(b *testing.B) {
				silence(g)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				r, body := benchRequest(content)
				r.Header.Set("Content-Type", "application/json")
				w := &discard{header: http.Header{}}
				p := make([]byte, replay.LargeChunk)
				next := handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
					for err := error(nil); err == nil; {
						_, err = r.Body.Read(p)
					}
					w.WriteHeader(http.StatusOK)
					return nil
				})
				for b.Loop() {
					body.Reset(content)
					if err := g.ServeHTTP(w, r, next); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

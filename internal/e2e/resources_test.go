package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

func TestResourcesThroughCaddy(t *testing.T) {
	k := live.StartKeeper(t)
	g := startGateway(t, "keycycler {\n keys "+demoKeys(50)+"\n}\nreverse_proxy "+k.URL)
	c := live.APIClient{T: t, URL: g.plain}
	for range 20 {
		if failures := c.Use(c.Upload()); failures != nil {
			t.Fatalf("the life of a file met %v", failures)
		}
	}

	// A conversation of 200 turns, half of them streams, with other requests between.
	previous := c.Must(c.JSON("POST", "/v1/responses", `{"input":"hi"}`))
	for turn := range 200 {
		c.Must(c.JSON("POST", "/v1/chat/completions", `{"messages":[]}`))
		previous = c.Must(c.JSON("POST", "/v1/responses",
			fmt.Sprintf(`{"stream":%t,"input":"more","previous_response_id":%q}`, turn%2 == 0, previous)))
	}
	if n := k.Misses(); n > 0 {
		t.Errorf("%d requests went out with a foreign key", n)
	}

	// Its key meets a limit: whoever goes on is told to wait, all others are served.
	k.Limit(previous)
	began := time.Now()
	for range 10 {
		r := live.Request(t, "POST", g.plain+"/v1/responses", `{"previous_response_id":"`+previous+`"}`)
		r.Header.Set("Content-Type", "application/json")
		res, body := live.Do(t, http.DefaultClient, r)
		wait, err := strconv.Atoi(res.Header.Get("Retry-After"))
		if least := 38 - time.Since(began).Seconds(); res.StatusCode != 429 || err != nil || float64(wait) < least || wait > 45 {
			t.Fatalf("answered %d, Retry-After %d (%v), want %.1f at least: %s", res.StatusCode, wait, err, least, body)
		}
		c.Must(c.JSON("POST", "/v1/responses", `{"input":"hi"}`))
	}
	if n := k.Misses(); n > 0 {
		t.Errorf("%d requests went out with a foreign key", n)
	}
	if log := g.log(); strings.Contains(log, `"msg":"no key is ready"`) || !strings.Contains(log, "no key is ready that can use the resource") {
		t.Error("the log does not tell what is not ready")
	}
}

// Without it the same meets the upstream's 404.
func TestResourcesOffThroughCaddy(t *testing.T) {
	k := live.StartKeeper(t)
	g := startGateway(t, "keycycler {\n keys "+demoKeys(50)+"\n resources off\n}\nreverse_proxy "+k.URL)
	c := live.APIClient{T: t, URL: g.plain}
	for range 5 {
		c.Use(c.Upload())
	}
	if k.Misses() == 0 {
		t.Error("no request went out with a foreign key")
	}
}

// A file of Gemini's is uploaded to the address that the upstream names, which must
// lead through the gateway.
func TestGeminiUploadThroughCaddy(t *testing.T) {
	const name = "files/abc-123"
	var owner string
	var upstream *httptest.Server
	upstream = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, start := r.Header.Get("X-Goog-Api-Key"), r.URL.Query().Get("upload_id") == "" && r.Method == "POST" && strings.HasPrefix(r.URL.Path, "/upload")
		switch {
		case start:
			owner = key
			w.Header().Set("X-Goog-Upload-URL", upstream.URL+"/upload/v1beta/files?upload_id=AbCd&upload_protocol=resumable")
		case key != owner:
			w.WriteHeader(http.StatusForbidden)
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, "{\n  \"file\": {\n    \"name\": %q\n  }\n}\n", name)
		}
	}))
	defer live.CloseServer(t, upstream)
	g := newGateway(t)
	g.start("keycycler {\n provider gemini\n keys " + demoKeys(50) + "\n}\nreverse_proxy " + upstream.URL + " {\n header_down X-Goog-Upload-URL " + upstream.URL + " " + g.plain + "\n}")
	res, _ := live.Do(t, http.DefaultClient, live.Request(t, "POST", g.plain+"/upload/v1beta/files", "{}"))
	where := res.Header.Get("X-Goog-Upload-URL")
	if !strings.HasPrefix(where, g.plain) {
		t.Fatalf("the upload goes to %s", where)
	}
	if res, body := live.Do(t, http.DefaultClient, live.Request(t, "POST", where, "the file")); res.StatusCode != 200 {
		t.Fatalf("the upload was answered %d: %s", res.StatusCode, body)
	}
	r := live.Request(t, "POST", g.plain+"/v1beta/models/gemini-x:generateContent", `{"contents":[{"parts":[{"fileData":{"fileUri":"https://generativelanguage.googleapis.com/v1beta/`+name+`"}}]}]}`)
	r.Header.Set("Content-Type", "application/json")
	if res, _ := live.Do(t, http.DefaultClient, r); res.StatusCode != 200 {
		t.Fatalf("the file's use was answered %d", res.StatusCode)
	}
	if res, _ := live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain+"/v1beta/"+name, "")); res.StatusCode != 200 {
		t.Fatalf("the file was answered %d", res.StatusCode)
	}
}

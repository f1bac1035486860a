package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/testkit/adminapi"
	"github.com/keycycler/keycycler/internal/testkit/live"
)

// telling is an upstream that says what it has used, in a stream or not; one of
// /v1/gone does not end before its client has left.
func telling(t *testing.T) *live.Provider {
	return live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/embeddings" {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"cache_read_input_tokens\":100,\"output_tokens\":1}}}\n\n")
		w.(http.Flusher).Flush()
		if r.URL.Path == "/v1/gone" {
			<-r.Context().Done()
			return
		}
		io.WriteString(w, "data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":15}}\n\n")
	})
}

// Access logs, spans and the admin API tell what answers have used, the API also of a client
// that leaves; a reload keeps it.
func TestUsageThroughCaddy(t *testing.T) {
	told := new(spans)
	server := httptest.NewServer(told)
	defer live.CloseServer(t, server)
	for name, value := range map[string]string{
		"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
		"OTEL_EXPORTER_OTLP_ENDPOINT": server.URL, "OTEL_BSP_SCHEDULE_DELAY": "20",
	} {
		t.Setenv(name, value)
	}
	directives := fmt.Sprintf(`tracing {
			span gateway
		}
		log_append in {http.keycycler.usage.input}
		log_append cached {http.keycycler.usage.cached}
		log_append written {http.keycycler.usage.cache_write}
		log_append out {http.keycycler.usage.output}
		log_append thought {http.keycycler.usage.reasoning}
		keycycler usage-e2e {
			keys %s
		}
		reverse_proxy %s`, demoKeys(3), telling(t).URL)
	g := startGateway(t, directives)
	saysUsageIsOff(t, false)
	logged := func(n int, want string) {
		t.Helper()
		live.Eventually(t, "the access log tells "+want, func() bool {
			entries := g.logged("handled request")
			if len(entries) != n {
				return false
			}
			e := entries[n-1]
			return fmt.Sprintf("%v %v %v %v %v", e["in"], e["cached"], e["written"], e["out"], e["thought"]) == want
		})
	}
	ask := func(path string) *http.Response {
		t.Helper()
		r := live.Request(t, "POST", g.plain+path, `{"model":"demo"}`)
		r.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	for i, row := range []struct{ path, used string }{{"/v1/messages", "25 100  15 "}, {"/v1/embeddings", "8    "}} {
		res := ask(row.path)
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		logged(i+1, row.used)
	}
	live.Eventually(t, "the span tells", func() bool {
		text := told.attributes()
		return strings.Contains(text, "gen_ai.usage.input_tokens=125 ") && strings.Contains(text, "gen_ai.usage.output_tokens=15 ") &&
			strings.Contains(text, "gen_ai.usage.cache_read.input_tokens=100 ") && !strings.Contains(text, "cache_creation")
	})
	gone := ask("/v1/gone")
	if line, err := bufio.NewReader(gone.Body).ReadString('\n'); !strings.Contains(line, "message_start") {
		t.Fatalf("the stream begins with %q, %v", line, err)
	}
	gone.Body.Close()
	want := observe.UsageCounts{Answers: 3, Input: 58, Cached: 200, Output: 16}
	counted := func() bool { // log_append has not come to its turn: reverse_proxy panics where a client has left
		all := adminapi.AskFor[[]observe.UsageStatus](t, "GET", "/keycycler/pools/usage-e2e/usage?by=model", "")
		return len(all) == 1 && all[0].Name == "demo" && all[0].Month == want
	}
	live.Eventually(t, "what was stated until the client left is counted", counted)
	g.load(directives + "\n# another")
	if !counted() {
		t.Error("a reload has changed what was counted")
	}
}

// attributes returns those of all spans, as text.
func (s *spans) attributes() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var text strings.Builder
	for _, span := range s.all {
		for _, a := range span.GetAttributes() {
			fmt.Fprintf(&text, "%s=%s%d ", a.GetKey(), a.GetValue().GetStringValue(), a.GetValue().GetIntValue())
		}
	}
	return text.String()
}

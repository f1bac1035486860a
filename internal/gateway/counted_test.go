//go:build !race

package gateway

import (
	"net/http"
	"strings"
	"testing"
)

// BenchmarkCounted is what .ci/instructions counts the machine instructions of, under
// valgrind: how many a request takes, and that keys do not make it more. Each case
// runs without a garbage collection in between.
func BenchmarkCounted(b *testing.B) {
	for _, c := range []struct {
		name string
		make func(testing.TB) func()
	}{
		{"pick", picks}, // drawing a key, another having been tried
		{"plain", func(b testing.TB) func() { return requests(b, 0, 0, served) }},
		{"small", func(b testing.TB) func() { return requests(b, 1<<10, 1<<10, served) }},
		{"answered", func(b testing.TB) func() { return requests(b, 1<<10, 1<<10, answered) }},
		{"small-10-keys", func(b testing.TB) func() { return requestsTo(b, coolingPool(b, 10, 0), 1<<10, 1<<10, served) }},
		{"small-100000-keys", func(b testing.TB) func() { return requestsTo(b, coolingPool(b, 100_000, 99), 1<<10, 1<<10, served) }},
		{"rejected", func(b testing.TB) func() { return requests(b, 1<<10, 1<<10, rejectedOnce()) }},
		{"stream", func(b testing.TB) func() { return requests(b, 0, 0, streamed(50)) }},
		{"usage-off", func(b testing.TB) func() { return usageRequestsOf(b, false, "JSON 1 KB") }},
		{"usage", func(b testing.TB) func() { return usageRequestsOf(b, true, "JSON 1 KB") }},
		{"limits", func(b testing.TB) func() { return quotaRequests(b, true) }},
		{"limits-off", func(b testing.TB) func() { return quotaRequests(b, false) }},
		{"usage-stream-off", func(b testing.TB) func() { return usageRequestsOf(b, false, "SSE 50 events") }},
		{"usage-stream", func(b testing.TB) func() { return usageRequestsOf(b, true, "SSE 50 events") }},
	} {
		b.Run(c.name, func(b *testing.B) {
			run := c.make(b)
			for b.Loop() {
				run()
			}
		})
	}
}

// What answered answers: a chat's answer, of half a KB.
var (
	answerType = []string{"application/json"}
	answerBody = []byte(`{"id":"chatcmpl-demo","object":"chat.completion","model":"demo-model","choices":[{"index":0,"message":` +
		`{"role":"assistant","content":"` + strings.Repeat("demo ", 60) + `"},"finish_reason":"stop"}],"usage":{"total_tokens":280}}`)
)

// answered is served, with a body that must be looked at: a success may be an error.
func answered(w http.ResponseWriter, r *http.Request) error {
	w.Header()["Content-Type"] = answerType
	if err := served(w, r); err != nil {
		return err
	}
	_, err := w.Write(answerBody)
	return err
}

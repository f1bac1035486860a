package sdk

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// vendor is a provider with its own npm package, and how both talk.
type vendor struct {
	provider string // of the gateway; the node script knows the package by it, too
	sends    string // how the package sends the key of its user's
	header   string // carries the key upstream
	prefix   string // stands before the key there

	limited func(seconds int) *refusal // turns a key down for its rate limit
	proof   proof                      // goes with it; nil: the provider gives none
	event   string                     // does so within a stream
	code    string                     // of the error that the package raises

	// The package tries again by itself, when it is told to, or not at all if it
	// is told so. Google's knows neither Retry-After nor X-Should-Retry.
	obeys bool
}

var vendors = []vendor{
	{
		provider: "openai", sends: "Authorization: Bearer ", header: "Authorization", prefix: "Bearer ",
		limited: rateLimited, proof: requestsReset, code: "rate_limit_exceeded", obeys: true,
		event: sse("", openAIError(apiError{Message: "Rate limit reached.", Type: "requests", Code: "rate_limit_exceeded"})),
	},
	{
		// Since 1.0.0 the package sends a bearer token. The API takes both
		// (https://platform.claude.com/docs/en/api/migration-2026-10-21).
		provider: "anthropic", sends: "Authorization: Bearer ", header: "X-Api-Key",
		limited: messageLimited, proof: messagesReset, code: "rate_limit_error", obeys: true,
		event: sse("error", messageError("This request would exceed your account's rate limit.")),
	},
	{
		provider: "gemini", sends: "X-Goog-Api-Key: ", header: "X-Goog-Api-Key",
		limited: contentLimited, code: "RESOURCE_EXHAUSTED",
		event: sse("", contentError(2)),
	},
}

func eachVendor(t *testing.T, test func(t *testing.T, v vendor)) {
	eachVendorOf(t, vendors, test)
}

func eachVendorOf(t *testing.T, some []vendor, test func(t *testing.T, v vendor)) {
	for _, v := range some {
		t.Run(v.provider, func(t *testing.T) { test(t, v) })
	}
}

// vendorsThat returns those whose packages obey, or do not.
func vendorsThat(obey bool) []vendor {
	return slices.DeleteFunc(slices.Clone(vendors), func(v vendor) bool { return v.obeys != obey })
}

// start starts a gateway for the vendor, and a hop before it. Caddy redacts no
// header but Authorization in its logs, and is told to in the way that we recommend.
func (v vendor) start(t *testing.T, up *upstream, keys int) (*gateway, *hop) {
	t.Helper()
	return v.startWith(t, up, keys, exact)
}

// startWith is start with options of keycycler's.
func (v vendor) startWith(t *testing.T, up *upstream, keys int, options string) (*gateway, *hop) {
	t.Helper()
	global := ""
	if v.header != "Authorization" {
		global = logFilter(t)
	}
	g := startGatewayWith(t, up, keys, "provider "+v.provider+"\n"+options, global)
	return g, startHop(t, g.plain)
}

// logFilter returns the global options of the example that keeps keys out of logs.
func logFilter(t *testing.T) string {
	t.Helper()
	example, err := os.ReadFile(filepath.Join("..", "..", "examples", "log-filter.Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	_, options, begun := strings.Cut(string(example), "\n{\n")
	options, _, ended := strings.Cut(options, "\n}\n")
	if !begun || !ended {
		t.Fatal("the example has no global options")
	}
	return options
}

func (v vendor) ask(t *testing.T, s *stage) result {
	t.Helper()
	return runNode[result](t, s, nil, "ask.mjs", v.provider)
}

func (v vendor) stream(t *testing.T, s *stage) result {
	t.Helper()
	return runNode[result](t, s, nil, "ask.mjs", v.provider, "stream")
}

// checkKeys finds fault with calls that carry anything but a key of the pool's, in
// the vendor's header alone, where the client had sent its own.
func (v vendor) checkKeys(t *testing.T, h *hop, calls []call) {
	t.Helper()
	name, scheme, _ := strings.Cut(v.sends, ": ")
	for _, one := range h.seen() {
		if got := one.client.Get(name); got != scheme+clientKey {
			t.Errorf("the client sent %s: %q: this test shows nothing", name, got)
		}
	}
	for _, c := range calls {
		if got := c.header.Get(v.header); got != v.prefix+c.key {
			t.Errorf("%s: %q", v.header, got)
		}
		for _, name := range []string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key"} {
			if got := c.header.Get(name); name != v.header && got != "" {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
	checkCalls(t, calls)
}

// Anthropic's answers (https://platform.claude.com/docs/en/api/messages,
// …/api/errors, …/build-with-claude/streaming).

func textBlock(text string) map[string]any { return map[string]any{"type": "text", "text": text} }

func message(blocks ...map[string]any) map[string]any {
	if blocks == nil {
		blocks = []map[string]any{}
	}
	return map[string]any{
		"id": "msg_demo", "type": "message", "role": "assistant", "model": "demo-model", "content": blocks,
		"stop_reason": "end_turn", "stop_sequence": nil, "usage": map[string]any{"input_tokens": 5, "output_tokens": 5},
	}
}

// messageEvent is an event that is called as its type.
func messageEvent(kind string, payload map[string]any) string {
	payload["type"] = kind
	return sse(kind, payload)
}

var messageEvents = events{
	begin: messageEvent("message_start", map[string]any{"message": message()}) +
		messageEvent("content_block_start", map[string]any{"index": 0, "content_block": textBlock("")}),
	text: func(text string) string {
		return messageEvent("content_block_delta", map[string]any{"index": 0, "delta": map[string]any{"type": "text_delta", "text": text}})
	},
	end: messageEvent("content_block_stop", map[string]any{"index": 0}) +
		messageEvent("message_delta", map[string]any{
			"delta": map[string]any{"stop_reason": "end_turn", "stop_sequence": nil}, "usage": map[string]any{"output_tokens": 5},
		}) +
		messageEvent("message_stop", map[string]any{}),
}

func messageError(text string) any {
	return map[string]any{"type": "error", "error": map[string]any{"type": "rate_limit_error", "message": text}, "request_id": "req_demo"}
}

func messageLimited(seconds int) *refusal {
	return &refusal{
		status: http.StatusTooManyRequests, retryAfter: seconds,
		body: messageError("This request would exceed your account's rate limit. Please try again later."),
	}
}

// messagesReset says that no requests remain, and until when
// (https://platform.claude.com/docs/en/api/rate-limits#response-headers).
func messagesReset(h http.Header, seconds int) {
	h.Set("Anthropic-Ratelimit-Requests-Remaining", "0")
	h.Set("Anthropic-Ratelimit-Requests-Reset", time.Now().Add(time.Duration(seconds)*time.Second).UTC().Format(time.RFC3339))
}

// Google's answers (https://ai.google.dev/api/generate-content,
// https://google.aip.dev/193). How long to wait stands in the body alone.

func content(text string) map[string]any {
	return map[string]any{
		"candidates": []any{map[string]any{
			"index": 0, "finishReason": "STOP",
			"content": map[string]any{"role": "model", "parts": []any{map[string]any{"text": text}}},
		}},
		"modelVersion": "demo-model",
	}
}

var contentEvents = events{text: func(text string) string { return sse("", content(text)) }}

func contentError(seconds int) any {
	return map[string]any{"error": map[string]any{
		"code": http.StatusTooManyRequests, "status": "RESOURCE_EXHAUSTED",
		"message": "You exceeded your current quota. Please retry soon.",
		"details": []any{map[string]any{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": strconv.Itoa(seconds) + "s"}},
	}}
}

func contentLimited(seconds int) *refusal {
	return &refusal{status: http.StatusTooManyRequests, body: contentError(seconds)}
}

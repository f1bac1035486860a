// Package sdk holds end-to-end tests alone: OpenAI's own clients, for Go and for
// Node.js, and Anthropic's and Google's for Node.js, talk through a real Caddy process
// to an upstream that plays a script, and a headless Chromium operates its status page.
// It is a module of its own, so that nobody who uses keycycler inherits what the
// tests need.
//
//	npm ci --prefix node    # the tests do it themselves where it was not done
//	go test -count=1 ./...  # or go may answer from its cache, which knows nothing of the gateway's code
//
// Without Chromium at /usr/bin/chromium, or at $CHROMIUM, the page's tests are skipped,
// and with KEYCYCLER_REQUIRE_TOOLS=1 they fail. They leave pictures of the page in
// $KEYCYCLER_SCREENSHOTS, if that is a directory.
//
// With GOFLAGS=-race in the environment, the gateway is checked for races too.
package sdk

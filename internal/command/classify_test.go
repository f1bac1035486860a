package command

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
)

// What classify says of an answer is what a pool makes of it, and why.
func TestClassify(t *testing.T) {
	var folded bytes.Buffer
	w := gzip.NewWriter(&folded)
	if _, err := w.Write([]byte(`{"error":{"code":"insufficient_quota"}}`)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	for _, row := range []struct {
		body string
		args []string
		says []string
	}{
		{"", []string{"--status", "429", "--header", "Retry-After: 3"}, []string{"class     rate_limited\n", "seconds   3\n", "source    retry-after\n", "cools for 30s", "its status: row "}},
		{`{"error":{"code":"1308","message":"您的限额将在 2026-08-25 07:41:44 重置。"}}`, []string{"--status", "429", "--now", "2026-08-24T20:00:00Z"}, []string{"class     quota_exhausted\n", "seconds   13304\n", "source    body:message\n", `its code has "1308"`}},
		{`{"error":{"message":"API key not valid"}}`, []string{"--provider", "gemini", "--status", "400"}, []string{"class     invalid_key\n", "seconds   -\n", "cools for 24h0m0s", `its message has "api key not valid"`}},
		{`{"error":{"message":"your billing is odd"}}`, []string{"--status", "500"}, []string{"class     unknown\n", `its message has "billing", which may be about the key`}},
		{"busy", []string{"--status", "503"}, []string{"class     overloaded\n", "passes it to the client"}},
		{"no", []string{"--status", "404"}, []string{"class     ok\n", "passes it to the client", "no row of the provider's table fits"}},
		{": wait\n\ndata: {\"error\":{\"code\":429,\"message\":\"Try again in 9s\"}}\n\n", []string{"--status", "200"}, []string{"class     rate_limited\n", "seconds   9\n"}},
		{"event: error\ndata: {\"error\":{\"code\":\"insufficient_quota\"}}\n\n", []string{"--status", "429"}, []string{"class     quota_exhausted\n"}},
		{folded.String(), []string{"--status", "429", "--header", "Content-Encoding: gzip"}, []string{"class     quota_exhausted\n"}},
		{"", []string{"--status", "403", "--json"}, []string{`"class":"unknown","seconds":null,"source":""`, `"cooldown_seconds":86400`}},
	} {
		got := runCLI(row.body, append([]string{"classify"}, row.args...)...)
		for _, want := range row.says {
			if got.code != 0 || !strings.Contains(got.out, want) {
				t.Errorf("%q: %d, %q does not say %q", row.args, got.code, got.out+got.errors, want)
			}
		}
	}
}

func TestClassifyErrors(t *testing.T) {
	for args, want := range map[string]string{
		"classify":                                  "--status: the answer's status is missing",
		"classify --status 302":                     "--status: the answer's status is missing",
		"classify --status x":                       "--status: 'x' is no whole number",
		"classify --status 429 --provider opneai":   "--provider: unknown provider 'opneai': did you mean 'openai'?",
		"classify --status 429 --header Retry":      "--header: a header is <name>: <value>",
		"classify --status 429 --now today":         "--now: 'today' is no time",
		"classify --status 429 body.json":           "classify takes no arguments",
		"classify --status 429 --header sk-demo:-1": "",
	} {
		got := runCLI("", strings.Fields(args)...)
		if want == "" && got.code != 0 || want != "" && (got.code != 2 || !strings.Contains(got.errors, want)) {
			t.Errorf("%s: %d, %q", args, got.code, got.errors)
		}
	}
}

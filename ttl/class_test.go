package ttl

import "testing"

func TestClassNames(t *testing.T) {
	for name, want := range map[string]Class{
		"rate_limited":      RateLimited,
		"quota_exhausted":   QuotaExhausted,
		"invalid_key":       InvalidKey,
		"request_too_large": RequestTooLarge,
		"overloaded":        Overloaded,
		"unknown":           Unknown,
	} {
		if got, ok := ParseClass(name); !ok || got != want || got.String() != name {
			t.Errorf("ParseClass(%q) = %v, %v", name, got, ok)
		}
	}
	for _, name := range []string{"ok", "", "none", "Rate_Limited", "rate limited", "forbidden"} {
		if got, ok := ParseClass(name); ok {
			t.Errorf("ParseClass(%q) = %v, want none", name, got)
		}
	}
	if got := OK.String(); got != "ok" {
		t.Errorf("OK is called %q", got)
	}
	if got := Class(200).String(); got != "none" {
		t.Errorf("a value that is no class is called %q", got)
	}
}

package directive

import (
	"slices"
	"strings"
	"testing"
)

func TestNear(t *testing.T) {
	pool := []string{"auth", "keys", "keys_file", "limit", "max_attempts", "max_wait", "max_waiting", "on", "select", "state"}
	for _, row := range []struct{ text, want string }{
		{"key", "keys"}, {"key_file", "keys_file"}, {"keys_files", "keys_file"}, {"keyfile", "keys_file"},
		{"max_attemptz", "max_attempts"}, {"max-attempts", "max_attempts"}, {"MaxAttempts", "max_attempts"}, {"Keys", "keys"},
		{"slect", "select"}, {"sleect", "select"}, {"max_wiat", "max_wait"}, {"oh", "on"}, {"no", "on"},
		{"max_waitin", "max_waiting"}, // one slip, where max_wait has two
		{"", ""}, {"nonsense", ""}, {"weight", ""}, {"tier", ""}, {"sk-demo-1", ""}, {"sk-keys", ""},
		{strings.Repeat("keys", 1000), ""},
	} {
		if got := Near(row.text, pool); got != row.want {
			t.Errorf("%q is near to %q, want %q", row.text, got, row.want)
		}
	}
}

// A secret is near to nothing that anybody has named.
func TestSecretsAreNearToNothing(t *testing.T) {
	names := strings.Fields("auth client_tokens client_tokens_file clients cooldown keys keys_file models_endpoint max sk tls")
	for n := range 64 {
		for _, secret := range []string{"sk-" + strings.Repeat("k", n), "sk-keys_file-" + strings.Repeat("0", n), "gsk_" + strings.Repeat("keys", n)} {
			if near := Near(secret, names); near != "" && len(secret) > 2*len(near) {
				t.Errorf("%q is near to %q", secret, near)
			}
		}
	}
}

func TestSlips(t *testing.T) {
	for _, row := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abd", "abc", 1}, {"ab", "abc", 1}, {"abcd", "abc", 1},
		{"acb", "abc", 1}, {"cab", "abc", 2}, {"xyz", "abc", 3}, {"ca", "abc", 3},
	} {
		if got := slips(row.a, row.b); got != row.want || slips(row.b, row.a) != row.want {
			t.Errorf("%q and %q: %d slips, want %d", row.a, row.b, got, row.want)
		}
	}
}

func TestInstead(t *testing.T) {
	names := []string{"list", "show"}
	for text, want := range map[string]string{"ls": "here it is 'list'", "Status": "here it is 'list'", "rm": "one of list, show", "lst": "did you mean 'list'?", "remove": "one of list, show"} {
		if got := Instead(text, names, "one of "+strings.Join(names, ", ")); got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
	if got := Instead("lits", slices.Sorted(slices.Values(names)), ""); got != "did you mean 'list'?" {
		t.Error(got)
	}
}

func TestAsRate(t *testing.T) {
	for text, want := range map[string]string{
		"500/min": ": did you mean '500 1m'?", "500/m": ": did you mean '500 1m'?", "90k/Minute": ": did you mean '90k 1m'?", "5/s": ": did you mean '5 1s'?",
		"10/day": ": did you mean '10 1d'?", "500": "", "500/": "", "/min": "", "500/week": "", "many/min": "", "sk-demo-1/min": "",
		"500rpm": ": did you mean '500 1m'?", "90ktpm": ": did you mean '90k 1m'?", "rpm": "", "manyrpm": "",
	} {
		if got := AsRate(text); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestAsDuration(t *testing.T) {
	for text, want := range map[string]string{
		"60": "60s", "60sec": "60s", "60secs": "60s", "5min": "5m", "5minutes": "5m", "2hours": "2h", "1day": "1d", "minute": "1m", "m": "1m", "per minute": "1m", "Per Day": "1d",
		"": "", "s": "1s", "many": "", "month": "", "1month": "", "per": "", "per client": "", "-3": "", "1.5": "", "sk-demo-1": "", "5m2": "",
	} {
		if want != "" {
			want = ": did you mean '" + want + "'?"
		}
		if got := AsDuration(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// A word of other programs is told of where that is an option, and is no option of ours.
func TestElsewhere(t *testing.T) {
	for name, words := range elsewhere {
		for _, word := range strings.Fields(words) {
			if got := Here(word, []string{"x", name}); got != name {
				t.Errorf("%s: %q, want %q", word, got, name)
			}
			if _, ours := elsewhere[word]; ours && word != "order" {
				t.Errorf("%s is a name of ours", word)
			}
		}
	}
	if got := Instead("retries", []string{"max_attempts", "metrics"}, ""); got != "here it is 'max_attempts'" {
		t.Error(got)
	}
}

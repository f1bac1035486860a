package command

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/observe"
)

// tester plays the admin API, and what it says of tests, by id.
func tester(t *testing.T, a *fakeAdmin, says map[string]observe.CheckStatus) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/", a)
	mux.HandleFunc("POST /keycycler/pools/{pool}/keys/{id}/test", func(w http.ResponseWriter, r *http.Request) {
		s, ok := says[r.PathValue("id")]
		if s.ID = r.PathValue("id"); !ok {
			refusing(w, http.StatusConflict, "key "+s.ID+" cannot be tested: no path is known")
			return
		}
		answerJSON(w, s)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestCommandTest(t *testing.T) {
	a := twoPools()
	address := tester(t, a, map[string]observe.CheckStatus{
		fakeID(1): {Name: "acme", Result: "good", Status: 200, Milliseconds: 143, Did: "nothing", State: "ready"},
		fakeID(2): {Result: "refused", Class: "invalid_key", Status: 401, Milliseconds: 9, Seconds: 90000, Did: "cools", State: "cooling"},
		fakeID(3): {Result: "failed", Milliseconds: 10000, Did: "nothing", State: "disabled", Error: "there was no\x1b answer"},
	})
	for _, row := range []struct {
		sentence, args, want string
	}{
		{"a key", fakeID(1), "000000000001 (acme) in main: good, status 200 after 143 ms\n"},
		{"several", fakeID(2) + " " + fakeID(3), "000000000002 in main: refused (invalid_key), status 401 after 9 ms: it cools for 25h00m\n" +
			"000000000003 in spare: failed after 10000 ms: there was no? answer; it stays disabled\n"},
		{"all of a pool", "--all --pool main", "000000000001 (acme) in main: good, status 200 after 143 ms\n" +
			"000000000002 in main: refused (invalid_key), status 401 after 9 ms: it cools for 25h00m\n"},
		{"those that cool", "--all --pool main --state cooling", "000000000002 in main: refused (invalid_key), status 401 after 9 ms: it cools for 25h00m\n"},
	} {
		if got := runAt(t, address, append([]string{"test"}, strings.Fields(row.args)...)...); got != row.want {
			t.Errorf("%s: %s", row.sentence, got)
		}
	}
	keys := decodeCLI[[]tested](t, runAt(t, address, "test", fakeID(1), fakeID(2), "--json"))
	if len(keys) != 2 || keys[0].Pool != "main" || keys[1].Class != "invalid_key" || keys[1].Did != "cools" {
		t.Errorf("--json: %+v", keys)
	}
	if len(a.calls) > 0 {
		t.Errorf("keys were changed: %v", a.calls)
	}
}

func TestCommandTestErrors(t *testing.T) {
	address := tester(t, twoPools(), map[string]observe.CheckStatus{fakeID(1): {Result: "good", Did: "nothing"}})
	for _, row := range []struct {
		sentence, args string
		code           int
		want, printed  string
	}{
		{"no key", "", 2, "test takes ids or names of keys, or --all", ""},
		{"a key and all", fakeID(1) + " --all", 2, "test takes ids or --all, not both", ""},
		{"all of which pool", "--all", 2, "--all needs --pool, since there are 2 pools: main, spare", ""},
		{"a key that nobody has", fakeID(9), 1, "no pool has key 000000000009", ""},
		{"one that cannot be asked about, behind one that could", fakeID(1) + " " + fakeID(2), 1,
			"key 000000000002 in pool main: the Caddy at " + address + " has refused: key 000000000002 cannot be tested: no path is known (status 409)", "000000000001 in main: good"},
		{"likewise for scripts", fakeID(1) + " " + fakeID(2) + " --json", 1, "cannot be tested", `"result":"good"`},
	} {
		r := runCLI("", append(append([]string{"test"}, strings.Fields(row.args)...), "--address", address)...)
		if r.code != row.code || !strings.Contains(r.errors, row.want) || !strings.Contains(r.out, row.printed) || row.printed == "" && r.out != "" {
			t.Errorf("%s: %d, %s%s", row.sentence, r.code, r.out, r.errors)
		}
	}
}

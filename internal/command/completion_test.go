package command

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// completed returns what a shell offers, each without what is said of it, and whether it may
// go on with names of files.
func completed(t *testing.T, args ...string) (words []string, files bool) {
	t.Helper()
	r := runAs(append([]string{"__complete", "keycycler"}, args...)...)
	if r.code != 0 {
		t.Fatalf("%q: exit code %d, %s", args, r.code, r.errors)
	}
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	for _, line := range lines[:len(lines)-1] {
		word, _, _ := strings.Cut(line, "\t")
		words = append(words, word)
	}
	return words, lines[len(lines)-1] == ":0"
}

func TestCompletion(t *testing.T) {
	a := twoPools()
	a.keys["main"][0].Name = "east"
	address := a.start(t)
	at := []string{"--address", address}
	for _, row := range []struct {
		args  string // what is typed, of which the last word is begun; . is nothing
		words string
		files bool
	}{
		{"l", "list", false},
		{"cl", "classify clear", false},
		{"list .", "", false},
		{"list --s", "--sort --state", false},
		{"list --state .", "ready cooling disabled", false},
		{"list --state=c", "cooling", false},
		{"list --class rate", "rate_limited", false},
		{"list --sort .", "id left", false},
		{"list --pool .", "main spare", false},
		{"list --pool s", "spare", false},
		{"list --config .", "", true},
		{"usage --by .", "client model key", false},
		{"usage --last m", "month", false},
		{"classify --provider az", "azure", false},
		{"id .", "", false},
		{"cool --for .", "1m 10m 1h 1d", false},
		{"show .", "000000000001 000000000002 000000000003 east", false},
		{"show ea", "east", false},
		{"show 000000000001 .", "", false},
		{"clear 00000000000", "000000000001 000000000002 000000000003", false},
		{"clear 000000000001 .", "000000000002 000000000003 east", false},
		{"clear --all .", "", false},
		{"disable --pool spare .", "000000000002 000000000003", false},
	} {
		args := strings.Fields(row.args)
		if begun := &args[len(args)-1]; *begun == "." {
			*begun = ""
		}
		if len(args) > 1 && args[0] != "id" && args[0] != "classify" {
			args = slices.Concat(args[:1], at, args[1:])
		}
		words, files := completed(t, args...)
		slices.Sort(words)
		want := strings.Fields(row.words)
		slices.Sort(want)
		if !slices.Equal(slices.Compact(words), want) || files != row.files {
			t.Errorf("%s: %q, files %t; want %q", row.args, words, files, want)
		}
	}
}

// What is said of a key is what people know it by, and a pool of very many keys is asked for
// those that begin so.
func TestCompletionOfKeys(t *testing.T) {
	a := twoPools()
	many := make([]int, 3000)
	for i := range many {
		many[i] = i
	}
	for i := range many {
		a.keys["main"] = append(a.keys["main"], fakeKey(i<<24|0xabcdef))
	}
	slices.SortFunc(a.keys["main"], byFakeID)
	address := a.start(t)
	r := runAs("__complete", "keycycler", "show", "--address", address, "000bb7")
	if want := fmt.Sprintf("%012x\tkey of main, ready\n", 2999<<24|0xabcdef); !strings.HasPrefix(r.out, want) {
		t.Errorf("%s, want %s", r.out, want)
	}
	if a.asked > 5 {
		t.Errorf("%d requests", a.asked)
	}
}

// A shell gets no error and does not wait long where nobody answers.
func TestCompletionWithoutAGateway(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(silent.Close)
	t.Cleanup(silent.CloseClientConnections)
	for _, address := range []string{"127.0.0.1:" + live.FreePort(t), "https://nowhere", strings.TrimPrefix(silent.URL, "http://")} {
		for _, args := range [][]string{{"show", "--address", address, ""}, {"list", "--address", address, "--pool", ""}} {
			t.Run(args[0]+" "+address, func(t *testing.T) {
				t.Parallel() // each waits
				if words, files := completed(t, args...); len(words) > 0 || files {
					t.Errorf("%q", words)
				}
			})
		}
	}
}

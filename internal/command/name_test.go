package command

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/keycycler/keycycler/internal/observe"
)

// namedPools returns two pools that call different keys east, and one of them another west.
func namedPools() *fakeAdmin {
	a := twoPools()
	a.keys["main"][0].Name, a.keys["main"][1].Name = "east", "west"
	a.keys["spare"][1].Name = "east"
	return a
}

func TestListShowsNames(t *testing.T) {
	a := namedPools()
	a.keys["main"][1].Name = strings.Repeat("long-name.", 6)
	address := a.start(t)
	got := strings.ReplaceAll(runAt(t, address, "list", "--pool", "main"), "5m01s", "5m00s")
	want := `main: openai, 2 keys: 1 ready, 1 cooling, 0 disabled
state: memory, of this node alone
ID            NAME              STATE    CLASS         SOURCE       LEFT  TRIED
000000000001  east              ready    -             -               -      0
000000000002  long-name.long-…  cooling  rate_limited  retry-after   40s     12
`
	if got != want {
		t.Errorf("list says\n%s\nwant\n%s", got, want)
	}
	for line := range strings.Lines(got) {
		if utf8.RuneCountInString(line) > tableWidth+1 {
			t.Errorf("too wide: %s", line)
		}
	}
}

func TestShowTellsWhatAKeyIsKnownBy(t *testing.T) {
	a := namedPools()
	k := &a.keys["main"][1]
	k.Group, k.Tier, k.Upstream, k.Origin = "acme", 2, "https://west.example.com/v1", "openai.keys:17"
	got := runAt(t, a.start(t), "show", "west", "--pool", "main")
	want := `key 000000000002 in pool main
  name        west
  group       acme
  tier        2
  upstream    https://west.example.com/v1
  from        openai.keys:17
  state       cooling
`
	if !strings.HasPrefix(got, want) {
		t.Errorf("show says\n%s\nwant\n%s", got, want)
	}
}

func TestKeysAreCalledByNames(t *testing.T) {
	for _, row := range []struct {
		args, says, calls string
	}{
		{"disable west", "000000000002 (west) in main: disabled and cooling", "POST /keycycler/pools/main/keys/000000000002/disable"},
		{"disable east --pool spare", "000000000003 (east) in spare: disabled", "POST /keycycler/pools/spare/keys/000000000003/disable"},
		{"disable 000000000001 west", "000000000001 (east) in main", "POST /keycycler/pools/main/keys/000000000001/disable POST /keycycler/pools/main/keys/000000000002/disable"},
		{"disable west east", "2 keys have the name that argument 2 is: use an id, or narrow by --pool: nothing was changed", ""},
		{"show east", "2 keys have the name that argument 1 is", ""},
		{"show East", "no key has the name that argument 1 is", ""},
	} {
		a := namedPools()
		args := strings.Fields(row.args)
		r := runCLI("", append(args, "--address", a.start(t))...)
		if !strings.Contains(r.out+r.errors, row.says) || strings.Join(a.calls, " ") != row.calls {
			t.Errorf("%s: %s%s, and asked for %q", row.args, r.out, r.errors, a.calls)
		}
	}
}

// A name that a pool has for the same key as another is no reason to ask for an id.
func TestANameOfOneKeyInTwoPools(t *testing.T) {
	a := namedPools()
	a.keys["spare"][0].Name = "west"
	found := decodeCLI[[]poolKey](t, runAt(t, a.start(t), "show", "west", "--json"))
	if len(found) != 2 || found[0].ID != fakeID(2) || found[1].ID != fakeID(2) {
		t.Errorf("found %v", found)
	}
}

// What is given as a name and is none may be a key: it is not sent, since Caddy logs what
// its admin endpoint is asked for.
func TestNamesAreNotSent(t *testing.T) {
	a := namedPools()
	if _, err := endpoint(a.start(t)).identify([]observe.PoolStatus{{Pool: "main"}}, []string{"nobody"}); err == nil || strings.Contains(err.Error(), "nobody") {
		t.Errorf("error %v", err)
	}
	if strings.Contains(strings.Join(a.uris, " "), "nobody") || len(a.uris) == 0 {
		t.Errorf("it has asked for %q", a.uris)
	}
}

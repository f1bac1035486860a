package misuse

import (
	"fmt"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// event is what happens to a key at an address: it serves (+) or is refused (-).
type event struct {
	key, address string
	serves       bool
}

// play tells the addresses of the events, and returns how often the log was told.
func play(a *Addresses, events ...event) (told int) {
	for _, e := range events {
		if !e.serves {
			a.Refuse(rotator.IDOf(e.key), e.address)
			continue
		}
		if a.Watches() && a.Serve(rotator.IDOf(e.key), e.address).Tell {
			told++
		}
	}
	return told
}

func TestRest(t *testing.T) {
	for _, test := range []struct {
		sentence string
		events   []event
		want     time.Duration
	}{
		{"one address, which serves others", []event{{"bad", "a", false}, {"good", "a", true}}, time.Hour},
		{"another address serves, which has not seen it", []event{{"bad", "a", false}, {"good", "b", true}}, 0},
		{"another address refuses, which has not seen it", []event{{"bad", "a", false}, {"good", "b", false}, {"good", "a", true}}, 0},
		{"both have refused it", []event{{"bad", "a", false}, {"good", "b", true}, {"bad", "b", false}, {"good", "a", true}}, time.Hour},
		{"it has served where it was refused", []event{{"bad", "a", false}, {"good", "b", true}, {"bad", "b", false}, {"bad", "b", true}}, 0},
		{"it has served, and is refused everywhere since", []event{{"bad", "a", false}, {"bad", "b", true}, {"bad", "b", false}, {"good", "b", true}, {"good", "a", true}}, time.Hour},
		{"a key that nobody has refused", []event{{"other", "a", false}, {"other", "b", true}}, time.Hour},
		{"nobody knows the address", []event{{"bad", "", false}, {"good", "a", true}}, time.Hour},
	} {
		var a Addresses
		play(&a, test.events...)
		if got := a.Rest(rotator.IDOf("bad"), time.Second, time.Hour); got != test.want {
			t.Errorf("%s: it rests for %s, want %s", test.sentence, got, test.want)
		}
	}
}

// A key that always comes to an address which refuses it is asked seldom in the end.
func TestPatienceEnds(t *testing.T) {
	var a Addresses
	bad := rotator.IDOf("bad")
	play(&a, event{"bad", "a", false}, event{"good", "b", true})
	for i := range 2 * patience {
		if rest := a.Rest(bad, time.Second, time.Hour); rest != 0 {
			t.Fatalf("after %d times it rests for %s", i, rest)
		}
	}
	for _, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		if rest := a.Rest(bad, time.Second, time.Hour); rest != want {
			t.Errorf("it rests for %s, want %s", rest, want)
		}
	}
	for range 100 {
		a.Rest(bad, time.Second, time.Hour)
	}
	if rest := a.Rest(bad, time.Second, time.Hour); rest != time.Hour {
		t.Errorf("in the end it rests for %s", rest)
	}
	play(&a, event{"bad", "b", true})
	if rest := a.Rest(bad, time.Second, time.Hour); rest != 0 {
		t.Errorf("after it has served it rests for %s", rest)
	}
}

// A key that was convicted before a second address was known is pardoned, once.
func TestPardons(t *testing.T) {
	var a Addresses
	bad, good := rotator.IDOf("bad"), rotator.IDOf("good")
	play(&a, event{"bad", "a", false}, event{"good", "a", true})
	if a.Rest(bad, 1, time.Hour) != time.Hour {
		t.Fatal("it is not convicted by the one address")
	}
	if s := a.Serve(good, "a"); len(s.Pardoned) != 0 {
		t.Errorf("%v were pardoned by the same address", s.Pardoned)
	}
	for i, want := range []int{1, 0} {
		if s := a.Serve(good, "b"); len(s.Pardoned) != want || want == 1 && s.Pardoned[0] != bad {
			t.Errorf("by the other address, %d: %v were pardoned", i, s.Pardoned)
		}
	}
	a.Refuse(bad, "b")
	if a.Rest(bad, 1, time.Hour) != time.Hour {
		t.Fatal("it is not convicted by both addresses")
	}
	if pardoned := a.Refuse(good, "c"); len(pardoned) != 1 || pardoned[0] != bad {
		t.Errorf("by a third address, which refuses another: %v were pardoned", pardoned)
	}
}

func TestTell(t *testing.T) {
	for _, test := range []struct {
		sentence string
		events   []event
		told     int
	}{
		{"two keys that serve where the other is refused", []event{
			{"1", "b", false}, {"2", "a", false}, {"1", "a", true}, {"2", "b", true}, {"1", "b", false}, {"1", "a", true},
		}, 1},
		{"one key, of three addresses", []event{{"1", "a", false}, {"1", "b", true}, {"1", "c", false}, {"1", "b", true}, {"1", "c", false}, {"1", "b", true}}, 1},
		{"a key that was made just now", []event{{"1", "a", false}, {"1", "b", true}, {"1", "a", true}, {"1", "b", true}}, 0},
		{"a key that is revoked", []event{{"1", "a", true}, {"1", "b", true}, {"1", "a", false}, {"2", "b", true}, {"1", "b", false}, {"2", "a", true}}, 0},
		{"one address that hesitates", []event{{"1", "a", false}, {"1", "a", true}, {"1", "a", false}, {"1", "a", true}}, 0},
	} {
		var a Addresses
		if told := play(&a, test.events...); told != test.told {
			t.Errorf("%s: told %d times, want %d", test.sentence, told, test.told)
		}
	}
}

// What clients and upstreams can make grow is bounded.
func TestAddressesAreBounded(t *testing.T) {
	var a Addresses
	for i := range 3 * maxRefused {
		a.Refuse(rotator.IDOf(fmt.Sprint("key", i)), fmt.Sprint("address", i))
	}
	if len(a.keys) != maxRefused || len(a.names) != maxAddresses {
		t.Errorf("%d keys, %d addresses", len(a.keys), len(a.names))
	}
	if a.Rest(rotator.IDOf(fmt.Sprint("key", 3*maxRefused-1)), 1, 2) != 2 {
		t.Error("a key that there is no room for is not convicted")
	}
	for i := range maxRefused {
		for j := range maxAddresses {
			a.Serve(rotator.IDOf(fmt.Sprint("key", i)), fmt.Sprint("address", j))
		}
	}
	if a.Watches() || len(a.keys) > 0 {
		t.Errorf("%d keys are left that serve", len(a.keys))
	}
}

// BenchmarkServe is what a success costs while keys are kept account of.
func BenchmarkServe(b *testing.B) {
	var a Addresses
	for i := range maxRefused {
		a.Refuse(rotator.IDOf(fmt.Sprint("bad", i)), "a")
	}
	good := rotator.IDOf("good")
	for b.Loop() {
		a.Serve(good, "a")
	}
}

package main

import (
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
)

func TestParseOptionsRefuses(t *testing.T) {
	for _, test := range []struct{ what, args, want string }{
		{"a single round has no spread", "-rounds 1", "-rounds 1"},
		{"no start at all", "-starts 0", "-starts 0"},
		{"slices too short for a request", "-slice 1ms", "-slice 1ms"},
		{"slices without end", "-slice 2m", "-slice 2m0s"},
		{"no time to warm up", "-warmup 0s", "-warmup 0s"},
		{"a format it does not write", "-format html", "-format html"},
		{"a transport that it does not know", "-transport fastcgi", "-transport fastcgi"},
		{"a pattern that is none", "-run (", "-run: "},
		{"an argument that is no flag", "json", `"json"`},
	} {
		_, err := parseOptions(strings.Fields(test.args), io.Discard)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want it to name %s", test.what, err, test.want)
		}
	}
	if _, err := parseOptions([]string{"-nonsense"}, io.Discard); !errors.Is(err, errUsage) {
		t.Errorf("an unknown flag: %v", err)
	}
	if _, err := parseOptions([]string{"-help"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-help: %v", err)
	}
}

func TestRunChoosesByName(t *testing.T) {
	for _, test := range []struct {
		what, args            string
		scenarios, footprints int
	}{
		{"all, where nothing is said", "", len(scenarios), len(footprints)},
		{"one, by its whole name", "-run ^json-1k$", 1, 0},
		{"scenarios and footprints alike", "-run ^(redis-idle|start)$", 1, 1},
		{"none", "-run ^nothing$", 0, 0},
	} {
		o, err := parseOptions(strings.Fields(test.args), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if s, f := o.chosen(); len(s) != test.scenarios || len(f) != test.footprints {
			t.Errorf("%s: %d scenarios, %d footprints", test.what, len(s), len(f))
		}
	}
}

func TestNamesAreUnique(t *testing.T) {
	seen := make(map[string]bool)
	o, err := parseOptions(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	s, f := o.chosen()
	for _, one := range s {
		if seen[one.name] {
			t.Errorf("%s stands twice", one.name)
		}
		seen[one.name] = true
	}
	for _, one := range f {
		if seen[one.name] {
			t.Errorf("%s stands twice", one.name)
		}
		seen[one.name] = true
	}
}

package catalog

import (
	"slices"
	"testing"
)

func TestNames(t *testing.T) {
	offers := []*Offer{
		nil,
		{Models: []string{"gpt-4o", "gpt-*", "a"}, Renames: []Rename{{"gpt-5", "east"}, {"o3", "east-o3"}}},
		{Renames: []Rename{{"b", "c"}, {"a", "d"}, {"z*", "e"}}},
	}
	if got, want := Names(offers), []string{"a", "b", "gpt-4o", "gpt-5"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v: o3 is served by none", got, want)
	}
	if got := Names(nil); got != nil {
		t.Errorf("of none %v", got)
	}
	for model, want := range map[string]bool{"a": true, "gpt-x": true, "zz": true, "b": true, "o3": false, "c": false, "east": false, "": false} {
		if Has(offers, model) != want {
			t.Errorf("%q is named: %t", model, !want)
		}
	}
}

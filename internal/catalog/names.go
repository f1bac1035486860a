package catalog

import (
	"slices"
	"strings"
)

// Names returns the models that the offers name, patterns aside, each once, in order: those
// that they serve, and those that they rename.
func Names(offers []*Offer) []string {
	var names []string
	for _, o := range offers {
		for pattern := range o.patterns {
			if !strings.Contains(pattern, "*") {
				names = append(names, pattern)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Has tells whether one of the offers names the model, or has a pattern for it.
func Has(offers []*Offer, model string) bool {
	for _, o := range offers {
		for pattern := range o.patterns {
			if Fits(pattern, model) {
				return true
			}
		}
	}
	return false
}

// patterns yields what the offer names. What it renames and does not serve is of no use.
func (o *Offer) patterns(yield func(pattern string) bool) {
	if o == nil {
		return
	}
	for _, pattern := range o.Models {
		if !yield(pattern) {
			return
		}
	}
	for _, r := range o.Renames {
		if o.Serves(r.From) && !yield(r.From) {
			return
		}
	}
}

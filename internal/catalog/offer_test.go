package catalog

import (
	"path"
	"strings"
	"testing"
)

func TestFits(t *testing.T) {
	for _, test := range []struct {
		pattern, model string
		want           bool
	}{
		{"gpt-4o", "gpt-4o", true},
		{"gpt-4o", "gpt-4o-mini", false},
		{"gpt-4o", "GPT-4o", false},
		{"gpt-4o*", "gpt-4o", true},
		{"gpt-4o*", "gpt-4o-mini", true},
		{"gpt-4o*", "gpt-4", false},
		{"*", "", true},
		{"*", "anything", true},
		{"*-mini", "o3-mini", true},
		{"*-mini", "mini", false},
		{"a*a", "a", false},
		{"a*a", "aa", true},
		{"a*b*c", "aXbXc", true},
		{"a*b*c", "acb", false},
		{"a*b*b", "ab", false},
		{"**", "x", true},
		{"openai/*", "openai/gpt-4o", true},
		{"[a]*", "[a]b", true},
	} {
		if got := Fits(test.pattern, test.model); got != test.want {
			t.Errorf("%q fits %q: %v", test.model, test.pattern, got)
		}
	}
}

// FuzzFits compares with path.Match, where that knows no further meaning.
func FuzzFits(f *testing.F) {
	f.Add("gpt-*o*", "gpt-4o-mini")
	f.Add("*a*ab", "aab")
	f.Fuzz(func(t *testing.T, pattern, model string) {
		if strings.ContainsAny(pattern, `[?\/`) || strings.Contains(model, "/") {
			return
		}
		want, err := path.Match(pattern, model)
		if err != nil {
			return
		}
		if got := Fits(pattern, model); got != want {
			t.Errorf("%q fits %q: %v, want %v", model, pattern, got, want)
		}
	})
}

func TestOffer(t *testing.T) {
	o := &Offer{Models: []string{"gpt-4o*", "o3"}, Renames: []Rename{{"gpt-4o", "deployment-1"}, {"gpt-*", "deployment-2"}}}
	for model, want := range map[string]bool{"": true, "gpt-4o": true, "gpt-4o-mini": true, "o3": true, "o3-mini": false, "claude": false} {
		if o.Serves(model) != want {
			t.Errorf("serves %q: %v", model, !want)
		}
	}
	for model, want := range map[string]string{"gpt-4o": "deployment-1", "gpt-4o-mini": "deployment-2", "o3": "o3", "": ""} {
		if got, other := o.Name(model); got != want || other != (got != model) {
			t.Errorf("%q is called %q %v, want %q", model, got, other, want)
		}
	}
	var none *Offer
	if name, other := none.Name("o3"); !none.Serves("o3") || name != "o3" || other {
		t.Error("no offer restricts or renames")
	}
	if !o.Equal(&Offer{o.Models, o.Renames}) || o.Equal(none) || !none.Equal(nil) || o.Equal(&Offer{Models: o.Models}) {
		t.Error("offers are compared wrongly")
	}
}

func TestIsName(t *testing.T) {
	for text, want := range map[string]bool{
		"gpt-4o": true, "a b": true, "модель": true, "*": true, strings.Repeat("m", 256): true,
		"": false, strings.Repeat("m", 257): false, "a\n": false, "\x00": false, "a\xff": false, "a\u202e": false, "\ufffd": false,
	} {
		if IsName(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}

func TestCheckPattern(t *testing.T) {
	for text, want := range map[string]string{
		"gpt-4o": "", "gpt-4o*": "", "*": "", "ft:gpt-4o:acme::x1": "", "meta-llama/Llama-3.1": "", "Llama 3": "", "o1.": "",
		"": "1 to 256 bytes", strings.Repeat("m", MaxName+1): "1 to 256 bytes", "a\tb": "1 to 256 bytes",
		"gpt-4o,o3": "no comma", "gpt-4o,": "no comma", "gpt-4o;o3": "no comma",
		"^gpt-4": "no regular expression", "gpt-4.*": "no regular expression", "gpt-4$": "no regular expression",
	} {
		err := CheckPattern(text)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

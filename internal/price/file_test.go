package price

import (
	"os"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/usage"
)

func TestFiles(t *testing.T) {
	for sentence, text := range map[string]string{
		"a byte order mark":           "\xef\xbb\xbf{\"m\": {\"input\": 1}}\n",
		"a comment":                   `{"comment": "of 2026-11-28", "m": {"input": 1}}`,
		"a model called comment, too": `{"m": {"input": 1}, "comment": {"input": 1}}`,
		"CRLF":                        "{\r\n\"m\": {\r\n\"input\": 1}}\r\n",
	} {
		if got, ok := parsed(t, text).Cost("m", million(usage.Input)); !ok || got.String() != "1" {
			t.Errorf("%s: %v", sentence, got)
		}
	}
}

// Errors say where and what is wrong, and show nothing that could be a key.
func TestBadFiles(t *testing.T) {
	const hidden = "(not shown: it could be a key)"
	for _, row := range []struct{ text, want string }{
		{"", "line 1: the file ends too soon"},
		{"{\n", "line 2: the file ends too soon"},
		{`[]`, `line 1: the file is no object such as {"gpt-4o*": {"input": 2.5, "cached": 1.25, "output": 10}}`},
		{`"sk-demo-1"`, `line 1: the file is no object such as`},
		{"sk-demo-1\nsk-demo-2\n", "line 1: that is no JSON"},
		{`{}`, "line 1: the file has no price"},
		{`{"comment": "nothing"}`, "line 1: the file has no price"},
		{`{"m": {"input": 1}} {}`, "line 1: something follows the object"},
		{"{\n\"m\": {\"input\": 1},\n}", "line 3: that is no JSON"},
		{"{\n\"m\": {\"input\": 1}\n\"n\": 2}", "line 3: that is no JSON"},
		{"{\n\"m\": {\"input\": 1},\n\"m\": {\"input\": 2}}", "line 3: 'm' stands twice"},
		{`{"m": {"input": 1, "input": 2}}`, "line 1: model 'm': 'input' stands twice"},
		{`{"m": 2.5}`, "line 1: model 'm': the prices are no object"},
		{`{"m": "2.5"}`, "line 1: model 'm': the prices are no object"},
		{`{"comment": 1}`, "line 1: model 'comment': the prices are no object"},
		{`{"m": {}}`, "line 1: model 'm': it has no price"},
		{"{\n\"m\": {\n\"input\": 1,\n\"outputs\": 2}}", "line 4: model 'm': unknown kind of tokens 'outputs': one of input, cached, cache_write, output, reasoning"},
		{`{"m": {"sk-demo-1": 2}}`, "line 1: model 'm': unknown kind of tokens " + hidden},
		{`{"m": {"input_cost_per_token": 2.5e-6}}`, "line 1: model 'm': 'input_cost_per_token' is of another program's list: here it is, in USD per million tokens, one of input"},
		{`{"m": {"input": "2.5"}}`, "line 1: model 'm': input: the price is no number"},
		{`{"m": {"input": null}}`, "line 1: model 'm': input: the price is no number"},
		{`{"m": {"input": {"usd": 1}}}`, "line 1: model 'm': input: the price is no number"},
		{`{"m": {"output": -1}}`, "line 1: model 'm': output: the price must be a decimal from 0 to 100000 such as 0.075"},
		{`{"m": {"output": 1e-2}}`, "line 1: model 'm': output: the price must be a decimal"},
		{`{"m": {"output": 1e999999999}}`, "line 1: model 'm': output: the price must be a decimal"},
		{`{"m": {"output": ` + strings.Repeat("9", 1000) + `}}`, "line 1: model 'm': output: the price must be a decimal"},
		{`{"m": {"output": NaN}}`, "line 1: model 'm': that is no JSON"},
		{`{"m": {"output": 100000.000001}}`, "line 1: model 'm': output: the price is out of range: 0 to 100000 USD per million tokens"},
		{`{"m": {"output": 0.0000001}}`, "line 1: model 'm': output: the price has more than six decimals"},
		{`{"": {"input": 1}}`, "line 1: a model has 1 to 256 bytes of printable characters"},
		{`{"` + strings.Repeat("m", 257) + `": {"input": 1}}`, "line 1: a model has 1 to 256 bytes of printable characters"},
		{`{"\u0007": {"input": 1}}`, "line 1: a model has 1 to 256 bytes of printable characters"},
		{"{\"\xff\": {\"input\": 1}}", "line 1: a model has 1 to 256 bytes of printable characters"},
		{`{"sk-demo-1": {"input": "x"}}`, "line 1: model " + hidden + ": input: the price is no number"},
		{`{"claude-sonnet-4-5-20250929": {"input": "x"}}`, "line 1: model 'claude-sonnet-4-5-20250929': input: the price is no number"},
		{large()[:len(large())-1] + `, "one-more": {"input": 1}}`, "line 10000: there are more than 10000 models"},
		{strings.Replace(large(), `"model-9999"`, `"model-9999*"`, 1), "line 10000: there are more than 1000 models with a *"},
		{`{"m": {"input": 1}}` + strings.Repeat(" ", maxFile), "the file is larger than 1048576 bytes"},
	} {
		_, err := read(strings.NewReader(row.text))
		if err == nil || !strings.HasPrefix(err.Error(), row.want) {
			t.Errorf("%.60q: %v, want %s", row.text, err, row.want)
		}
		if err != nil && strings.Contains(err.Error(), "sk-demo") {
			t.Errorf("%.60q: the error shows a key: %v", row.text, err)
		}
	}
	if len(parsed(t, large()).patterns) != maxPatterns {
		t.Error("as many as there may be are too many")
	}
}

// FuzzRead reads anything without falling over, and what it takes has prices within bounds.
func FuzzRead(f *testing.F) {
	for _, text := range []string{``, `{"m": {"input": 1}}`, `{"comment": "x", "m*": {"cached": 0.000001}}`, `{"m": {"input": 1e9}}`, `[`, `{"m":`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := read(strings.NewReader(text))
		if err != nil {
			return
		}
		check := func(r *rates) {
			for _, rate := range r {
				if rate > maxPrice*1_000_000 {
					t.Errorf("a rate of %d", rate)
				}
			}
		}
		for _, r := range l.exact {
			check(r)
		}
		for _, p := range l.patterns {
			check(p.rates)
		}
	})
}

// The example can be read, says of which day it is, and has a price for what a client may ask.
func TestTheExample(t *testing.T) {
	text, err := os.ReadFile("../../examples/prices.json")
	if err != nil {
		t.Fatal(err)
	}
	l := parsed(t, string(text))
	if !strings.Contains(string(text), "2026-") {
		t.Error("it has no date")
	}
	for _, model := range []string{"gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-mini", "text-embedding-3-small", "claude-sonnet-4-5-20250929", "gemini-2.5-flash"} {
		if cost, ok := l.Cost(model, million(usage.Input)); !ok || cost == 0 {
			t.Errorf("%s has no price", model)
		}
	}
	large, _ := l.Cost("gpt-4o-2024-08-06", million(usage.Input))
	if small, _ := l.Cost("gpt-4o-mini-2024-07-18", million(usage.Input)); small >= large {
		t.Errorf("mini costs %s, and the large one %s", small, large)
	}
}

// So can what the page shows.
func TestThePagesExample(t *testing.T) {
	page, err := os.ReadFile("../../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```json\n")
	text, _, _ = strings.Cut(text, "```")
	l := parsed(t, text)
	used := &usage.Tokens{91_220, 310_400, 0, 88_012, 12_004} // as the page has it
	if cost, ok := l.Cost("gpt-4o", used); !ok || cost.Brief() != "1.50" {
		t.Errorf("it costs %s", cost)
	}
}

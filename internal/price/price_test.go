package price

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/usage"
)

// parsed returns the list of a file's text.
func parsed(t testing.TB, text string) *List {
	t.Helper()
	l, err := read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// million is a million tokens of one kind.
func million(kind usage.Type) *usage.Tokens {
	t := &usage.Tokens{-1, -1, -1, -1, -1}
	t[kind] = 1_000_000
	if kind == usage.Reasoning {
		t[usage.Output] = 1_000_000 // of which it is a part
	}
	return t
}

// What is left out has a price all the same, or costs nothing.
func TestWhatIsLeftOut(t *testing.T) {
	for _, row := range []struct {
		sentence, prices string
		want             [5]string // of a million input, cached, cache_write, output, reasoning
	}{
		{"nothing", `{"input": 2.5, "cached": 1.25, "cache_write": 3.125, "output": 10, "reasoning": 20}`, [...]string{"2.5", "1.25", "3.125", "10", "20"}},
		{"tokens of caches cost what others do", `{"input": 2.5, "output": 10}`, [...]string{"2.5", "2.5", "2.5", "10", "10"}},
		{"whatever comes first", `{"cached": 1, "output": 10, "input": 2.5}`, [...]string{"2.5", "1", "2.5", "10", "10"}},
		{"reasoning costs what output does", `{"output": 8}`, [...]string{"0", "0", "0", "8", "8"}},
		{"unless it has a price", `{"output": 8, "reasoning": 0}`, [...]string{"0", "0", "0", "8", "0"}},
		{"output costs nothing", `{"input": 0.02}`, [...]string{"0.02", "0.02", "0.02", "0", "0"}},
		{"a cache is free", `{"input": 3, "cached": 0}`, [...]string{"3", "0", "3", "0", "0"}},
		{"six decimals", `{"input": 0.000001, "output": 99999.999999}`, [...]string{"0.000001", "0.000001", "0.000001", "99999.999999", "99999.999999"}},
	} {
		l := parsed(t, `{"m": `+row.prices+`}`)
		for kind, want := range row.want {
			if got, ok := l.Cost("m", million(usage.Type(kind))); !ok || got.String() != want {
				t.Errorf("%s: a million of %s cost %s, want %s", row.sentence, usage.Names[kind], got, want)
			}
		}
	}
}

// The most specific pattern is a model's, wherever it stands in the file.
func TestTheMostSpecificWins(t *testing.T) {
	members := []string{
		`"*": {"input": 1}`, `"gpt-*": {"input": 2}`, `"gpt-4o*": {"input": 3}`, `"gpt-4o": {"input": 4}`, `"gpt-4o-mini*": {"input": 5}`,
		`"*-mini": {"input": 6}`, `"b*": {"input": 7}`, `"*b": {"input": 8}`, `"*b*": {"input": 9}`, `"c**": {"input": 10}`, `"*c": {"input": 11}`,
		`"d-*-long": {"input": 12}`, `"d-x-*": {"input": 13}`,
	}
	for range 20 {
		rand.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		l := parsed(t, "{"+strings.Join(members, ",")+"}")
		for model, want := range map[string]string{
			"": "1", "llama": "1", "claude": "10", "gpt-5": "2", "gpt-4o-2024": "3", "gpt-4o": "4", "gpt-4o-mini-2024": "5", "gpt-4o-mini": "5",
			"gpt-5-mini": "6",                        // five characters beat four
			"bb":         "8", "bx": "7", "xbx": "9", // of one character each: fewer *, then the alphabet, where * comes before letters
			"cc": "11", "d-x-long": "12", // the longer one, whatever it begins with
			"GPT-4o": "1", "gpt-4o ": "3",
		} {
			if got, ok := l.Cost(model, million(usage.Input)); !ok || got.String() != want {
				t.Fatalf("%q costs %s, want %s", model, got, want)
			}
		}
	}
}

// What fits nothing has no price, and nothing has one without a list.
func TestUnknownModels(t *testing.T) {
	l := parsed(t, `{"gpt-4o*": {"input": 1}}`)
	for _, model := range []string{"", "gpt-4", "xgpt-4o", strings.Repeat("m", 10_000), "\xff\x00"} {
		if got, ok := l.Cost(model, million(usage.Input)); ok || got != 0 {
			t.Errorf("%.20q costs %v", model, got)
		}
	}
	if got, ok := (*List)(nil).Cost("m", million(usage.Input)); ok || got != 0 {
		t.Errorf("without a list it costs %v", got)
	}
}

// The cost is what arithmetic without bounds finds, to the nano-USD, whatever the numbers.
func TestCostIsExact(t *testing.T) {
	half := big.NewRat(1, 2)
	for range 20_000 {
		var r rates
		n := usage.Tokens{}
		exact := new(big.Rat)
		for kind := range r {
			r[kind], n[kind] = rand.Uint64N(1+maxPrice*1_000_000>>rand.UintN(37)), rand.Int64N(1+1<<50>>rand.UintN(51))
		}
		thought := min(n[usage.Reasoning], n[usage.Output])
		for kind, tokens := range [...]int64{n[usage.Input], n[usage.Cached], n[usage.CacheWrite], n[usage.Output] - thought, thought} {
			exact.Add(exact, new(big.Rat).Mul(big.NewRat(tokens, 1000), new(big.Rat).SetUint64(r[kind])))
		}
		got := r.cost(&n)
		if exact.Cmp(big.NewRat(math.MaxInt64, 1)) >= 0 {
			if got != math.MaxInt64 {
				t.Fatalf("%v at %v cost %d, which is too little", n, r, got)
			}
			continue
		}
		off := exact.Sub(exact, big.NewRat(int64(got), 1))
		if c := off.Abs(off).Cmp(half); c > 0 || c == 0 && got%2 != 0 {
			t.Fatalf("%v at %v cost %d, which is %s off", n, r, got, off)
		}
	}
}

// A million answers that cost half a nano-USD each are not a million times off in one
// direction: of 1 and 3 halves one goes down, and one up.
func TestHalvesGoBothWays(t *testing.T) {
	l := parsed(t, `{"m": {"input": 0.0005}}`)
	var sum usage.USD
	for n := range int64(1000) {
		cost, _ := l.Cost("m", &usage.Tokens{2*n + 1})
		sum += cost
	}
	if want := usage.USD(1000 * 1000 / 2); sum != want {
		t.Errorf("%d nano-USD, want %d", sum, want)
	}
}

// TestCostOfUnknown counts what is stated, and nothing that is not.
func TestCostOfUnknown(t *testing.T) {
	l := parsed(t, `{"m": {"input": 1, "output": 2, "reasoning": 4}}`)
	for _, row := range []struct {
		sentence string
		used     usage.Tokens
		want     usage.USD
	}{
		{"all is unknown", usage.Tokens{-1, -1, -1, -1, -1}, 0},
		{"the input alone is stated", usage.Tokens{3, -1, -1, -1, -1}, 3000},
		{"reasoning is of the output", usage.Tokens{0, 0, 0, 10, 4}, 6*2000 + 4*4000},
		{"more reasoning than output", usage.Tokens{0, 0, 0, 1, 4}, 4000},
		{"reasoning without an output", usage.Tokens{0, 0, 0, -1, 4}, 0},
	} {
		if got, _ := l.Cost("m", &row.used); got != row.want {
			t.Errorf("%s: %d, want %d", row.sentence, got, row.want)
		}
	}
}

// large is a file with as many models and patterns as there may be.
func large() string {
	var members []string
	for i := range maxModels {
		star := "*"
		if i >= maxPatterns {
			star = ""
		}
		members = append(members, fmt.Sprintf(`"model-%d%s": {"input": 1}`, i, star))
	}
	return "{" + strings.Join(members, ",\n") + "}"
}

// To look for a price allocates nothing.
func TestCostAllocations(t *testing.T) {
	l, used := parsed(t, large()), &usage.Tokens{1, 2, 3, 4, 0}
	for _, model := range []string{"model-9999", "model-x", "nothing"} {
		if got := testing.AllocsPerRun(100, func() { l.Cost(model, used) }); got != 0 {
			t.Errorf("%s: %v allocations", model, got)
		}
	}
}

func BenchmarkCost(b *testing.B) {
	l, used := parsed(b, large()), &usage.Tokens{1, 2, 3, 4, 0}
	for _, model := range []string{"model-9999", "model-0-mini", "nothing"} {
		b.Run(model, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.Cost(model, used)
			}
		})
	}
}

package price

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/keycycler/keycycler/internal/usage"
)

// book opens a book of prices in a file with this text, and returns its log and a way to
// change the file: one that a watcher notices, whatever the file system's clock.
func book(t *testing.T, text string) (b *Book, log *observer.ObservedLogs, change func(text string)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "prices.json")
	n := 0
	change = func(text string) {
		t.Helper()
		n++
		next := fmt.Sprint(path, n)
		if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, path); err != nil {
			t.Fatal(err)
		}
	}
	change(text)
	core, log := observer.New(zapcore.InfoLevel)
	b, err := Open(path, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	return b, log, change
}

func costs(b *Book, model string) string {
	if cost, ok := b.Cost(model, million(usage.Input)); ok {
		return cost.String()
	}
	return "nothing is known"
}

// The file is read again when it changes; one that is bad or gone changes nothing, and the log
// says so once.
func TestTheFileIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, log, change := book(t, `{"m": {"input": 1}}`)
		defer b.Stop()
		lines := func() (all []string) {
			time.Sleep(time.Second) // the watcher's looks, on the bubble's clock
			synctest.Wait()
			for _, e := range log.TakeAll() {
				line := e.Level.String() + " " + e.Message
				if err, ok := e.ContextMap()["error"]; ok {
					line += ": " + fmt.Sprint(err)
				}
				all = append(all, line)
			}
			return all
		}
		const bad = "warn prices were not read again: going on with the last good ones: prices: "
		for _, row := range []struct{ sentence, text, costs, log string }{
			{"nothing changes", "", "1", ""},
			{"another price", `{"m": {"input": 2}}`, "2", "info prices have changed"},
			{"a bad file", `{"m": {"input": -2}}`, "2", bad},
			{"which stays bad", `{"m": {"input": -2}} `, "2", ""},
			{"an empty one", ` `, "2", bad},
			{"a good one", `{"*": {"input": 3}}`, "3", "info prices have changed"},
		} {
			if row.text != "" {
				change(row.text)
			}
			got := lines()
			if costs(b, "m") != row.costs || len(got) != min(len(row.log), 1) || len(got) == 1 && !strings.HasPrefix(got[0], row.log) {
				t.Errorf("%s: %s, and the log says %q", row.sentence, costs(b, "m"), got)
			}
			if strings.Contains(row.log, bad) && len(got) > 0 && !strings.Contains(got[0], "prices.json: line 1: ") {
				t.Errorf("%s: the line does not name the file and the line: %q", row.sentence, got)
			}
		}
		if err := os.Remove(b.path); err != nil {
			t.Fatal(err)
		}
		if got := lines(); costs(b, "m") != "3" || len(got) != 1 || !strings.Contains(got[0], "no such file") {
			t.Errorf("without a file: %s, %q", costs(b, "m"), got)
		}
	})
}

// A file that is absent or bad at the start is an error that names the option and the file.
func TestOpening(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte("{\n\"m\": {}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "absent"):    "prices: open " + filepath.Join(dir, "absent") + ": no such file or directory",
		bad:                             "prices: " + bad + ": line 2: model 'm': it has no price",
		dir:                             "prices: " + dir + ": ",
		"{env.KEYCYCLER_TEST_NO_PRICE}": "prices: ",
		"{nothing}":                     "prices: unknown placeholder",
	} {
		if b, err := Open(path, zap.NewNop()); err == nil || !strings.HasPrefix(err.Error(), want) {
			b.Stop()
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	b, err := Open("", zap.NewNop())
	if b != nil || err != nil {
		t.Errorf("of no file: %v, %v", b, err)
	}
	b.Stop()
	if bill := (&usage.Bill{Cost: usage.NotPriced}); b.Price("m", bill) != usage.NotPriced || bill.Cost != usage.NotPriced {
		t.Errorf("of no file: %v", bill)
	}
}

// The log hears of each model without a price once, of so many and no more, and shows no key.
func TestModelsWithoutAPrice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, log, change := book(t, `{"m": {"input": 1}}`)
		defer b.Stop()
		for range 3 {
			for _, model := range []string{"m", "", "other", "sk-demo-abcdefgh", "\xff\xfe", strings.Repeat("long", 10_000)} {
				bill := &usage.Bill{Tokens: usage.Tokens{1_000_000}, Cost: usage.NotPriced}
				want := usage.NoPrice
				if model == "m" {
					want = 1_000_000_000
				}
				if got := b.Price(model, bill); got != want || bill.Cost != want {
					t.Errorf("%.20q: %d, %d on the bill, want %d", model, got, bill.Cost, want)
				}
			}
		}
		lines := log.TakeAll()
		if len(lines) != 5 || lines[1].ContextMap()["model"] != "'other'" || lines[1].ContextMap()["prices"] != b.path {
			t.Errorf("%d lines: %v", len(lines), lines)
		}
		for _, l := range lines {
			if text := fmt.Sprint(l.ContextMap()); strings.Contains(text, "sk-demo") || len(text) > 1000 {
				t.Errorf("a line is %.200s", text)
			}
		}
		for i := range 100_000 {
			b.Price(fmt.Sprint("junk-", i), &usage.Bill{})
		}
		if n := log.Len(); n != maxTold-5 || len(b.told) != maxTold {
			t.Errorf("%d lines more, and %d models are remembered", n, len(b.told))
		}
		log.TakeAll()
		change(`{"m": {"input": 2}}`)
		time.Sleep(time.Second)
		synctest.Wait()
		b.Price("other", &usage.Bill{})
		if lines := log.FilterMessageSnippet("has no price").TakeAll(); len(lines) != 1 {
			t.Errorf("after the file has changed: %v", lines)
		}
	})
}

// All may ask while the file changes.
func TestTogether(t *testing.T) {
	b, _, _ := book(t, `{"m": {"input": 1}}`)
	defer b.Stop()
	done := make(chan bool)
	for range 8 {
		go func() {
			for i := range 1000 {
				b.Price(fmt.Sprint(i%100), &usage.Bill{})
			}
			done <- true
		}()
	}
	for range 100 {
		if err := b.reread(); err != nil {
			t.Error(err)
		}
	}
	for range 8 {
		<-done
	}
}

// A price that is known costs a request no allocation.
func TestPriceAllocations(t *testing.T) {
	b, _, _ := book(t, `{"m": {"input": 1}}`)
	defer b.Stop()
	bill := &usage.Bill{Tokens: usage.Tokens{1}}
	b.Price("other", bill)
	for _, model := range []string{"m", "other"} {
		if got := testing.AllocsPerRun(100, func() { b.Price(model, bill) }); got != 0 {
			t.Errorf("%s: %v allocations", model, got)
		}
	}
}

package main

import "testing"

// parseTest is a text and the number that it tells.
type parseTest struct {
	what, text string
	want       int64 // -1 for an error
}

func testParse(t *testing.T, parse func(string) (int64, error), tests []parseTest) {
	t.Helper()
	for _, test := range tests {
		got, err := parse(test.text)
		if err != nil {
			got = -1
		}
		if got != test.want {
			t.Errorf("%s: got %d, %v, want %d", test.what, got, err, test.want)
		}
	}
}

func TestParseRollup(t *testing.T) {
	testParse(t, parseRollup, []parseTest{
		{"as the kernel writes it", "55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss:                1024 kB\nPss:   12 kB\n", 1 << 20},
		{"nothing", "", -1},
		{"another unit is not guessed at", "Rss: 1024 MB\n", -1},
		{"no number", "Rss: much kB\n", -1},
		{"less than nothing", "Rss: -4 kB\n", -1},
		{"more than there is", "Rss: 9223372036854775807 kB\n", -1},
		{"a line that only looks like it", "Rss_Extra: 5 kB\n", -1},
	})
}

func TestParseWriteCalls(t *testing.T) {
	testParse(t, parseWriteCalls, []parseTest{
		{"as the kernel writes it", "rchar: 6976\nwchar: 9\nsyscr: 10\nsyscw: 42\nread_bytes: 0\n", 42},
		{"nothing", "", -1},
		{"no number", "syscw: many\n", -1},
		{"less than nothing", "syscw: -1\n", -1},
	})
}

func TestParseHeap(t *testing.T) {
	testParse(t, parseHeap, []parseTest{
		{"heap and stacks in use are added", "heap profile: 1: 2\n# runtime.MemStats\n# HeapAlloc = 1000\n# HeapSys = 9\n# Stack = 24 / 64\n", 1024},
		{"without stacks", "# HeapAlloc = 1000\n", -1},
		{"without a heap", "# Stack = 24 / 64\n", -1},
		{"no number", "# HeapAlloc = x\n# Stack = 24 / 64\n", -1},
		{"nothing", "", -1},
	})
}

func FuzzParseProc(f *testing.F) {
	f.Add("Rss: 1024 kB\n# HeapAlloc = 1\n# Stack = 1 / 2\n")
	f.Add("Rss:\n# Stack = / \n")
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := parseRollup(text); err == nil && n < 0 {
			t.Errorf("%d bytes are resident", n)
		}
		if n, err := parseWriteCalls(text); err == nil && n < 0 {
			t.Errorf("%d calls", n)
		}
		if n, err := parseHeap(text); err == nil && n < 0 {
			t.Errorf("%d bytes are in use", n)
		}
	})
}

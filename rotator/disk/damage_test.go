package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// sample is a file with a record of each kind, and what it says.
func sample() (text string, all *contents) {
	c := codec{reasons: reasons}
	all = newContents(0)
	for i := range int64(12) {
		id := rotator.ID{byte(i), 7}
		all.facts[subject{id: id}] = fact{until: 9_000_000 + i, learned: 1_000_000, spare: 2_000_000 * (i % 2), equal: i%2 == 1, reason: 1, source: "retry-after"}
		all.facts[subject{id, "gpt-x"}] = fact{until: 8_000_000 + i, learned: 1_000_000, reason: 2}
		all.facts[subject{id: rotator.ID{byte(i), 8}}] = fact{off: rotator.Switch(1_700_000_000_000 + i)}
		all.owners[rotator.Resource{byte(i)}] = use{id, 3_000_000 + i}
	}
	return string(all.text(c, mark{4_000_000, 5_000_000})), all
}

// within reports whether everything that is known was written, as it is known.
func (all *contents) within(written *contents) error {
	for about, f := range all.facts {
		if written.facts[about] != f {
			return fmt.Errorf("%v was never written of %v", f, about)
		}
	}
	for r, o := range all.owners {
		if written.owners[r] != o {
			return fmt.Errorf("%v was never written of %v", o, r)
		}
	}
	return nil
}

func (all *contents) size() int { return len(all.facts) + len(all.owners) }

// A file that ends anywhere is one whose last write was cut off: all before it is read.
func TestCutAnywhere(t *testing.T) {
	text, written := sample()
	c := codec{reasons: reasons}
	if all := c.read(text); all.within(written) != nil || all.size() != written.size() || all.last != (mark{4_000_000, 5_000_000}) || all.lost > 0 || all.good != len(text) {
		t.Fatalf("the whole file: %v, %d of %d records, %d lost", all.within(written), all.size(), written.size(), all.lost)
	}
	for end := range text {
		all := c.read(text[:end])
		whole := max(strings.Count(text[:end], "\n"), 0)
		if err := all.within(written); err != nil || all.lines != whole || all.lost > 0 && whole > 0 {
			t.Fatalf("cut at %d: %v, %d lines, want %d, %d lost", end, err, all.lines, whole, all.lost)
		}
		if zeros := c.read(text[:end] + strings.Repeat("\x00", 5000)); zeros.lines != whole || zeros.lost > 0 && whole > 0 {
			t.Fatalf("zeros from %d on: %d lines, want %d, %d lost", end, zeros.lines, whole, zeros.lost)
		}
		if isForeign(text[:end]) {
			t.Fatalf("cut at %d it is said to be somebody else's", end)
		}
	}
}

// A bit that is wrong costs the record that it is in, and shows.
func TestBitsThatAreWrong(t *testing.T) {
	text, written := sample()
	c := codec{reasons: reasons}
	for i := range len(text) * 8 {
		broken := []byte(text)
		broken[i/8] ^= 1 << (i % 8)
		all := c.read(string(broken))
		if err := all.within(written); err != nil {
			t.Fatalf("bit %d: %v", i, err)
		}
		last := i/8 >= strings.LastIndexByte(text[:len(text)-1], '\n')
		if all.size() < written.size()-2 || all.lost == 0 && !last || isForeign(string(broken)) {
			t.Fatalf("bit %d: %d of %d records, %d lines lost", i, all.size(), written.size(), all.lost)
		}
	}
}

// A damaged file is set aside as it was, told of once, and what could be read goes on.
func TestADamagedFileIsSetAside(t *testing.T) {
	for name, edit := range map[string]func(string) string{
		"a line":        func(text string) string { return strings.Replace(text, "\tretry-after", "\tretry+after", 1) },
		"the first one": func(text string) string { return "x" + text[1:] },
		"a hole":        func(text string) string { return text[:100] + strings.Repeat("\x00", 200) + text[300:] },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, statePath(t), 20)
				for s := range rotator.Slot(20) {
					p.Cool(s, time.Hour)
				}
				p.end()
				damaged := edit(content(t, p.path))
				write(t, p.path, damaged)

				again := start(t, p.path, 20)
				settle()
				if len(again.damages()) != 1 || again.damages()[0].Lost == 0 || again.damages()[0].Lines < 10 || content(t, again.damages()[0].Aside) != damaged {
					t.Fatalf("%+v", again.damages())
				}
				ready := again.Ready()
				if ready > 4 {
					t.Errorf("%d of 20 keys are ready", ready)
				}
				again.end()
				third := start(t, p.path, 20)
				settle()
				if len(third.damages()) > 0 || third.Ready() != ready {
					t.Errorf("the file that goes on: %+v, %d keys are ready, want %d", third.damages(), third.Ready(), ready)
				}
			})
		})
	}
}

// What is no state file at all, and no text either, is set aside, and nothing is known.
func TestJunk(t *testing.T) {
	for name, text := range map[string]string{
		"binary":                    "\x7fELF\x02\x01\x01" + strings.Repeat("\x00\xff", 3000),
		"binary lines":              strings.Repeat("\x01\x02\n", 300),
		"lines that look like ours": "0badc0de key\tfa97607a83f3\n0badc0de key\n",
		"a newer version":           lines("keycycler 2", "key\tanother form"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "keys.state")
				write(t, path, text)
				p := start(t, path, 3)
				p.Cool(0, time.Hour)
				settle()
				if len(p.damages()) != 1 || content(t, p.damages()[0].Aside) != text || p.damages()[0].Newer != (name == "a newer version") {
					t.Fatalf("%+v", p.damages())
				}
				p.end()
				start(t, path, 3).cools("", 0, time.Hour-2*gather)
			})
		})
	}
}

// A file that is somebody else's stays, and the start ends with an error.
func TestAFileOfSomebodyElse(t *testing.T) {
	for name, text := range map[string]string{
		"a keys file": "sk-demo-1\nsk-demo-2\n",
		"a Caddyfile": ":80\n\nkeycycler {\n\tkeys sk-demo-1\n}\n",
		"one key":     "sk-demo-1",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.state")
			write(t, path, text)
			_, err := Open(Options{Path: path, State: newState()})
			if err == nil || !strings.Contains(err.Error(), path+" is no state file") || strings.Contains(err.Error(), "sk-") {
				t.Errorf("error %v", err)
			}
			if found, _ := filepath.Glob(path + "*"); content(t, path) != text || len(found) != 1 {
				t.Errorf("there are %v", found)
			}
		})
	}
}

// Nothing and a file of zeros are no damage: that is what a loss of power leaves of a file
// in which nothing was.
func TestNothing(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "zeros": strings.Repeat("\x00", 4096)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "keys.state")
				write(t, path, text)
				p := start(t, path, 1)
				p.Cool(0, time.Hour)
				p.end()
				if len(p.damages())+len(p.changes()) > 0 {
					t.Errorf("%+v, %+v", p.damages(), p.changes())
				}
				start(t, path, 1).cools("", 0, time.Hour)
			})
		})
	}
}

// Two that are set aside in one second have names of their own.
func TestNamesOfWhatIsSetAside(t *testing.T) {
	path, now := filepath.Join(t.TempDir(), "keys.state"), time.Date(2026, 11, 29, 1, 2, 3, 0, time.UTC)
	for i, want := range []string{".damaged-20261129-010203", ".damaged-20261129-010203-1", ".damaged-20261129-010203-2"} {
		os.Remove(path)
		write(t, path, fmt.Sprint("file ", i))
		name, err := setAside(path, now)
		if err != nil || name != path+want || content(t, name) != fmt.Sprint("file ", i) {
			t.Errorf("%s, %v, want %s", name, err, want)
		}
	}
	if _, err := setAside(path+"-is-not-there", now); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if err := copyNew(path, path+".copy"); err != nil || content(t, path+".copy") != "file 2" {
		t.Errorf("a copy: %v", err)
	}
}

// FuzzRead reads what anybody may have written: it does not fail, what it says can be
// learned and written again, and then it reads the same.
func FuzzRead(f *testing.F) {
	text, _ := sample()
	f.Add(text)
	f.Add(text[:len(text)/2] + "\x00\x00")
	f.Add(lines(firstLine, "at\t5\t6", "key\tfa97607a83f3\t9000000000000\t1\t0\t-5\t77\t+9\tx", "scope\tfa97607a83f3\t1\t0\t1\t0\t-\t-\t-\tgpt-x", "later\tanything"))
	f.Add(lines("keycycler 2"))
	f.Fuzz(func(t *testing.T, text string) {
		// The fuzzer knows no checksums: each line gets the right one, too.
		var summed []string
		for line := range strings.Lines(text) {
			_, body, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			summed = append(summed, body)
		}
		for _, text := range []string{text, lines(summed...), lines(append([]string{firstLine}, summed...)...)} {
			checkRead(t, text)
		}
	})
}

func checkRead(t *testing.T, text string) {
	t.Helper()
	c := codec{reasons: reasons}
	all := c.read(text)
	if all.good > len(text) || all.lines < len(all.facts) {
		t.Fatalf("%d of %d bytes are good, %d lines say %d facts", all.good, len(text), all.lines, len(all.facts))
	}
	if len(text) > 0 && all.lines == 0 && !all.newer && all.lost == 0 && strings.Trim(text, "\x00") != "" {
		t.Fatal("nothing was read, and nothing lost")
	}
	counts := newTally(make(chan struct{}, 1))
	counts.load(all.used)
	if text := counts.appendAll(nil); c.read(string(text)).lost > 0 {
		t.Fatalf("what was counted is written as\n%s", text)
	}
	// A process of the time that the file says learns it, and knows nothing that cannot be.
	now := time.Now()
	state := rotator.NewState(now)
	j := &Journal{state: state, codec: c, read: all, clock: clock{state: state, wall: func() time.Time { return now }}}
	j.clock.start(now, all.last)
	j.teach(now)
	again := c.read(string(all.text(c, j.clock.mark(now))))
	if err := again.within(all); err != nil || again.lost > 0 || again.size() != all.size() {
		t.Fatalf("written and read again: %v, %d of %d records, %d lost", err, again.size(), all.size(), again.lost)
	}
}

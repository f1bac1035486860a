package replay

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/keycycler/keycycler/internal/testkit"
)

// content reads the whole spool, in pieces.
func (s *spool) content(t *testing.T, piece int) []byte {
	t.Helper()
	var all []byte
	for p := make([]byte, piece); int64(len(all)) < s.size; {
		n, err := s.readAt(p, int64(len(all)))
		if err != nil || n == 0 {
			t.Fatalf("read %d bytes at %d of %d: %v", n, len(all), s.size, err)
		}
		all = append(all, p[:n]...)
	}
	return all
}

func TestSpoolKeepsWhatIsWritten(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, test := range []struct {
		name   string
		limits Limits
		writes []int // sizes
		file   bool
	}{
		{"nothing", Limits{Total: testkit.Ample, Memory: 10}, nil, false},
		{"a byte", Limits{Total: testkit.Ample, Memory: 10}, []int{1}, false},
		{"a small chunk", Limits{Total: testkit.Ample, Memory: 1 << 20}, []int{SmallChunk}, false},
		{"a byte more than a small chunk", Limits{Total: testkit.Ample, Memory: 1 << 20}, []int{SmallChunk + 1}, false},
		{"a small chunk, and a byte", Limits{Total: testkit.Ample, Memory: 1 << 20}, []int{SmallChunk, 1}, false},
		{"a large chunk", Limits{Total: testkit.Ample, Memory: 1 << 20}, []int{LargeChunk}, false},
		{"a small and a large one", Limits{Total: testkit.Ample, Memory: 1 << 20}, []int{1, SmallChunk - 1, LargeChunk, 1}, false},
		{"many of odd sizes", Limits{Total: testkit.Ample, Memory: 1 << 20}, []int{3, 5000, 70_000, 1, 32_767, 32_769, 100_000}, false},
		{"memory to the last byte", Limits{Total: testkit.Ample, Memory: 5000}, []int{2500, 2500}, false},
		{"a byte of file", Limits{Total: testkit.Ample, Memory: 5000, Disk: 1}, []int{5001}, true},
		{"memory and file, in several writes", Limits{Total: testkit.Ample, Memory: 50_000, Disk: 1 << 20}, []int{49_999, 2, 100_000, 1}, true},
		{"no memory", Limits{Disk: 1 << 20}, []int{1, 40_000}, true},
		{"both to the last byte", Limits{Total: testkit.Ample, Memory: 7, Disk: 7}, []int{14}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &spool{limits: &test.limits}
			defer s.release()
			var want []byte
			for _, n := range test.writes {
				p := testkit.Pattern(len(want), n)
				if !s.write(p) {
					t.Fatalf("%d bytes do not fit behind %d", n, len(want))
				}
				want = append(want, p...)
				clear(p) // the spool must have a copy
			}
			if s.size != int64(len(want)) || (s.file != nil) != test.file {
				t.Errorf("size %d, want %d; file %v", s.size, len(want), s.file != nil)
			}
			for _, piece := range []int{1 << 20, LargeChunk, SmallChunk - 1, 997} {
				if !bytes.Equal(s.content(t, piece), want) {
					t.Errorf("read in pieces of %d, the content differs", piece)
				}
			}
			for _, offset := range []int{1, SmallChunk, SmallChunk + 1, int(test.limits.Memory) - 1, int(test.limits.Memory)} {
				if offset < 0 || offset >= len(want) {
					continue
				}
				p := make([]byte, 10)
				if n, err := s.readAt(p, int64(offset)); n == 0 || err != nil || !bytes.Equal(p[:n], want[offset:offset+n]) {
					t.Errorf("at %d: %d bytes, %v", offset, n, err)
				}
			}
		})
	}
}

func TestSpoolRefusesWhatDoesNotFit(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, test := range []struct {
		name   string
		limits Limits
		writes []int
	}{
		{"no room at all", Limits{}, []int{1}},
		{"a byte too many for memory", Limits{Total: testkit.Ample, Memory: 10}, []int{11}},
		{"in the second write", Limits{Total: testkit.Ample, Memory: 10}, []int{10, 1}},
		{"a byte too many for the file", Limits{Total: testkit.Ample, Memory: 10, Disk: 10}, []int{21}},
		{"in the third write", Limits{Total: testkit.Ample, Memory: 10, Disk: 10}, []int{15, 5, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &spool{limits: &test.limits}
			defer s.release()
			for i, n := range test.writes {
				if last := i == len(test.writes)-1; s.write(testkit.Pattern(0, n)) == last {
					t.Errorf("write %d of %d bytes: %v", i+1, n, !last)
				}
			}
		})
	}
}

func TestForceKnowsNoLimits(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, before := range []int{0, 10, 15} { // nothing, memory full, a file
		t.Run(fmt.Sprint(before), func(t *testing.T) {
			s := &spool{limits: &Limits{Total: testkit.Ample, Memory: 10, Disk: 5}}
			defer s.release()
			want := testkit.Pattern(0, before+100_000)
			if !s.write(want[:before]) || !s.force(want[before:]) {
				t.Fatal("did not fit")
			}
			if !bytes.Equal(s.content(t, 4096), want) {
				t.Error("the content differs")
			}
			if s.write([]byte{1, 2, 3, 4, 5, 6}) {
				t.Error("the limits do not hold any more")
			}
		})
	}
}

func TestSpoolGoesOnInAFileAfterForce(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := &spool{limits: &Limits{Total: testkit.Ample, Memory: 10, Disk: 100}}
	defer s.release()
	want := testkit.Pattern(0, 150)
	if !s.write(want[:5]) || !s.force(want[5:60]) || !s.write(want[60:150]) {
		t.Fatal("did not fit")
	}
	if s.file == nil || !bytes.Equal(s.content(t, 7), want) {
		t.Error("the content differs")
	}
}

func TestReleaseGivesEverythingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a file is closed by a goroutine
		dir := t.TempDir()
		t.Setenv("TMPDIR", dir)
		s := &spool{limits: &Limits{Total: testkit.Ample, Memory: 100_000, Disk: 1 << 20}}
		for round := range 3 {
			want := testkit.Pattern(round, 300_000)
			if !s.write(want) {
				t.Fatalf("round %d: a released spool takes nothing", round)
			}
			if !bytes.Equal(s.content(t, 10_000), want) {
				t.Errorf("round %d: the content differs", round)
			}
			synctest.Wait()
			if n := openFiles(dir); n != 1 && runtime.GOOS == "linux" {
				t.Errorf("round %d: %d files are open: this test looks at nothing", round, n)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 0 && runtime.GOOS != "windows" {
				t.Errorf("round %d: the temporary file has a name: %v, %v", round, left, err)
			}
			s.release()
			s.release() // twice is once
			if s.size != 0 || s.inRAM != 0 || len(s.chunks) != 0 || s.file != nil {
				t.Errorf("round %d: %d bytes, %d chunks are left", round, s.size, len(s.chunks))
			}
			for _, c := range s.chunks[:cap(s.chunks)] {
				if c != nil {
					t.Errorf("round %d: a chunk that was given back is still held", round)
				}
			}
		}
		synctest.Wait()
		if n := openFiles(dir); n != 0 {
			t.Errorf("%d files are still open", n)
		}
	})
}

// openFiles counts this process's open files in dir, where the system tells.
func openFiles(dir string) int {
	links, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	count := 0
	for _, link := range links {
		if target, err := os.Readlink("/proc/self/fd/" + link.Name()); err == nil && strings.HasPrefix(target, dir) {
			count++
		}
	}
	return count
}

func TestASpoolWithoutATemporaryDirectory(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()+"/missing")
	s := &spool{limits: &Limits{Total: testkit.Ample, Memory: 10, Disk: 100}}
	defer s.release()
	if !s.write(testkit.Pattern(0, 10)) || s.write([]byte{1}) {
		t.Error("what cannot be kept was taken, or the other way round")
	}
}

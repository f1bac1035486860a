package redistest

import (
	_ "embed"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

//go:embed testdata/clock.c
var clockSource []byte

// compileClock makes the library that makes a server's clock wrong. Where there is no C
// compiler the test is skipped, or fails if Require says so.
func (s *Server) compileClock() (path string) {
	s.t.Helper()
	source, path := filepath.Join(s.dir, "clock.c"), filepath.Join(s.dir, "clock.so")
	if err := os.WriteFile(source, clockSource, 0o600); err != nil {
		s.t.Fatal(err)
	}
	err := exec.Command("cc", "-shared", "-fPIC", "-O1", "-o", path, source).Run()
	switch {
	case err == nil:
		return path
	case os.Getenv(Require) == "1":
		s.t.Fatalf("%s=1, and a clock that can be set cannot be compiled: %v", Require, err)
	default:
		s.t.Skipf("a clock that can be set cannot be compiled on this machine: %v", err)
	}
	return ""
}

// StartClocked runs a server whose clock SetClock sets.
func StartClocked(t testing.TB, config ...string) *Server {
	t.Helper()
	Binary(t)
	s := &Server{t: t, dir: tempDir(t), port: freePort(t), config: config}
	s.env = []string{"LD_PRELOAD=" + s.compileClock(), "CLOCK_OFFSET_FILE=" + s.clockFile()}
	s.writeClock(0)
	s.Restart()
	return s
}

func (s *Server) clockFile() string { return filepath.Join(s.dir, "clock") }

func (s *Server) writeClock(off time.Duration) {
	s.t.Helper()
	file, err := os.OpenFile(s.clockFile(), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(off.Microseconds())), 0); err != nil {
		s.t.Fatal(err)
	}
}

// SetClock sets the clock of a server that StartClocked has started: it is off by so
// much from then on. What meanwhile is done while the server stands still.
func (s *Server) SetClock(off time.Duration, meanwhile ...func()) {
	s.t.Helper()
	s.Stall()
	s.writeClock(off)
	for _, do := range meanwhile {
		do()
	}
	s.Resume()
	if is := s.Off(); (is - off).Abs() > 5*time.Second {
		s.t.Fatalf("the server's clock is off by %s, want %s", is, off)
	}
}

// Off is by how much the server's clock is off.
func (s *Server) Off() time.Duration {
	s.t.Helper()
	begin := time.Now()
	shows, err := s.Client().Time(s.t.Context()).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	return shows.Sub(begin.Add(time.Since(begin) / 2))
}

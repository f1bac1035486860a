package replay

import (
	"errors"
	"math"
	"os"
)

// spool is a growing copy of bytes: pooled chunks of memory up to a limit, its own
// or the process's, then an unlinked temporary file. Not safe for concurrent use.
type spool struct {
	limits *Limits
	size   int64 // bytes held: those in chunks, then those in file
	inRAM  int64
	chunks [][]byte // full but for the last: len is what is used, cap the chunk
	file   *spoolFile
	first  [1][]byte
}

// spoolFile is what of a copy memory has no room for.
type spoolFile struct {
	*os.File
	path string // set where an open file could not be unlinked
}

// errSpool is what an attempt gets whose body cannot be had any more.
var errSpool = errors.New("keycycler: the copy of the request's body was lost")

// write appends p within the limits. It reports false when p does not fit, or the
// file cannot be written: the copy is of no use then.
func (s *spool) write(p []byte) bool {
	if s.file == nil {
		n := int(min(int64(len(p)), max(s.limits.Memory-s.inRAM, 0)))
		p = p[s.writeMemory(p[:n], s.limits.Total):]
	}
	if len(p) == 0 {
		return true
	}
	if s.size-s.inRAM+int64(len(p)) > s.limits.Disk {
		return false
	}
	return s.writeFile(p)
}

// force appends p whatever the limits, for the one read that may be late.
func (s *spool) force(p []byte) bool {
	if s.file != nil {
		return s.writeFile(p)
	}
	s.writeMemory(p, math.MaxInt64)
	return true
}

// writeMemory appends as much of p as the process may keep, and returns how much
// that was.
func (s *spool) writeMemory(p []byte, total int64) (written int) {
	for written < len(p) {
		room := s.roomWithin(len(p)-written, total)
		if room == nil {
			break
		}
		n := copy(room, p[written:])
		s.grown(n)
		written += n
	}
	return written
}

func (s *spool) writeFile(p []byte) bool {
	if s.file == nil && !s.open() {
		return false
	}
	n, err := s.file.Write(p)
	s.size += int64(n)
	return err == nil
}

// open makes the temporary file and takes its name away: whatever happens to
// this process, nothing of a client's body stays behind.
func (s *spool) open() bool {
	f, err := os.CreateTemp("", "keycycler-*")
	if err != nil {
		return false
	}
	s.file = &spoolFile{File: f}
	if os.Remove(f.Name()) != nil {
		s.file.path = f.Name() // Windows keeps the name of an open file
	}
	replayToDisk.Inc()
	return true
}

// room returns free memory behind the last byte, at least one byte of it: for
// want bytes to come. It returns nil where the process keeps too much already, or
// the copy goes on in its file. grown tells how much of it was filled.
func (s *spool) room(want int) []byte {
	if s.file != nil {
		return nil
	}
	return s.roomWithin(want, s.limits.Total)
}

func (s *spool) roomWithin(want int, total int64) []byte {
	if last := len(s.chunks) - 1; last >= 0 {
		if c := s.chunks[last]; len(c) < cap(c) {
			return c[len(c):cap(c)]
		}
	}
	if s.chunks == nil {
		s.chunks = s.first[:0]
	}
	c := newChunk(chunkSize(s.inRAM, want), total)
	if c == nil {
		return nil
	}
	s.chunks = append(s.chunks, c)
	return c[:cap(c)]
}

func (s *spool) grown(n int) {
	last := len(s.chunks) - 1
	s.chunks[last] = s.chunks[last][:len(s.chunks[last])+n]
	s.size += int64(n)
	s.inRAM += int64(n)
}

// readAt reads up to len(p) bytes from offset on, which is below size.
func (s *spool) readAt(p []byte, offset int64) (int, error) {
	if offset >= s.inRAM {
		return s.file.ReadAt(p[:min(int64(len(p)), s.size-offset)], offset-s.inRAM)
	}
	i := 0
	for ; offset >= int64(len(s.chunks[i])); i++ { // all but the last are full
		offset -= int64(len(s.chunks[i]))
	}
	return copy(p, s.chunks[i][offset:]), nil
}

// release gives memory and file back and leaves an empty spool.
func (s *spool) release() {
	if s.size > 0 {
		replayInMemory.Add(float64(s.inRAM))
		replayOnDisk.Add(float64(s.size - s.inRAM))
	}
	for i, c := range s.chunks {
		freeChunk(c)
		s.chunks[i] = nil
	}
	s.chunks, s.size, s.inRAM = s.chunks[:0], 0, 0
	if s.file == nil {
		return
	}
	// The system takes its time to give back what a large file has.
	go s.file.remove()
	s.file = nil
}

func (f *spoolFile) remove() {
	f.Close()
	if f.path != "" {
		os.Remove(f.path)
	}
}

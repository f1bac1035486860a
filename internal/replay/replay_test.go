package replay

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/keycycler/keycycler/internal/testkit"
)

func newReplayBody(r *http.Request, limits Limits) *Body {
	if !Has(r) {
		return nil
	}
	b := new(Body)
	b.Begin(r, &limits)
	return b
}

func TestAWaitingAttemptIsWokenByItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pr, pw := io.Pipe()
		defer pw.Close()
		r := testkit.Upload(pr)
		b := newReplayBody(r, Limits{Total: testkit.Ample, Memory: 1000})
		first := b.Attempt(r.Clone(t.Context()))
		go first.Read(make([]byte, 10))
		synctest.Wait()
		second := b.Attempt(r.Clone(t.Context()))
		got := make(chan error)
		go func() {
			_, err := second.Read(make([]byte, 10))
			got <- err
		}()
		synctest.Wait()
		second.Close()
		if err := <-got; !errors.Is(err, http.ErrBodyReadAfterClose) {
			t.Errorf("error %v", err)
		}
		b.Finish()
		pw.CloseWithError(io.ErrUnexpectedEOF)
	})
}

func TestTheCopyIsGivenBackAtCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a file is closed by a goroutine
		files := testkit.TempDir(t)
		_ = files
		r := testkit.Upload(bytes.NewReader(testkit.Content(300_000)))
		b := newReplayBody(r, Limits{Total: testkit.Ample, Memory: 50_000, Disk: 1 << 20})
		a := b.Attempt(r)
		io.ReadFull(a, make([]byte, 200_000))
		if b.copy.file == nil || b.copy.size != 200_000 {
			t.Fatalf("%d bytes are kept, file: %v", b.copy.size, b.copy.file)
		}
		file := b.copy.file
		b.Commit()
		if b.copy.size != 0 || len(b.copy.chunks) != 0 || b.copy.file != nil {
			t.Errorf("%d bytes are still kept", b.copy.size)
		}
		synctest.Wait()
		if err := file.Close(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("the file is still open: %v", err)
		}
		rest, err := io.ReadAll(a)
		if err != nil || !bytes.Equal(rest, testkit.Content(300_000)[200_000:]) {
			t.Errorf("the upload went on with %d bytes, %v", len(rest), err)
		}
		if b.copy.size != 0 {
			t.Error("the copying went on")
		}
		if b.Replayable() {
			t.Error("replayable after commit")
		}
	})
}

func TestCommitWhileTheCopyIsBeingRead(t *testing.T) {
	want := testkit.Content(100_000)
	r := testkit.Upload(bytes.NewReader(want))
	b := newReplayBody(r, Limits{Total: testkit.Ample, Memory: 1 << 20})
	io.ReadFull(b.Attempt(r), make([]byte, 60_000))
	a := b.Attempt(r)
	var got []byte
	buf := make([]byte, 7000)
	for range 3 {
		n, _ := a.Read(buf)
		got = append(got, buf[:n]...)
	}
	b.Commit()
	rest, err := io.ReadAll(a)
	if got = append(got, rest...); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if b.copy.size != 0 || len(b.copy.chunks) != 0 {
		t.Error("the copy was not given back")
	}
}

// A client that says that it goes on as it is answered would be waited for.
func TestAnIncrementalBodyStreams(t *testing.T) {
	for value, streams := range map[string]bool{"?1": true, "?1;a=b": true, "?0": false, "1": false, "": false} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("all of it"))
		if value != "" {
			r.Header.Set("Incremental", value)
		}
		b := newReplayBody(r, Limits{Total: testkit.Ample, Memory: 1 << 20})
		if read := b.came() > 0; read == streams {
			t.Errorf("Incremental: %s: read before the first attempt: %t", value, read)
		}
		if got, err := io.ReadAll(b.Attempt(r.Clone(t.Context()))); string(got) != "all of it" || err != nil {
			t.Errorf("Incremental: %s: the attempt got %q, %v", value, got, err)
		}
		b.Finish()
	}
}

// FuzzReplay drives a body with a random schedule of reads by attempts that begin
// and end, and checks every byte.
func FuzzReplay(f *testing.F) {
	f.Add(uint64(1), uint16(1000), uint16(100), uint16(200))
	f.Add(uint64(2), uint16(65535), uint16(4096), uint16(65535))
	f.Add(uint64(3), uint16(50000), uint16(0), uint16(0))
	f.Fuzz(func(t *testing.T, seed uint64, size, memory, disk uint16) {
		rng := rand.New(rand.NewPCG(seed, 0))
		want := testkit.Content(int(size))
		r := testkit.Upload(&chunkReader{data: want, rng: rng})
		if rng.IntN(2) == 0 {
			r.ContentLength = int64(size)
		}
		b := newReplayBody(r, Limits{Total: testkit.Ample, Memory: int64(memory), Disk: int64(disk)})
		if b == nil {
			return // no body
		}
		defer b.Finish()
		for try := 0; ; try++ {
			if !b.Replayable() {
				return
			}
			a := b.Attempt(r)
			last := try > 3 || rng.IntN(3) == 0
			stop := rng.IntN(int(size) + 1)
			var got []byte
			for buf := make([]byte, 1+rng.IntN(9000)); last || len(got) < stop; {
				n, err := a.Read(buf[:1+rng.IntN(len(buf))])
				got = append(got, buf[:n]...)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatalf("read %d bytes: %v", len(got), err)
				}
				if last && rng.IntN(10) == 0 {
					b.Commit()
				}
			}
			if !bytes.HasPrefix(want, got) || last && len(got) != len(want) {
				t.Fatalf("attempt %d got %d bytes that are not the body's", try, len(got))
			}
			if last {
				return
			}
			a.Close()
		}
	})
}

// chunkReader gives data in pieces of random size.
type chunkReader struct {
	data []byte
	rng  *rand.Rand
}

func (c *chunkReader) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:1+c.rng.IntN(len(p))], c.data)
	c.data = c.data[n:]
	return n, nil
}

// What a late read still reads into is nobody else's before it has come back.
func TestMemoryIsNotGivenBackWhileItIsReadInto(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := KeptMemory.Load()
		pr, pw := io.Pipe()
		r := testkit.Upload(pr)
		b := newReplayBody(r, Limits{Total: testkit.Ample, Memory: 1 << 20})
		a := b.Attempt(r.Clone(t.Context()))
		got := make(chan error)
		go func() {
			_, err := a.Read(make([]byte, 10))
			got <- err
		}()
		synctest.Wait()
		b.Finish()
		if kept := KeptMemory.Load() - before; kept != LargeChunk {
			t.Errorf("%d bytes are kept while somebody reads into them", kept)
		}
		io.WriteString(pw, "late")
		if err := <-got; !errors.Is(err, http.ErrBodyReadAfterClose) {
			t.Errorf("error %v", err)
		}
		if kept := KeptMemory.Load() - before; kept != 0 {
			t.Errorf("%d bytes are kept for nobody", kept)
		}
	})
}

// A large body is read from the client in large pieces, however small those are that
// the upstream's connection asks for.
func TestALargeBodyIsReadInLargePieces(t *testing.T) {
	const size = 10 << 20
	source := &countingReader{Reader: bytes.NewReader(testkit.Content(size))}
	r := testkit.Upload(source)
	r.ContentLength = size
	b := newReplayBody(r, Limits{Total: testkit.Ample, Memory: 16 << 20})
	defer b.Finish()
	sum, reads := sha256.New(), 0
	for p, a := make([]byte, LargeChunk), b.Attempt(r.Clone(t.Context())); ; reads++ {
		n, err := a.Read(p)
		sum.Write(p[:n])
		if err != nil {
			break
		}
	}
	if want := sha256.Sum256(testkit.Content(size)); !bytes.Equal(sum.Sum(nil), want[:]) {
		t.Error("the body differs")
	}
	if source.reads > size/hugeChunk+10 || reads < size/LargeChunk {
		t.Errorf("%d reads of the client for %d of the attempt", source.reads, reads)
	}
}

type countingReader struct {
	io.Reader
	reads int
}

func (r *countingReader) Read(p []byte) (int, error) {
	r.reads++
	return r.Reader.Read(p)
}

package keycycler

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// content returns n bytes that tell their place.
func content(n int) []byte {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// upload returns a request whose body streams: its length is not stated.
func upload(body io.Reader) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/v1/files", body)
	r.ContentLength = -1
	return r
}

// tempDir makes temporary files go to a directory of the test's, and returns a
// function that tells how many are there.
func tempDir(t testing.TB) func() int {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return func() int {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
}

func newReplayBody(r *http.Request, limits replayLimits) *replayBody {
	if !hasBody(r) {
		return nil
	}
	b := new(replayBody)
	b.begin(r, limits)
	return b
}

func TestEveryAttemptGetsTheWholeBody(t *testing.T) {
	const memory, disk = 100_000, 1_000_000
	files := tempDir(t)
	for _, size := range []int{1, 10, smallChunk, smallChunk + 1, largeChunk, 64 << 10, 64<<10 + 1, memory, memory + 1, 500_000, memory + disk} {
		for _, stated := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d bytes, length stated: %t", size, stated), func(t *testing.T) {
				h := provision(t, 4, func(h *Handler) {
					m, d := int64(memory), int64(disk)
					h.Replay = &Replay{Memory: &m, Disk: &d}
				})
				want := content(size)
				r := upload(bytes.NewReader(want))
				if stated {
					r.ContentLength = int64(size)
				}
				upstream := script(limited, limited, limited, fine)
				w, err := serve(h, upstream, r)
				if err != nil || w.Code != 200 {
					t.Fatalf("client got %d, %v", w.Code, err)
				}
				for i, c := range upstream.calls {
					if c.body != string(want) {
						t.Errorf("attempt %d got %d bytes, not the body", i+1, len(c.body))
					}
				}
				if n := files(); n != 0 {
					t.Errorf("%d temporary files are left", n)
				}
			})
		}
	}
}

func TestABodyPastTheLimitsGoesOutOnce(t *testing.T) {
	tempDir(t)
	const memory, disk = 10_000, 50_000
	for _, test := range []struct {
		name  string
		size  int
		calls int
		code  int
	}{
		{"the last that fits is replayed", memory + disk, 2, 200},
		{"one byte more goes out once, and its rejection is the client's", memory + disk + 1, 1, 429},
		{"so does a much larger one", 1_000_000, 1, 429},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := provision(t, 2, func(h *Handler) {
				m, d := int64(memory), int64(disk)
				h.Replay = &Replay{Memory: &m, Disk: &d}
			})
			want := content(test.size)
			upstream := script(limited, fine)
			w, err := serve(h, upstream, upload(bytes.NewReader(want)))
			if err != nil || w.Code != test.code || len(upstream.calls) != test.calls {
				t.Fatalf("client got %d after %d calls, %v", w.Code, len(upstream.calls), err)
			}
			if upstream.calls[0].body != string(want) {
				t.Error("the upstream did not get the body")
			}
			if test.code == 429 && (w.Body.String() != limited.body || w.Header().Get("Retry-After") != "40") {
				t.Errorf("the client did not get the upstream's answer: %v %s", w.Header(), w.Body)
			}
			if c := h.roster.Load().pool.Census(time.Now()); c.Ready != 1 {
				t.Errorf("%d of 2 keys are ready: the limited one cools all the same", c.Ready)
			}
		})
	}
}

func TestADiskThatCannotBeWrittenMeansNoReplay(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()+"/missing")
	memory := int64(1000)
	h := provision(t, 2, func(h *Handler) { h.Replay = &Replay{Memory: &memory} })
	want := content(5000)
	upstream := script(limited, fine)
	w, err := serve(h, upstream, upload(bytes.NewReader(want)))
	if err != nil || w.Code != 429 || len(upstream.calls) != 1 || upstream.calls[0].body != string(want) {
		t.Errorf("client got %d after %d calls, %v", w.Code, len(upstream.calls), err)
	}
}

func TestTheBodyStreamsOnTheFirstAttempt(t *testing.T) {
	h := provision(t, 2, nil)
	pr, pw := io.Pipe()
	steps := make(chan string)
	next := attempts(
		func(w http.ResponseWriter, r *http.Request) {
			buf := make([]byte, 10)
			n, err := r.Body.Read(buf)
			if string(buf[:n]) != "first" || err != nil {
				t.Errorf("%q, %v", buf[:n], err)
			}
			steps <- "seen" // and only now the client goes on
			w.WriteHeader(429)
		},
		func(w http.ResponseWriter, r *http.Request) {
			all, err := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s, %v", all, err)
		})
	go func() {
		io.WriteString(pw, "first")
		<-steps
		io.WriteString(pw, " second")
		pw.Close()
	}()
	w, err := serve(h, next, upload(pr))
	if err != nil || w.Body.String() != "first second, <nil>" {
		t.Errorf("%q, %v", w.Body, err)
	}
}

// A regression would lose "late" or give it to the wrong attempt.
func TestALateReadTakesNothingFromTheNextAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := provision(t, 2, nil)
		pr, pw := io.Pipe()
		var late sync.WaitGroup
		next := attempts(
			func(w http.ResponseWriter, r *http.Request) {
				buf := make([]byte, 100)
				io.ReadFull(r.Body, buf[:5])
				late.Go(func() { // a transport's write loop that is still reading
					if n, err := r.Body.Read(buf); n != 0 || !errors.Is(err, http.ErrBodyReadAfterClose) {
						t.Errorf("an attempt that is over read %q, %v", buf[:n], err)
					}
				})
				synctest.Wait() // it sits in the client's body now
				w.WriteHeader(429)
			},
			func(w http.ResponseWriter, r *http.Request) {
				go func() {
					synctest.Wait()
					io.WriteString(pw, " late")
					io.WriteString(pw, " rest")
					pw.Close()
				}()
				all, err := io.ReadAll(r.Body)
				fmt.Fprintf(w, "%s, %v", all, err)
			})
		go io.WriteString(pw, "first")
		w, err := serve(h, next, upload(pr))
		if err != nil || w.Body.String() != "first late rest, <nil>" {
			t.Errorf("%q, %v", w.Body, err)
		}
		late.Wait()
	})
}

func TestAWaitingAttemptIsWokenByItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pr, pw := io.Pipe()
		defer pw.Close()
		r := upload(pr)
		b := newReplayBody(r, replayLimits{total: ample, memory: 1000})
		first := b.attempt(r.Clone(t.Context()))
		go first.Read(make([]byte, 10))
		synctest.Wait()
		second := b.attempt(r.Clone(t.Context()))
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
		b.finish()
		pw.CloseWithError(io.ErrUnexpectedEOF)
	})
}

func TestTheCopyIsGivenBackAtCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a file is closed by a goroutine
		files := tempDir(t)
		_ = files
		r := upload(bytes.NewReader(content(300_000)))
		b := newReplayBody(r, replayLimits{total: ample, memory: 50_000, disk: 1 << 20})
		a := b.attempt(r)
		io.ReadFull(a, make([]byte, 200_000))
		if b.copy.file == nil || b.copy.size != 200_000 {
			t.Fatalf("%d bytes are kept, file: %v", b.copy.size, b.copy.file)
		}
		file := b.copy.file
		b.commit()
		if b.copy.size != 0 || len(b.copy.chunks) != 0 || b.copy.file != nil {
			t.Errorf("%d bytes are still kept", b.copy.size)
		}
		synctest.Wait()
		if err := file.Close(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("the file is still open: %v", err)
		}
		rest, err := io.ReadAll(a)
		if err != nil || !bytes.Equal(rest, content(300_000)[200_000:]) {
			t.Errorf("the upload went on with %d bytes, %v", len(rest), err)
		}
		if b.copy.size != 0 {
			t.Error("the copying went on")
		}
		if b.replayable() {
			t.Error("replayable after commit")
		}
	})
}

func TestCommitWhileTheCopyIsBeingRead(t *testing.T) {
	want := content(100_000)
	r := upload(bytes.NewReader(want))
	b := newReplayBody(r, replayLimits{total: ample, memory: 1 << 20})
	io.ReadFull(b.attempt(r), make([]byte, 60_000))
	a := b.attempt(r)
	var got []byte
	buf := make([]byte, 7000)
	for range 3 {
		n, _ := a.Read(buf)
		got = append(got, buf[:n]...)
	}
	b.commit()
	rest, err := io.ReadAll(a)
	if got = append(got, rest...); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if b.copy.size != 0 || len(b.copy.chunks) != 0 {
		t.Error("the copy was not given back")
	}
}

func TestErrorsOfTheClientsBodyComeBackUnchanged(t *testing.T) {
	reset := errors.New("connection reset by peer")
	for _, length := range []int64{-1, 100, 1 << 20} {
		h := provision(t, 2, nil)
		r := upload(io.MultiReader(strings.NewReader("begin"), errReader{reset}))
		r.ContentLength = length
		_, err := serve(h, script(fine), r)
		if !errors.Is(err, reset) {
			t.Errorf("length %d: error %v", length, err)
		}
		if c := h.roster.Load().pool.Census(time.Now()); c.Ready != 2 {
			t.Error("a key cools")
		}
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestTrailersReachEveryAttempt(t *testing.T) {
	h := provision(t, 2, nil)
	var got []string
	next := attempts(
		func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			got = append(got, fmt.Sprint(r.Trailer))
			w.WriteHeader(429)
		},
		func(w http.ResponseWriter, r *http.Request) {
			got = append(got, fmt.Sprint(r.Trailer))
			io.Copy(io.Discard, r.Body)
			got = append(got, fmt.Sprint(r.Trailer))
		})
	res := exchangeOverHTTP(t, h, next, func(url string) *http.Request {
		r, _ := http.NewRequest(http.MethodPost, url, io.MultiReader(strings.NewReader("body")))
		r.Trailer = http.Header{"X-Sum": {"42"}}
		return r
	})
	if res.StatusCode != 200 || fmt.Sprint(got) != "[map[X-Sum:[42]] map[X-Sum:[]] map[X-Sum:[42]]]" {
		t.Errorf("%s, trailers %v", res.Status, got)
	}
}

func TestExpectContinueIsNotAnsweredBeforeTheUpstreamReads(t *testing.T) {
	r := upload(errReader{errors.New("read before the upstream asked for it")})
	r.ContentLength = 5
	r.Header.Set("Expect", "100-continue")
	h := provision(t, 2, nil)
	w, err := serve(h, handlerFunc(func(w http.ResponseWriter, r *http.Request) error { return fine.write(w) }), r)
	if err != nil || w.Code != 200 {
		t.Error(w.Code, err)
	}
}

// A client that says that it goes on as it is answered would be waited for.
func TestAnIncrementalBodyStreams(t *testing.T) {
	for value, streams := range map[string]bool{"?1": true, "?1;a=b": true, "?0": false, "1": false, "": false} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("all of it"))
		if value != "" {
			r.Header.Set("Incremental", value)
		}
		b := newReplayBody(r, replayLimits{total: ample, memory: 1 << 20})
		if read := b.came() > 0; read == streams {
			t.Errorf("Incremental: %s: read before the first attempt: %t", value, read)
		}
		if got, err := io.ReadAll(b.attempt(r.Clone(t.Context()))); string(got) != "all of it" || err != nil {
			t.Errorf("Incremental: %s: the attempt got %q, %v", value, got, err)
		}
		b.finish()
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
		want := content(int(size))
		r := upload(&chunkReader{data: want, rng: rng})
		if rng.IntN(2) == 0 {
			r.ContentLength = int64(size)
		}
		b := newReplayBody(r, replayLimits{total: ample, memory: int64(memory), disk: int64(disk)})
		if b == nil {
			return // no body
		}
		defer b.finish()
		for try := 0; ; try++ {
			if !b.replayable() {
				return
			}
			a := b.attempt(r)
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
					b.commit()
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
		before := keptMemory.Load()
		pr, pw := io.Pipe()
		r := upload(pr)
		b := newReplayBody(r, replayLimits{total: ample, memory: 1 << 20})
		a := b.attempt(r.Clone(t.Context()))
		got := make(chan error)
		go func() {
			_, err := a.Read(make([]byte, 10))
			got <- err
		}()
		synctest.Wait()
		b.finish()
		if kept := keptMemory.Load() - before; kept != largeChunk {
			t.Errorf("%d bytes are kept while somebody reads into them", kept)
		}
		io.WriteString(pw, "late")
		if err := <-got; !errors.Is(err, http.ErrBodyReadAfterClose) {
			t.Errorf("error %v", err)
		}
		if kept := keptMemory.Load() - before; kept != 0 {
			t.Errorf("%d bytes are kept for nobody", kept)
		}
	})
}

// A large body is read from the client in large pieces, however small those are that
// the upstream's connection asks for.
func TestALargeBodyIsReadInLargePieces(t *testing.T) {
	const size = 10 << 20
	source := &countingReader{Reader: bytes.NewReader(content(size))}
	r := upload(source)
	r.ContentLength = size
	b := newReplayBody(r, replayLimits{total: ample, memory: 16 << 20})
	defer b.finish()
	sum, reads := sha256.New(), 0
	for p, a := make([]byte, largeChunk), b.attempt(r.Clone(t.Context())); ; reads++ {
		n, err := a.Read(p)
		sum.Write(p[:n])
		if err != nil {
			break
		}
	}
	if want := sha256.Sum256(content(size)); !bytes.Equal(sum.Sum(nil), want[:]) {
		t.Error("the body differs")
	}
	if source.reads > size/hugeChunk+10 || reads < size/largeChunk {
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

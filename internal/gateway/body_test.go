package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/internal/replay"
	"github.com/keycycler/keycycler/internal/testkit"
)

func TestEveryAttemptGetsTheWholeBody(t *testing.T) {
	const memory, disk = 100_000, 1_000_000
	files := testkit.TempDir(t)
	for _, size := range []int{1, 10, replay.SmallChunk, replay.SmallChunk + 1, replay.LargeChunk, 64 << 10, 64<<10 + 1, memory, memory + 1, 500_000, memory + disk} {
		for _, stated := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d bytes, length stated: %t", size, stated), func(t *testing.T) {
				h := provision(t, 4, func(c *Config) {
					m, d := int64(memory), int64(disk)
					c.Memory, c.Disk = m, d
				})
				want := testkit.Content(size)
				r := testkit.Upload(bytes.NewReader(want))
				if stated {
					r.ContentLength = int64(size)
				}
				upstream := testkit.Script(testkit.Limited, testkit.Limited, testkit.Limited, testkit.Fine)
				w, err := testkit.Serve(h, upstream, r)
				if err != nil || w.Code != 200 {
					t.Fatalf("client got %d, %v", w.Code, err)
				}
				for i, c := range upstream.Calls {
					if c.Body != string(want) {
						t.Errorf("attempt %d got %d bytes, not the body", i+1, len(c.Body))
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
	testkit.TempDir(t)
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
			h := provision(t, 2, func(c *Config) {
				m, d := int64(memory), int64(disk)
				c.Memory, c.Disk = m, d
			})
			want := testkit.Content(test.size)
			upstream := testkit.Script(testkit.Limited, testkit.Fine)
			w, err := testkit.Serve(h, upstream, testkit.Upload(bytes.NewReader(want)))
			if err != nil || w.Code != test.code || len(upstream.Calls) != test.calls {
				t.Fatalf("client got %d after %d calls, %v", w.Code, len(upstream.Calls), err)
			}
			if upstream.Calls[0].Body != string(want) {
				t.Error("the upstream did not get the body")
			}
			if test.code == 429 && (w.Body.String() != testkit.Limited.Body || w.Header().Get("Retry-After") != "40") {
				t.Errorf("the client did not get the upstream's answer: %v %s", w.Header(), w.Body)
			}
			if c := h.roster.Load().Pool.Census(time.Now()); c.Ready != 1 {
				t.Errorf("%d of 2 keys are ready: the limited one cools all the same", c.Ready)
			}
		})
	}
}

func TestADiskThatCannotBeWrittenMeansNoReplay(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()+"/missing")
	memory := int64(1000)
	h := provision(t, 2, func(c *Config) { c.Memory = memory })
	want := testkit.Content(5000)
	upstream := testkit.Script(testkit.Limited, testkit.Fine)
	w, err := testkit.Serve(h, upstream, testkit.Upload(bytes.NewReader(want)))
	if err != nil || w.Code != 429 || len(upstream.Calls) != 1 || upstream.Calls[0].Body != string(want) {
		t.Errorf("client got %d after %d calls, %v", w.Code, len(upstream.Calls), err)
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
	w, err := testkit.Serve(h, next, testkit.Upload(pr))
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
		w, err := testkit.Serve(h, next, testkit.Upload(pr))
		if err != nil || w.Body.String() != "first late rest, <nil>" {
			t.Errorf("%q, %v", w.Body, err)
		}
		late.Wait()
	})
}

func TestErrorsOfTheClientsBodyComeBackUnchanged(t *testing.T) {
	reset := errors.New("connection reset by peer")
	for _, length := range []int64{-1, 100, 1 << 20} {
		h := provision(t, 2, nil)
		r := testkit.Upload(io.MultiReader(strings.NewReader("begin"), errReader{reset}))
		r.ContentLength = length
		_, err := testkit.Serve(h, testkit.Script(testkit.Fine), r)
		if !errors.Is(err, reset) {
			t.Errorf("length %d: error %v", length, err)
		}
		if c := h.roster.Load().Pool.Census(time.Now()); c.Ready != 2 {
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
	r := testkit.Upload(errReader{errors.New("read before the upstream asked for it")})
	r.ContentLength = 5
	r.Header.Set("Expect", "100-continue")
	h := provision(t, 2, nil)
	w, err := testkit.Serve(h, handlerFunc(func(w http.ResponseWriter, r *http.Request) error { return testkit.Fine.Write(w) }), r)
	if err != nil || w.Code != 200 {
		t.Error(w.Code, err)
	}
}

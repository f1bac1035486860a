package e2e

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

var uploadsFor = flag.Duration("uploads", 2*time.Second, "how long TestRandomUploads goes on")

// Uploads that pause and break off, to an upstream that rejects, breaks off and answers
// early, with copies that outgrow what may be kept of them. Whatever comes of a request,
// an answer says that the whole body has come; and nothing ends the process.
func TestRandomUploads(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(unsteady)) // a provider notes each body
	t.Cleanup(func() { live.CloseServer(t, upstream) })
	g := newGateway(t)
	g.level, g.global = "ERROR", "servers {\nprotocols h1 h2 h2c\n}"
	g.start(fmt.Sprintf(`
		keycycler {
			keys sk-upload-1 sk-upload-2 sk-upload-3
			max_wait 2s
			cooldown {
				min 0s
				default 10ms
				max 1s
			}
			replay {
				memory 70KiB
				disk 70KiB
			}
		}
		reverse_proxy %s`, upstream.URL))
	var h2c http.Protocols
	h2c.SetUnencryptedHTTP2(true)
	var uploads sync.WaitGroup
	var whole, other atomic.Int64
	deadline := time.Now().Add(*uploadsFor)
	for i, transport := range []*http.Transport{{}, {Protocols: &h2c}} {
		client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
		t.Cleanup(client.CloseIdleConnections)
		for j := range 6 {
			rng := rand.New(rand.NewPCG(uint64(i), uint64(j)))
			uploads.Go(func() {
				for time.Now().Before(deadline) && !t.Failed() {
					if uploadOnce(t, client, g.plain+"/v1/files", rng) {
						whole.Add(1)
					} else {
						other.Add(1)
					}
				}
			})
		}
	}
	uploads.Wait()
	t.Logf("%d uploads were answered, of %d something else became", whole.Load(), other.Load())
	if whole.Load() == 0 || other.Load() == 0 {
		t.Error("this test looks at nothing")
	}
}

// unsteady reads all of the body, or a part, and answers by chance.
func unsteady(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	if rand.IntN(2) == 0 {
		io.CopyN(sum, r.Body, rand.Int64N(200_000))
		switch rand.IntN(4) {
		case 0, 1:
			http.Error(w, "slow down", http.StatusTooManyRequests) // for cooldown default
			http.NewResponseController(w).Flush()
			io.CopyN(io.Discard, r.Body, rand.Int64N(100_000))
			return
		case 2:
			panic(http.ErrAbortHandler)
		}
	}
	if _, err := io.Copy(sum, r.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
	fmt.Fprintf(w, "%x", sum.Sum(nil))
}

var errLeft = errors.New("the client has left")

// uploadOnce reports whether the upload was answered.
func uploadOnce(t *testing.T, client *http.Client, url string, rng *rand.Rand) bool {
	body := bytes.Repeat([]byte{byte(rng.Uint32()), 1, 2, 3, 4, 5, 6}, 1+rng.IntN(60_000))
	sent, send := io.Pipe()
	r, err := http.NewRequest(http.MethodPost, url, sent)
	if err != nil {
		t.Fatal(err)
	}
	if r.ContentLength = -1; rng.IntN(2) == 0 {
		r.ContentLength = int64(len(body))
	}
	if rng.IntN(8) == 0 {
		r.Header.Set("Incremental", "?1")
	}
	cuts := []int{rng.IntN(len(body)), rng.IntN(len(body)), rng.IntN(len(body))}
	leaves := rng.IntN(10) == 0
	go sendInParts(send, body, cuts, leaves)
	res, err := client.Do(r)
	if err != nil {
		if strings.Contains(err.Error(), "refused") || errors.Is(err, http.ErrHandlerTimeout) {
			t.Errorf("the gateway is gone: %v", err)
		}
		return false
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if res.StatusCode != 200 || err != nil {
		return false
	}
	if want := fmt.Sprintf("%x", sha256.Sum256(body)); string(got) != want {
		t.Errorf("of %d bytes the upstream got others", len(body))
	}
	return true
}

// sendInParts sends the body up to each of the cuts, and pauses there.
func sendInParts(w *io.PipeWriter, body []byte, cuts []int, leaves bool) {
	at := 0
	for _, cut := range cuts {
		if cut > at {
			if _, err := w.Write(body[at:cut]); err != nil {
				return
			}
			at = cut
		}
		<-time.After(time.Duration(cut%20) * time.Millisecond) // what is tested
	}
	if leaves {
		w.CloseWithError(errLeft)
		return
	}
	w.Write(body[at:])
	w.Close()
}

package respond

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// lenient is an owner that holds every answer, and lets it pass.
type lenient struct{}

func (lenient) Holds(int) bool          { return true }
func (lenient) Settle(*Writer) bool     { return true }
func (lenient) Commit(int, http.Header) {}
func (lenient) Passed()                 {}
func (lenient) Blame(int, []byte) bool  { return false }

// The handler changes the header while the answer is judged, since MaxHold is over: both have
// the map in hand at once. Run it with -race, though maps often tell by themselves.
func TestHeaderIsChangedWhileAHeldAnswerIsJudged(t *testing.T) {
	for range 500 {
		client := httptest.NewRecorder()
		w := &Writer{Client: client, Owner: lenient{}}
		w.Begin(func(error) {})
		w.Header().Set("X-Head", "head")
		w.WriteHeader(400)
		io.WriteString(w, "begin")
		w.Header()
		var judged sync.WaitGroup
		attempt := w.attempt
		judged.Go(func() { w.timeout(attempt) })
		for i := range 20 {
			w.Header().Set(http.TrailerPrefix+"X-"+strconv.Itoa(i), "late")
		}
		io.WriteString(w, ", end")
		w.Returned = true
		w.End()
		judged.Wait()
		if len(client.Header()) != 21 || client.Body.String() != "begin, end" {
			t.Fatalf("%v %q", client.Header(), client.Body)
		}
	}
}

// passing is an owner that holds nothing.
type passing struct{ lenient }

func (passing) Holds(int) bool { return false }

// streaming is a client that looks into the header with each write, as HTTP/2's does where there
// are trailers.
type streaming struct{ *httptest.ResponseRecorder }

func (c streaming) WriteString(s string) (int, error) {
	if _, ok := c.Header()["X-None"]; ok {
		return 0, nil
	}
	return c.ResponseRecorder.WriteString(s)
}

// The handler sets trailers while comments go out: both have the map in hand at once. Run it
// with -race, though maps often tell by themselves.
func TestTrailersAreSetWhileAStreamIsKeptAlive(t *testing.T) {
	for range 20 {
		client := streaming{httptest.NewRecorder()}
		w := &Writer{Client: client, Owner: passing{}, Keepalive: time.Microsecond}
		w.Begin(func(error) {})
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(200)
		io.WriteString(w, "data: 1\n\n")
		for i := range 20_000 {
			w.Header().Set(http.TrailerPrefix+"X-"+strconv.Itoa(i%20), "late")
		}
		w.End()
		if len(client.Header()) != 21 || !strings.Contains(client.Body.String(), "data: 1\n\n") {
			t.Fatalf("%d fields, %q", len(client.Header()), client.Body)
		}
	}
}

package respond

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
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

package respond

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

// held returns a writer that holds such a response.
func held(whole bool, status int, body string, header http.Header) *Writer {
	return &Writer{Status: status, Head: header, Held: []byte(body), Whole: whole, Returned: true}
}

func TestKept(t *testing.T) {
	header := http.Header{"Content-Type": {"text/html"}, "Www-Authenticate": {"Bearer"}, "Retry-After": {"30"}, "Retry-After-Ms": {"30000"}, "Content-Length": {"7"}}
	for _, row := range []struct {
		sentence, retryAfter string
		want, ms             string
	}{
		{"as it came", "", "30", "30000"},
		{"with the time of the pool's own, which SDKs would overlook", "9", "9", ""},
	} {
		w := held(true, http.StatusUnauthorized, "refused", header.Clone())
		kept := w.Keep()
		copy(w.Held, "another") // the next attempt's
		client := httptest.NewRecorder()
		client.Header().Set("X-Base", "stays")
		client.Header().Set("X-Attempt", "of another attempt")
		Replace(client.Header(), http.Header{"X-Base": {"stays"}}) // as the exchange restores it
		if err := kept.Send(client, row.retryAfter); err != nil {
			t.Fatal(err)
		}
		h := client.Result().Header
		if client.Code != http.StatusUnauthorized || client.Body.String() != "refused" {
			t.Errorf("%s: %d %q", row.sentence, client.Code, client.Body)
		}
		if h.Get("Content-Type") != "text/html" || h.Get("Www-Authenticate") != "Bearer" || h.Get("X-Attempt") != "" {
			t.Errorf("%s: header %v", row.sentence, h)
		}
		if h.Get("Retry-After") != row.want || h.Get("Retry-After-Ms") != row.ms {
			t.Errorf("%s: header %v", row.sentence, h)
		}
	}
}

// order is a client that notes in which order it is given an answer.
type order struct {
	*httptest.ResponseRecorder
	calls []string
}

func (o *order) WriteHeader(int) { o.calls = append(o.calls, "head") }

func (o *order) Write(p []byte) (int, error) {
	o.calls = append(o.calls, "body")
	return len(p), nil
}

func (o *order) FlushError() error {
	o.calls = append(o.calls, "flush")
	return nil
}

// It is flushed as its handler has done: else its length, or its type, would be guessed.
func TestKeptIsFlushed(t *testing.T) {
	for _, row := range []struct {
		head, body bool
		want       string
	}{
		{false, false, "[head body]"},
		{true, false, "[head flush body]"},
		{false, true, "[head body flush]"},
		{true, true, "[head flush body flush]"},
	} {
		w := held(true, 401, "refused", nil)
		w.flushHead, w.flush = row.head, row.body
		client := &order{ResponseRecorder: httptest.NewRecorder()}
		if err := w.Keep().Send(client, ""); err != nil || fmt.Sprint(client.calls) != row.want {
			t.Errorf("%v, %v; want %s", client.calls, err, row.want)
		}
	}
}

// What is not whole, since it was larger than what is held or broke off, is nobody's answer.
func TestWhatIsNotKept(t *testing.T) {
	large, broken := held(false, 401, "half", nil), held(true, 401, "half", nil)
	broken.Returned = false
	for what, w := range map[string]*Writer{"large": large, "broken": broken} {
		if kept := w.Keep(); kept != nil {
			t.Errorf("half of an answer that is %s is kept: %+v", what, kept)
		}
	}
}

// A client that has left is told of.
func TestSendToNobody(t *testing.T) {
	if err := held(true, 401, "refused", nil).Keep().Send(gone{httptest.NewRecorder()}, ""); !errors.Is(err, http.ErrAbortHandler) {
		t.Errorf("error %v", err)
	}
}

type gone struct{ http.ResponseWriter }

func (gone) Write([]byte) (int, error) { return 0, http.ErrAbortHandler }

// hinted is a client whose outer handlers change early hints.
type hinted struct{ *httptest.ResponseRecorder }

func (h hinted) WriteHeader(status int) {
	if status == http.StatusEarlyHints {
		h.Header()["Link"][0] = "changed"
		return
	}
	h.ResponseRecorder.WriteHeader(status)
}

// Several may get it, as the pace has it.
func TestKeptIsSentAgain(t *testing.T) {
	vary := append(make([]string, 0, 4), "Origin") // as a header has it that was added to
	w := held(true, 403, "refused", http.Header{"Vary": vary, "X-Request-Id": {"1"}})
	w.Early, w.Late = []http.Header{{"Link": {"</a>"}}}, http.Header{http.TrailerPrefix + "X-Sum": {"42"}}
	kept := w.Keep()
	if want := len("refused" + "VaryOrigin" + "X-Request-Id1" + "Link</a>" + http.TrailerPrefix + "X-Sum42"); kept.Size() != want {
		t.Errorf("size %d, want %d", kept.Size(), want)
	}
	var clients [3]*httptest.ResponseRecorder
	for i := range clients {
		clients[i] = httptest.NewRecorder()
		if err := kept.Send(hinted{clients[i]}, "5"); err != nil {
			t.Fatal(err)
		}
		h := clients[i].Header() // as outer handlers change it
		h["X-Request-Id"][0], h[http.TrailerPrefix+"X-Sum"][0] = "changed", "changed"
		h.Add("Vary", fmt.Sprint("client-", i))
	}
	for i, client := range clients {
		if got := client.Header()["Vary"]; !slices.Equal(got, []string{"Origin", fmt.Sprint("client-", i)}) {
			t.Errorf("client %d has %q", i, got)
		}
	}
	if len(kept.head) != 2 || kept.head.Get("X-Request-Id") != "1" {
		t.Errorf("the answer has come to %v", kept.head)
	}
	if kept.early[0].Get("Link") != "</a>" || kept.late[http.TrailerPrefix+"X-Sum"][0] != "42" {
		t.Errorf("the answer has come to hints %v and trailers %v", kept.early, kept.late)
	}
}

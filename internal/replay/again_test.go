package replay

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit"
)

// TestWhole: only a body that memory has from its start to its end, and that nobody reads,
// is given away whole.
func TestWhole(t *testing.T) {
	for _, test := range []struct {
		what    string
		body    string
		prepare func(r *http.Request)
		read    int   // bytes, by who has the body before
		length  int64 // that is asked for
		want    bool
	}{
		{"a small body", "small", nil, 0, 5, true},
		{"one of two chunks", strings.Repeat("x", 40_000), nil, 0, 40_000, true},
		{"another length is stated to the upstream", "small", nil, 0, 4, false},
		{"somebody has read from it", "small", nil, 1, 5, false},
		{"its length is not stated", "small", func(r *http.Request) { r.ContentLength = -1 }, 0, 5, false},
		{"it has a trailer", "small", func(r *http.Request) { r.Trailer = http.Header{"X-Sum": nil} }, 0, 5, false},
		{"its client waits to be asked for it", "small", func(r *http.Request) { r.Header.Set("Expect", "100-continue") }, 0, 5, false},
		{"its end has not come, over HTTP/1", "small", func(r *http.Request) { r.ProtoMajor = 1 }, 0, 5, false},
		{"it broke off", "smal", func(r *http.Request) { r.ContentLength = 5 }, 0, 5, false},
		{"it is too large for memory", strings.Repeat("x", 60_000), nil, 0, 60_000, false},
	} {
		t.Run(test.what, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(test.body))
			r.ProtoMajor = 2
			if test.prepare != nil {
				test.prepare(r)
			}
			b := newReplayBody(r, Limits{Total: testkit.Ample, Memory: 50_000, Disk: 1 << 20})
			defer b.Finish()
			a := b.Attempt(r)
			io.ReadFull(a, make([]byte, test.read))
			text, ok := a.Whole(test.length)
			if ok != test.want || ok && string(text) != test.body {
				t.Errorf("%t, %d bytes", ok, len(text))
			}
		})
	}
}

// TestWhatIsGivenAwayIsNobodyElses: net/http may read a body that it was given after the
// request has ended, when its memory is another's.
func TestWhatIsGivenAwayIsNobodyElses(t *testing.T) {
	take := func(body string) []byte {
		r := testkit.Upload(strings.NewReader(body))
		r.ContentLength, r.ProtoMajor = int64(len(body)), 2
		b := newReplayBody(r, Limits{Total: testkit.Ample, Memory: 50_000})
		a := b.Attempt(r)
		text, ok := a.Whole(int64(len(body)))
		if !ok {
			t.Fatal("the body is not whole")
		}
		if again, ok := a.Whole(int64(len(body))); !ok || string(again) != body {
			t.Errorf("a proxy that tries another address has %q", again)
		}
		b.Commit()
		if b.copy.size != 0 {
			t.Error("the copy is kept after the answer")
		}
		b.Finish()
		return text
	}
	first := take("first!")
	for range 100 {
		take("second")
	}
	if string(first) != "first!" {
		t.Errorf("the first one's body became %q", first)
	}
}

// TestAgain: the body begins anew for the same attempt, for as long as it goes on.
func TestAgain(t *testing.T) {
	content := testkit.Content(100_000)
	r := testkit.Upload(bytes.NewReader(content))
	b := newReplayBody(r, Limits{Total: testkit.Ample, Memory: 1 << 20})
	defer b.Finish()
	a := b.Attempt(r)
	io.ReadFull(a, make([]byte, 60_000))
	a.Close() // as net/http does
	second, err := a.Again()
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(second, make([]byte, 70_000))
	third, err := second.Again()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := second.Read(make([]byte, 1)); n > 0 || !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("who had it before reads %d bytes, %v", n, err)
	}
	got, err := io.ReadAll(third)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	a.End()
	if _, err := third.Again(); !errors.Is(err, errSpool) {
		t.Errorf("after the attempt: %v", err)
	}
	next := b.Attempt(r)
	if _, err := third.Again(); !errors.Is(err, errSpool) {
		t.Errorf("in another attempt: %v", err)
	}
	if got, err := io.ReadAll(next); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the next attempt has %d bytes, %v", len(got), err)
	}
}

// TestAgainAfterTheAnswer: who has been answered sends nothing again.
func TestAgainAfterTheAnswer(t *testing.T) {
	for what, end := range map[string]func(b *Body){
		"committed":    (*Body).Commit,
		"rejected":     func(b *Body) { b.Reject() },
		"over":         (*Body).Finish,
		"not kept any": func(b *Body) { b.phase, b.start = flowing, 10 },
	} {
		r := testkit.Upload(bytes.NewReader(testkit.Content(100)))
		b := newReplayBody(r, Limits{Total: testkit.Ample, Memory: 1 << 20})
		a := b.Attempt(r)
		io.ReadFull(a, make([]byte, 50))
		end(b)
		if _, err := a.Again(); !errors.Is(err, errSpool) {
			t.Errorf("%s: %v", what, err)
		}
		b.Finish()
	}
}

// TestARenamedBodyWholeAndAgain: a transport that takes the body whole, or sends it again,
// sends the attempt's name of the model.
func TestARenamedBodyWholeAndAgain(t *testing.T) {
	const body = `{"model":"gpt","n":1}`
	for _, to := range []string{"m", "abc", "a-longer-name"} {
		b, r := renaming(t, "stated", "application/json", body)
		r.ProtoMajor = 2
		want := strings.Replace(body, "gpt", to, 1)
		sent := r.Clone(t.Context())
		a := b.Attempt(sent)
		if !a.Rename(sent, called(to)) || sent.ContentLength != int64(len(want)) {
			t.Fatalf("%d bytes are stated", sent.ContentLength)
		}
		if text, ok := a.Whole(int64(len(want))); !ok || string(text) != want {
			t.Errorf("whole: %q %t, want %q", text, ok, want)
		}
		a.End()
		sent = r.Clone(t.Context())
		a = b.Attempt(sent)
		a.Rename(sent, called(to))
		io.ReadFull(a, make([]byte, 12))
		again, err := a.Again()
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(again); string(text) != want || err != nil {
			t.Errorf("again: %q %v, want %q", text, err, want)
		}
		a.End()
	}
}

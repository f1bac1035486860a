package gateway

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/keycycler/keycycler/internal/respond"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// formsOfErrors are errors in a 200, by media type.
var formsOfErrors = map[string][]string{
	eventStream: {
		limitedEvent, limitedData,
		": OPENROUTER PROCESSING\n\n" + limitedData,
		"\n\n" + limitedData,
		"id: 1\nretry: 3000\n\n" + limitedData,
		"\xef\xbb\xbfid: 1\n" + limitedData,
		strings.ReplaceAll(": a\n\n"+limitedEvent, "\n", "\r\n"),
		"data: {\ndata:   \"error\": {\"code\": 429,\ndata:   \"message\": \"No\"}}\n\n",
		"data: {\"id\":\"x\",\"choices\":[{\"delta\":{\"content\":\"\"}}],\"error\":{\"code\":429,\"message\":\"No\"}}\n\n",
		"data: {\"base_resp\":{\"status_code\":1002,\"status_msg\":\"rate limit\"}}\n\n",
		"event:error\ndata:{\"code\":\"Throttling.RateQuota\",\"message\":\"No\"}\n\n",
		"event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"rate_limit_exceeded\"}}}\n\n",
	},
	"application/json": {
		`{"error":{"code":429,"message":"No"}}`,
		"\n \n{\n  \"error\" : {\n    \"code\": 429\n  }\n}\n",
		`[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}]`,
		`{"id":"x","choices":[],"error":{"code":429,"message":"No"}}`,
		`{"id":"x","base_resp":{"status_code":1002,"status_msg":"rate limit"}}`,
	},
}

// compressed returns the text in a content coding.
func compressed(t testing.TB, coding, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "":
		return []byte(text)
	case "gzip":
		w = gzip.NewWriter(&out)
	case "deflate":
		w = zlib.NewWriter(&out)
	case "br":
		w = brotli.NewWriter(&out)
	case "zstd":
		w, _ = zstd.NewWriter(&out)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// piecewise answers 200 once with these bytes, each piece flushed, and then serves.
func piecewise(media, coding string, body []byte, piece int, calls *int) handlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) error {
		*calls++
		if *calls > 1 {
			return testkit.Fine.Write(w)
		}
		w.Header().Set("Content-Type", media)
		if coding != "" {
			w.Header().Set("Content-Encoding", coding)
		}
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		for rest := body; len(rest) > 0; {
			n := min(piece, len(rest))
			if _, err := w.Write(rest[:n]); err != nil {
				return nil //nolint:nilerr // the response was rejected, as is meant
			}
			http.NewResponseController(w).Flush()
			rest = rest[n:]
		}
		return nil
	}
}

// Every form of an error in a 200 moves on to the next key: in one piece, byte by byte,
// and compressed.
func TestEveryFormOfAnErrorInASuccess(t *testing.T) {
	for media, forms := range formsOfErrors {
		for _, form := range forms {
			for _, coding := range []string{"", "gzip", "deflate", "br", "zstd"} {
				body := compressed(t, coding, form)
				for _, piece := range []int{len(body), 1, 7} {
					t.Run("", func(t *testing.T) {
						h, calls := provision(t, 2, nil), 0
						w, err := testkit.Serve(h, piecewise(media, coding, body, piece, &calls), testkit.Post("x"))
						if err != nil || calls != 2 || w.Body.String() != testkit.Fine.Body || w.Header().Get("Content-Encoding") != "" {
							t.Errorf("%q, %q, by %d: %d calls, %v, %q", form, coding, piece, calls, err, w.Body)
						}
					})
				}
			}
		}
	}
}

// What is no error comes as it was sent, however it is coded and cut.
func TestEveryFormOfAHealthySuccess(t *testing.T) {
	for media, forms := range map[string][]string{
		eventStream:        {firstDelta + "data: [DONE]\n\n", ": a\n\n" + firstDelta, "data: [DONE]\n\n", ": a", "data: {\"id\"", "event: error\n\n", ""},
		"application/json": {`{"id":"x","error":null}`, `{"id":"` + strings.Repeat("x", 10000) + `"}`, `"text"`, `{"id"`, ""},
	} {
		for _, form := range forms {
			for _, coding := range []string{"", "gzip", "deflate", "br", "zstd"} {
				body := compressed(t, coding, form)
				for _, piece := range []int{len(body), 1} {
					h, calls := provision(t, 2, nil), 0
					w, err := testkit.Serve(h, piecewise(media, coding, body, piece, &calls), testkit.Post("x"))
					if err != nil || calls != 1 || !bytes.Equal(w.Body.Bytes(), body) || w.Header().Get("Content-Encoding") != coding || !w.Flushed {
						t.Errorf("%q, %q, by %d: %d calls, %v, %q", form[:min(len(form), 50)], coding, piece, calls, err, w.Body)
					}
				}
			}
		}
	}
}

// What comes before the end of the first event is held for a moment, and no longer; an
// error that ends later cools the key, and is the client's.
func TestTheFirstEventIsNotHeldForLong(t *testing.T) {
	for _, test := range []struct {
		first, then string
		cooling     int
	}{
		{": comment\n\n", firstDelta, 0},
		{": comment\n\n", limitedData, 1},
		{limitedData[:40], limitedData[40:], 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			h, calls := provision(t, 2, nil), 0
			w, err := testkit.Serve(h, handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				calls++
				w.Header().Set("Content-Type", eventStream)
				_, _ = io.WriteString(w, test.first)
				time.Sleep(respond.MaxOpening - time.Millisecond)
				if w.(*respond.Writer).Phase.Load() != respond.Opening {
					t.Errorf("%q was not held", test.first)
				}
				time.Sleep(2 * time.Millisecond)
				if w.(*respond.Writer).Phase.Load() == respond.Opening {
					t.Errorf("%q was held for more than %s", test.first, respond.MaxOpening)
				}
				_, err := io.WriteString(w, test.then)
				return err
			}), testkit.Post("x"))
			if err != nil || calls != 1 || w.Body.String() != test.first+test.then {
				t.Errorf("%d calls, %v, %q", calls, err, w.Body)
			}
			if c := h.roster.Load().Pool.Census(time.Now()); c.Keys-c.Ready != test.cooling {
				t.Errorf("%q: %d keys cool", test.first, c.Keys-c.Ready)
			}
		})
	}
}

// An error behind a stream's first event is the client's, and cools the key, compressed or not:
// in one piece and byte by byte, and behind errors that are not the key's.
func TestALaterErrorInAnyCoding(t *testing.T) {
	for _, later := range []struct {
		text    string
		cooling int
	}{
		{limitedEvent, 1},
		{limitedData + "data: [DONE]\n\n", 1},
		{strings.Repeat(firstDelta, 2000) + limitedData + firstDelta, 1},
		{"data: {\"error\":{\"code\":\"invalid_value\"}}\n\n" + firstDelta + limitedData, 1},
		{"data: {\"error\":{\"code\":\"invalid_value\"}}\n\n" + firstDelta, 0},
		{strings.Repeat(firstDelta, 200), 0},
		{"data: {\"text\":\"" + strings.Repeat("no end ", 20_000), 0},
	} {
		for _, coding := range []string{"", "gzip", "deflate", "br", "zstd"} {
			body := compressed(t, coding, firstDelta+later.text)
			for _, piece := range []int{len(body), 1} {
				t.Run("", func(t *testing.T) {
					h, calls := provision(t, 2, nil), 0
					w, err := testkit.Serve(h, piecewise(eventStream, coding, body, piece, &calls), testkit.Post("x"))
					if err != nil || calls != 1 || !bytes.Equal(w.Body.Bytes(), body) {
						t.Errorf("%.50q, %q, by %d: %d calls, %v, %d bytes of %d", later.text, coding, piece, calls, err, w.Body.Len(), len(body))
					}
					if c := h.roster.Load().Pool.Census(time.Now()); c.Keys-c.Ready != later.cooling {
						t.Errorf("%.50q, %q, by %d: %d keys cool", later.text, coding, piece, c.Keys-c.Ready)
					}
				})
			}
		}
	}
}

// A refusal whose body is a stream is judged by its first event: nobody waits for its end.
func TestARefusalThatIsAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, calls, began := provision(t, 2, nil), 0, time.Now()
		w, err := testkit.Serve(h, handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			if calls++; calls > 1 {
				return testkit.Fine.Write(w)
			}
			w.Header().Set("Content-Type", eventStream)
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, ": wait\n\n"+limitedData)
			<-r.Context().Done()
			return r.Context().Err()
		}), testkit.Post("x"))
		if err != nil || calls != 2 || w.Code != http.StatusOK || time.Since(began) > 0 {
			t.Errorf("%d calls, %v, %d after %s", calls, err, w.Code, time.Since(began))
		}
		for slot := range rotator.Slot(2) {
			st := h.roster.Load().Pool.Status(time.Now(), slot)
			if st.Left > 0 && (st.Source != "body:message" || st.Left < 50*time.Second) {
				t.Errorf("the key cools for %s, by %s", st.Left, st.Source)
			}
		}
	})
}

package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/peek"
	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/internal/respond"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/ttl"
)

const (
	eventStream = "text/event-stream; charset=utf-8"

	limitedEvent = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"Please try again in 50s\"}}\n\n"
	limitedData  = "data: {\"error\":{\"message\":\"Rate limit reached. Please try again in 50s.\",\"type\":\"tokens\",\"code\":\"rate_limit_exceeded\"}}\n\n"
	overloaded   = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n"
	firstDelta   = "data: {\"id\":\"1\",\"choices\":[{\"delta\":{\"content\":\"event: error {\\\"error\\\":1}\"}}]}\n\n"
)

// streams answers 200 with these pieces, each flushed, and counts its calls.
func streams(contentType string, answers ...[]string) (handlerFunc, *int) {
	calls := 0
	return func(w http.ResponseWriter, _ *http.Request) error {
		pieces := answers[min(calls, len(answers)-1)]
		calls++
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(http.StatusOK)
		for _, piece := range pieces {
			if _, err := io.WriteString(w, piece); err != nil {
				return nil //nolint:nilerr // the response was rejected, as is meant
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				return err
			}
		}
		return nil
	}, &calls
}

func TestErrorsInSuccesses(t *testing.T) {
	healthy := []string{firstDelta, "data: [DONE]\n\n"}
	const document = `{"id":"1","error":null}`
	for _, row := range []struct {
		sentence    string
		contentType string
		answers     [][]string
		calls       int
		got         string
		cooling     int
	}{
		{"a healthy stream passes", eventStream, [][]string{healthy}, 1, strings.Join(healthy, ""), 0},
		{"an error event moves on", eventStream, [][]string{{limitedEvent}, healthy}, 2, strings.Join(healthy, ""), 1},
		{"so does an error without an event's name", eventStream, [][]string{{limitedData}, healthy}, 2, strings.Join(healthy, ""), 1},
		{"one that comes in pieces, too", eventStream, [][]string{{limitedEvent[:20], limitedEvent[20:]}, healthy}, 2, strings.Join(healthy, ""), 1},
		{"and one behind which the stream goes on", eventStream, [][]string{{limitedEvent, "data: [DONE]\n\n"}, healthy}, 2, strings.Join(healthy, ""), 1},
		{"an error that no key cures passes as it is", eventStream, [][]string{{overloaded, "more"}, healthy}, 1, overloaded + "more", 0},
		{"an error after something else passes, and the key cools", eventStream, [][]string{{firstDelta, limitedEvent}, healthy}, 1, firstDelta + limitedEvent, 1},
		{"in pieces, too", eventStream, [][]string{{firstDelta + limitedEvent[:9], limitedEvent[9:30], limitedEvent[30:]}, healthy}, 1, firstDelta + limitedEvent, 1},
		{"comments say nothing", eventStream, [][]string{{": OPENROUTER PROCESSING\n\n", ": OPENROUTER PROCESSING\n\n" + limitedData}, healthy}, 2, strings.Join(healthy, ""), 1},
		{"nor do other fields, and blank lines", eventStream, [][]string{{"\n\nid: 7\nretry: 10\n\n" + limitedData}, healthy}, 2, strings.Join(healthy, ""), 1},
		{"an error within a chunk", eventStream, [][]string{{"data: {\"id\":\"x\",\"choices\":[{\"delta\":{}}],\"error\":{\"code\":429,\"message\":\"No\"}}\n\n"}, healthy}, 2, strings.Join(healthy, ""), 1},
		{"DashScope's, an error by its name alone", eventStream, [][]string{{"id:1\nevent:error\n:HTTP_STATUS/429\ndata:{\"code\":\"Throttling\",\"message\":\"No\"}\n\n"}, healthy}, 2, strings.Join(healthy, ""), 1},
		{"MiniMax's", eventStream, [][]string{{"data: {\"base_resp\":{\"status_code\":1002,\"status_msg\":\"rate limit\"}}\n\n"}, healthy}, 2, strings.Join(healthy, ""), 1},
		{"comments alone pass", eventStream, [][]string{{": a\n\n", ": b\n\n"}}, 1, ": a\n\n: b\n\n", 0},
		{"a printed document that is an error", "application/json", [][]string{{"{\n    \"id\": 1,\n", "    \"error\" : {\n \"code\": 429 }\n}\n"}, {document}}, 2, document, 1},
		{"MiniMax's document", "application/json", [][]string{{`{"id":"x","base_resp":{"status_code":1002,"status_msg":"rate limit"}}`}, {document}}, 2, document, 1},
		{"MiniMax's document of a success", "application/json", [][]string{{`{"id":"x","base_resp":{"status_code":0,"status_msg":""}}`}}, 1, `{"id":"x","base_resp":{"status_code":0,"status_msg":""}}`, 0},
		{"an error event without content passes", eventStream, [][]string{{"event: error\n\n"}}, 1, "event: error\n\n", 0},
		{"an error event that breaks off passes", eventStream, [][]string{{"event: error\nda"}}, 1, "event: error\nda", 0},
		{"a document that is an error moves on", "application/json", [][]string{{` {"error":{"code":429,"message":"Rate limit exceeded"}}`}, {document}}, 2, document, 1},
		{"other documents pass", "application/json", [][]string{{document}}, 1, document, 0},
		{"one that mentions it, too", "application/json", [][]string{{`{"text":"{\"error\":{\"code\":429}}"}`}}, 1, `{"text":"{\"error\":{\"code\":429}}"}`, 0},
		{"an empty one, too", "application/json", [][]string{{}}, 1, "", 0},
		{"other media are not looked at", "text/plain", [][]string{{limitedEvent}}, 1, limitedEvent, 0},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			h := provision(t, 4, func(c *Config) { c.Policy.Jitter = 0 })
			next, calls := streams(row.contentType, row.answers...)
			res := exchangeOverHTTP(t, h, next, get)
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != http.StatusOK || string(body) != row.got || *calls != row.calls {
				t.Errorf("%s, %v, after %d calls: %q", res.Status, err, *calls, body)
			}
			if got := len(res.Header["Content-Type"]); got != 1 {
				t.Errorf("%d content types", got)
			}
			c := h.roster.Load().Pool.Census(time.Now())
			if c.Keys-c.Ready != row.cooling {
				t.Errorf("%d keys cool, want %d", c.Keys-c.Ready, row.cooling)
			}
		})
	}
}

// A stream whose head is flushed on its own is not held back by it; an error that
// comes later cools the key, and is the client's.
func TestTheHeadDoesNotWaitLong(t *testing.T) {
	for _, first := range []string{firstDelta, limitedEvent} {
		synctest.Test(t, func(t *testing.T) {
			h := provision(t, 2, nil)
			calls := 0
			next := handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				calls++
				w.Header().Set("Content-Type", eventStream)
				w.WriteHeader(http.StatusOK)
				began := time.Now()
				http.NewResponseController(w).Flush()
				x := w.(*respond.Writer)
				for x.Phase.Load() == respond.Opening {
					time.Sleep(time.Millisecond)
				}
				if waited := time.Since(began); waited > respond.MaxOpening+time.Millisecond {
					t.Errorf("the head waited %s", waited)
				}
				_, err := io.WriteString(w, first)
				return err
			})
			w, err := testkit.Serve(h, next, get("/"))
			if err != nil || w.Body.String() != first || !w.Flushed || calls != 1 {
				t.Errorf("%v, %d calls, flushed: %t, %q", err, calls, w.Flushed, w.Body)
			}
			if c := h.roster.Load().Pool.Census(time.Now()); (c.Keys != c.Ready) != (first == limitedEvent) {
				t.Errorf("%q: %d keys of %d are ready", first, c.Ready, c.Keys)
			}
		})
	}
}

// Bytes of a healthy stream never wait, however it is cut: each reaches the client
// before the next is sent.
func TestAHealthyStreamIsNotHeldBack(t *testing.T) {
	for _, stream := range []string{firstDelta, "event: message_start\ndata: {\"type\":\"message_start\"}\n\n", ": comment\n\n", "data: {\"type\":\"response.created\"}\n\n"} {
		t.Run(stream, func(t *testing.T) {
			t.Parallel() // each waits
			h := provision(t, 2, nil)
			arrived := make(chan struct{})
			res := exchangeOverHTTP(t, h, handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				w.Header().Set("Content-Type", eventStream)
				w.WriteHeader(http.StatusOK)
				for i := range len(stream) {
					fmt.Fprint(w, stream[i:i+1])
					http.NewResponseController(w).Flush()
					select {
					case <-arrived:
					case <-time.After(20 * time.Second):
						t.Errorf("byte %d of %q does not arrive", i, stream)
						return nil
					}
				}
				return nil
			}), get)
			var b [1]byte
			for range len(stream) {
				if _, err := io.ReadFull(res.Body, b[:]); err != nil {
					t.Fatal(err)
				}
				arrived <- struct{}{}
			}
		})
	}
}

// Trailers that follow a body without bytes stay trailers.
func TestTrailersOfAnEmptySuccess(t *testing.T) {
	h := provision(t, 2, nil)
	res := exchangeOverHTTP(t, h, handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusOK)
		w.Header().Set("X-Sum", "42")
		return nil
	}), get)
	io.ReadAll(res.Body)
	if res.Header.Get("X-Sum") != "" || res.Trailer.Get("X-Sum") != "42" {
		t.Errorf("header %v, trailer %v", res.Header, res.Trailer)
	}
}

// A success that leaves nothing keeps its key out of the draw until there is some
// again, for just that long.
func TestLookingAhead(t *testing.T) {
	for _, row := range []struct {
		sentence string
		off      bool
		header   map[string]string
		class    string
		left     time.Duration
	}{
		{"nothing is left", false, map[string]string{"X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Reset-Requests": "1.5s"}, "spent", 1500 * time.Millisecond},
		{"something is", false, map[string]string{"X-Ratelimit-Remaining-Requests": "1", "X-Ratelimit-Reset-Requests": "1.5s"}, "", 0},
		{"nothing is said", false, nil, "", 0},
		{"the switch is off", true, map[string]string{"X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Reset-Requests": "1.5s"}, "", 0},
		{"more than max is max", false, map[string]string{"X-Ratelimit-Remaining-Tokens": "0", "X-Ratelimit-Reset-Tokens": "1000h"}, "spent", 24 * time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := provision(t, 1, func(c *Config) {
				on := !row.off
				c.Ahead = on
			})
			if w, err := testkit.Serve(h, testkit.Script(testkit.Reply{Status: 200, Header: row.header, Body: "fine"}), testkit.Post("x")); err != nil || w.Body.String() != "fine" {
				t.Errorf("%s: %v %s", row.sentence, err, w.Body)
			}
			st := h.roster.Load().Pool.Status(time.Now(), 0)
			if st.Left != row.left || row.left > 0 && reason.Name(st.Reason) != row.class || st.Rejections[ttl.RateLimited] != 0 {
				t.Errorf("%s: %+v", row.sentence, st)
			}
		})
	}
}

func FuzzFirstEvent(f *testing.F) {
	for _, stream := range []string{limitedEvent, limitedData, overloaded, firstDelta, "event:error\r\ndata:{}\r\n\r\n", ` [{"error":1`} {
		f.Add(stream)
	}
	h := provision(f, 1, nil)
	f.Fuzz(func(t *testing.T, stream string) {
		payload, _ := peek.FirstEvent([]byte(stream))
		if len(payload) > len(stream)+len(`"type":"error",`) {
			t.Fatalf("%q holds %q", stream, payload)
		}
		v := h.judge.JudgeEvent(200, payload, time.Now(), 0.5)
		if p := h.judge.Policy; v.Action == blame.ActionCooldown && (v.Cooldown < p.Min || v.Cooldown > p.Max+p.Max/10) {
			t.Fatalf("%q cools for %s", stream, v.Cooldown)
		}
		peek.Begins(true, []byte(stream))
		peek.Begins(false, []byte(stream))
	})
}

//go:build unix

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// A healthy answer is never late: its upstream sends no piece before the client has all
// bytes of the one before. So it goes with bare Caddy, and so it goes with keycycler, in
// whatever pieces, from the end of the first event on. What comes before that end (at
// most a second, and the pieces of an event that may yet be an error) may come together.
func TestHealthyAnswersComeInLockStep(t *testing.T) {
	chunk := func(text string) string {
		return fmt.Sprintf("data: {\"id\":\"x\",\"choices\":[{\"delta\":{\"content\":%q}}]}\n\n", text)
	}
	const message = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\"}}\n\n"
	chat := []string{chunk("Hel"), chunk("lo"), ": a comment\n\n", chunk("error"), "data: [DONE]\n\n"}
	answers := []struct {
		name, media string
		head        int // pieces that may come together with the one after them
		pieces      []string
	}{
		{"events", "text/event-stream", 0, chat},
		{"events with a charset", "text/event-stream; charset=utf-8", 0, chat},
		{"named events", "text/event-stream", 0, []string{message, "event: ping\ndata: {\"type\":\"ping\"}\n\n", "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"}},
		{"a comment first", "text/event-stream", 1, append([]string{": PROCESSING\n\n"}, chat...)},
		{"the first event byte by byte", "text/event-stream", len(chat[0]), append(strings.Split(chat[0], ""), chat[1:]...)},
		{"later events byte by byte", "text/event-stream", 0, append([]string{chat[0]}, strings.Split(strings.Join(chat[1:], ""), "")...)},
		{"lines of JSON", "application/x-ndjson", 0, []string{"{\"a\":1}\n", "{\"a\":2}\n", "{\"a\":3}\n"}},
		{"bytes", "application/octet-stream", 0, []string{"\x00", "\x01\x02", strings.Repeat("x", 100_000), "y"}},
		{"text", "text/plain", 0, strings.Split("a little text", "")},
	}
	taken := make(chan struct{}) // by the client, a piece each
	upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.Header.Get("X-Answer"))
		a := answers[n]
		w.Header().Set("Content-Type", a.media)
		for i, piece := range a.pieces {
			io.WriteString(w, piece)
			w.(http.Flusher).Flush()
			if i < a.head {
				continue
			}
			select {
			case <-taken:
			case <-r.Context().Done():
				return
			}
		}
	})
	for _, way := range []struct{ name, directives string }{
		{"bare", fmt.Sprintf("reverse_proxy %s", upstream.URL)},
		{"keycycler", fmt.Sprintf("keycycler {\n keys %s\n}\nreverse_proxy %s", demoKeys(2), upstream.URL)},
		{"transport keycycler", fmt.Sprintf("keycycler {\n keys %s\n keepalive 1h\n}\nreverse_proxy %s {\n transport keycycler\n}", demoKeys(2), upstream.URL)},
	} {
		t.Run(way.name, func(t *testing.T) {
			g := startGateway(t, way.directives)
			client := live.Patient(&http.Transport{DisableCompression: true})
			defer client.CloseIdleConnections()
			for n, a := range answers {
				r := live.Request(t, "POST", g.plain, `{"model":"m","stream":true}`)
				r.Header.Set("X-Answer", strconv.Itoa(n))
				res, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				if err := inLockStep(t, res.Body, a.pieces, a.head, taken); err != nil {
					t.Errorf("%s: %v", a.name, err)
				}
				res.Body.Close()
			}
		})
	}
}

// inLockStep reads the pieces, and tells the upstream of each that has come.
func inLockStep(t *testing.T, body io.Reader, pieces []string, head int, taken chan<- struct{}) error {
	t.Helper()
	for i := 0; i < len(pieces); i++ {
		want := pieces[i]
		for ; i < head && i+1 < len(pieces); i++ {
			want += pieces[i+1]
		}
		got := make([]byte, len(want))
		if n, err := io.ReadFull(body, got); err != nil || string(got) != want {
			return fmt.Errorf("piece %d: %d bytes of %d, %w", i, n, len(want), err)
		}
		select {
		case taken <- struct{}{}:
		case <-time.After(30 * time.Second):
			return fmt.Errorf("piece %d: the upstream does not wait for it to be taken", i)
		}
	}
	if rest, err := io.ReadAll(body); len(rest) > 0 || err != nil {
		return fmt.Errorf("%d bytes more, %w", len(rest), err)
	}
	return nil
}

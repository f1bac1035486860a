//go:build unix

package e2e

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/respond"
	"github.com/keycycler/keycycler/internal/testkit/live"
)

// lockAnswer is an answer that comes in these pieces.
type lockAnswer struct {
	name, media, coding string
	head                int // pieces that may come together with the one after them
	pieces              []string
}

func lockChunk(text string) string {
	return fmt.Sprintf("data: {\"id\":\"x\",\"choices\":[{\"delta\":{\"content\":%q}}]}\n\n", text)
}

// lockAnswers are healthy answers of all kinds.
func lockAnswers(t *testing.T) []lockAnswer {
	const stream = "text/event-stream"
	const message = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\"}}\n\n"
	chat := []string{lockChunk("Hel"), lockChunk("lo"), ": a comment\n\n", lockChunk("error"), "data: [DONE]\n\n"}
	// What comes before the first event is passed after a second, and after that nothing waits.
	slow := append([]string{": PROCESSING\n\n", "id: 1\n", "retry: 10\n\n", ": PROCESSING\n\n", "id: 2\nevent: message\n"}, chat...)
	answers := []lockAnswer{
		{"events", stream, "", 0, chat},
		{"events with a charset", "text/event-stream; charset=utf-8", "", 0, chat},
		{"named events", stream, "", 0, []string{message, "event: ping\ndata: {\"type\":\"ping\"}\n\n", "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"}},
		{"a comment first", stream, "", 1, append([]string{": PROCESSING\n\n"}, chat...)},
		{"comments and ids before the first event", stream, "", 0, slow},
		{"the first event byte by byte", stream, "", len(chat[0]) - 1, append(strings.Split(chat[0], ""), chat[1:]...)},
		{"later events byte by byte", stream, "", 0, append([]string{chat[0]}, strings.Split(strings.Join(chat[1:], ""), "")...)},
		{"lines of JSON", "application/x-ndjson", "", 0, []string{"{\"a\":1}\n", "{\"a\":2}\n", "{\"a\":3}\n"}},
		{"bytes", "application/octet-stream", "", 0, []string{"\x00", "\x01\x02", strings.Repeat("x", 100_000), "y"}},
		{"text", "text/plain", "", 0, strings.Split("a little text", "")},
	}
	for _, coding := range []string{"gzip", "br", "zstd"} {
		coded := flushed(t, coding, chat)
		answers = append(answers,
			lockAnswer{coding + ", events", stream, coding, 0, coded},
			lockAnswer{coding + ", later events byte by byte", stream, coding, 0, append([]string{coded[0]}, strings.Split(strings.Join(coded[1:], ""), "")...)})
	}
	return append(answers, lockAnswer{"gzip, comments and ids before the first event", stream, "gzip", 0, flushed(t, "gzip", slow)})
}

// flushed returns the pieces in a content coding, each so that it can be read when it comes.
func flushed(t *testing.T, coding string, pieces []string) (coded []string) {
	t.Helper()
	var out bytes.Buffer
	w := compressor(t, coding, &out)
	for _, piece := range pieces {
		if _, err := io.WriteString(w, piece); err != nil {
			t.Fatal(err)
		}
		if err := w.(interface{ Flush() error }).Flush(); err != nil {
			t.Fatal(err)
		}
		coded = append(coded, out.String())
		out.Reset()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return append(coded, out.String())
}

// lockUpstream sends no piece of an answer before the client has all of the one before.
type lockUpstream struct {
	answers []lockAnswer
	taken   map[string]chan struct{} // by the client of this name, a piece each
}

func (u *lockUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, _ := strconv.Atoi(r.Header.Get("X-Answer"))
	a := u.answers[n]
	w.Header().Set("Content-Type", a.media)
	if a.coding != "" {
		w.Header().Set("Content-Encoding", a.coding)
	}
	for i, piece := range a.pieces {
		io.WriteString(w, piece)
		w.(http.Flusher).Flush()
		if i < a.head {
			continue
		}
		select {
		case <-u.taken[r.Header.Get("X-Client")]:
		case <-r.Context().Done():
			return
		}
	}
}

// start starts the upstream, over HTTP/1.1 and over HTTP/2 without TLS.
func (u *lockUpstream) start(t *testing.T) (plain, h2c string) {
	server := httptest.NewUnstartedServer(u)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(func() { live.CloseServer(t, server) })
	return server.URL, strings.Replace(server.URL, "http://", "h2c://", 1)
}

// A healthy answer is never late: its upstream sends no piece before the client has all
// bytes of the one before. So it goes with bare Caddy, and so it goes with keycycler, in
// whatever pieces and compressed, from the end of the first event on. What comes before that
// end (at most a second, and the pieces of an event that may yet be an error) may come
// together.
func TestHealthyAnswersComeInLockStep(t *testing.T) {
	u := &lockUpstream{answers: lockAnswers(t), taken: make(map[string]chan struct{})}
	plain, h2c := u.start(t)
	for _, way := range []struct{ name, keycycler, transport string }{
		{"bare", "", "http"},
		{"keycycler", "keycycler {\n keys " + demoKeys(2) + "\n}", "http"},
		{"transport keycycler", "keycycler {\n keys " + demoKeys(2) + "\n keepalive 1h\n}", "keycycler"},
	} {
		t.Run(way.name, func(t *testing.T) {
			if way.transport == "keycycler" && !live.Long() {
				t.Skip("it takes long: KEYCYCLER_LONG=1 runs it")
			}
			g := newGateway(t)
			g.global = "servers {\n protocols h1 h2 h2c\n}"
			g.start(fmt.Sprintf("%s\n@h2c header X-Upstream h2c\nreverse_proxy @h2c %s {\n transport %[3]s\n}\nreverse_proxy %s {\n transport %[3]s\n}", way.keycycler, h2c, way.transport, plain))
			clients := lockClients(t, g)
			for _, c := range clients {
				u.taken[c.name()] = make(chan struct{})
			}
			for _, c := range clients {
				t.Run(c.name(), func(t *testing.T) {
					t.Parallel() // some answers are held for a second
					u.playAll(t, c)
				})
			}
		})
	}
}

// lockClient is one of a protocol, of which the upstream has another or the same.
type lockClient struct {
	*http.Client
	url, proto, upstream string
}

func (c lockClient) name() string { return c.proto + " to " + c.upstream }

func lockClients(t *testing.T, g *gateway) []lockClient {
	var h2c http.Protocols
	h2c.SetUnencryptedHTTP2(true)
	clients := []lockClient{
		{live.Patient(&http.Transport{DisableCompression: true}), g.plain, "HTTP/1.1", "h1"},
		{live.Patient(&http.Transport{DisableCompression: true, Protocols: &h2c}), g.plain, "HTTP/2.0", "h2c"},
		{live.Patient(&http.Transport{
			DisableCompression: true, ForceAttemptHTTP2: true, DialContext: live.DialLoopback,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		}), g.secure, "HTTP/2.0", "h1"},
	}
	for _, c := range clients {
		t.Cleanup(c.CloseIdleConnections)
	}
	return clients
}

func (u *lockUpstream) playAll(t *testing.T, c lockClient) {
	t.Helper()
	for n, a := range u.answers {
		r := live.Request(t, "POST", c.url, `{"model":"m","stream":true}`)
		r.Header.Set("X-Client", c.name())
		r.Header.Set("X-Answer", strconv.Itoa(n))
		r.Header.Set("X-Upstream", c.upstream)
		r.Header.Set("Accept-Encoding", cmp.Or(a.coding, "identity")) // for Caddy would decode gzip otherwise
		slowest, err := u.play(t, c, r, a)
		if err != nil {
			t.Errorf("%s: %v", a.name, err)
		}
		if slowest > respond.MaxOpening {
			t.Logf("%s: a piece took %s", a.name, slowest)
		}
	}
}

// play gets the answer, and returns how long its slowest piece took.
func (u *lockUpstream) play(t *testing.T, c lockClient, r *http.Request, a lockAnswer) (slowest time.Duration, err error) {
	t.Helper()
	began := time.Now()
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Proto != c.proto || res.Header.Get("Content-Encoding") != a.coding {
		t.Errorf("%s, %q", res.Proto, res.Header.Get("Content-Encoding"))
	}
	first := time.Since(began)
	slowest, err = inLockStep(t, res.Body, a.pieces, a.head, u.taken[c.name()])
	return max(first, slowest), err
}

// inLockStep reads the pieces, and tells the upstream of each that has come.
func inLockStep(t *testing.T, body io.Reader, pieces []string, head int, taken chan<- struct{}) (slowest time.Duration, err error) {
	t.Helper()
	for i := 0; i < len(pieces); i++ {
		want := pieces[i]
		for ; i < head && i+1 < len(pieces); i++ {
			want += pieces[i+1]
		}
		got, began := make([]byte, len(want)), time.Now()
		if n, err := io.ReadFull(body, got); err != nil || string(got) != want {
			return slowest, fmt.Errorf("piece %d: %d bytes of %d, %w", i, n, len(want), err)
		}
		slowest = max(slowest, time.Since(began))
		select {
		case taken <- struct{}{}:
		case <-time.After(30 * time.Second):
			return slowest, fmt.Errorf("piece %d: the upstream does not wait for it to be taken", i)
		}
	}
	if rest, err := io.ReadAll(body); len(rest) > 0 || err != nil {
		return slowest, fmt.Errorf("%d bytes more, %w", len(rest), err)
	}
	return slowest, nil
}

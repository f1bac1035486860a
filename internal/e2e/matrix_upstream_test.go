package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// onWire answers one call, by writing to its connection as it likes. The connection
// ends with it.
type onWire func(*wire)

// wire is the connection of one call, whose header was read.
type wire struct {
	net.Conn
	*stage
	r    *http.Request
	seen *seenCall
}

// startWire starts an upstream that speaks HTTP/1.1: a call per connection.
func startWire(s *stage) (upstream, proxy string, end func()) {
	return listen(s, func(conn net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		if r.URL.Path == quickPath {
			io.WriteString(conn, answerOf(quickText))
			return
		}
		call, n := s.call(r)
		s.c.answers[min(n, len(s.c.answers)-1)](&wire{conn, s, r, call})
	})
}

// listen serves connections until the case ends.
func listen(s *stage, serve func(net.Conn)) (address, proxy string, end func()) {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.scripts.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	return l.Addr().String(), "", func() {
		l.Close()
		accepting.Wait()
	}
}

// readBody reads the call's body to its end.
func (w *wire) readBody() {
	buf := make([]byte, 32<<10)
	for {
		n, err := w.r.Body.Read(buf)
		w.got(w.seen, buf[:n], err == io.EOF)
		if err != nil {
			return
		}
	}
}

// say writes to the gateway, and reports whether it still listens.
func (w *wire) say(text string) bool {
	_, err := io.WriteString(w, text)
	return err == nil
}

// pause is in the midst of the fault until the test says so.
func (w *wire) pause() {
	w.reach()
	<-w.goOn
}

// untilClosed waits until the gateway closes the connection.
func (w *wire) untilClosed() { io.Copy(io.Discard, w.Conn) }

// says reads the body and writes this.
func says(text string) onWire {
	return func(w *wire) {
		w.readBody()
		w.say(text)
	}
}

const (
	fine        = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n" + theAnswer
	limitedHead = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 40\r\nConnection: close\r\n"
)

// limited is a rejection that is whole.
var limited = fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", limitedHead, len(live.RateLimitBody), live.RateLimitBody)

func answerOf(text string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(text), text)
}

// limitedChunked begins a rejection in chunks of this size, which the caller sends.
const limitedChunked = limitedHead + "Transfer-Encoding: chunked\r\n\r\n"

// chunk returns one of n bytes.
func chunk(n int) string { return fmt.Sprintf("%x\r\n%s\r\n", n, strings.Repeat("x", n)) }

// largeHeader is a megabyte of header lines.
var largeHeader = strings.Repeat("X-Large: "+strings.Repeat("x", 1013)+"\r\n", 1024)

var upstreamFaults = []faultCase{
	{
		fault: "The upstream closes the connection before it answers", client: badGate, calls: 1,
		answers: []onWire{says("")},
	},
	{
		fault: "… within the answer's header", client: badGate, calls: 1,
		answers: []onWire{says("HTTP/1.1 200 OK\r\nContent-Le")},
	},
	{
		fault: "… within a 429's header", client: badGate, calls: 1,
		answers: []onWire{says("HTTP/1.1 429 Too Many Requests\r\nRetry-Af")},
	},
	{
		fault: "… within the body of a 429, of stated length", client: served, calls: 2, cools: 1,
		answers: []onWire{says(limitedHead + "Content-Length: 1000\r\n\r\n{\"error\""), says(fine)},
	},
	{
		fault: "… within the body of a 429, in chunks", client: served, calls: 2, cools: 1,
		answers: []onWire{says(limitedChunked + "5\r\n{\"err\r\n"), says(fine)},
	},
	{
		fault: "… where that is the end of a 429", client: served, calls: 2, cools: 1,
		answers: []onWire{says("HTTP/1.1 429 Too Many Requests\r\n\r\n{}"), says(fine)},
	},
	{
		fault: "… within the body of an answer, of stated length", client: cutOff, calls: 1,
		answers: []onWire{says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nthe")},
	},
	{
		fault: "… within the body of an answer, in chunks", client: cutOff, calls: 1,
		answers: []onWire{says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nthe\r\n")},
	},
	{
		fault: "… likewise, and the client speaks HTTP/2", client: cutOff, calls: 1, acts: overHTTP2(ask),
		answers: []onWire{says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nthe\r\n")},
	},
	{
		fault: "… within a stream of events", client: cutOff, calls: 1,
		answers: []onWire{says("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nthe\r\n")},
	},
	{
		fault: "… within the body of a 400", client: cutOff400, calls: 1,
		answers: []onWire{says("HTTP/1.1 400 Bad Request\r\nContent-Length: 10\r\n\r\nthe")},
	},
	{
		fault: "… likewise, and the client of the 400 speaks HTTP/2", client: cutOff400, calls: 1, acts: overHTTP2(ask),
		answers: []onWire{says("HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nthe\r\n")},
	},
	{
		fault: "The upstream never answers, and the client leaves", client: hasLeft, calls: 1, lasts: true, acts: leaveInTheMidst,
		answers: []onWire{func(w *wire) {
			w.readBody()
			w.reach()
			w.untilClosed()
		}},
	},
	{
		fault: "The upstream never answers, and `response_header_timeout` passes", client: timedOut, calls: 1, lasts: true, acts: askLasting,
		proxy: "transport http {\n response_header_timeout 2s\n }",
		answers: []onWire{func(w *wire) {
			w.readBody()
			w.reach()
			w.untilClosed()
		}},
	},
	{
		fault: "The upstream answers before it has read a body of 10 MB, which comes over HTTP/2", client: served, calls: 1, body: unread, lasts: true, acts: overHTTP2(answeredEarly),
		answers: []onWire{func(w *wire) {
			w.say(fine)
			w.pause()
		}},
	},
	{
		fault: "The upstream sends a 429 before it has read a body of 10 MB", client: served, calls: 2, body: late, cools: 1, lasts: true, acts: rejectedEarly,
		answers: []onWire{rejectsEarly, func(w *wire) {
			w.reach()
			w.readBody()
			w.say(fine)
		}},
	},
	{
		fault: "The upstream sends 2,000 times 100 Continue before it answers", client: served, calls: 1,
		answers: []onWire{says(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 2000) + fine)},
	},
	{
		fault: "… 2,000 times 102 Processing", client: served, calls: 1,
		answers: []onWire{says(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 2000) + fine)},
	},
	{
		fault: "… 2,000 times 103 Early Hints, of a kilobyte each", client: served, calls: 1,
		answers: []onWire{says(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </"+strings.Repeat("x", 1000)+">\r\n\r\n", 2000) + fine)},
	},
	{
		fault: "… the same before a 429", client: served, calls: 2, cools: 1,
		answers: []onWire{says(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </"+strings.Repeat("x", 1000)+">\r\n\r\n", 2000) + limited), says(fine)},
	},
	{
		fault: "A 429 has a body of 100 MB", client: served, calls: 2, cools: 1,
		answers: []onWire{func(w *wire) {
			w.readBody()
			w.say(limitedHead + "Content-Length: 100000000\r\n\r\n")
			if n, err := io.CopyN(w, zeros{}, 100_000_000); err == nil {
				w.t.Errorf("the gateway has taken %d bytes of a rejection", n)
			}
		}, says(fine)},
	},
	{
		fault: "A 429 has a body that never ends, a few bytes a second", client: served, calls: 2, cools: 1, slow: true,
		answers: []onWire{func(w *wire) {
			w.readBody()
			w.say(limitedChunked)
			every := time.NewTicker(200 * time.Millisecond)
			defer every.Stop()
			for range every.C {
				if !w.say(chunk(1)) {
					return
				}
			}
		}, says(fine)},
	},
	{
		fault: "A 429's body pauses, and goes on", client: served, calls: 2, cools: 1, lasts: true, acts: askLasting,
		answers: []onWire{func(w *wire) {
			w.readBody()
			w.say(limitedHead + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(live.RateLimitBody)) + live.RateLimitBody[:20])
			w.pause()
			w.say(live.RateLimitBody[20:])
		}, says(fine)},
	},
	{
		fault: "An answer has a header of 1 MB", client: served, calls: 1,
		answers: []onWire{says("HTTP/1.1 200 OK\r\n" + largeHeader + "Content-Length: 10\r\n\r\n" + theAnswer)},
	},
	{
		fault: "A 429 has a header of 1 MB", client: served, calls: 2, cools: 1,
		answers: []onWire{says(limitedHead + largeHeader + "Content-Length: 2\r\n\r\n{}"), says(fine)},
	},
	{
		fault: "An answer has a line in its header that is none", client: badGate, calls: 1,
		answers: []onWire{says("HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 10\r\n\r\n" + theAnswer)},
	},
	{
		fault: "A 429 has a line in its header that is none", client: badGate, calls: 1,
		answers: []onWire{says(limitedHead + "no colon\r\nContent-Length: 2\r\n\r\n{}"), says(fine)},
	},
	{
		fault: "A 429 states two lengths", client: badGate, calls: 1,
		answers: []onWire{says(limitedHead + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), says(fine)},
	},
	{
		fault: "A 429 has a chunk of no size", client: served, calls: 2, cools: 1,
		answers: []onWire{says(limitedChunked + "zz\r\n{}\r\n"), says(fine)},
	},
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// overHTTP2 lets the client speak HTTP/2.
func overHTTP2(client func(*stage) result) func(*stage) result {
	return func(s *stage) result {
		target := s.g.protocolClients()["HTTP/2.0"]
		s.client.Transport, s.url = target.client.Transport, target.url
		return client(s)
	}
}

// HTTP/1.1 has no answers before the end of a body: net/http's server and its client
// each do what they can, and sometimes a connection is reset.

// tenMB is an upload that pauses after its first megabyte until it is told to go on.
func tenMB(s *stage) io.Reader {
	first := io.LimitReader(zeros{}, 1<<20)
	return io.MultiReader(first, &live.Gate{Open: s.goOn}, io.LimitReader(zeros{}, 9<<20))
}

// rejectsEarly sends a rejection and reads nothing.
func rejectsEarly(w *wire) {
	w.say(limited)
	w.untilClosed()
}

// answeredEarly gets the answer while the upload is under way.
func answeredEarly(s *stage) result {
	res, err := s.client.Do(upload10MB(s))
	if err != nil {
		return result(err.Error())
	}
	defer res.Body.Close()
	s.inTheMidst()
	got := live.ResultOf(res, theAnswer)
	s.release()
	return got
}

// rejectedEarly goes on with the upload when the next call has begun.
func rejectedEarly(s *stage) result {
	done := make(chan result, 1)
	go func() { done <- s.send(upload10MB(s)) }()
	s.inTheMidst()
	s.release()
	return live.Receive(s.t, "the client gets an answer", done)
}

func upload10MB(s *stage) *http.Request {
	r, err := http.NewRequest(http.MethodPost, s.url, tenMB(s))
	if err != nil {
		s.t.Error(err)
	}
	return r
}

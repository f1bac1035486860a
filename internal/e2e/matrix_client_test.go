package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// What the clients do wrong. Those that are slow are so in steps: after each, another
// request of the same pool must be answered. So they take no time, and what holds a
// lock meanwhile is found out.

const (
	steps     = 20
	stepBytes = 1024
)

// keepsLittle has the copy of a body outgrown within some steps.
const keepsLittle = "replay {\nmemory 2KiB\ndisk 2KiB\n}"

// slowUpload is what a client uploads in steps.
var slowUpload = strings.Repeat("u", steps*stepBytes)

// longAnswer is more than what sockets and proxies keep of an answer for a client
// that does not read it.
var longAnswer = strings.Repeat("a", 16<<20)

var clientFaults = []faultCase{
	{
		fault: "The client leaves within its request's header", client: hasLeft, lasts: true, acts: leavesAfter("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le"),
	},
	{
		fault: "… within a body of stated length, of which everything is read before the first call", client: hasLeft, lasts: true,
		acts:    leavesAfter("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nbegin"),
		answers: []onWire{says(fine)},
	},
	{
		fault: "… within a body that streams", client: hasLeft, calls: 1, body: cut, lasts: true,
		acts: leavesAfter("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n"),
		answers: []onWire{func(w *wire) {
			w.reach()
			w.readBody()
		}},
	},
	{
		fault: "… while a 429 is held back", client: hasLeft, calls: 1, cools: 1, lasts: true, acts: leaveInTheMidst,
		answers: []onWire{func(w *wire) {
			w.readBody()
			w.say(limitedChunked + chunk(1))
			w.reach()
			w.untilClosed()
		}},
	},
	{
		fault: "… within the answer", client: hasLeft, calls: 1, lasts: true, acts: leaveWithinTheAnswer,
		answers: []onWire{func(w *wire) {
			w.readBody()
			w.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nthe\r\n")
			w.reach()
			w.untilClosed()
		}},
	},
	{
		fault: "… within the answer, over HTTP/2", client: hasLeft, calls: 1, lasts: true, acts: overHTTP2(leaveWithinTheAnswer),
		answers: []onWire{func(w *wire) {
			w.readBody()
			w.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nthe\r\n")
			w.reach()
			w.untilClosed()
		}},
	},
	{
		fault: "The client uploads a kilobyte at a time", client: served, calls: 2, cools: 1, lasts: true, acts: uploadInSteps,
		answers: []onWire{readsAll(limited), says(fine)},
	},
	{
		fault: "… uploads it over HTTP/2", client: served, calls: 2, cools: 1, lasts: true, acts: overHTTP2(uploadInSteps),
		answers: []onWire{readsAll(limited), says(fine)},
	},
	{
		fault: "… uploads more than may be kept of it, and the upstream sends a 429", client: passedOn, calls: 1, cools: 1, lasts: true, acts: uploadInSteps,
		options: keepsLittle, answers: []onWire{readsAll(limited)},
	},
	{
		fault: "… uploads as much over HTTP/2, and the upstream answers", client: served, calls: 1, lasts: true, acts: overHTTP2(uploadInSteps),
		options: keepsLittle, answers: []onWire{readsAll(fine)},
	},
	{
		fault: "The client reads a kilobyte at a time", client: served, calls: 2, cools: 1, lasts: true, acts: readInSteps,
		answers: []onWire{says(limited), answersLong},
	},
	{
		fault: "… reads it over HTTP/2", client: served, calls: 2, cools: 1, lasts: true, acts: overHTTP2(readInSteps),
		answers: []onWire{says(limited), answersLong},
	},
}

// readsAll is says, and tells when it has begun.
func readsAll(text string) onWire {
	return func(w *wire) {
		w.reach()
		says(text)(w)
	}
}

func answersLong(w *wire) {
	w.reach()
	w.readBody()
	w.say(answerOf(longAnswer))
}

// leaveInTheMidst asks, and closes the connection when the upstream is in the midst
// of the fault.
func leaveInTheMidst(s *stage) result {
	ctx, leave := context.WithCancel(s.t.Context())
	defer leave()
	done := make(chan result, 1)
	go func() { done <- s.send(live.Request(s.t, http.MethodPost, s.url, question).WithContext(ctx)) }()
	s.inTheMidst()
	leave()
	if got := live.Receive(s.t, "the client leaves", done); got != result(fmt.Sprintf("no answer: Post %q: context canceled", s.url)) {
		return got
	}
	return hasLeft
}

// leaveWithinTheAnswer reads the answer's beginning first.
func leaveWithinTheAnswer(s *stage) result {
	ctx, leave := context.WithCancel(s.t.Context())
	defer leave()
	res, err := s.client.Do(live.Request(s.t, http.MethodPost, s.url, question).WithContext(ctx))
	if err != nil {
		return result(err.Error())
	}
	defer res.Body.Close()
	begin := make([]byte, 3)
	if _, err := io.ReadFull(res.Body, begin); err != nil || string(begin) != "the" {
		return result(fmt.Sprintf("%q, %v", begin, err))
	}
	s.inTheMidst()
	leave()
	return hasLeft
}

// leavesAfter closes the connection when it has sent this, and the gateway has passed
// on what it can of it.
func leavesAfter(text string) func(*stage) result {
	return func(s *stage) result {
		conn := live.Dial(s.t, s.url)
		io.WriteString(conn, text)
		if !strings.Contains(text, "chunked") {
			s.reach() // nothing reaches the upstream before the client leaves
		}
		s.inTheMidst()
		conn.Close()
		live.Eventually(s.t, "the upstream has what was sent", func() bool { return s.begun() == s.c.calls })
		return hasLeft
	}
}

// begun counts the calls.
func (s *stage) begun() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// uploadInSteps sends a step when the upstream has got the one before.
func uploadInSteps(s *stage) result {
	pr, pw := io.Pipe()
	r, err := http.NewRequest(http.MethodPost, s.url, pr)
	if err != nil {
		s.t.Fatal(err)
	}
	done := make(chan result, 1)
	go func() { done <- s.send(r) }()
	for i := 0; i < len(slowUpload); i += stepBytes {
		io.WriteString(pw, slowUpload[i:i+stepBytes])
		live.Eventually(s.t, "the upstream has got the step", func() bool { return s.received() == i+stepBytes })
		if i == stepBytes {
			s.inTheMidst()
		}
		s.quick()
	}
	pw.Close()
	return live.Receive(s.t, "the client gets an answer", done)
}

// readInSteps reads the beginning of a long answer slowly.
func readInSteps(s *stage) result {
	res, err := s.client.Do(live.Request(s.t, http.MethodPost, s.url, question))
	if err != nil {
		return result(err.Error())
	}
	defer res.Body.Close()
	step := make([]byte, stepBytes)
	for i := range steps {
		if _, err := io.ReadFull(res.Body, step); err != nil {
			return result(err.Error())
		}
		if i == 1 {
			s.inTheMidst()
		}
		s.quick()
	}
	return live.ResultOf(res, longAnswer[steps*stepBytes:])
}

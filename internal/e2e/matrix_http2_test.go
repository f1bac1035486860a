package e2e

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// framed answers one call of an upstream that speaks HTTP/2, frame by frame.
type framed func(*stream)

// stream is a call whose request has come.
type stream struct {
	*stage
	conn *frames
	id   uint32
	seen *seenCall
	runs framed
}

// frames is a connection of HTTP/2.
type frames struct {
	net.Conn
	*http2.Framer
	writing sync.Mutex
}

// Go's transport holds on to a broken connection of HTTP/2 for the time that an idle
// one would be kept: these upstreams' are not kept for long.

// startH2C starts an upstream that speaks HTTP/2 without TLS.
func startH2C(s *stage) (upstream, proxy string, end func()) {
	address, _, end := listen(s, func(conn net.Conn) { serveFrames(s, conn) })
	return "h2c://" + address, "transport http {\n keepalive 1s\n }", end
}

// startH2TLS starts one that speaks it with TLS.
func startH2TLS(s *stage) (upstream, proxy string, end func()) {
	lender := httptest.NewTLSServer(nil) // of a certificate
	config := &tls.Config{Certificates: lender.TLS.Certificates, NextProtos: []string{"h2"}}
	lender.Close()
	address, _, end := listen(s, func(conn net.Conn) { serveFrames(s, tls.Server(conn, config)) })
	return "https://" + address, "transport http {\n keepalive 1s\n tls_insecure_skip_verify\n }", end
}

// serveFrames takes requests until the connection ends.
func serveFrames(s *stage, conn net.Conn) {
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	f := &frames{Conn: conn, Framer: http2.NewFramer(conn, conn)}
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.write(func() { f.WriteSettings() })
	streams := make(map[uint32]*stream)
	var answers sync.WaitGroup
	defer answers.Wait()
	defer conn.Close()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if call := f.take(s, streams, frame); call != nil {
			answers.Go(func() { call.runs(call) })
		}
	}
}

func (f *frames) write(frames func()) {
	f.writing.Lock()
	defer f.writing.Unlock()
	frames()
}

// take takes a frame, and returns the call that it completes.
func (f *frames) take(s *stage, streams map[uint32]*stream, frame http2.Frame) *stream {
	switch frame := frame.(type) {
	case *http2.SettingsFrame:
		if !frame.IsAck() {
			f.write(func() { f.WriteSettingsAck() })
		}
	case *http2.PingFrame:
		if !frame.IsAck() {
			f.write(func() { f.WritePing(true, frame.Data) })
		}
	case *http2.MetaHeadersFrame:
		call := s.stream(f, frame)
		streams[frame.StreamID] = call
		if frame.StreamEnded() || s.c.body == unread && call.seen != nil {
			return call
		}
	case *http2.DataFrame:
		call := streams[frame.StreamID]
		if s.c.body == unread || call == nil {
			return nil // and no window
		}
		s.got(call.seen, frame.Data(), frame.StreamEnded())
		if n := uint32(len(frame.Data())); n > 0 {
			f.write(func() {
				f.WriteWindowUpdate(0, n)
				f.WriteWindowUpdate(frame.StreamID, n)
			})
		}
		if frame.StreamEnded() {
			return call
		}
	}
	return nil
}

// stream begins a call.
func (s *stage) stream(f *frames, head *http2.MetaHeadersFrame) *stream {
	x := &stream{stage: s, conn: f, id: head.StreamID, runs: func(x *stream) { x.answer("200", quickText) }}
	if head.PseudoValue("path") == quickPath {
		return x
	}
	r := &http.Request{Header: make(http.Header)}
	for _, field := range head.RegularFields() {
		r.Header.Add(field.Name, field.Value)
	}
	call, n := s.call(r)
	if head.StreamEnded() {
		s.got(call, nil, true)
	}
	x.seen, x.runs = call, s.c.frames[min(n, len(s.c.frames)-1)]
	return x
}

// head sends a header, with fields as name and value.
func (x *stream) head(status string, fields ...string) {
	x.conn.write(func() {
		x.conn.WriteHeaders(http2.HeadersFrameParam{
			StreamID: x.id, EndHeaders: true, BlockFragment: encodeHeaders(append([]string{":status", status}, fields...)...),
		})
	})
}

func (x *stream) data(text string, end bool) {
	x.conn.write(func() { x.conn.WriteData(x.id, end, []byte(text)) })
}

func (x *stream) answer(status, text string) {
	x.head(status)
	x.data(text, true)
}

func (x *stream) reset(code http2.ErrCode) {
	x.conn.write(func() { x.conn.WriteRSTStream(x.id, code) })
}

// leave tells that the connection ends, and which stream is the last.
func (x *stream) leave(last uint32, code http2.ErrCode) {
	x.conn.write(func() { x.conn.WriteGoAway(last, code, nil) })
}

func answersWell(x *stream) { x.answer("200", theAnswer) }

// resets resets the call before an answer.
func resets(code http2.ErrCode) framed { return func(x *stream) { x.reset(code) } }

// resetsWithin resets it within the answer's body.
func resetsWithin(code http2.ErrCode) framed {
	return func(x *stream) {
		x.head("200")
		x.data(theAnswer[:3], false)
		x.reset(code)
	}
}

// limitsAndResets does so within a rejection's body.
func limitsAndResets(code http2.ErrCode) framed {
	return func(x *stream) {
		x.head("429", "retry-after", "40", "content-type", "application/json")
		x.data(live.RateLimitBody[:20], false)
		x.reset(code)
	}
}

// refuses ends the connection before the call.
func refuses(code http2.ErrCode) framed {
	return func(x *stream) {
		x.leave(max(x.id, 2)-2, code)
		x.conn.Close()
	}
}

const lastOfAll = 1<<31 - 1 // a GOAWAY's first, when it is a graceful one

// askBare asks without a body.
func askBare(s *stage) result { return s.send(live.Request(s.t, http.MethodGet, s.url, "")) }

var http2Faults = []faultCase{
	{
		fault: "The upstream speaks HTTP/2 and sends GOAWAY, after this call", client: served, calls: 1, lasts: true, acts: askLasting,
		frames: []framed{func(x *stream) {
			x.leave(lastOfAll, http2.ErrCodeNo)
			x.leave(x.id, http2.ErrCodeNo)
			x.reach()
			<-x.goOn
			answersWell(x)
		}},
	},
	{
		fault: "… GOAWAY, before this call, which has no body", client: served, calls: 2, body: noBody, acts: askBare,
		frames: []framed{refuses(http2.ErrCodeNo), answersWell},
	},
	{
		fault: "… GOAWAY, before this call, which has a body", client: badGate, calls: 1, again: true,
		frames: []framed{refuses(http2.ErrCodeNo), answersWell},
	},
	{
		fault: "… RST_STREAM (REFUSED_STREAM) for a call without a body", client: served, calls: 2, body: noBody, acts: askBare,
		frames: []framed{resets(http2.ErrCodeRefusedStream), answersWell},
	},
	{
		fault: "… RST_STREAM (REFUSED_STREAM) for a call with a body", client: badGate, calls: 1, again: true,
		frames: []framed{resets(http2.ErrCodeRefusedStream), answersWell},
	},
	{
		fault: "… RST_STREAM (CANCEL) before it answers", client: badGate, calls: 1,
		frames: []framed{resets(http2.ErrCodeCancel)},
	},
	{
		fault: "… RST_STREAM (INTERNAL_ERROR) before it answers", client: badGate, calls: 1,
		frames: []framed{resets(http2.ErrCodeInternal)},
	},
	{
		fault: "… RST_STREAM (CANCEL) within the body of an answer", client: cutOff, calls: 1,
		frames: []framed{resetsWithin(http2.ErrCodeCancel)},
	},
	{
		fault: "… RST_STREAM (INTERNAL_ERROR) within the body of an answer", client: cutOff, calls: 1,
		frames: []framed{resetsWithin(http2.ErrCodeInternal)},
	},
	{
		fault: "… RST_STREAM (CANCEL) within the body of a 429", client: served, calls: 2, cools: 1,
		frames: []framed{limitsAndResets(http2.ErrCodeCancel), answersWell},
	},
	{
		fault: "… RST_STREAM (INTERNAL_ERROR) within the body of a 429", client: served, calls: 2, cools: 1,
		frames: []framed{limitsAndResets(http2.ErrCodeInternal), answersWell},
	},
	{
		fault: "… RST_STREAM (REFUSED_STREAM) within the body of a 429", client: served, calls: 2, cools: 1,
		frames: []framed{limitsAndResets(http2.ErrCodeRefusedStream), answersWell},
	},
	{
		fault: "… closes the connection within the body of a 429", client: served, calls: 2, cools: 1,
		frames: []framed{func(x *stream) {
			x.head("429", "retry-after", "40", "content-type", "application/json")
			x.data(strings.Repeat(" ", 100), false)
			x.conn.Close()
		}, answersWell},
	},
	{
		fault: "… answers, and resets the call (NO_ERROR), before it has read a body of 10 MB, which comes over HTTP/2", client: served, calls: 1, body: unread, lasts: true, acts: overHTTP2(answeredEarly),
		frames: []framed{func(x *stream) {
			x.answer("200", theAnswer)
			x.reset(http2.ErrCodeNo)
			x.reach()
		}},
	},
}

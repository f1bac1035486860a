package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// upstreamCommand is the argument that makes this program the upstream.
const upstreamCommand = "upstream"

// limitedPrefix begins the keys that the upstream answers with 429.
const limitedPrefix = "sk-demo-limited-"

// workerHeader tells the upstream which of the load's workers asks.
const workerHeader = "X-Worker"

// maxWorkers bounds the number in workerHeader.
const maxWorkers = 4096

// What the upstream answers, ready made.
var (
	okAnswer = answer("200 OK", "", `{"id":"chatcmpl-demo","object":"chat.completion","model":"demo-model",`+
		`"choices":[{"index":0,"message":{"role":"assistant","content":"`+string(bytes.Repeat([]byte("demo "), 80))+
		`"},"finish_reason":"stop"}],"usage":{"prompt_tokens":200,"completion_tokens":80,"total_tokens":280}}`)

	// Its key stays away for as long as anybody measures.
	limitedAnswer = answer("429 Too Many Requests", "Retry-After: 800\r\n", rejection)

	// Its key is back in a moment.
	onceAnswer = answer("429 Too Many Requests", "Retry-After-Ms: 1\r\n", rejection)

	streamHead = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n")
	chunk      = framed("data: {\"id\":\"chatcmpl-demo\",\"object\":\"chat.completion.chunk\",\"model\":\"demo-model\"," +
		"\"choices\":[{\"index\":0,\"delta\":{\"content\":\" demo\"},\"finish_reason\":null}]}\n\n")
	usedChunk = framed("data: {\"id\":\"chatcmpl-demo\",\"object\":\"chat.completion.chunk\",\"model\":\"demo-model\"," +
		"\"choices\":[],\"usage\":{\"prompt_tokens\":200,\"completion_tokens\":49,\"total_tokens\":249}}\n\n")
	lastChunk = []byte("0\r\n\r\n")
)

const rejection = `{"error":{"message":"Rate limit reached for demo-model","type":"requests","param":null,"code":"rate_limit_exceeded"}}`

func answer(status, header, body string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 %s\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s",
		status, header, len(body), body)
}

func framed(text string) []byte { return fmt.Appendf(nil, "%x\r\n%s\r\n", len(text), text) }

// upstream plays a provider, as cheaply as may be.
type upstream struct {
	calls [maxWorkers]atomic.Uint32 // to oncePath, by worker
}

// serveUpstream plays the provider until the process is ended. It prints where it
// listens.
func serveUpstream(out io.Writer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // ends with the process
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, listener.Addr()); err != nil {
		return err
	}
	return new(upstream).serve(listener)
}

// serve answers connections until the listener is closed.
func (u *upstream) serve(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go u.answerAll(conn)
	}
}

// readers are those of connections, which come and go.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 16<<10) }}

// answerAll answers a connection's requests until it ends.
func (u *upstream) answerAll(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // the client sees it
	r := readers.Get().(*bufio.Reader)
	defer readers.Put(r)
	r.Reset(conn)
	var q request
	for {
		if q.read(r) != nil || u.answer(conn, &q) != nil {
			return
		}
	}
}

// request is what the upstream looks at.
type request struct {
	start   []byte
	path    string
	limited bool // its key is
	worker  int
}

// read reads a request to its end.
func (q *request) read(r *bufio.Reader) error {
	q.limited, q.worker = false, 0
	head, err := readHead(r, q.start, q.see)
	if err != nil {
		return err
	}
	q.start = head.start
	_, path, _ := bytes.Cut(head.start, []byte(" "))
	path, _, _ = bytes.Cut(path, []byte(" "))
	q.path = pathOf(path)
	_, err = head.skipBody(r)
	return err
}

// see notes what a header line says.
func (q *request) see(name, value []byte) {
	switch {
	case is(name, "Authorization"):
		q.limited = bytes.HasPrefix(value, []byte("Bearer "+limitedPrefix))
	case is(name, workerHeader):
		if n, err := strconv.Atoi(string(value)); err == nil && n >= 0 {
			q.worker = n % maxWorkers
		}
	}
}

// pathOf returns the path as one of the known ones, without an allocation.
func pathOf(path []byte) string {
	for _, known := range []string{jsonPath, streamPath, holdPath, oncePath} {
		if string(path) == known {
			return known
		}
	}
	return ""
}

// answer answers a request.
func (u *upstream) answer(conn net.Conn, q *request) error {
	if q.limited {
		_, err := conn.Write(limitedAnswer)
		return err
	}
	switch q.path {
	case streamPath:
		return stream(conn)
	case holdPath:
		return hold(conn)
	case oncePath:
		if u.calls[q.worker].Add(1)%2 == 1 {
			_, err := conn.Write(onceAnswer)
			return err
		}
	}
	_, err := conn.Write(okAnswer)
	return err
}

// stream sends chunk after chunk, each for itself. The last of them says what was used.
func stream(conn net.Conn) error {
	if _, err := conn.Write(streamHead); err != nil {
		return err
	}
	for i := range streamChunks {
		c := chunk
		if i == streamChunks-1 {
			c = usedChunk
		}
		if _, err := conn.Write(c); err != nil {
			return err
		}
		time.Sleep(chunkPause)
	}
	_, err := conn.Write(lastChunk)
	return err
}

// hold sends one chunk, and waits until the connection is closed.
func hold(conn net.Conn) error {
	if _, err := conn.Write(append(bytes.Clone(streamHead), chunk...)); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 1))
	return err
}

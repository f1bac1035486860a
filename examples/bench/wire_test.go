package main

import (
	"bufio"
	"io"
	"strings"
	"testing"
)

func TestReadHead(t *testing.T) {
	for _, test := range []struct {
		what, text string
		start      string
		length     int64
		chunked    bool
		fails      bool
	}{
		{what: "a length, in whatever case and with white space", text: "POST /x HTTP/1.1\r\ncontent-LENGTH:  12 \r\n\r\n", start: "POST /x HTTP/1.1", length: 12},
		{what: "chunks", text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", start: "HTTP/1.1 200 OK", length: -1, chunked: true},
		{what: "nothing about a body", text: "GET / HTTP/1.1\r\nHost: x\r\n\r\n", start: "GET / HTTP/1.1", length: -1},
		{what: "a length that is none", text: "HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n", fails: true},
		{what: "a length below nothing", text: "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", fails: true},
		{what: "a head that breaks off", text: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n", fails: true},
		{what: "nothing", text: "", fails: true},
	} {
		m, err := readHead(bufio.NewReader(strings.NewReader(test.text)), nil, nil)
		if (err != nil) != test.fails {
			t.Errorf("%s: %v", test.what, err)
			continue
		}
		if !test.fails && (string(m.start) != test.start || m.length != test.length || m.chunked != test.chunked) {
			t.Errorf("%s: got %q, %d, %v", test.what, m.start, m.length, m.chunked)
		}
	}
}

func TestSkipBodyStopsWhereTheNextMessageBegins(t *testing.T) {
	for _, test := range []struct {
		what, text string
		chunks     int
		fails      bool
	}{
		{what: "a stated length", text: "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbodyNEXT"},
		{what: "no body at all", text: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nNEXT"},
		{what: "two chunks, one of them of hexadecimal length", text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\nNEXT", chunks: 2},
		{what: "a chunk without a size", text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", fails: true},
		{what: "a body that breaks off", text: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody", fails: true},
		{what: "no length", text: "HTTP/1.1 200 OK\r\n\r\nbody", fails: true},
	} {
		r := bufio.NewReader(strings.NewReader(test.text))
		m, err := readHead(r, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		chunks, err := m.skipBody(r)
		if (err != nil) != test.fails || chunks != test.chunks {
			t.Errorf("%s: %d chunks, %v", test.what, chunks, err)
		}
		if rest, _ := io.ReadAll(r); !test.fails && string(rest) != "NEXT" {
			t.Errorf("%s: %q follows", test.what, rest)
		}
	}
}

func FuzzWire(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody")
	f.Add("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\nx")
	f.Fuzz(func(t *testing.T, text string) {
		r := bufio.NewReader(strings.NewReader(text))
		m, err := readHead(r, nil, nil)
		if err != nil {
			return
		}
		if m.length < -1 {
			t.Errorf("a length of %d", m.length)
		}
		m.skipBody(r)
	})
}

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// errLength is the error for a message whose end is not stated.
var errLength = errors.New("no Content-Length")

// message is the head of an HTTP/1.1 request or response, as far as this needs it. Its
// slices belong to the reader, until it reads on.
type message struct {
	start   []byte // the first line
	length  int64  // of the body; -1 where it is chunked or not stated
	chunked bool
}

// readHead reads the head of a message, and gives each header line to see, which may
// be nil. The first line is copied into start.
func readHead(r *bufio.Reader, start []byte, see func(name, value []byte)) (message, error) {
	m := message{length: -1}
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return m, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if first {
			start = append(start[:0], line...)
			m.start = start
			continue
		}
		if len(line) == 0 {
			return m, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		if err := m.take(name, value); err != nil {
			return m, err
		}
		if see != nil {
			see(name, value)
		}
	}
}

// take notes what a header line says about the body.
func (m *message) take(name, value []byte) error {
	switch {
	case is(name, "Content-Length"):
		length, err := strconv.ParseUint(string(value), 10, 62)
		if err != nil {
			return fmt.Errorf("Content-Length %q is no number", value)
		}
		m.length = int64(length)
	case is(name, "Transfer-Encoding"):
		m.chunked = true
	}
	return nil
}

// is compares a header's name, of whatever case.
func is(name []byte, wanted string) bool {
	return len(name) == len(wanted) && bytes.EqualFold(name, []byte(wanted))
}

// skipBody reads the message's body, and returns how many chunks it had.
func (m *message) skipBody(r *bufio.Reader) (chunks int, err error) {
	if m.chunked {
		return skipChunks(r)
	}
	if m.length < 0 {
		return 0, errLength
	}
	_, err = io.CopyN(io.Discard, r, m.length)
	return 0, err
}

// skipChunks reads a chunked body to its end, and returns how many chunks it had.
func skipChunks(r *bufio.Reader) (chunks int, err error) {
	for ; ; chunks++ {
		length, err := skipChunk(r)
		if err != nil || length == 0 {
			return chunks, err
		}
	}
}

// skipChunk reads one chunk and returns its length: 0 for the last.
func skipChunk(r *bufio.Reader) (length int64, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	size, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 31)
	if err != nil {
		return 0, fmt.Errorf("chunk size %q is no number", line)
	}
	_, err = r.Discard(int(size) + len("\r\n"))
	return int64(size), err
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
)

// client sends one request after the other, always the same.
type client interface {
	// do sends the request and reads the answer, and returns how many chunks that had.
	// An answer that is not 200 is an error.
	do() (chunks int, err error)
	close()
}

// ask is what a client sends.
type ask struct {
	address string
	path    string
	body    []byte
}

// clientHeader is what an official SDK sends, by and large.
const clientHeader = "Authorization: Bearer sk-client-demo\r\n" +
	"Accept: application/json\r\n" +
	"Accept-Encoding: gzip, deflate, br\r\n" +
	"Content-Type: application/json\r\n" +
	"User-Agent: OpenAI/Python 2.8.1\r\n" +
	"X-Stainless-Lang: python\r\n" +
	"X-Stainless-Package-Version: 2.8.1\r\n" +
	"X-Stainless-Os: Linux\r\n" +
	"X-Stainless-Runtime: CPython\r\n" +
	"X-Stainless-Retry-Count: 0\r\n"

// plainClient speaks HTTP/1.1 on one connection, at little cost.
type plainClient struct {
	ask
	conn  net.Conn
	r     *bufio.Reader
	head  []byte
	start []byte
}

// wholeBody is the largest body that goes out with its head in one write, in bytes.
const wholeBody = 128 << 10

func newPlainClient(ctx context.Context, a ask, worker int) (*plainClient, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", a.address)
	if err != nil {
		return nil, err
	}
	c := &plainClient{ask: a, conn: conn, r: bufio.NewReader(conn)}
	c.head = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\n%s: %d\r\n%sContent-Length: %d\r\n\r\n",
		a.path, a.address, workerHeader, worker, clientHeader, len(a.body))
	if len(a.body) <= wholeBody {
		c.head, c.body = append(c.head, a.body...), nil
	}
	return c, nil
}

func (c *plainClient) do() (chunks int, err error) {
	if err := c.send(); err != nil {
		return 0, err
	}
	m, err := c.readHead()
	if err != nil {
		return 0, err
	}
	return m.skipBody(c.r)
}

func (c *plainClient) send() error {
	if _, err := c.conn.Write(c.head); err != nil || c.body == nil {
		return err
	}
	_, err := c.conn.Write(c.body)
	return err
}

// readHead reads the head of an answer, which must be a good one.
func (c *plainClient) readHead() (message, error) {
	m, err := readHead(c.r, c.start, nil)
	if err != nil {
		return m, err
	}
	c.start = m.start
	if _, status, _ := bytes.Cut(m.start, []byte(" ")); !bytes.HasPrefix(status, []byte("200")) {
		return m, fmt.Errorf("the gateway answered %q", m.start)
	}
	return m, nil
}

// hold sends the request, and reads the head of the answer and its first chunk.
func (c *plainClient) hold() error {
	if err := c.send(); err != nil {
		return err
	}
	if _, err := c.readHead(); err != nil {
		return err
	}
	_, err := skipChunk(c.r)
	return err
}

func (c *plainClient) close() { c.conn.Close() } //nolint:errcheck // it is over

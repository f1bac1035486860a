package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// brokenAnswers are answers that their upstream breaks off, by path. Each is held for a
// while, since it could be about the key.
var brokenAnswers = map[string]string{
	"/400-length":      "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"error\":{",
	"/400-chunks":      "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"er\r\n",
	"/400-head":        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n",
	"/404-length":      "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 100\r\n\r\n<html>",
	"/200-error":       "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"error\":null,",
	"/200-error-parts": "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"error\"\r\n",
	"/200-json":        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"a\":",
	"/200-head":        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n",
	"/200-events":      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n10\r\ndata: {\"error\":1\r\n",
}

// A regression would give the client nothing at all of an answer that was held.
func TestABrokenOffAnswerComesAsFromBareCaddy(t *testing.T) {
	upstream := listenRaw(t, func(path string) string { return brokenAnswers[path] })
	g := startGateway(t, fmt.Sprintf(`
		handle_path /bare/* {
			reverse_proxy %[1]s
		}
		handle_path /keys/* {
			keycycler {
				keys sk-demo-1 sk-demo-2
			}
			reverse_proxy %[1]s
		}`, upstream))
	h2 := g.protocolClients()["HTTP/2.0"]
	for path := range brokenAnswers {
		bare, keys := rawAnswer(t, g, "/bare"+path), rawAnswer(t, g, "/keys"+path)
		if bare != keys {
			t.Errorf("%s: without keycycler the client gets\n%q\nwith it\n%q", path, bare, keys)
		}
		// Not over HTTP/3: there an end like this one takes back what is under way.
		bare, keys = brokenAnswer(h2.client, h2.url+"/bare"+path), brokenAnswer(h2.client, h2.url+"/keys"+path)
		if bare != keys {
			t.Errorf("%s over HTTP/2: without keycycler the client gets %q, with it %q", path, bare, keys)
		}
	}
}

// listenRaw starts an upstream that reads a request's head, writes this and hangs up.
func listenRaw(t *testing.T, answer func(path string) string) (address string) {
	t.Helper()
	return live.Accept(t, func(conn net.Conn) {
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		var head []byte
		for p := make([]byte, 4096); !bytes.Contains(head, []byte("\r\n\r\n")); {
			n, err := conn.Read(p)
			if err != nil {
				return
			}
			head = append(head, p[:n]...)
		}
		io.WriteString(conn, answer(strings.Fields(string(head))[1]))
	})
}

var varies = regexp.MustCompile(`Date: [^\r]*\r\n`)

// rawAnswer returns what comes over HTTP/1.1 until the connection ends.
func rawAnswer(t *testing.T, g *gateway, path string) string {
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.plain, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path)
	all, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%s: the connection does not end", path)
	}
	return fmt.Sprintf("%s, %v", varies.ReplaceAll(all, nil), err)
}

// brokenAnswer returns what a client gets of an answer, and how it ends.
func brokenAnswer(client *http.Client, url string) string {
	res, err := client.Get(url)
	if err != nil {
		return streamNumber.ReplaceAllString(fmt.Sprintf("no answer: %v", strings.ReplaceAll(err.Error(), url, "")), "")
	}
	defer res.Body.Close()
	res.Header.Del("Date")
	body, err := io.ReadAll(res.Body)
	return streamNumber.ReplaceAllString(fmt.Sprintf("%s, %v, %d, %q, %v", res.Status, res.Header, res.ContentLength, body, err), "")
}

// streamNumber is how errors of HTTP/2 name the request.
var streamNumber = regexp.MustCompile(`stream (ID )?\d+`)

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
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

// heldAnswers are whole answers that are held, by path. No key is served, so the client gets
// one of them. Each states its type: bare Caddy guesses it, or does not, as the dice fall.
var heldAnswers = map[string]string{
	"/401":                  "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
	"/401-chunks":           "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	"/401-trailers":         "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-T: t\r\nX-T: u\r\n\r\n",
	"/401-more-trailers":    "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-T: t\r\nX-U: u\r\n\r\n",
	"/401-trailer-and-head": "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nX-T: head\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-T: t\r\n\r\n",
	"/401-no-trailer-comes": "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	"/401-only-trailers":    "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-T: t\r\n\r\n",
	"/403-unannounced":      "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-T: t\r\n\r\n",
	"/403-early":            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\nHTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
	"/400-early-trailers":   "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-T: t\r\n\r\n",
	"/404-trailers":         "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-T: t\r\n\r\n",
	"/200-error-trailers":   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n12\r\n{\"error\":{\"code\":1\r\n2\r\n}}\r\n0\r\nX-T: t\r\nX-U: u\r\n\r\n",
}

// A regression would give the client the head and the body of what an upstream says to all
// keys, and lose what comes before and after them.
func TestAHeldAnswerComesAsFromBareCaddy(t *testing.T) {
	upstream := listenRaw(t, func(path string) string { return heldAnswers[path] })
	sites := fmt.Sprintf(`
		handle_path /bare/* {
			reverse_proxy %s
		}`, upstream)
	for path := range heldAnswers {
		for _, protocol := range []string{"1", "2"} { // each has its keys: the pool learns from what it gets
			sites += fmt.Sprintf(`
		handle_path /keys%[1]s/* {
			keycycler answers%[2]s {
				keys sk-demo-1 sk-demo-2
			}
			reverse_proxy %[3]s
		}`, protocol+path, strings.ReplaceAll(protocol+path, "/", "-"), upstream)
		}
	}
	g := startGateway(t, sites)
	h2 := g.protocolClients()["HTTP/2.0"]
	for path := range heldAnswers {
		bare, keys := rawAnswer(t, g, "/bare"+path), rawAnswer(t, g, "/keys1"+path+path)
		if bare != keys {
			t.Errorf("%s: without keycycler the client gets\n%q\nwith it\n%q", path, bare, keys)
		}
		bare, keys = wholeAnswer(t, h2.client, h2.url+"/bare"+path), wholeAnswer(t, h2.client, h2.url+"/keys2"+path+path)
		if bare != keys {
			t.Errorf("%s over HTTP/2: without keycycler the client gets %q, with it %q", path, bare, keys)
		}
	}
}

// wholeAnswer returns all that a client gets of an answer: hints, head, body and trailers.
func wholeAnswer(t *testing.T, client *http.Client, url string) string {
	var early []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
		early = append(early, fmt.Sprint(status, h))
		return nil
	}}
	r := live.Request(t, "GET", url, "")
	res, err := client.Do(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	res.Header.Del("Date")
	body, err := io.ReadAll(res.Body)
	return fmt.Sprintf("%q, %s, %v, %d, %q, %v, %v", early, res.Status, res.Header, res.ContentLength, body, res.Trailer, err)
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
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", path)
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

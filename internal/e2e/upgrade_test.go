package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// echoUpgrade accepts a websocket handshake and sends back what it gets. It looks
// at no frames: the gateway does not either.
func echoUpgrade(t *testing.T) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" {
			http.Error(w, "no handshake", http.StatusBadRequest)
			return
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: %s\r\n\r\n", r.Header.Get("Sec-WebSocket-Protocol"))
		io.Copy(conn, buffered)
	}
}

func TestAWebsocketHandshakeMovesOn(t *testing.T) {
	upstream := live.StartProvider(t, echoUpgrade(t))
	g := startGateway(t, fmt.Sprintf("keycycler {\n keys %s\n}\nreverse_proxy %s", demoKeys(9), upstream.URL))
	upstream.LimitFirst(2)
	conn := live.Dial(t, g.plain)
	io.WriteString(conn, live.Handshake)
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != 101 || res.Header.Get("Sec-WebSocket-Protocol") != "realtime" {
		t.Fatalf("%v %v", res, err)
	}
	for _, message := range []string{"one\n", "two\n"} {
		io.WriteString(conn, message)
		if got, err := r.ReadString('\n'); got != message {
			t.Fatalf("%q, %v", got, err)
		}
	}
	conn.Close()
	live.Eventually(t, "the upstream's connection ends", func() bool { return len(upstream.Seen()) == 3 })
	for _, c := range upstream.Seen() {
		if strings.Contains(fmt.Sprint(c.Header), "sk-client-demo") {
			t.Errorf("the client's credentials reached the upstream: %v", c.Header)
		}
	}
}

// A websocket over HTTP/2 (RFC 8441): an extended CONNECT, whose body is the
// tunnel. HTTP/2 servers offer it only where GODEBUG=http2xconnect=1 was set when
// the process started.
func TestAnExtendedConnectMovesOn(t *testing.T) {
	if !strings.Contains(os.Getenv("GODEBUG"), "http2xconnect=1") {
		again := exec.Command(os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
		again.Env = append(os.Environ(), "GODEBUG=http2xconnect=1")
		var out bytes.Buffer
		again.Stdout, again.Stderr = &out, &out
		err := live.RunInTime(again)
		if err != nil || !strings.Contains(out.String(), "--- PASS: "+t.Name()) {
			t.Fatalf("%v\n%s", err, &out)
		}
		return
	}
	upstream := live.StartProvider(t, echoUpgrade(t))
	g := startGateway(t, fmt.Sprintf("keycycler {\n keys %s\n}\nreverse_proxy %s", demoKeys(9), upstream.URL))
	upstream.LimitFirst(2)
	conn, err := live.DialTLS(g.secure, "h2")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	framer := openHTTP2(t, conn)

	framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: encodeHeaders(
		":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/v1/realtime",
		":authority", strings.TrimPrefix(g.secure, "https://"), "sec-websocket-version", "13")})
	if status := readStatus(t, framer); status != "200" {
		t.Fatalf("status %s", status)
	}
	for _, message := range []string{"one\n", "two\n"} {
		framer.WriteData(1, false, []byte(message))
		if got := readData(t, framer, len(message)); got != message {
			t.Fatalf("%q, want %q", got, message)
		}
	}
	// The tunnel ends before the gateway does: closing both at once is Caddy's race.
	framer.WriteData(1, true, nil)
	live.Eventually(t, "the upstream's connection ends", func() bool { return len(upstream.Seen()) == 3 })
}

// The same over HTTP/3 (RFC 9220).
func TestAnExtendedConnectOverHTTP3MovesOn(t *testing.T) {
	upstream := live.StartProvider(t, echoUpgrade(t))
	g := startGateway(t, fmt.Sprintf("keycycler {\n keys %s\n}\nreverse_proxy %s", demoKeys(9), upstream.URL))
	upstream.LimitFirst(2)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(g.secure, "https://"))
	conn, err := quic.DialAddr(t.Context(), "127.0.0.1:"+port,
		&tls.Config{ServerName: "localhost", InsecureSkipVerify: true, NextProtos: []string{"h3"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	client := new(http3.Transport).NewClientConn(conn)
	live.Receive(t, "the server's settings", client.ReceivedSettings())
	stream, err := client.OpenRequestStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SetDeadline(time.Now().Add(live.Patience)); err != nil {
		t.Fatal(err)
	}
	r := live.Request(t, http.MethodConnect, g.secure+"/v1/realtime", "")
	r.Proto = "websocket"
	if err := stream.SendRequestHeader(r); err != nil {
		t.Fatal(err)
	}
	if res, err := stream.ReadResponse(); err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	for _, message := range []string{"one\n", "two\n"} {
		io.WriteString(stream, message)
		got := make([]byte, len(message))
		if _, err := io.ReadFull(stream, got); err != nil || string(got) != message {
			t.Fatalf("%q, %v", got, err)
		}
	}
	stream.Close()
	live.Eventually(t, "the upstream's connection ends", func() bool { return len(upstream.Seen()) == 3 })
}

// openHTTP2 begins a connection and waits for the server's settings, which must
// allow extended CONNECT.
func openHTTP2(t *testing.T, conn net.Conn) *http2.Framer {
	t.Helper()
	io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	framer.WriteSettings()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		settings, ok := frame.(*http2.SettingsFrame)
		if !ok || settings.IsAck() {
			continue
		}
		if v, _ := settings.Value(http2.SettingEnableConnectProtocol); v != 1 {
			t.Fatal("the server does not offer extended CONNECT")
		}
		framer.WriteSettingsAck()
		return framer
	}
}

func encodeHeaders(fields ...string) []byte {
	var b strings.Builder
	enc := hpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return []byte(b.String())
}

func readStatus(t *testing.T, framer *http2.Framer) string {
	t.Helper()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if headers, ok := frame.(*http2.MetaHeadersFrame); ok {
			return headers.PseudoValue("status")
		}
	}
}

func readData(t *testing.T, framer *http2.Framer, n int) string {
	t.Helper()
	var got []byte
	for len(got) < n {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := frame.(*http2.DataFrame); ok {
			got = append(got, data.Data()...)
		}
	}
	return string(got)
}

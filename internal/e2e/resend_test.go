package e2e

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// refuser is an upstream that speaks HTTP/2 and does not take the first call of each
// client's request. It notes what it has got.
type refuser struct {
	refusal
	url string

	mu      sync.Mutex
	refused map[string]bool // clients' requests that were
	took    map[string]string
	calls   int
}

// refusal is how it refuses.
type refusal struct {
	goes   bool // it ends the connection (GOAWAY) instead of resetting the stream
	unread bool // it does so before it has read the body
	always bool // it takes no call at all
}

func startRefuser(t *testing.T, a *authority, how refusal) *refuser {
	t.Helper()
	u := &refuser{refusal: how, refused: make(map[string]bool), took: make(map[string]string)}
	certificates := []tls.Certificate{a.issue("127.0.0.1", time.Now().Add(time.Hour))}
	u.url = "https://" + live.Accept(t, func(conn net.Conn) {
		u.serve(tls.Server(conn, &tls.Config{Certificates: certificates, NextProtos: []string{"h2"}}))
	})
	return u
}

// taken is a call whose body comes.
type taken struct {
	name, path, length string
	size               int
	sum                hash.Hash
	refuse             bool
}

func (u *refuser) serve(conn net.Conn) {
	io.ReadFull(conn, make([]byte, len(http2.ClientPreface)))
	f := &frames{Conn: conn, Framer: http2.NewFramer(conn, conn)}
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.WriteSettings()
	calls := make(map[uint32]*taken)
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				f.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				f.WritePing(true, frame.Data)
			}
		case *http2.MetaHeadersFrame:
			call := u.begin(frame)
			calls[frame.StreamID] = call
			if (frame.StreamEnded() || call.refuse && u.unread) && u.end(f, frame.StreamID, call) {
				return
			}
		case *http2.DataFrame:
			call := calls[frame.StreamID]
			n := uint32(len(frame.Data()))
			if n > 0 {
				f.WriteWindowUpdate(0, n)
			}
			if call.refuse && u.unread {
				continue
			}
			if n > 0 && !frame.StreamEnded() {
				f.WriteWindowUpdate(frame.StreamID, n)
			}
			call.size += int(n)
			call.sum.Write(frame.Data())
			if frame.StreamEnded() && u.end(f, frame.StreamID, call) {
				return
			}
		}
	}
}

func (u *refuser) begin(head *http2.MetaHeadersFrame) *taken {
	call := &taken{path: head.PseudoValue("path"), sum: sha256.New()}
	for _, field := range head.RegularFields() {
		switch field.Name {
		case "x-name":
			call.name = field.Value
		case "content-length":
			call.length = field.Value
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	call.refuse = u.always || !u.refused[call.name]
	u.refused[call.name] = true
	u.calls++
	return call
}

// end answers the call, or does not take it. It tells whether the connection ends.
func (u *refuser) end(f *frames, id uint32, call *taken) bool {
	switch {
	case call.refuse && u.goes:
		f.WriteGoAway(max(id, 2)-2, http2.ErrCodeNo, nil)
		io.Copy(io.Discard, f.Conn) // what is unread would reset the connection
		return true
	case call.refuse:
		f.WriteRSTStream(id, http2.ErrCodeRefusedStream)
		return false
	}
	u.mu.Lock()
	u.took[call.name] = fmt.Sprintf("%s %s %d %x", call.path, call.length, call.size, call.sum.Sum(nil))
	u.mu.Unlock()
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: true, BlockFragment: encodeHeaders(":status", "200")})
	return false
}

// got returns what it has got of the client's request.
func (u *refuser) got(name string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.took[name]
}

// mostSends is more often than one request goes to one upstream.
const mostSends = 5

// tookOf is what the upstream must have got.
func tookOf(path string, body []byte) string {
	if body == nil {
		return fmt.Sprintf("%s  0 %x", path, sha256.Sum256(nil))
	}
	return fmt.Sprintf("%s %d %d %x", path, len(body), len(body), sha256.Sum256(body))
}

// resent returns a request that names a model in its path and in its body.
func resent(t *testing.T, url, name string, size int) (r *http.Request, body func(model string) []byte) {
	t.Helper()
	body = func(model string) []byte {
		if size < 0 {
			return nil
		}
		return []byte(`{"n":1,"model":"` + model + `","a":"` + strings.Repeat("x", size) + `"}`)
	}
	r, err := http.NewRequest(http.MethodPost, url+"/openai/deployments/gpt-4o/chat?a=gpt-4o", bytes.NewReader(body("gpt-4o")))
	if err != nil {
		t.Fatal(err)
	}
	if size < 0 {
		r.Method, r.Body, r.GetBody, r.ContentLength = http.MethodGet, nil, nil, 0
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Name", name)
	return r, body
}

// A request that the upstream has not begun to process goes there again, with the name that
// its model has there, at the upstream's path. If the upstream never takes it, the next key
// sends it under the name that it has there.
func TestARenamedBodyIsSentAgain(t *testing.T) {
	sizes := []int{-1, 0, 60_000, 200_000, 3000, 2 << 20}
	for i, how := range []refusal{{}, {unread: true}, {goes: true}, {goes: true, unread: true}} {
		t.Run(fmt.Sprintf("GOAWAY %t, unread %t", how.goes, how.unread), func(t *testing.T) {
			a := newAuthority(t)
			again := startRefuser(t, a, how)
			how.always = true
			never, other := startRefuser(t, a, how), startRefuser(t, a, refusal{})
			g := startGateway(t, fmt.Sprintf(`handle /openai/* {
				keycycler again {
					keys sk-again-1 {
						upstream %s/base
						model gpt-4o a-longer-name-of-mine
					}
				}
				reverse_proxy {
					dynamic keycycler
					transport keycycler {
						tls_trust_pool file %s
					}
				}
			}
			handle_path /never/* {
				keycycler never {
					keys sk-never-1 {
						upstream %s
						model gpt-4o a-longer-name-of-mine
					}
					keys sk-never-2 {
						tier 2
						upstream %s/two
						model gpt-4o 4o
					}
				}
				reverse_proxy {
					dynamic keycycler
					transport keycycler {
						tls_trust_pool file %s
					}
				}
			}`, again.url, a.file, never.url, other.url, a.file))
			for protocol, c := range g.protocolClients() {
				for _, size := range slices.Concat(sizes[i:], sizes[:i]) { // where an upstream rests, only the first one goes there
					if size < 0 && protocol == "HTTP/3.0" {
						continue // no length is stated: it may have a body
					}
					name := fmt.Sprint(protocol, size)
					r, body := resent(t, c.url, name, size)
					if res, _ := live.Do(t, c.client, r); res.StatusCode != http.StatusOK {
						t.Errorf("%s: %s", name, res.Status)
					}
					if got, want := again.got(name), tookOf("/base/openai/deployments/a-longer-name-of-mine/chat?a=gpt-4o", body("a-longer-name-of-mine")); got != want {
						t.Errorf("%s: the upstream took\n%s, want\n%s", name, got, want)
					}
					r, _ = resent(t, c.url+"/never", name, size)
					if res, _ := live.Do(t, c.client, r); res.StatusCode != http.StatusOK {
						t.Errorf("%s: where the first upstream never takes it: %s", name, res.Status)
					}
					if got, want := other.got(name), tookOf("/two/openai/deployments/4o/chat?a=gpt-4o", body("4o")); got != want {
						t.Errorf("%s: the second upstream took\n%s, want\n%s", name, got, want)
					}
				}
			}
			if never.calls > 2*mostSends {
				t.Errorf("the upstream that never takes them had %d calls", never.calls)
			}
			if cools := g.logged("key is cooling"); len(cools) > 0 {
				t.Errorf("keys cool: %v", cools)
			}
		})
	}
}

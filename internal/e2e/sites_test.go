package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// authority issues certificates to the tests' upstreams.
type authority struct {
	t    *testing.T
	file string // of its own certificate
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, file: filepath.Join(t.TempDir(), "ca.pem"), key: newKey(t)}
	template := certificate("the tests' authority", time.Now().Add(time.Hour))
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der := a.sign(template, template, a.key)
	a.cert, _ = x509.ParseCertificate(der)
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func certificate(name string, until time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: until,
	}
}

func (a *authority) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

// issue returns a certificate for the name, or the address, until then.
func (a *authority) issue(name string, until time.Time) tls.Certificate {
	a.t.Helper()
	template, key := certificate(name, until), newKey(a.t)
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	return tls.Certificate{Certificate: [][]byte{a.sign(template, a.cert, key)}, PrivateKey: key}
}

// startDNS answers for every name that it is at 127.0.0.1. It returns its address.
func startDNS(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	go func() {
		defer close(done)
		for buf := make([]byte, 1024); ; {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := answerName(buf[:n]); answer != nil {
				conn.WriteTo(answer, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

// answerName answers a question; there are no addresses of version 6.
func answerName(question []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	answer, _ := m.Pack()
	return answer
}

// siteUpstream is an upstream of one key, at a host of its own.
type siteUpstream struct {
	*httptest.Server
	name, port, key string

	mu    sync.Mutex
	calls int
	from  map[string][]string // key → the connections that its requests came by
	wrong []string            // what it saw that was not for it
}

// startSite starts an upstream with a certificate for the name, "" for none, that knows one
// key.
func startSite(t *testing.T, a *authority, name string, h2 bool) *siteUpstream {
	t.Helper()
	u := &siteUpstream{name: name, from: make(map[string][]string), key: "sk-demo-of-" + strings.NewReplacer(".", "-").Replace(name)}
	u.Server = httptest.NewUnstartedServer(u)
	u.Config.ErrorLog = log.New(io.Discard, "", 0)
	u.EnableHTTP2 = h2
	if a != nil {
		u.TLS = &tls.Config{Certificates: []tls.Certificate{a.issue(name, time.Now().Add(time.Hour))}}
		u.StartTLS()
	} else {
		u.Start()
	}
	_, u.port, _ = net.SplitHostPort(u.Listener.Addr().String())
	t.Cleanup(func() { live.CloseServer(t, u.Server) })
	return u
}

// host is what a Host header should say.
func (u *siteUpstream) host() string { return net.JoinHostPort(u.name, u.port) }

// url is the site's.
func (u *siteUpstream) url() string {
	if u.TLS == nil {
		return "http://" + u.host()
	}
	return "https://" + u.host()
}

// block is the keys of the site, as a config has them.
func (u *siteUpstream) block(options string) string {
	return fmt.Sprintf("keys %s {\n upstream %s%s\n %s\n}\n", u.key, u.url(), "/base", options)
}

// ServeHTTP answers with its name and the hash of the body.
func (u *siteUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.judge(r)
	if r.Header.Get("Upgrade") != "" {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"+u.name+"\n")
		io.Copy(conn, buffered)
		return
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, r.Body); err != nil {
		return
	}
	w.Header().Set("X-Site", u.name)
	if strings.HasSuffix(r.URL.Path, "/stream") {
		w.Header().Set("Content-Type", "text/event-stream")
		for range 5 {
			io.WriteString(w, "data: {}\n\n")
			http.NewResponseController(w).Flush()
		}
	}
	io.WriteString(w, hex.EncodeToString(hash.Sum(nil)))
}

// judge notes a request that should not have come here, or not so.
func (u *siteUpstream) judge(r *http.Request) {
	name := u.name
	if net.ParseIP(name) != nil || u.TLS == nil {
		name = "" // for an address there is no SNI
	}
	sni := ""
	if r.TLS != nil {
		sni = r.TLS.ServerName
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calls++
	key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	u.from[key] = append(u.from[key], r.RemoteAddr)
	if !strings.HasPrefix(key, u.key) || r.Host != u.host() ||
		sni != name || !strings.HasPrefix(r.URL.Path, "/base/v1/") {
		u.wrong = append(u.wrong, fmt.Sprintf("%s %s%s with key %s, SNI %q", r.Method, r.Host, r.URL.Path, key, sni))
	}
}

// check tells what was wrong, and returns how many calls there were.
func (u *siteUpstream) check(t *testing.T) int {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, wrong := range u.wrong[:min(len(u.wrong), 3)] {
		t.Errorf("%s saw %s", u.name, wrong)
	}
	return u.calls
}

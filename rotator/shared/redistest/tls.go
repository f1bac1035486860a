package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TLS is an authority and the certificates it has issued, as PEM files.
type TLS struct {
	CAFile                string
	ServerCert, ServerKey string
	ClientCert, ClientKey string
}

// StartTLS runs a server that speaks nothing but TLS, and only with those that have
// a certificate of its authority's.
func StartTLS(t testing.TB, config ...string) (*Server, *TLS) {
	t.Helper()
	Binary(t)
	secure := newTLS(t)
	s := &Server{t: t, dir: tempDir(t), port: freePort(t), config: config, secure: secure}
	s.Restart()
	return s, secure
}

// Config is a client's.
func (c *TLS) Config(t testing.TB) *tls.Config {
	t.Helper()
	authority, err := os.ReadFile(c.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(c.ClientCert, c.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{pair}}
}

func (c *TLS) lines(port int) []string {
	return []string{
		"port 0",
		fmt.Sprint("tls-port ", port),
		"tls-ca-cert-file " + c.CAFile,
		"tls-cert-file " + c.ServerCert,
		"tls-key-file " + c.ServerKey,
		"tls-auth-clients yes",
	}
}

// Renew ends the server, has all certificates issued anew by another authority, in the
// same files, and runs the server again.
func (s *Server) Renew() {
	s.t.Helper()
	s.Kill()
	s.secure.issue(s.t)
	s.client = nil
	s.Restart()
}

func newTLS(t testing.TB) *TLS {
	t.Helper()
	dir := tempDir(t)
	c := &TLS{CAFile: filepath.Join(dir, "ca.pem")}
	c.ServerCert, c.ServerKey = filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key")
	c.ClientCert, c.ClientKey = filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key")
	c.issue(t)
	return c
}

// issue writes a new authority and what it has issued.
func (c *TLS) issue(t testing.TB) {
	t.Helper()
	authority := newCertificate(t, "authority", nil)
	server, client := newCertificate(t, "server", authority), newCertificate(t, "client", authority)
	authority.write(t, c.CAFile, filepath.Join(filepath.Dir(c.CAFile), "ca.key"))
	server.write(t, c.ServerCert, c.ServerKey)
	client.write(t, c.ClientCert, c.ClientKey)
}

type certificate struct {
	der    []byte
	parsed *x509.Certificate
	key    *ecdsa.PrivateKey
}

// newCertificate issues one for a day; without an issuer it is an authority's own.
func newCertificate(t testing.TB, name string, issuer *certificate) *certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &certificate{key: key}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:     []string{"localhost"},
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := template, key
	if issuer == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		template.ExtKeyUsage = nil
	} else {
		parent, signer = issuer.parsed, issuer.key
	}
	if c.der, err = x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer); err != nil {
		t.Fatal(err)
	}
	if c.parsed, err = x509.ParseCertificate(c.der); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *certificate) write(t testing.TB, certFile, keyFile string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		name, kind string
		der        []byte
	}{{certFile, "CERTIFICATE", c.der}, {keyFile, "PRIVATE KEY", key}} {
		if err := os.WriteFile(f.name, pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

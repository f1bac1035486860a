package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// http2Client speaks HTTP/2 with TLS. Clients of one transport share a connection.
type http2Client struct {
	ask
	ctx       context.Context //nolint:containedctx // of its requests
	transport *http.Transport
	header    http.Header
}

// newHTTP2Transport returns a transport that trusts the authority, as PEM, and
// nothing else.
func newHTTP2Transport(authority []byte) (*http.Transport, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("the gateway's root certificate is none")
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	return &http.Transport{
		Protocols:          protocols,
		DisableCompression: true,
		TLSClientConfig:    &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13},
	}, nil
}

func newHTTP2Client(ctx context.Context, transport *http.Transport, a ask, worker int) *http2Client {
	header := http.Header{workerHeader: {strconv.Itoa(worker)}}
	for line := range strings.SplitSeq(strings.TrimSpace(clientHeader), "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		header.Set(name, value)
	}
	return &http2Client{ask: a, ctx: ctx, transport: transport, header: header}
}

func (c *http2Client) do() (chunks int, err error) {
	request, err := http.NewRequestWithContext(c.ctx, http.MethodPost, "https://"+c.address+c.path, bytes.NewReader(c.body))
	if err != nil {
		return 0, err
	}
	request.Header = c.header
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || response.ProtoMajor != 2 {
		return 0, fmt.Errorf("the gateway answered %s %s", response.Proto, response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return 0, err
}

func (c *http2Client) close() { c.transport.CloseIdleConnections() }

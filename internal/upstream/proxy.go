package upstream

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// Proxy is the URL of an outbound proxy, which may hold a password: whatever prints it
// shows it without. "" is none.
type Proxy string

// ParseProxy checks the URL of a proxy. Its errors hold nothing of the text.
func ParseProxy(text string) (Proxy, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "", errors.New("it is no URL such as http://proxy.example.com:3128")
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5" && u.Scheme != "socks5h":
		return "", errors.New("the URL must begin with http://, https://, socks5:// or socks5h://")
	case u.Hostname() == "":
		return "", errors.New("the URL names no host")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("the URL has a path, a query or a fragment: only a port may follow the host")
	}
	return Proxy(text), nil
}

// String returns the URL without user and password.
func (p Proxy) String() string {
	scheme, rest, found := strings.Cut(string(p), "://")
	if !found {
		return ""
	}
	return scheme + "://" + rest[strings.LastIndex(rest, "@")+1:]
}

// Format implements fmt.Formatter: no verb shows more than String.
func (p Proxy) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// MarshalText implements encoding.TextMarshaler, for what encodes a struct around it.
func (p Proxy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Package upstream is where keys work: the address of each, how attempts get there, and
// what errors of the connection mean.
//
// It knows Caddy's reverse_proxy, and nothing of keys and pools: an attempt tells it by its
// context where it goes. A way to reach an upstream, or to fail at it, goes here.
package upstream

import (
	"errors"
	"net"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Site is where keys work. Two are alike if they are equal. The zero Site is none.
type Site struct {
	Scheme string // http or https
	Host   string // as a Host header has it: without the scheme's own port
	Dial   string // host and port, for dialing
	Base   string // what stands before each path there, without a slash at its end; "" for none
	Proxy  Proxy  // the outbound proxy; "": as the transport says
}

// String returns the site's URL. It holds no secret.
func (s Site) String() string { return s.Scheme + "://" + s.Host + s.Base }

// Address names what a connection goes to: sites of one address are reached alike, or not
// at all.
func (s Site) Address() string {
	if s.Proxy == "" {
		return s.Scheme + "://" + s.Dial
	}
	return s.Scheme + "://" + s.Dial + " by " + s.Proxy.String()
}

// ports are the schemes' own.
var ports = map[string]string{"http": "80", "https": "443"}

// ParseSite reads a URL: scheme, host, port and base path. Its errors hold nothing of the
// text.
func ParseSite(text string) (Site, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Site{}, errors.New("it is no URL such as https://east.example.com/base")
	}
	switch {
	case ports[u.Scheme] == "":
		return Site{}, errors.New("the URL must begin with https:// or http://")
	case u.Hostname() == "":
		return Site{}, errors.New("the URL names no host")
	case u.User != nil:
		return Site{}, errors.New("the URL holds a user or a password: the key is what is sent")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return Site{}, errors.New("the URL has a query or a fragment: only a base path may follow the host")
	}
	if u.Host, err = httpguts.PunycodeHostPort(u.Host); err != nil {
		return Site{}, errors.New("the URL's host is no name that can be looked up")
	}
	return siteOf(u), nil
}

func siteOf(u *url.URL) Site {
	host, port := strings.ToLower(u.Hostname()), u.Port()
	s := Site{Scheme: u.Scheme, Host: host, Base: strings.TrimRight(u.EscapedPath(), "/")}
	if strings.Contains(host, ":") {
		s.Host = "[" + host + "]"
	}
	if port != "" && port != ports[u.Scheme] {
		s.Host += ":" + port
	} else {
		port = ports[u.Scheme]
	}
	s.Dial = net.JoinHostPort(host, port)
	return s
}

// twice returns the end of the base path, such as /v1, if an attempt's path repeats it behind
// the base; "" if not.
func (s Site) twice(path string) string {
	own, ok := strings.CutPrefix(path, s.Base)
	last := s.Base[strings.LastIndexByte(s.Base, '/')+1:]
	if rest, again := strings.CutPrefix(strings.TrimPrefix(own, "/"), last); ok && last != "" && again && strings.HasPrefix(rest, "/") {
		return "/" + last
	}
	return ""
}

// port returns the port of the site.
func (s Site) port() string { return s.Dial[strings.LastIndex(s.Dial, ":")+1:] }

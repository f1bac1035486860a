package command

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// adminPort is that of an address that names none.
const adminPort = 2019

var (
	errNoAddress = errors.New("it must be <host>:<port>, :<port>, http://<host>:<port> or unix//<path of the socket>")
	errHTTPS     = errors.New("the admin endpoint speaks plain HTTP: write http://, or <host>:<port>")
	errRange     = errors.New("one port is needed, not several")
)

// addressOf finds the gateway's admin endpoint by the command's flags.
func addressOf(cmd *cobra.Command) (endpoint, error) {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	given := flags.String("address")
	text, err := caddycmd.DetermineAdminAPIAddress(given, nil, flags.String("config"), flags.String("adapter"))
	if err != nil {
		return "", err
	}
	address, err := parseAddress(caddy.NewReplacer().ReplaceKnown(text, ""))
	switch {
	case err == nil:
		return address, nil
	case given != "":
		return "", wrongf("--address: %w", err)
	default:
		return "", fmt.Errorf("the address of the admin endpoint, of the config or of CADDY_ADMIN: %w", err)
	}
}

// parseAddress reads an address as people write them, and as Caddy's config does. It returns
// one that can be asked: what listens everywhere is asked at localhost.
func parseAddress(text string) (endpoint, error) {
	text = strings.TrimSpace(text)
	if path, ok := socketPath(text); ok {
		return endpoint("unix/" + path), nil
	}
	if strings.Contains(text, "://") {
		u, err := url.Parse(text)
		switch {
		case err == nil && u.Scheme == "https":
			return "", errHTTPS
		case err != nil || u.Scheme != "http" || u.Host == "" || u.User != nil:
			return "", errNoAddress
		}
		text = u.Host
	}
	return parseHost(text)
}

// socketPath returns the path of a unix socket: behind unix/ or unix+h2c/, as in Caddy's
// config, maybe with permissions behind it; behind unix://; or alone.
func socketPath(text string) (path string, ok bool) {
	for _, prefix := range []string{"unix://", "unix:", "unix/", "unix+h2c/"} {
		if path, ok := strings.CutPrefix(text, prefix); ok && path != "" {
			return path, true
		}
	}
	return text, strings.HasPrefix(text, "/")
}

// parseHost reads a host, a port, or both.
func parseHost(text string) (endpoint, error) {
	if host, ok := strings.CutSuffix(text, "/"); ok && strings.Contains(host, ":") {
		text = host // as it is copied from a browser
	}
	if text != "" && strings.Trim(text, "0123456789") == "" {
		text = ":" + text
	}
	a, err := caddy.ParseNetworkAddressWithDefaults(text, "tcp", adminPort)
	switch {
	case err != nil || text == "" || !slices.Contains([]string{"tcp", "tcp4", "tcp6"}, a.Network) || strings.ContainsAny(a.Host, "/ @?#"):
		return "", errNoAddress
	case a.PortRangeSize() != 1 || a.StartPort == 0:
		return "", errRange
	}
	if ip, err := netip.ParseAddr(a.Host); a.Host == "" || err == nil && ip.IsUnspecified() {
		a.Host = "localhost"
	}
	return endpoint(strings.TrimPrefix(a.String(), "tcp/")), nil
}

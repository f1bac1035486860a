package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// gatewayConfig is what a Caddy is configured to do.
type gatewayConfig struct {
	name      string // of its files
	keycycler bool   // or bare: one static key
	http2     bool
	keysFile  string // of the pool
	spareFile string // of a pool that nobody asks, or ""
	options   string // of keycycler's block
	proxied   string // options of keycycler's reverse_proxy
	carrier   string // its transport
	redis     string // address, or "" for state in memory
	upstream  string // address
}

// gateway is a Caddy that runs.
type gateway struct {
	*process
	config  gatewayConfig
	address string // of the site
	admin   admin
	root    string // the file of the root certificate that its own is signed with
	started time.Duration
}

// The pools: that which is asked, and one that a gateway only holds.
const (
	poolName  = "bench"
	sparePool = "spare"
)

// startup bounds how long a gateway may take to listen.
const startup = time.Minute

// startGateway starts the Caddy on these cores and waits until it listens.
func startGateway(ctx context.Context, binary, dir string, cores []int, c gatewayConfig) (*gateway, error) {
	home, err := os.MkdirTemp(dir, c.name+"-*")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(ctx, 3)
	if err != nil {
		return nil, err
	}
	g := &gateway{
		config:  c,
		address: "localhost:" + ports[0],
		admin:   admin{address: "localhost:" + ports[1]},
		root:    filepath.Join(home, "caddy/pki/authorities/local/root.crt"),
	}
	path := filepath.Join(home, "Caddyfile")
	config := c.caddyfile(g.address, g.admin.address, "localhost:"+ports[2])
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	env := []string{"XDG_DATA_HOME=" + home, "XDG_CONFIG_HOME=" + home}
	if len(cores) > 0 {
		env = append(env, fmt.Sprintf("GOMAXPROCS=%d", len(cores)))
	}
	own := filepath.Join(home, "gateway")
	if err := copyFile(own, binary); err != nil {
		return nil, err
	}
	before := time.Now()
	if g.process, _, err = start(ctx, cores, filepath.Join(home, "log"), env, own, "run", "--config", path); err != nil {
		return nil, err
	}
	if err := g.wait(ctx); err != nil {
		g.stop()
		return nil, fmt.Errorf("the gateway does not listen: %w; its log ends in:\n%s", err, g.said())
	}
	g.started = time.Since(before)
	return g, nil
}

// copyFile copies a program. Processes of one file share its pages, and so the caches of
// the core: what all of them run would be warm for each, and what one alone runs cold. So
// each gateway has a file of its own.
func copyFile(to, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700) //nolint:gosec // a program
	if err != nil {
		return err
	}
	if _, err := io.Copy(target, source); err != nil {
		return errors.Join(err, target.Close())
	}
	return target.Close()
}

// wait waits until the site takes connections.
func (g *gateway) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startup)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", g.address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

// freePorts returns ports that nobody listens on.
func freePorts(ctx context.Context, n int) ([]string, error) {
	ports := make([]string, n)
	for i := range ports {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "localhost:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close() //nolint:errcheck // nobody has connected
		if _, ports[i], err = net.SplitHostPort(listener.Addr().String()); err != nil {
			return nil, err
		}
	}
	return ports, nil
}

// caddyfile returns the config of a site, an admin endpoint, and for the ballast of
// bare Caddy another site. Both kinds of gateway keep as many connections to the
// upstream as they need: what is compared is not how often they dial.
func (c *gatewayConfig) caddyfile(site, adminAddress, spare string) string {
	scheme := "http"
	if c.http2 {
		scheme = "https"
	}
	var text strings.Builder
	fmt.Fprintf(&text, "{\n\tadmin %s\n\tpersist_config off\n\tskip_install_trust\n\tauto_https disable_redirects\n}\n", adminAddress)
	if c.keycycler {
		fmt.Fprintf(&text, "%s://%s {\n%s%s}\n", scheme, site, c.pool(poolName, c.keysFile), c.proxy(c.proxied, cmp.Or(c.carrier, "http")))
	} else {
		fmt.Fprintf(&text, "%s://%s {\n%s}\n", scheme, site, c.proxy("header_up Authorization \"Bearer sk-demo-1\"", "http"))
	}
	if c.spareFile != "" {
		fmt.Fprintf(&text, "http://%s {\n%s}\n", spare, c.pool(sparePool, c.spareFile))
	}
	return text.String()
}

func (c *gatewayConfig) pool(name, keysFile string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "\tkeycycler %s {\n\t\tkeys_file %s\n", name, keysFile)
	if c.options != "" {
		fmt.Fprintf(&text, "\t\t%s\n", c.options)
	}
	if c.redis != "" {
		fmt.Fprintf(&text, "\t\tstate redis %s\n", c.redis)
	}
	text.WriteString("\t}\n")
	return text.String()
}

func (c *gatewayConfig) proxy(options, transport string) string {
	if options != "" {
		options = "\t\t" + options + "\n"
	}
	return "\treverse_proxy " + c.upstream + " {\n" + options +
		"\t\ttransport " + transport + " {\n\t\t\tkeepalive_idle_conns 4096\n\t\t\tkeepalive_idle_conns_per_host 4096\n\t\t}\n\t}\n"
}

// keyPrefix begins the keys of most pools.
const keyPrefix = "sk-demo-"

// writeKeys writes a keys file of so many keys, of which so many are limited, and
// returns its path. All but the limited begin with the prefix.
func writeKeys(dir, prefix string, keys, limited int) (string, error) {
	var text strings.Builder
	for i := range keys {
		if i < limited {
			fmt.Fprintf(&text, "%s%d\n", limitedPrefix, i+1)
			continue
		}
		fmt.Fprintf(&text, "%s%d\n", prefix, i+1)
	}
	path := filepath.Join(dir, fmt.Sprintf("%s%d-%d.keys", prefix, keys, limited))
	return path, os.WriteFile(path, []byte(text.String()), 0o600)
}

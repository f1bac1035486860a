//go:build unix

package nodes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
)

// shares checks that the second node hears what the first learns.
func shares(t *testing.T, upstream *limiter, nodes []*node) {
	t.Helper()
	upstream.limit(0)
	if status := nodes[0].get(onlyPath(0)); status != 429 || upstream.hits(0, nodes[0]) != 1 {
		t.Fatalf("answered %d after %d calls", status, upstream.hits(0, nodes[0]))
	}
	live.Eventually(t, "the other node knows", func() bool { return nodes[1].knows(0) })
	for _, n := range nodes {
		if n.logged(awayLine) > 0 {
			t.Errorf("node %s says that Redis is away:\n%s", n.config.name, tail(n.log()))
		}
	}
}

// The whole way to a guarded Redis: TLS with a client's certificate, a user with
// few rights, placeholders.
func TestNodesOverTLS(t *testing.T) {
	t.Parallel()
	server, certs := redistest.StartTLS(t)
	const password = "Vd2Jm6Qp-not-for-logs"
	server.Admit("gateway", password, redistest.Commands, redistest.ClientName, redistest.Keys)
	upstream := startLimiter(t)
	c := nodeConfig{
		only: upTo(1), upstream: upstream.URL, level: "DEBUG", env: []string{"REDIS_PASSWORD=" + password, fmt.Sprint("REDIS_PORT=", server.Port()), "CERTS=" + filepath.Dir(certs.CAFile)},
		state: `redis 127.0.0.1:{env.REDIS_PORT} {
			username gateway
			password {env.REDIS_PASSWORD}
			tls {
				ca_file {env.CERTS}/ca.pem
				cert_file {env.CERTS}/client.pem
				key_file {env.CERTS}/client.key
				server_name localhost
			}
		}`,
	}
	nodes := startNodes(t, 2, c)
	shares(t, upstream, nodes)

	for name, change := range map[string]func(*nodeConfig){
		"a wrong password":               func(c *nodeConfig) { c.env = append(c.env, "REDIS_PASSWORD=wrong-"+password) },
		"no certificate of the client's": func(c *nodeConfig) { c.state = without(c.state, "cert_file", "key_file") },
		"an authority that nobody knows": func(c *nodeConfig) { c.state = without(c.state, "ca_file") },
		"a server of another name":       func(c *nodeConfig) { c.state = strings.Replace(c.state, "localhost", "other.demo", 1) },
		"a user that Redis does not know": func(c *nodeConfig) {
			c.state = strings.Replace(c.state, "username gateway", "username nobody", 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			c.name = "wrong"
			change(&c)
			n := startNode(t, c)
			if status := n.get(onlyPath(0), probeHeader, "1"); status != probed {
				t.Errorf("answered %d", status)
			}
			live.Eventually(t, "the node says that Redis is away", func() bool { return n.logged(awayLine) == 1 })
			n.stop()
			for line := range strings.Lines(n.log()) {
				if strings.Contains(line, awayLine) {
					t.Log(strings.TrimSpace(line))
				}
				if strings.Contains(line, password) {
					t.Errorf("the password is in the log: %s", line)
				}
			}
		})
	}
}

// User, password, certificates and even the authority change, and nobody reloads: what
// the files hold counts for the next connection.
func TestNodesTakeUpRenewedSecrets(t *testing.T) {
	t.Parallel()
	server, certs := redistest.StartTLS(t)
	dir := t.TempDir()
	admit := func(user, password string) {
		t.Helper()
		server.Admit(user, password, redistest.Commands, redistest.ClientName, redistest.Keys)
		for name, text := range map[string]string{"user": user, "password": password} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	admit("first", "Wk4Tc7Xs-not-for-logs")
	upstream := startLimiter(t)
	nodes := startNodes(t, 2, nodeConfig{
		only: upTo(2), upstream: upstream.URL,
		state: fmt.Sprintf("redis %s {\nusername {file.%s/user}\npassword {file.%s/password}\ntls {\nca_file %s\ncert_file %s\nkey_file %s\n}\n}",
			server.Addr(), dir, dir, certs.CAFile, certs.ClientCert, certs.ClientKey),
	})
	shares(t, upstream, nodes)

	server.Renew() // which forgets the user, too
	admit("second", "Lp9Gd3Bn-not-for-logs")
	upstream.limit(1)
	if status := nodes[0].get(onlyPath(1)); status != 429 {
		t.Fatalf("answered %d", status)
	}
	live.Eventually(t, "the other node knows", func() bool { return nodes[1].knows(1) })
	if names := server.Denied(); len(names) > 0 {
		t.Errorf("Redis has refused %v", names)
	}
}

// without returns a Caddyfile's text without these options.
func without(text string, options ...string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		keep := true
		for _, o := range options {
			keep = keep && !strings.HasPrefix(strings.TrimSpace(line), o+" ")
		}
		if keep {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

func TestNodesOverASocket(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "redis") // not t.TempDir: a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "socket")
	startRedis(t, "unixsocket "+socket)
	upstream := startLimiter(t)
	shares(t, upstream, startNodes(t, 2, nodeConfig{only: upTo(1), state: "redis " + socket + " {\ndb 3\n}", upstream: upstream.URL}))
}

func TestNodesWithSentinels(t *testing.T) {
	t.Parallel()
	servers, upstream := redistest.StartSentinels(t), startLimiter(t)
	const password = "Hc5Zr9Tn-not-for-logs"
	for _, sentinel := range servers.Sentinels {
		sentinel.Do("ACL", "SETUSER", "watcher", "on", ">"+password, "+@all")
		sentinel.Do("ACL", "SETUSER", "default", "resetpass")
	}
	shares(t, upstream, startNodes(t, 2, nodeConfig{
		only: upTo(1), upstream: upstream.URL, env: []string{"SENTINEL_PASSWORD=" + password},
		state: fmt.Sprintf("redis %s {\nmaster_name %s\nsentinel_username watcher\nsentinel_password {env.SENTINEL_PASSWORD}\n}",
			strings.Join(servers.Addrs(), " "), redistest.MasterName),
	}))
}

func TestNodesWithACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	// Each seed leads to the server that has the slot.
	for i, server := range cluster.Servers[:3] {
		t.Run(fmt.Sprintf("seed %d", i), func(t *testing.T) {
			upstream := startLimiter(t)
			shares(t, upstream, startNodes(t, 2, nodeConfig{
				only: upTo(1), upstream: upstream.URL, state: fmt.Sprintf("redis %s {\ncluster\nprefix seed-%d\n}", server.Addr(), i),
			}))
		})
	}
}

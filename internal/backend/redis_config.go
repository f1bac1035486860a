package backend

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/keyset"
)

// Defaults and bounds of the Redis state.
const (
	defaultRedisPort    = "6379"
	defaultRedisPrefix  = "keycycler"
	defaultDialTimeout  = 2 * time.Second
	defaultRedisTimeout = 3 * time.Second
	minRedisTimeout     = 10 * time.Millisecond
	maxRedisTimeout     = time.Minute
	maxRedisDB          = 1_000_000
)

// expand replaces placeholders and fills in defaults.
func (r *RedisState) expand() error {
	repl := caddy.NewReplacer()
	r.login = loginOf(r.Username, r.Password)
	fields := []struct {
		name string
		text *string
	}{
		{"username", &r.Username}, {"password", &r.Password}, {"prefix", &r.Prefix}, {"master_name", &r.MasterName},
		{"sentinel_username", &r.SentinelUsername}, {"sentinel_password", &r.SentinelPassword},
	}
	for i := range r.Addresses {
		fields = append(fields, struct {
			name string
			text *string
		}{"address", &r.Addresses[i]})
	}
	if t := r.TLS; t != nil {
		fields = append(fields, []struct {
			name string
			text *string
		}{
			{"tls ca_file", &t.CAFile}, {"tls cert_file", &t.CertFile}, {"tls key_file", &t.KeyFile}, {"tls server_name", &t.ServerName},
		}...)
	}
	for _, f := range fields {
		text, err := keyset.Expand(repl, *f.text)
		if err != nil {
			return fmt.Errorf("redis %s: %w", f.name, err)
		}
		*f.text = text
	}
	r.setDefaults()
	return nil
}

// loginOf returns what gives user and password as their placeholders say at the time.
func loginOf(username, password string) func() (string, string, error) {
	return func() (string, string, error) {
		repl := caddy.NewReplacer()
		user, err := keyset.Expand(repl, username)
		if err != nil {
			return "", "", fmt.Errorf("redis username: %w", err)
		}
		secret, err := keyset.Expand(repl, password)
		if err != nil {
			return "", "", fmt.Errorf("redis password: %w", err)
		}
		return user, secret, nil
	}
}

func (r *RedisState) setDefaults() {
	if r.Prefix == "" {
		r.Prefix = defaultRedisPrefix
	}
	for _, d := range []struct {
		field *caddy.Duration
		value time.Duration
	}{{&r.DialTimeout, defaultDialTimeout}, {&r.ReadTimeout, defaultRedisTimeout}, {&r.WriteTimeout, defaultRedisTimeout}} {
		if *d.field == 0 {
			*d.field = caddy.Duration(d.value)
		}
	}
}

// check holds the options against their bounds, with or without defaults.
func (r *RedisState) check() error {
	switch {
	case len(r.Addresses) == 0:
		return errors.New("redis: no address: add 'redis <address...>'")
	case r.DB != 0 && r.isCluster():
		return errors.New("redis db: a cluster has no databases")
	case r.Cluster && r.MasterName != "":
		return errors.New("redis: cluster and master_name exclude each other")
	case r.MasterName == "" && (r.SentinelUsername != "" || r.SentinelPassword != ""):
		return errors.New("redis: sentinel_username and sentinel_password go with master_name")
	case r.TLS != nil && (r.TLS.CertFile == "") != (r.TLS.KeyFile == ""):
		return errors.New("redis tls: cert_file and key_file go together")
	}
	for _, d := range []struct {
		name  string
		value caddy.Duration
	}{{"dial_timeout", r.DialTimeout}, {"read_timeout", r.ReadTimeout}, {"write_timeout", r.WriteTimeout}} {
		if d.value == 0 {
			continue
		}
		if err := checkRedisTimeout("redis "+d.name, d.value); err != nil {
			return err
		}
	}
	return r.checkDB()
}

// checkTexts holds what may be a placeholder against its bounds.
func (r *RedisState) checkTexts() error {
	for _, address := range r.Addresses {
		if err := checkRedisAddress(address); err != nil {
			return err
		}
	}
	return checkRedisPrefix(r.Prefix)
}

func (r *RedisState) checkDB() error {
	if r.DB < 0 || r.DB > maxRedisDB {
		return fmt.Errorf("redis db: %d is out of range: 0 to %d", r.DB, maxRedisDB)
	}
	return nil
}

// checkRedisAddress shows no address that is wrong: a password may be in it, or may
// have slipped there. The same goes for all that stands here as text.
func checkRedisAddress(address string) error {
	if strings.HasPrefix(address, "/") {
		return nil
	}
	const forms = "host, host:port or /path/of/a/socket"
	if strings.Contains(address, "://") || strings.Contains(address, "@") {
		return errors.New("redis address: it is a URL, not " + forms + "; user, password and tls are options")
	}
	switch {
	case strings.ContainsAny(address, ",; "):
		return errors.New("redis address: several stand in one word: write them apart, with spaces between them")
	case address != "" && strings.Trim(address, "0123456789") == "":
		return errors.New("redis address: it is a port alone: write <host>:<port>, as one word")
	}
	_, port, err := net.SplitHostPort(withPort(address))
	if n, bad := strconv.ParseUint(port, 10, 16); address == "" || err != nil || bad != nil || n == 0 {
		return errors.New("redis address: it is not " + forms)
	}
	return nil
}

func checkRedisPrefix(prefix string) error {
	if prefix == "" || len(prefix) > directive.MaxName || strings.Trim(prefix, directive.NameBytes) != "" {
		return fmt.Errorf("redis prefix: it is not 1 to %d letters, digits, dots, dashes or underscores", directive.MaxName)
	}
	return nil
}

func checkRedisTimeout(name string, d caddy.Duration) error {
	if time.Duration(d) < minRedisTimeout || time.Duration(d) > maxRedisTimeout {
		return fmt.Errorf("%s: %s is out of range: %s to %s", name, time.Duration(d), minRedisTimeout, maxRedisTimeout)
	}
	return nil
}

func (r *RedisState) isCluster() bool {
	return r.Cluster || len(r.Addresses) > 1 && r.MasterName == ""
}
